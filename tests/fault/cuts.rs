//! A network that goes away and comes back: the node host is back within seconds of its link, and a peer that
//! vanished without a word is noticed at both ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::report;
use crate::support::home::Home;
use crate::support::network::{Network, Place};
use crate::support::process::{Running, SECRET, free_port};
use crate::support::{wait_for, wait_within};

/// From the moment the link is back to a command that has run.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Two tick intervals, and what a busy machine adds.
const NOTICED_WITHIN: Duration = Duration::from_secs(60 + 5);

/// A gateway and a node host that is approved and has run a command, on two hosts.
struct Pair {
    network: Network,
    gateway_home: Home,
    gateway: Running,
    node: Running,
    _node_home: Home,
    asked: AtomicU32,
}

impl Pair {
    fn new(network: Network) -> Pair {
        let (gateway_home, node_home) = (Home::new(), Home::new());
        let port = free_port();
        gateway_home.write_config(&format!(
            r#"{{ gateway: {{ mode: "local", port: {port}, bind: "lan", auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
        ));
        node_home.write(
            "exec-approvals.json",
            br#"{"version":1,"defaults":{"security":"full","ask":"off"}}"#,
        );
        let mut start = network.command(Place::Gateway, &gateway_home);
        start.args(["gateway", "run"]);
        let mut gateway = Running::start(start);
        gateway.wait_for_output("[gateway] ready");
        let node = network.node_host(&node_home, port, SECRET);
        let pair = Pair {
            network,
            gateway_home,
            gateway,
            node,
            _node_home: node_home,
            asked: AtomicU32::new(0),
        };
        wait_for("the node to run a command", || {
            let pending = pair.cli(&["nodes", "pending", "--json"]).success().json();
            for row in pending.as_array().unwrap() {
                let id = row["requestId"].as_str().unwrap();
                pair.cli(&["nodes", "approve", id, "--json"]).success();
            }
            pair.runs().then_some(())
        });
        pair
    }

    fn cli(&self, arguments: &[&str]) -> crate::support::process::Outcome {
        self.network
            .openclaw(Place::Gateway, &self.gateway_home, arguments)
    }

    /// Whether a command runs on the node now.
    fn runs(&self) -> bool {
        let status = self.cli(&["nodes", "status", "--json"]).success().json();
        let Some(id) = status["nodes"][0]["nodeId"].as_str() else {
            return false;
        };
        let key = self.asked.fetch_add(1, Ordering::Relaxed).to_string();
        let params = json!({"nodeId": id, "command": "system.run", "timeoutMs": 500,
            "params": {"command": ["/bin/echo", "hi"]}, "idempotencyKey": key});
        let params = params.to_string();
        let outcome = self.cli(&[
            "gateway",
            "call",
            "node.invoke",
            "--json",
            "--params",
            &params,
        ]);
        outcome.code == 0 && outcome.json()["payload"]["stdout"] == "hi\n"
    }

    fn connected(&self) -> bool {
        let status = self
            .cli(&["nodes", "status", "--connected", "--json"])
            .success()
            .json();
        status["nodes"].get(0).is_some()
    }

    /// How long it takes until a command runs.
    fn until_it_runs(&self) -> Duration {
        let started = Instant::now();
        wait_within(Duration::from_secs(60), "a command to run", || {
            self.runs().then_some(())
        });
        started.elapsed()
    }

    fn sessions_that_died(&self) -> usize {
        self.node
            .output()
            .matches("node host gateway closed (")
            .count()
    }
}

/// The node's link is down for this long, then it is back.
fn link_cut(cut: Duration) -> Option<Duration> {
    let pair = Pair::new(Network::or_skip(
        "a_node_runs_again_within_5_s_of_its_link",
    )?);
    pair.network.pull();
    std::thread::sleep(cut);
    pair.network.plug();
    let back = pair.until_it_runs();
    println!(
        "link down for {cut:?}: a command ran {back:.1?} after it was up, {} session(s) given up",
        pair.sessions_that_died()
    );
    // Here, where the node's own words are at hand.
    assert!(back <= BACK_WITHIN, "{back:?}");
    Some(back)
}

#[test]
fn a_node_runs_again_within_5_s_of_its_link() {
    let cuts = [1, 3, 10, 40, 70, 180].map(Duration::from_secs);
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        for running in cuts.map(|cut| scope.spawn(move || link_cut(cut))) {
            let Some(back) = running.join().unwrap() else {
                return;
            };
            longest = longest.max(back);
        }
        report::row(
            "the network of a node cut",
            &format!(
                "{} times for 1 s to 3 minutes: a command ran after {longest:.1?}",
                cuts.len()
            ),
            0,
            0,
        );
    });
}

#[test]
fn a_peer_that_vanishes_without_a_word_is_noticed_at_both_ends_within_two_ticks() {
    let test = "a_peer_that_vanishes_without_a_word_is_noticed_at_both_ends_within_two_ticks";
    let Some(network) = Network::or_skip(test) else {
        return;
    };
    let pair = Pair::new(network);
    pair.network.mute();
    let muted = Instant::now();
    let (mut by_gateway, mut by_node) = (None, None);
    wait_within(Duration::from_secs(150), "both ends to notice", || {
        if by_gateway.is_none() && !pair.connected() {
            by_gateway = Some(muted.elapsed());
        }
        if by_node.is_none() && pair.sessions_that_died() > 0 {
            by_node = Some(muted.elapsed());
        }
        by_gateway.zip(by_node)
    });
    println!("silence: the gateway noticed after {by_gateway:.1?}, the node after {by_node:.1?}");
    assert!(
        pair.node.output().contains("closed (4000): tick timeout"),
        "{}",
        pair.node.output()
    );
    // Nobody tells the node that the switch works again.
    std::thread::sleep(Duration::from_secs(180).saturating_sub(muted.elapsed()));
    pair.network.unmute();
    let back = pair.until_it_runs();
    println!(
        "silence of 3 minutes that no link showed: a command ran {back:.1?} after it was over"
    );
    assert!(back <= BACK_WITHIN, "{back:?}");
    for noticed in [by_gateway, by_node] {
        assert!(noticed.unwrap() <= NOTICED_WITHIN, "{noticed:?}");
    }
    assert!(
        pair.gateway.output().contains("node"),
        "the gateway tells of its node"
    );
    report::row(
        "silence that no link shows",
        &format!("3 minutes: seen by both ends, a command ran {back:.1?} after it"),
        0,
        0,
    );
}
