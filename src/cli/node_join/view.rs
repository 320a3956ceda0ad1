//! What `node join` says in the end: one document, and the same in lines for people.

use serde_json::{Map, Value, json};

use crate::cli::node_join::admission::Admission;
use crate::cli::output::text::{plain, quoted};
use crate::cli::program;
use crate::client::GatewayUrl;
use crate::discovery::Found;
use crate::identity::{DeviceId, Fingerprint};
use crate::pairing::waiting::OPEN_COMMAND;

/// A machine that has joined, as far as it can by itself.
pub struct Joined<'a> {
    /// Where the gateway is.
    pub url: &'a GatewayUrl,
    /// What discovery said about it.
    pub found: Option<&'a Found>,
    /// The pin that was stored.
    pub pin: Option<Fingerprint>,
    /// Why it is trusted: `stored`, `typed`, `confirmed`, `authorities` or `none`.
    pub trust: &'static str,
    /// The device that asks.
    pub device: DeviceId,
    /// What the node is called.
    pub display_name: &'a str,
    /// What the gateway said.
    pub admission: &'a Admission,
    /// The profile of this machine's node, whose commands have to name it.
    pub profile: Option<&'a str>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Joined<'_> {
    /// `{ok, gateway, fingerprint, trust, stored, deviceId, displayName, state, requestId?, next, warnings?}`. `state` is `connected`,
    /// `waiting` for an approval, or `closed`: nobody new may ask until `next` was typed on the gateway's machine.
    pub fn document(&self) -> Map<String, Value> {
        let url = self.url;
        let mut gateway =
            json!({"url": url.to_string(), "host": url.host, "port": url.port, "tls": url.secure});
        if let Some(found) = self.found {
            gateway["name"] = json!(found.name());
            gateway["instance"] = json!(found.instance);
            gateway["domain"] = json!(found.domain);
        }
        let mut document = Map::new();
        let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
        put("ok", json!(true));
        put("gateway", gateway);
        put("fingerprint", json!(self.pin.map(|pin| pin.to_string())));
        put("trust", json!(self.trust));
        put("stored", json!(true));
        put("deviceId", json!(self.device));
        put("displayName", json!(self.display_name));
        let state = match self.admission {
            Admission::Connected => "connected",
            Admission::Waiting(_) if self.request_id().is_some() => "waiting",
            Admission::Waiting(_) => "closed",
        };
        put("state", json!(state));
        if let Some(id) = self.request_id() {
            put("requestId", json!(id));
        }
        put("next", json!(self.next()));
        if !self.warnings.is_empty() {
            put("warnings", json!(self.warnings));
        }
        document
    }

    /// Where this machine belongs now and how it is trusted.
    pub fn text(&self) -> String {
        let name = self.found.map(|found| format!("{} at ", found.name()));
        let mut text = format!(
            "This machine belongs to {}{} now.\n",
            plain(&name.unwrap_or_default()),
            self.url
        );
        text += &match (self.pin, self.trust) {
            (Some(pin), _) => format!("Pinned certificate (SHA-256): {pin}\n"),
            (None, "authorities") => {
                format!(
                    "An authority of this machine vouches for {}; no pin.\n",
                    self.url.host
                )
            }
            (None, _) if self.url.is_loopback() => String::new(),
            (None, _) => {
                "Nothing is encrypted there: others on that network can read along.\n".to_owned()
            }
        };
        text += &format!(
            "Node:   {}\nDevice: {}\n",
            plain(self.display_name),
            self.device
        );
        text + &match self.admission {
            Admission::Connected => {
                "The gateway lets this device in. `openclaw nodes pending` there shows whether its commands wait for approval.\n"
                    .to_owned()
            }
            Admission::Waiting(_) => match self.approve() {
                Some(line) => format!("It waits for approval, and once it runs its commands wait for a second one. On the gateway's machine:\n  {line}\n"),
                None => format!(
                    "The gateway lets nobody new ask just now. On its machine:\n  {OPEN_COMMAND}\n"
                ),
            },
        }
    }

    /// What is left to do, one line each.
    pub fn next_text(&self) -> String {
        let (run, install) = (self.own("run"), self.own("install"));
        let width = install.len();
        format!(
            "Start the node host:\n  {run:width$}    (here, in the foreground)\n  {install}    (as a service)\n"
        )
    }

    /// A command of this machine's node.
    fn own(&self, words: &str) -> String {
        format!("{} node {words}", program::of_profile(self.profile))
    }

    fn request_id(&self) -> Option<&str> {
        match self.admission {
            Admission::Waiting(refusal) => refusal.request_id.as_deref(),
            Admission::Connected => None,
        }
    }

    /// The line to type on the gateway's machine.
    fn approve(&self) -> Option<String> {
        let id = self.request_id()?;
        Some(format!("openclaw nodes approve {}", quoted(&plain(id))))
    }

    fn next(&self) -> Vec<String> {
        let there = match self.admission {
            Admission::Connected => None,
            Admission::Waiting(_) => self.approve().or_else(|| Some(OPEN_COMMAND.to_owned())),
        };
        there.into_iter().chain([self.own("run")]).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::PairingRefusal;
    use crate::identity::DeviceKey;
    use crate::protocol::error::ErrorShape;

    fn waiting(id: Option<&str>) -> Admission {
        Admission::Waiting(Box::new(PairingRefusal {
            request_id: id.map(str::to_owned),
            reason: None,
            error: ErrorShape::not_paired("pairing required"),
        }))
    }

    fn joined<'a>(url: &'a GatewayUrl, admission: &'a Admission) -> Joined<'a> {
        Joined {
            url,
            found: None,
            pin: Some(Fingerprint::of(b"certificate")),
            trust: "confirmed",
            device: DeviceKey::generate().unwrap().device_id(),
            display_name: "Cel\u{1b}[31mlar",
            admission,
            profile: Some("work"),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn the_lines_to_type_are_complete_and_safe_to_paste() {
        let url = GatewayUrl::new("10.0.0.1", 18_789, true);
        let admission = waiting(Some("219294ee"));
        let it = joined(&url, &admission);
        assert!(it.text().contains("\n  openclaw nodes approve 219294ee\n"));
        assert!(it.text().contains("Cellar\n") && !it.text().contains('\u{1b}'));
        let lines = [
            "openclaw nodes approve 219294ee",
            "openclaw --profile work node run",
        ];
        assert_eq!(it.document()["next"], json!(lines));
        assert!(
            it.next_text()
                .contains("openclaw --profile work node install    (as a service)")
        );

        let hostile = waiting(Some("x; reboot"));
        assert!(
            joined(&url, &hostile)
                .text()
                .contains("approve 'x; reboot'\n")
        );
        let closed = waiting(None);
        let closed = joined(&url, &closed);
        assert!(closed.text().contains(OPEN_COMMAND));
        let document = closed.document();
        assert_eq!(document["state"], "closed");
        assert_eq!(document["next"][0], OPEN_COMMAND);
    }
}
