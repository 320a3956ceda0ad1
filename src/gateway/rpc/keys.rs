//! `device.keys.*`: join keys and pre-approvals. Who may make which is decided in `pairing`.

use serde_json::Value;

use super::call::{Call, Outcome, Reply, payload, refusal_shape};
use crate::identity::Random;
use crate::pairing::invitation;
use crate::protocol::params::{
    DeviceKeysCreate, DeviceKeysPreapprove, parse_key_id, parse_nothing,
};

/// `device.keys.create`: the answer holds the secret, this once.
pub fn create(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = DeviceKeysCreate::parse(params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| {
        invitation::join_key::create(state, asked.clone().into(), &caller, now, &mut Random)
    })
}

/// `device.keys.list`.
pub fn list(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let listed = invitation::list(&*call.state()?, &call.caller(), call.context.now_ms());
    let listed = listed.map_err(|refusal| refusal_shape(&refusal))?;
    Ok(Reply::Now(payload(&listed)?))
}

/// `device.keys.preapprove`.
pub fn preapprove(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = DeviceKeysPreapprove::parse(params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| {
        invitation::preapproval::preapprove(state, asked.clone().into(), &caller, now)
    })
}

/// `device.keys.revoke`.
pub fn revoke(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let id = parse_key_id(params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| invitation::revoke(state, &id, &caller, now))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::gateway::testing::House;

    #[test]
    fn keys_are_made_by_whom_they_fit_shown_without_secret_and_revoked() {
        let house = House::new();
        let person = house.operator(&["operator.pairing", "operator.write"]);
        let bound = house.device_operator("a", &["operator.pairing"]);
        let exec = json!({"commands": ["system.run"], "uses": 2});
        let refusals = [
            (
                &person,
                "device.keys.create",
                exec.clone(),
                "missing scope: operator.admin",
            ),
            (
                &bound,
                "device.keys.create",
                json!({}),
                "invitations denied",
            ),
            (&bound, "device.keys.list", json!({}), "invitations denied"),
            (
                &bound,
                "device.keys.revoke",
                json!({"id": "x"}),
                "invitations denied",
            ),
            (
                &person,
                "device.keys.revoke",
                json!({"id": "x"}),
                "unknown join key or pre-approval",
            ),
            (
                &person,
                "device.keys.create",
                json!({"uses": 0}),
                "uses must be between 1 and 10000",
            ),
        ];
        for (guest, method, params, message) in refusals {
            let error = guest.refused(method, params.clone());
            assert_eq!(
                error,
                json!({"code": "INVALID_REQUEST", "message": message}),
                "{method} {params}"
            );
        }
        let admin = house.operator(&["operator.admin"]);
        let made = admin.ask("device.keys.create", exec);
        let secret = made["key"].as_str().unwrap();
        assert_eq!(
            (secret.len(), &made["usesLeft"], &made["role"]),
            (43, &json!(2), &json!("node"))
        );
        let listed = person.ask("device.keys.list", json!({}));
        assert_eq!(listed["keys"][0]["id"], made["id"]);
        assert!(!listed.to_string().contains(secret), "{listed}");
        let revoked = person.ask("device.keys.revoke", json!({"id": made["id"]}));
        assert_eq!(revoked, json!({"id": made["id"], "kind": "join-key"}));
        let listed = person.ask("device.keys.list", json!({}));
        assert_eq!(listed["keys"][0]["status"], "revoked");
    }
}
