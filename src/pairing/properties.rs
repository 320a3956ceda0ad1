//! What must hold after any sequence of operations by anybody: nothing is granted that nobody granted,
//! no secret shows, nobody waits unseen, nothing waits too long.
//!
//! The ledger in `world` notes what each approver was shown and approved, and judges the state by rules of
//! its own rather than by those of the room.

mod guests;
mod judge;
mod memory;
mod world;

use proptest::prelude::*;

use self::{guests::Wish, world::World};
use super::{State, change::Part};

const SCOPES: [&str; 6] = [
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.pairing",
    "operator.talk.secrets",
    "node.x",
];
const COMMANDS: [&str; 5] = [
    "system.run",
    "system.which",
    "system.notify",
    "canvas.eval",
    "camera.snap",
];
/// The last one is what a real key hashes to.
const DEVICES: [&str; 4] = [
    "d0",
    "d1",
    "d2",
    "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9",
];
const REAL_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

#[derive(Clone, Debug)]
struct Who {
    scopes: u8,
    device: Option<usize>,
}

#[derive(Clone, Debug)]
enum Op {
    Connect {
        device: usize,
        other_key: bool,
        node: bool,
        scopes: u8,
        place: u8,
        platform: u8,
        method: u8,
        /// Which of the secrets made so far it shows.
        secret: Option<usize>,
    },
    IssueCode {
        who: Who,
    },
    CreateKey {
        wish: Wish,
        who: Who,
    },
    Preapprove {
        device: usize,
        wish: Wish,
        who: Who,
    },
    RevokeInvitation {
        pick: usize,
        who: Who,
    },
    ApproveDevice {
        pick: usize,
        who: Who,
    },
    Look,
    ApproveLooked {
        pick: usize,
        who: Who,
    },
    RejectDevice {
        pick: usize,
        who: Who,
    },
    RemoveDevice {
        device: usize,
        who: Who,
    },
    Rotate {
        device: usize,
        node: bool,
        scopes: Option<u8>,
        who: Who,
    },
    Revoke {
        device: usize,
        node: bool,
        who: Who,
    },
    Reconcile {
        device: usize,
        commands: u8,
    },
    RequestNode {
        device: usize,
        commands: Option<u8>,
        platform: u8,
    },
    ApproveNode {
        pick: usize,
        who: Who,
    },
    RejectNode {
        pick: usize,
        who: Who,
    },
    RemoveNode {
        device: usize,
        who: Who,
    },
    Rename {
        device: usize,
        who: Who,
    },
    Wait {
        ms: u64,
    },
    Expire,
}

fn who() -> impl Strategy<Value = Who> {
    // Everybody, and more often those two that matter: pairing alone, and an administrator.
    let scopes = prop_oneof![Just(0b1000), Just(0b0001), any::<u8>()];
    let device = prop::option::of(0..DEVICES.len());
    (scopes, device).prop_map(|(scopes, device)| Who { scopes, device })
}

fn wish() -> impl Strategy<Value = Wish> {
    let wish = (
        any::<bool>(),
        any::<u8>(),
        any::<u8>(),
        0..4u8,
        1..900_000u64,
    );
    wish.prop_map(|(node, scopes, commands, uses, ttl_ms)| Wish {
        node,
        scopes,
        commands,
        uses,
        ttl_ms,
    })
}

fn operation() -> impl Strategy<Value = Op> {
    let device = || 0..DEVICES.len();
    let connect = (
        device(),
        prop::bool::weighted(0.1),
        any::<bool>(),
        any::<u8>(),
        0..4u8,
        0..3u8,
        0..4u8,
        prop::option::of(any::<usize>()),
    );
    prop_oneof![
        8 => connect.prop_map(|(device, other_key, node, scopes, place, platform, method, secret)| {
            Op::Connect { device, other_key, node, scopes, place, platform, method, secret }
        }),
        1 => who().prop_map(|who| Op::IssueCode { who }),
        3 => (wish(), who()).prop_map(|(wish, who)| Op::CreateKey { wish, who }),
        2 => (device(), wish(), who()).prop_map(|(device, wish, who)| Op::Preapprove { device, wish, who }),
        1 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::RevokeInvitation { pick, who }),
        4 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::ApproveDevice { pick, who }),
        1 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::RejectDevice { pick, who }),
        1 => (device(), who()).prop_map(|(device, who)| Op::RemoveDevice { device, who }),
        3 => (device(), any::<bool>(), prop::option::of(any::<u8>()), who())
            .prop_map(|(device, node, scopes, who)| Op::Rotate { device, node, scopes, who }),
        2 => (device(), any::<bool>(), who()).prop_map(|(device, node, who)| Op::Revoke { device, node, who }),
        4 => (device(), any::<u8>()).prop_map(|(device, commands)| Op::Reconcile { device, commands }),
        2 => (device(), prop::option::of(any::<u8>()), 0..3u8)
            .prop_map(|(device, commands, platform)| Op::RequestNode { device, commands, platform }),
        4 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::ApproveNode { pick, who }),
        1 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::RejectNode { pick, who }),
        1 => (device(), who()).prop_map(|(device, who)| Op::RemoveNode { device, who }),
        1 => (device(), who()).prop_map(|(device, who)| Op::Rename { device, who }),
        2 => (0..200_000u64).prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::Expire),
        2 => Just(Op::Look),
        3 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::ApproveLooked { pick, who }),
    ]
}

/// The words whose bit is set.
fn subset(all: &[&str], bits: u8) -> Vec<String> {
    let chosen = all
        .iter()
        .enumerate()
        .filter(|(index, _)| bits >> index & 1 == 1);
    chosen.map(|(_, word)| (*word).to_owned()).collect()
}

/// Mostly scopes that fit the role, else any.
fn asked_by(node: bool, bits: u8) -> Vec<String> {
    let mut asked = subset(&SCOPES, bits);
    if bits < 0xe0 {
        asked.retain(|scope| scope.starts_with("node.") == node);
    }
    asked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_granted_shown_or_kept_waiting_by_any_sequence(operations in prop::collection::vec(operation(), 1..60)) {
        let mut world = World::new();
        for op in operations {
            world.run(op)?;
        }
        let mut again = State::default();
        for part in Part::ALL {
            let text = world.state.render(part).unwrap();
            again.read(part, serde_json::from_str(&text).unwrap()).unwrap();
        }
        prop_assert_eq!(again, world.state, "a state that its own files do not give back");
    }
}
