//! Attacks with credentials: somebody else's, old ones, of another kind, and for more than they carry.

use serde_json::{Value, json};

use super::{OPERATOR_SCOPES, Scene, code, node_with, not_admitted};
use crate::support::device::Device;
use crate::support::peer::{Peer, cli_params};
use crate::support::process::SECRET;

const MISMATCH: &str = "AUTH_DEVICE_TOKEN_MISMATCH";

#[test]
fn a_token_opens_one_role_of_one_device() {
    let mut scene = Scene::new();
    let stranger = Device::new();
    let (node, operator) = (json!(scene.node_token), json!(scene.operator_token));
    let as_operator = |auth| cli_params(auth, &["operator.read"]);
    for (what, params, key) in [
        (
            "a node's token as operator",
            as_operator(json!({"deviceToken": node})),
            &scene.node_key,
        ),
        (
            "an operator's token as node",
            node_with(json!({"deviceToken": operator})),
            &scene.operator_key,
        ),
        (
            "a node's token with a stranger's key",
            node_with(json!({"deviceToken": node})),
            &stranger,
        ),
        (
            "an operator's token with a stranger's key",
            as_operator(json!({"deviceToken": operator})),
            &stranger,
        ),
        (
            "an operator's token with the node's key",
            as_operator(json!({"deviceToken": operator})),
            &scene.node_key,
        ),
        (
            "the shared token as a device token",
            node_with(json!({"deviceToken": SECRET})),
            &scene.node_key,
        ),
        (
            "a device token cut short",
            node_with(json!({"deviceToken": &scene.node_token[..42]})),
            &scene.node_key,
        ),
        (
            "a device token with something behind it",
            node_with(json!({"deviceToken": format!("{}A", scene.node_token)})),
            &scene.node_key,
        ),
    ] {
        let error = scene.refused(params, Some(key));
        assert_eq!(code(&error), MISMATCH, "{what}: {error}");
        let message = "unauthorized: device token mismatch (rotate/reissue device token)";
        assert_eq!(error["message"], message, "{what}");
    }
    scene.unharmed();
}

#[test]
fn each_role_of_a_device_has_a_token_of_its_own() {
    let mut scene = Scene::new();
    // The node becomes an operator as well, by an approval.
    let asked = cli_params(json!({"token": SECRET}), &[]);
    let error = scene.refused(asked.clone(), Some(&scene.node_key));
    let request = json!({"requestId": error["details"]["requestId"]});
    let admin = scene.admin();
    admin.call("device.pair.approve", request).unwrap();
    let both = Peer::connect(scene.gateway.address, asked, Some(&scene.node_key)).unwrap();
    let operator_token = both.device_token();
    assert_ne!(operator_token, scene.node_token);
    for params in [
        cli_params(json!({"deviceToken": scene.node_token}), &[]),
        node_with(json!({"deviceToken": operator_token})),
    ] {
        let error = scene.refused(params, Some(&scene.node_key));
        assert_eq!(code(&error), MISMATCH, "{error}");
    }
}

#[test]
fn a_device_token_is_no_shared_secret() {
    let mut scene = Scene::new();
    let token = scene.operator_token.clone();
    // Without the key a stolen device token opens nothing.
    for (auth, expected) in [
        (json!({"token": token}), "AUTH_TOKEN_MISMATCH"),
        (json!({"password": token}), "AUTH_TOKEN_MISSING"),
        (json!({"deviceToken": token}), "DEVICE_IDENTITY_REQUIRED"),
        (json!({"bootstrapToken": token}), "DEVICE_IDENTITY_REQUIRED"),
    ] {
        let mut backend = cli_params(auth.clone(), &["operator.admin"]);
        backend["client"] =
            json!({"id": "gateway-client", "mode": "backend", "version": "1", "platform": "linux"});
        for params in [cli_params(auth.clone(), &["operator.admin"]), backend] {
            let error = scene.refused(params, None);
            assert_eq!(code(&error), expected, "{auth}: {error}");
        }
    }
    // The shared token does not count in another field, with a key or without.
    for (auth, expected) in [
        (json!({"password": SECRET}), "AUTH_TOKEN_MISSING"),
        (
            json!({"bootstrapToken": SECRET}),
            "AUTH_BOOTSTRAP_TOKEN_INVALID",
        ),
    ] {
        let error = scene.refused(node_with(auth.clone()), Some(&scene.node_key));
        assert_eq!(code(&error), expected, "{auth}: {error}");
    }
    scene.unharmed();
}

#[test]
fn the_token_of_the_node_layer_opens_no_connection() {
    let mut scene = Scene::new();
    let records = scene.gateway.home.json("nodes/paired.json");
    let token = records[&scene.node_key.id]["token"].clone();
    assert_ne!(token, json!(scene.node_token));
    let error = scene.refused(
        node_with(json!({"deviceToken": token})),
        Some(&scene.node_key),
    );
    assert_eq!(code(&error), MISMATCH, "{error}");
    scene.unharmed();
}

#[test]
fn a_rotated_or_revoked_token_is_dead_at_once() {
    let mut scene = Scene::new();
    let (id, stolen) = (scene.node_key.id.clone(), scene.node_token.clone());
    let target = json!({"deviceId": id, "role": "node"});
    let admin = scene.admin();
    admin.call("device.token.rotate", target.clone()).unwrap();
    let attempt = |scene: &Scene, token: &str, field: &str| {
        scene.refused(node_with(json!({ field: token })), Some(&scene.node_key))
    };
    assert_eq!(code(&attempt(&scene, &stolen, "deviceToken")), MISMATCH);
    assert_eq!(
        code(&attempt(&scene, &stolen, "token")),
        "AUTH_TOKEN_MISMATCH"
    );
    // The shared secret proves the member, who gets the new token.
    let params = node_with(json!({"token": SECRET}));
    let member = Peer::connect(scene.gateway.address, params, Some(&scene.node_key)).unwrap();
    let fresh = member.device_token();
    assert_ne!(fresh, stolen);
    scene.admin().call("device.token.revoke", target).unwrap();
    for token in [&stolen, &fresh] {
        assert_eq!(code(&attempt(&scene, token, "deviceToken")), MISMATCH);
    }
    // Not even the shared secret brings a revoked role back: that takes an approval.
    let error = scene.refused(node_with(json!({"token": SECRET})), Some(&scene.node_key));
    assert_eq!(error["details"]["reason"], "role-upgrade", "{error}");
    let files = scene.gateway.home.json("devices/paired.json");
    assert!(
        files[&id]["tokens"]["node"]["revokedAtMs"].is_u64(),
        "{files}"
    );
    drop(Peer::operator(scene.gateway.address, SECRET));
}

#[test]
fn nobody_gets_more_scopes_than_were_approved() {
    let mut scene = Scene::new();
    let wider = ["operator.read", "operator.admin"];
    // With the shared secret it becomes a request that waits; the approval stays as it is.
    let params = cli_params(json!({"token": SECRET}), &wider);
    let error = scene.refused(params, Some(&scene.operator_key));
    assert_eq!(error["code"], "NOT_PAIRED");
    assert_eq!(error["details"]["reason"], "scope-upgrade", "{error}");
    assert_eq!(error["details"]["approvedScopes"], json!(OPERATOR_SCOPES));
    let request = error["details"]["requestId"].clone();
    // With the token alone, whatever its holder wrote into his own file, it is a mismatch.
    for (version, expected) in [(3, MISMATCH), (4, "AUTH_SCOPE_MISMATCH")] {
        let mut params = cli_params(json!({"deviceToken": scene.operator_token}), &wider);
        params["maxProtocol"] = json!(version);
        let error = scene.refused(params, Some(&scene.operator_key));
        assert_eq!(code(&error), expected, "{error}");
    }
    // The upgrade cannot be approved by the one who asks, nor by anybody who lacks it himself.
    let params = cli_params(
        json!({"deviceToken": scene.operator_token}),
        &OPERATOR_SCOPES,
    );
    let mut member =
        Peer::connect(scene.gateway.address, params, Some(&scene.operator_key)).unwrap();
    let error = member
        .call("device.pair.approve", json!({"requestId": request}))
        .unwrap_err();
    assert_eq!(error["message"], "missing scope: operator.admin");
    // The session itself stays within its scopes.
    let error = member
        .call("system-event", json!({"text": "x"}))
        .unwrap_err();
    assert_eq!(error["message"], "missing scope: operator.admin");
    let error = member.call("node.invoke", json!({})).unwrap_err();
    assert_eq!(error["message"], "missing scope: operator.write");
    scene.only_a_request_waits();
}

#[test]
fn a_node_gets_no_scope_and_no_second_role() {
    let mut scene = Scene::new();
    let mut params = node_with(json!({"token": SECRET}));
    params["scopes"] = json!(["operator.admin"]);
    for (key, reason) in [
        (&Device::new(), "not-paired"),
        (&scene.node_key, "scope-upgrade"),
    ] {
        let error = scene.refused(params.clone(), Some(key));
        assert_eq!(error["details"]["reason"], reason, "{error}");
        let request = json!({"requestId": error["details"]["requestId"]});
        let mut admin = Peer::operator(scene.gateway.address, SECRET);
        let error = admin.call("device.pair.approve", request).unwrap_err();
        let message = "invalid scope for requested roles: operator.admin";
        assert_eq!(
            error["message"], message,
            "not even an administrator can approve it"
        );
    }
    for scopes in [&[][..], &["operator.read"]] {
        let params = cli_params(json!({"token": SECRET}), scopes);
        let error = scene.refused(params, Some(&scene.node_key));
        assert_eq!(error["details"]["reason"], "role-upgrade", "{error}");
    }
    // A scope that looks like one of its own role is not one it has.
    let mut params = node_with(json!({"deviceToken": scene.node_token}));
    params["scopes"] = json!(["node.admin"]);
    let error = scene.refused(params, Some(&scene.node_key));
    assert_eq!(code(&error), "AUTH_SCOPE_MISMATCH", "{error}");
    for role in ["admin", "Operator", "operator ", "worker"] {
        let mut params = node_with(json!({"token": SECRET}));
        params["role"] = json!(role);
        assert_eq!(
            scene.refused(params, Some(&scene.node_key))["message"],
            "invalid role"
        );
    }
    scene.only_a_request_waits();
}

#[test]
fn a_member_manages_only_itself() {
    let mut scene = Scene::new();
    let params = cli_params(
        json!({"deviceToken": scene.operator_token}),
        &OPERATOR_SCOPES,
    );
    let mut member =
        Peer::connect(scene.gateway.address, params, Some(&scene.operator_key)).unwrap();
    let other = json!({"deviceId": scene.node_key.id});
    let of_node = json!({"deviceId": scene.node_key.id, "role": "node"});
    for (method, params, message) in [
        ("device.pair.remove", other, "device pairing removal denied"),
        (
            "device.token.rotate",
            of_node.clone(),
            "device token rotation denied",
        ),
        (
            "device.token.revoke",
            of_node,
            "device token revocation denied",
        ),
        (
            "device.token.rotate",
            json!({"deviceId": scene.operator_key.id, "role": "operator", "scopes": ["operator.admin"]}),
            "device token rotation denied",
        ),
        (
            "device.token.rotate",
            json!({"deviceId": scene.operator_key.id, "role": "node"}),
            "device token rotation denied",
        ),
    ] {
        let error = member.call(method, params.clone()).unwrap_err();
        assert_eq!(error["message"], message, "{method} {params}");
    }
    let list = member.call("device.pair.list", json!({})).unwrap();
    let ids: Vec<&Value> = list["paired"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["deviceId"])
        .collect();
    assert_eq!(ids, [&json!(scene.operator_key.id)], "it sees itself alone");
    scene.unharmed();
}

#[test]
fn a_changed_key_is_a_stranger() {
    let mut scene = Scene::new();
    // Same names and metadata as the member, another key: nobody it could take the place of.
    let stranger = Device::new();
    let headers = [("X-Forwarded-For", "203.0.113.9")];
    let params = node_with(json!({"token": SECRET}));
    let error = not_admitted(scene.connect_with(&headers, params, Some(&stranger)));
    assert_eq!(error["details"]["reason"], "not-paired");
    assert_eq!(error["details"]["deviceId"], json!(stranger.id));
    scene.only_a_request_waits();
}
