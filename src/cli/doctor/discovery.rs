//! Whether the gateway lets itself be found on the network, and who stands in the way.

use std::path::Path;

use serde_json::Value;

use crate::cli::doctor::check::Check;
use crate::discovery::container::Traces;
use crate::gateway::port_owner::{Owner, udp_owners};

const ID: &str = "discovery.mdns";

/// The port of multicast DNS.
const PORT: u16 = 5353;

/// The beacon that Avahi publishes instead: where packages and `make install` put it.
const BEACONS: [&str; 2] = [
    "/usr/share/doc/openclaw/contrib/avahi/openclaw-gateway.service",
    "/usr/local/share/doc/openclaw/contrib/avahi/openclaw-gateway.service",
];

/// The same in the sources.
const BEACON_OF_THE_SOURCES: &str = "contrib/avahi/openclaw-gateway.service";

/// `discovery.mdns`: `standing` is what the gateway of this machine says of itself, `Null` where none answered.
pub fn check(standing: &Value) -> Check {
    let in_container = Traces::look().of_a_container();
    let beacon = BEACONS.into_iter().find(|path| Path::new(path).exists());
    judge(standing, in_container, &udp_owners(PORT), beacon)
}

/// Copies the beacon to where Avahi looks; where no package put it, from a checkout of the sources.
fn publish(beacon: Option<&str>) -> String {
    match beacon {
        Some(path) => format!("sudo cp {path} /etc/avahi/services/"),
        None => {
            format!(
                "sudo cp {BEACON_OF_THE_SOURCES} /etc/avahi/services/  # in the sources of openclaw"
            )
        }
    }
}

fn judge(standing: &Value, in_container: bool, owners: &[Owner], beacon: Option<&str>) -> Check {
    let text = |name: &str| standing.get(name).and_then(Value::as_str);
    let reason = text("reason").unwrap_or_default();
    match text("state") {
        Some("advertising") => {
            let name = text("instance").unwrap_or_default();
            Check::ok(ID, format!("the gateway is announced as \"{name}\""))
        }
        Some("off") => Check::ok(ID, format!("nothing is announced: {reason}")),
        Some("starting") => Check::ok(ID, "the gateway is about to be announced"),
        Some("degraded") => {
            let others: Vec<String> = owners
                .iter()
                .filter(|owner| owner.program != "openclaw")
                .map(Owner::to_string)
                .collect();
            let container = if in_container {
                "; this is a container"
            } else {
                ""
            };
            let what = format!("the gateway is not announced: {reason}{container}");
            let fix = match others.is_empty() {
                true => "openclaw config set discovery.mdns.mode off".to_owned(),
                false => publish(beacon),
            };
            Check::warn(ID, what, fix).items(others)
        }
        _ => Check::skipped(ID, "no gateway of this machine says how it is announced"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::check::State;

    #[test]
    fn what_the_gateway_says_is_judged_and_the_port_is_looked_at() {
        let owner = |program: &str| Owner {
            address: "0.0.0.0:5353".parse().unwrap(),
            pid: 7,
            program: program.to_owned(),
            user: "avahi".to_owned(),
        };
        for (standing, state, word) in [
            (Value::Null, State::Skipped, "no gateway"),
            (
                json!({"state": "off", "reason": "it is 1"}),
                State::Ok,
                "it is 1",
            ),
            (json!({"state": "starting"}), State::Ok, "about to"),
            (
                json!({"state": "advertising", "instance": "Pi"}),
                State::Ok,
                "\"Pi\"",
            ),
            (
                json!({"state": "degraded", "reason": "taken"}),
                State::Warn,
                "taken; this is a container",
            ),
        ] {
            let check = judge(&standing, true, &[owner("avahi-daemon")], None);
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.what.contains(word), "{check:?}");
        }
        let degraded = json!({"state": "degraded", "reason": "taken"});
        let held = judge(
            &degraded,
            false,
            &[owner("avahi-daemon"), owner("openclaw")],
            Some(BEACONS[0]),
        );
        assert_eq!(held.items, ["pid 7 avahi: avahi-daemon (0.0.0.0:5353)"]);
        let installed = "sudo cp /usr/share/doc/openclaw/contrib/avahi/openclaw-gateway.service /etc/avahi/services/";
        assert_eq!(held.fix.as_deref(), Some(installed));
        let no_package = judge(&degraded, false, &[owner("avahi-daemon")], None);
        assert!(no_package.fix.unwrap().contains("in the sources"));
        let free = judge(&degraded, false, &[owner("openclaw")], None);
        assert!(free.items.is_empty());
        assert_ne!(held.fix, free.fix);
    }
}
