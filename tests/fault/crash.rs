//! SIGKILL at random moments while operators approve: whatever was acknowledged is there afterwards,
//! and every file reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::ledger::Ledger;
use super::report;
use crate::support::process::Gateway;

const APPROVALS: usize = 1_000;
const OPERATORS: usize = 4;

#[test]
fn a_killed_gateway_loses_no_acknowledged_approval() {
    let mut gateway = Gateway::start();
    let mut seed = [0u8; 1];
    let ledger = Ledger::default();
    let (mut kills, mut lost) = (0, 0);
    while ledger.acknowledged() < APPROVALS {
        let enough = AtomicBool::new(false);
        let address = gateway.address;
        std::thread::scope(|scope| {
            for operator in 0..OPERATORS {
                let prefix = format!("node-{kills}-{operator}");
                let (ledger, enough) = (&ledger, &enough);
                scope.spawn(move || ledger.approve_many(address, &prefix, enough));
            }
            getrandom::fill(&mut seed).unwrap();
            std::thread::sleep(Duration::from_millis(20 + u64::from(seed[0])));
            gateway.process.kill();
            enough.store(true, Ordering::Relaxed);
        });
        kills += 1;
        gateway.crash_and_restart();
        assert_eq!(ledger.refused(), 0, "{}", ledger.last_refusal());
        lost += ledger.check(&gateway.home.state(), address);
    }
    let tried = format!("{kills} times under {OPERATORS} approving operators");
    report::row(
        "kill -9 of the gateway",
        &tried,
        ledger.acknowledged(),
        lost,
    );
}
