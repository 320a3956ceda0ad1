//! From the rules that held to the rules that hold now: what that means for those who are connected
//! (cli.md §3.5).
//!
//! The new rules count for everybody who comes from here on; whoever is connected already is judged by
//! them before this returns. Who may stay is `grounds`'s to say, which commands remain is `refilter`'s.

use std::sync::Arc;

use serde_json::Value;

use crate::gateway::attendance;
use crate::gateway::context::Context;
use crate::gateway::refilter;
use crate::gateway::rpc;
use crate::gateway::rules::Rules;
use crate::gateway::session::Session;

/// What a transition did to the live sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transition {
    /// Sessions that lost what had admitted them.
    pub ended: usize,
    /// Connected nodes whose commands were computed anew.
    pub refiltered: usize,
}

/// Judges by `rules` from now on and carries out what that means.
///
/// Changed proxies end the sessions that such a proxy vouched for. Beside that, proxies, handshake times,
/// limits and automatic approvals concern connections that come later only: where a live session comes
/// from was settled at its handshake and is not asked again.
pub fn adopt(context: &Arc<Context>, rules: Rules) -> Transition {
    // Replaced first: a session that comes in from now on looks at these rules itself (`dismiss_if_lost`
    // behind its registration), so none can slip between the two.
    let before = context.replace_rules(rules);
    let now = context.rules();
    let mut transition = Transition::default();
    let lost = context
        .hub
        .take_where(|session| session.grounds.lost(&now).is_some());
    let lost = lost.into_iter().filter_map(|session| {
        let loss = session.grounds.lost(&now)?;
        Some((session, loss.close()))
    });
    transition.ended = attendance::end_all(context, lost).sessions;
    let opened = now.admission.pairing_enabled && !before.admission.pairing_enabled;
    if opened || before.commands != now.commands {
        transition.refiltered = refilter::all(context, true);
    }
    if before.advertising != now.advertising {
        context.publicity.adopt(&now.advertising);
    }
    announce_health(context);
    transition
}

/// Ends a session that the present rules would not let in any more; true when it did.
pub fn dismiss_if_lost(context: &Arc<Context>, session: &Session) -> bool {
    let Some(loss) = session.grounds.lost(&context.rules()) else {
        return false;
    };
    context.hub.remove(&session.conn);
    // Asked by the session's own thread, so that none of its requests runs meanwhile.
    let (code, reason) = loss.close();
    attendance::end(context, session, code, reason);
    true
}

/// What everybody is shown about the gateway may have changed with its rules.
fn announce_health(context: &Context) {
    context.hub.health_changed();
    let health: Value = rpc::health(context);
    context.hub.broadcast("health", &health);
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;
    use crate::gateway::auth::SharedAuth;
    use crate::gateway::grounds::tests::page as headers_of;
    use crate::gateway::grounds::{Browser, Grounds};
    use crate::gateway::locality::Locality;
    use crate::gateway::testing::{House, node_record};
    use crate::identity::Token;
    use crate::pairing::{Change, Part};

    /// The rules of the house with one change.
    fn changed(house: &House, change: impl FnOnce(&mut Rules)) -> Rules {
        let mut rules = (*house.context.rules()).clone();
        change(&mut rules);
        rules
    }

    fn rotate(rules: &mut Rules) {
        rules.auth = SharedAuth::Token(Token::from("another"));
    }

    #[test]
    fn a_new_secret_ends_those_who_proved_the_old_one_and_their_invokes() {
        let house = House::new();
        let stays = house.device_operator("d", &["operator.read", "operator.write"]);
        let goes = house.operator(&["operator.read", "operator.write"]);
        let node = house.paired_node("n", &["system.which"]);
        let ask = json!({"nodeId": "n", "command": "system.which", "idempotencyKey": "k"});
        let (kept, lost) = (
            stays.start("node.invoke", ask.clone()),
            goes.start("node.invoke", ask),
        );
        let asked = [
            node.event("node.invoke.request"),
            node.event("node.invoke.request"),
        ];
        let transition = adopt(&house.context, changed(&house, rotate));
        assert_eq!((transition.ended, transition.refiltered), (1, 0));
        assert!(goes.session.has_ended() && !stays.session.has_ended());
        assert!(house.context.hub.session(&goes.session.conn).is_none());
        for request in asked {
            let result = json!({"id": request["payload"]["id"], "nodeId": "n", "ok": true});
            node.ask("node.invoke.result", result);
        }
        assert_eq!(stays.answer(&kept)["ok"], true);
        assert!(
            goes.next().is_none(),
            "request {lost} is answered to nobody"
        );
        assert_eq!(adopt(&house.context, changed(&house, rotate)).ended, 0);
    }

    #[test]
    fn what_an_ended_session_had_begun_is_durable_when_the_rules_are_adopted() {
        let house = House::new();
        let goes = house.operator(&["operator.admin"]);
        let (context, session) = (&house.context, &goes.session);
        let (begun, has_begun) = mpsc::channel();
        thread::scope(|scope| {
            // As `Call::commit` does: it looks whether its session has ended, and then changes something.
            let change = scope.spawn(move || {
                context.store.transact(|state, _| {
                    assert!(!session.has_ended());
                    begun.send(()).unwrap();
                    let deadline = Instant::now() + Duration::from_secs(60);
                    while !session.has_ended() {
                        assert!(Instant::now() < deadline, "the session does not end");
                        thread::yield_now();
                    }
                    let record = json!({"n": node_record("n", &["system.which"])});
                    state.read(Part::NodesPaired, record).unwrap();
                    Ok::<_, Infallible>(((), vec![Change::Save(Part::NodesPaired)]))
                })
            });
            has_begun.recv().unwrap();
            assert_eq!(adopt(context, changed(&house, rotate)).ended, 1);
            let durable = context
                .store
                .read(|state| state.nodes.paired.record("n").is_some());
            assert_eq!(durable, Ok(true));
            change.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_node_that_proved_the_old_secret_ends_with_what_waits_for_it() {
        let house = House::new();
        let generation = house.context.rules().generation();
        let operator = house.device_operator("d", &["operator.write"]);
        house.paired_node("n", &["system.which"]).leave();
        let node = house.join(|session| {
            let example = house.node("n", &["system.which"]);
            session.role = example.session.role;
            session.device = example.session.device.clone();
            session.declared = example.session.declared.clone();
            example.leave();
            session.grounds.secret = generation;
        });
        let ask = json!({"nodeId": "n", "command": "system.which", "idempotencyKey": "k"});
        let id = operator.start("node.invoke", ask);
        node.event("node.invoke.request");
        adopt(&house.context, changed(&house, rotate));
        let answer = operator.answer(&id);
        assert_eq!(answer["error"]["details"]["code"], "NODE_DISCONNECTED");
        assert_eq!(house.context.registry().connected(), 0);
    }

    #[test]
    fn a_session_that_was_on_its_way_meanwhile_is_not_admitted_by_old_rules() {
        let house = House::new();
        let old = house.context.rules().generation();
        adopt(&house.context, changed(&house, rotate));
        let late = house.join(|session| session.grounds.secret = old);
        assert!(dismiss_if_lost(&house.context, &late.session));
        assert!(late.session.has_ended());
        // Should one survive all the same, its next request ends it.
        let later = house.join(|session| session.grounds.secret = old);
        later.start("health", json!({}));
        assert!(later.session.has_ended() && later.next().is_none());
    }

    #[test]
    fn an_origin_that_is_taken_off_the_list_ends_its_sessions_only() {
        let house = House::with(|settings| {
            settings.rules.origins.allowed = vec!["https://a".to_owned(), "https://b".to_owned()];
        });
        let page = |origin: &str| {
            let browser = Browser::of(&headers_of(origin), Locality::Remote);
            house.join(|session| {
                session.grounds = Grounds {
                    browser,
                    proxy: None,
                    secret: None,
                }
            })
        };
        let (a, b) = (page("https://a"), page("https://b"));
        let rules = changed(&house, |rules| {
            rules.origins.allowed = vec!["https://b".to_owned()]
        });
        assert_eq!(adopt(&house.context, rules).ended, 1);
        assert!(a.session.has_ended() && !b.session.has_ended());
    }

    #[test]
    fn a_waiting_node_asks_when_the_configuration_opens_pairing() {
        let house = House::with(|settings| settings.rules.admission.pairing_enabled = false);
        let person = house.operator(&["operator.pairing"]);
        let _node = house.node("n", &["system.which"]);
        let rules =
            |enabled: bool| changed(&house, |rules| rules.admission.pairing_enabled = enabled);
        assert_eq!(adopt(&house.context, rules(false)).refiltered, 0);
        assert!(person.event_now("node.pair.requested").is_none());
        assert_eq!(adopt(&house.context, rules(true)).refiltered, 1);
        let asked = person.event("node.pair.requested");
        assert_eq!(asked["payload"]["nodeId"], "n");
    }

    #[test]
    fn denied_commands_are_withdrawn_and_come_back_without_a_reconnect() {
        let house = House::new();
        let operator = house.device_operator("d", &["operator.read", "operator.write"]);
        let node = house.paired_node("n", &["system.which"]);
        let shown = || operator.ask("node.describe", json!({"nodeId": "n"}))["commands"].clone();
        let ask = || json!({"nodeId": "n", "command": "system.which", "idempotencyKey": "k"});
        let waiting = operator.start("node.invoke", ask());
        node.event("node.invoke.request");
        let deny = |words: &[&str]| {
            let deny = words.iter().map(|&word| word.to_owned()).collect();
            let rules = changed(&house, |rules| rules.commands.deny = deny);
            adopt(&house.context, rules)
        };
        assert_eq!(deny(&["system.which"]).refiltered, 1);
        let ended = operator.answer(&waiting);
        assert_eq!(ended["error"]["details"]["code"], "COMMAND_WITHDRAWN");
        assert_eq!(shown(), json!([]));
        let refused = operator.refused("node.invoke", ask());
        assert_eq!(refused["details"]["reason"], "command not allowlisted");
        assert_eq!(deny(&[]).refiltered, 1);
        assert_eq!(shown(), json!(["system.which"]));
        assert_eq!(deny(&[]).refiltered, 0, "nothing changed");
        assert!(!node.session.has_ended());
    }

    #[test]
    fn a_command_that_becomes_possible_is_asked_for_at_once() {
        let house = House::new();
        let approver = house.device_operator("d", &["operator.pairing"]);
        let _node = house.paired_node("n", &["system.which", "sms.send"]);
        house.seed(
            Part::NodesPaired,
            json!({"n": node_record("n", &["system.which"])}),
        );
        assert!(approver.event_now("node.pair.requested").is_none());
        let allow = vec!["sms.send".to_owned()];
        adopt(
            &house.context,
            changed(&house, |rules| rules.commands.allow = allow),
        );
        let requested = approver.event("node.pair.requested");
        assert_eq!(requested["payload"]["nodeId"], "n");
    }
}
