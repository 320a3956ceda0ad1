//! The clock: whether it can be right, whether something keeps it right, and how far a gateway's is from it.

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::protocol::limits::{DAY_MS, MAX_SIGNATURE_SKEW_MS};
use crate::service::ask::Asker;
use crate::service::clock::is_synchronized;
use crate::store::clock::rfc3339;

/// 1 January 2025: no copy of this program is older.
const EARLIEST_MS: u64 = 1_735_689_600_000;

/// Years after which a clock is wrong in the other direction.
const LATEST_MS: u64 = EARLIEST_MS + 50 * 365 * DAY_MS;

/// A difference to a gateway that grows into refusals when nobody looks.
const NOTABLE_MS: u64 = 10_000;

const SET: &str = "sudo timedatectl set-ntp true";

/// `clock.time` and `clock.sync`.
pub fn checks(scene: &Scene) -> Vec<Check> {
    let synchronized = is_synchronized(&Asker::new(&scene.environment));
    vec![time(scene.now_ms), sync(synchronized)]
}

fn time(now_ms: u64) -> Check {
    const ID: &str = "clock.time";
    let now = rfc3339(now_ms);
    match (EARLIEST_MS..LATEST_MS).contains(&now_ms) {
        true => Check::ok(ID, format!("it is {now}")),
        false => {
            let what = format!(
                "the clock says {now}: certificates, tokens and requests end at the wrong time"
            );
            Check::fail(ID, what, SET)
        }
    }
}

fn sync(synchronized: Option<bool>) -> Check {
    const ID: &str = "clock.sync";
    match synchronized {
        Some(true) => Check::ok(ID, "a time server keeps the clock right"),
        Some(false) => Check::warn(ID, "no time server keeps the clock right", SET),
        None => Check::skipped(
            ID,
            "systemd cannot be asked whether a time server keeps the clock right",
        ),
    }
}

/// `clock.gateway`: `gateway_ms` is what the gateway says when it is `now_ms` here.
pub fn against_gateway(gateway_ms: Option<u64>, now_ms: u64) -> Check {
    const ID: &str = "clock.gateway";
    let Some(gateway_ms) = gateway_ms else {
        return Check::skipped(ID, "no gateway told its time");
    };
    let difference = gateway_ms.abs_diff(now_ms);
    let shown = format!("{}.{} s", difference / 1_000, difference % 1_000 / 100);
    let what = format!("the gateway's clock differs by {shown}");
    if difference < NOTABLE_MS {
        return Check::ok(ID, what);
    }
    let fails = difference > MAX_SIGNATURE_SKEW_MS;
    let more = if fails {
        "; clients that sign with their own time are refused"
    } else {
        ""
    };
    Check::bad(ID, fails, what + more, SET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;

    #[test]
    fn a_clock_is_judged_by_its_year_its_server_and_the_gateway() {
        for (now_ms, state) in [
            (0, State::Fail),
            (EARLIEST_MS - 1, State::Fail),
            (EARLIEST_MS, State::Ok),
            (LATEST_MS, State::Fail),
        ] {
            assert_eq!(time(now_ms).state, state, "{now_ms}");
        }
        for (synchronized, state) in [
            (Some(true), State::Ok),
            (Some(false), State::Warn),
            (None, State::Skipped),
        ] {
            assert_eq!(sync(synchronized).state, state);
        }
        let now = EARLIEST_MS;
        for (gateway, state) in [
            (None, State::Skipped),
            (Some(now + 100), State::Ok),
            (Some(now - NOTABLE_MS), State::Warn),
            (Some(now + MAX_SIGNATURE_SKEW_MS + 1), State::Fail),
        ] {
            assert_eq!(against_gateway(gateway, now).state, state, "{gateway:?}");
        }
    }
}
