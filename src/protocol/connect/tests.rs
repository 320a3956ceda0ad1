//! What clients claim, and how their mistakes are told.

use proptest::prelude::*;

use super::*;

fn sample() -> Value {
    json!({
        "minProtocol": 3, "maxProtocol": 3,
        "client": {"id": "node-host", "displayName": "Build Node", "version": "2026.4.29",
            "platform": "linux", "mode": "node", "instanceId": "25218f4c"},
        "caps": ["system"], "commands": ["system.run.prepare", "system.run"],
        "pathEnv": "/usr/bin:/bin", "auth": {"token": "t"}, "role": "node", "scopes": [],
        "device": {"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1_795_221_070_449_u64,
            "nonce": "n"}
    })
}

#[test]
fn a_node_host_is_understood_and_rendered_back() {
    let params = ConnectParams::parse(Some(&sample())).unwrap();
    assert_eq!(params.client.label(), "Build Node");
    assert_eq!(params.commands, ["system.run.prepare", "system.run"]);
    assert_eq!(params.device.as_ref().unwrap().signed_at, 1_795_221_070_449);
    assert_eq!(params.auth.signed_token(), "t");
    assert_eq!(params.role.as_deref(), Some("node"));
    assert_eq!(params.to_value(), sample());
}

#[test]
fn additions_of_version_4_are_accepted_at_any_version() {
    let mut value = sample();
    value["client"]["buildId"] = json!("b");
    value["client"]["timeZone"] = json!("UTC");
    value["client"]["id"] = json!("openclaw-worker");
    value["client"]["mode"] = json!("worker");
    value["auth"]["approvalRuntimeToken"] = json!("x");
    value["auth"]["agentRuntimeIdentityToken"] = json!("x");
    value["computerUse"] = json!({"any": true});
    value["workerRuns"] = json!([]);
    value["modelCatalog"] = json!(1);
    assert!(ConnectParams::parse(Some(&value)).is_ok());
}

#[test]
fn findings_have_the_words_of_the_specification() {
    let table: &[(&str, Value, &str)] = &[
        (
            "/client/id",
            json!("ios"),
            "at /client/id: must be equal to one of the allowed values",
        ),
        (
            "/client/id",
            json!("CLI"),
            "at /client/id: must be equal to one of the allowed values",
        ),
        (
            "/client/mode",
            json!("operator"),
            "at /client/mode: must be equal to one of the allowed values",
        ),
        (
            "/client/version",
            json!(""),
            "at /client/version: must NOT have fewer than 1 characters",
        ),
        (
            "/client/displayName",
            json!(1),
            "at /client/displayName: must be string",
        ),
        ("/client/x", json!(1), "at /client: unexpected property 'x'"),
        ("/minProtocol", json!(0), "at /minProtocol: must be >= 1"),
        (
            "/minProtocol",
            json!("3"),
            "at /minProtocol: must be integer",
        ),
        (
            "/maxProtocol",
            json!(3.5),
            "at /maxProtocol: must be integer",
        ),
        (
            "/scopes",
            json!("operator.read"),
            "at /scopes: must be array",
        ),
        (
            "/scopes",
            json!([""]),
            "at /scopes/0: must NOT have fewer than 1 characters",
        ),
        (
            "/role",
            json!(""),
            "at /role: must NOT have fewer than 1 characters",
        ),
        (
            "/device/nonce",
            json!(""),
            "at /device/nonce: must NOT have fewer than 1 characters",
        ),
        (
            "/device/signedAt",
            json!(-1),
            "at /device/signedAt: must be >= 0",
        ),
        (
            "/device",
            json!({}),
            "at /device: must have required property 'id'; at /device: must have \
            required property 'publicKey'; at /device: must have required property 'signature'; \
            at /device: must have required property 'signedAt'; at /device: must have required \
            property 'nonce'",
        ),
        ("/auth/x", json!(1), "at /auth: unexpected property 'x'"),
        ("/auth/token", json!(null), "at /auth/token: must be string"),
        (
            "/permissions",
            json!({"camera": 1}),
            "at /permissions/camera: must be boolean",
        ),
        ("/zzz", json!(1), "at root: unexpected property 'zzz'"),
    ];
    for (pointer, value, expected) in table {
        let mut params = sample();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        params.pointer_mut(parent).unwrap()[name] = value.clone();
        assert_eq!(
            ConnectParams::parse(Some(&params)).unwrap_err(),
            *expected,
            "{pointer}"
        );
    }
    assert_eq!(ConnectParams::parse(None).unwrap_err(), "must be object");
    assert_eq!(
        ConnectParams::parse(Some(&json!([]))).unwrap_err(),
        "must be object"
    );
    assert_eq!(
        ConnectParams::parse(Some(&json!({"minProtocol":3}))).unwrap_err(),
        "must have required property 'maxProtocol'; must have required property 'client'"
    );
}

#[test]
fn versions_are_negotiated() {
    let table = [
        (3, 3, Ok(3)),
        (1, 3, Ok(3)),
        (4, 4, Ok(4)),
        (3, 4, Ok(4)),
        (1, 99, Ok(4)),
        (4, 5, Ok(4)),
        (5, 5, Err(4)),
        (1, 2, Err(3)),
        (4, 3, Err(4)),
        (9, 1, Err(3)),
    ];
    for (min, max, expected) in table {
        let outcome = negotiate(min, max).map_err(|error| {
            assert_eq!(error.message, "protocol mismatch");
            assert_eq!(error.detail_code(), Some("PROTOCOL_MISMATCH"));
            error.details.unwrap()["expectedProtocol"].as_u64().unwrap()
        });
        assert_eq!(outcome, expected, "{min}-{max}");
    }
}

#[test]
fn the_signed_token_is_the_first_present_even_if_empty() {
    let some = |text: &str| Some(text.to_owned());
    let auth = ConnectAuth {
        device_token: some("d"),
        bootstrap_token: some("b"),
        ..ConnectAuth::default()
    };
    assert_eq!(auth.signed_token(), "d");
    assert_eq!(
        ConnectAuth {
            token: some(""),
            ..auth
        }
        .signed_token(),
        ""
    );
    assert_eq!(
        ConnectAuth {
            password: some("p"),
            ..ConnectAuth::default()
        }
        .signed_token(),
        ""
    );
}

#[test]
fn credentials_do_not_show_themselves() {
    let auth = ConnectAuth {
        token: Some("hunter2".into()),
        ..ConnectAuth::default()
    };
    assert!(!format!("{auth:?}").contains("hunter2"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_params_upset_the_reader(
        value in any_json(),
        name in prop::sample::select(vec!["client", "device", "auth", "scopes", "minProtocol", "permissions"]),
    ) {
        let mut params = sample();
        params[name] = value.clone();
        for candidate in [&params, &value] {
            match ConnectParams::parse(Some(candidate)) {
                Ok(read) => prop_assert_eq!(ConnectParams::parse(Some(&read.to_value())), Ok(read)),
                Err(list) => prop_assert!(!list.is_empty() && list.len() < 4_096),
            }
        }
    }
}
