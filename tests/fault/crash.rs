//! SIGKILL at random moments while operators approve: whatever was acknowledged is there afterwards,
//! and every file reads.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::ledger::{Ledger, Says};
use super::report;
use crate::support::process::Gateway;
use crate::support::wait_for;

const KILLS: usize = 100;
const OPERATORS: usize = 4;

#[test]
fn a_killed_gateway_loses_no_acknowledged_approval() {
    let mut gateway = Gateway::start();
    let mut seed = [0u8; 1];
    let ledger = Ledger::default();
    let mut lost = 0;
    for kill in 0..KILLS {
        let enough = AtomicBool::new(false);
        let address = gateway.address;
        let known = ledger.acknowledged();
        std::thread::scope(|scope| {
            let _says = Says(&enough);
            for operator in 0..OPERATORS {
                let prefix = format!("node-{kill}-{operator}");
                let (ledger, enough) = (&ledger, &enough);
                scope.spawn(move || ledger.approve_many(address, &prefix, enough));
            }
            // From the first approval on there is always another one on its way to the disk.
            wait_for("an approval", || {
                (ledger.acknowledged() > known).then_some(())
            });
            getrandom::fill(&mut seed).unwrap();
            std::thread::sleep(Duration::from_micros(u64::from(seed[0]) * 400));
            gateway.process.kill();
        });
        gateway.crash_and_restart();
        assert_eq!(ledger.refused(), 0, "{}", ledger.last_refusal());
        lost = ledger.check(&gateway.home.state(), address);
        if lost > 0 {
            break;
        }
    }
    let acknowledged = ledger.acknowledged();
    assert!(lost > 0 || acknowledged >= KILLS, "one before each kill");
    let tried = format!("{KILLS} times under {OPERATORS} approving operators");
    report::row("kill -9 of the gateway", &tried, acknowledged, lost);
}
