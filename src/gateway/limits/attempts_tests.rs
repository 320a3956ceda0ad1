//! The limiter against a naive model of §4.5, and against somebody with many addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::gateway::limits::attempts::{
    AttemptPolicy, Attempts, Failure, Key, Kind, MAX_ADDRESSES, MAX_COUNTED, MAX_NETWORKS,
    MAX_ORIGINS,
};
use crate::gateway::limits::client::Client;
use crate::gateway::limits::source::Source;
use crate::identity::DeviceId;

fn policy() -> AttemptPolicy {
    AttemptPolicy::default()
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn key(client: Client) -> Key {
    Key {
        kind: Kind::SharedSecret,
        browser: false,
        client,
    }
}

fn v4(number: u32) -> Key {
    key(Client::Source(Source::Address(IpAddr::V4(Ipv4Addr::from(
        number,
    )))))
}

fn locks(failure: &Failure) -> bool {
    matches!(failure, Failure::Locks { .. })
}

#[test]
fn the_tenth_failure_locks_for_five_minutes() {
    let (start, mut attempts) = (Instant::now(), Attempts::default());
    let key = v4(1);
    for number in 1..10 {
        let failure = attempts.fail(&key, &policy(), start + seconds(number));
        let expected = Failure::Counted {
            client: key.client.clone(),
            failures: number as usize,
        };
        assert_eq!(failure, expected);
        assert_eq!(attempts.locked(&key, start + seconds(number)), None);
    }
    let locked_at = start + seconds(30);
    assert!(locks(&attempts.fail(&key, &policy(), locked_at)));
    assert_eq!(attempts.locked(&key, locked_at), Some(seconds(300)));
    let last = locked_at + Duration::from_millis(299_999);
    assert_eq!(attempts.succeed(&key, last), Err(Duration::from_millis(1)));
    assert_eq!(
        attempts.fail(&key, &policy(), last),
        Failure::Locked(Duration::from_millis(1))
    );
    // Then it starts afresh: nine more do not lock.
    let open = locked_at + seconds(300);
    for _ in 0..9 {
        assert!(!locks(&attempts.fail(&key, &policy(), open)));
    }
    assert!(locks(&attempts.fail(&key, &policy(), open)));
}

#[test]
fn failures_older_than_the_window_do_not_count() {
    let (start, mut attempts) = (Instant::now(), Attempts::default());
    for _ in 0..9 {
        attempts.fail(&v4(1), &policy(), start);
    }
    let later = start + seconds(60);
    for _ in 0..9 {
        assert!(!locks(&attempts.fail(&v4(1), &policy(), later)));
    }
    assert!(locks(&attempts.fail(&v4(1), &policy(), later)));
}

#[test]
fn kinds_browsers_and_clients_are_counted_apart() {
    let (now, mut attempts) = (Instant::now(), Attempts::default());
    for _ in 0..10 {
        attempts.fail(&v4(1), &policy(), now);
    }
    assert!(attempts.locked(&v4(1), now).is_some());
    for other in [
        v4(2),
        Key {
            kind: Kind::DeviceToken,
            ..v4(1)
        },
        Key {
            kind: Kind::BootstrapToken,
            ..v4(1)
        },
        Key {
            browser: true,
            ..v4(1)
        },
        key(Client::Source(Source::Hidden)),
    ] {
        assert_eq!(attempts.locked(&other, now), None, "{other:?}");
    }
}

#[test]
fn a_success_resets_its_own_counter_but_never_a_shared_one() {
    let (now, mut attempts) = (Instant::now(), Attempts::default());
    for key in [v4(1), key(Client::Source(Source::Hidden))] {
        for _ in 0..9 {
            attempts.fail(&key, &policy(), now);
        }
        attempts.succeed(&key, now).unwrap();
        let locked = locks(&attempts.fail(&key, &policy(), now));
        assert_eq!(locked, key.client.is_shared(), "{key:?}");
    }
}

#[test]
fn many_addresses_neither_fill_the_memory_nor_free_anybody() {
    let (now, mut attempts) = (Instant::now(), Attempts::default());
    let guesser = v4(0x0a00_0001);
    for _ in 0..10 {
        attempts.fail(&guesser, &policy(), now);
    }
    // Every address fails once, which must not throw the lockout away.
    for number in 0..200_000_u32 {
        attempts.fail(&v4(0x0b00_0000 + number * 251), &policy(), now);
        let network = u128::from(number) << 90;
        let v6 = Client::Source(Source::Address(IpAddr::V6(Ipv6Addr::from(network))));
        attempts.fail(&key(v6), &policy(), now);
    }
    assert!(attempts.locked(&guesser, now).is_some());
    assert!(attempts.len() <= MAX_ADDRESSES + MAX_NETWORKS + 1);
    // Who comes from everywhere shares a counter in the end, and that one locks.
    let fresh = v4(0xc600_0001);
    assert!(
        attempts.locked(&fresh, now).is_some() || {
            (0..10).any(|_| locks(&attempts.fail(&fresh, &policy(), now)))
        }
    );
    // Paired devices and what a proxy hides are not touched by any of that.
    for free in [
        key(Client::Device(DeviceId::from("d"))),
        key(Client::Source(Source::Hidden)),
    ] {
        assert_eq!(attempts.locked(&free, now), None);
        assert_eq!(
            attempts.fail(&free, &policy(), now),
            Failure::Counted {
                client: free.client.clone(),
                failures: 1
            }
        );
    }
    // When it is over, everything is forgotten and there is room again.
    assert_eq!(attempts.prune(now + seconds(300)), None);
    assert!(attempts.is_empty());
    let failure = attempts.fail(&fresh, &policy(), now + seconds(301));
    assert_eq!(
        failure,
        Failure::Counted {
            client: fresh.client,
            failures: 1
        }
    );
}

#[test]
fn going_round_many_addresses_is_no_way_around_the_limit() {
    let (start, mut attempts) = (Instant::now(), Attempts::default());
    let networks = 8;
    let mut looked_at = 0;
    // 20,000 addresses of eight networks take turns for an hour, one guess each per round.
    for round in 0..60 {
        let now = start + seconds(round * 60);
        for number in 0..20_000_u32 {
            let key = v4((number % networks) << 16 | number);
            if attempts.locked(&key, now).is_none() {
                looked_at += 1;
                attempts.fail(&key, &policy(), now);
            }
        }
    }
    // The bounded number of counters bounds the guesses: one per address and round, ten per network.
    let most = 60 * (MAX_ADDRESSES + 10 * networks as usize + 10);
    assert!(looked_at <= most, "{looked_at} > {most}");
}

#[test]
fn origins_are_bounded_too() {
    let (now, mut attempts) = (Instant::now(), Attempts::default());
    for number in 0..1_000 {
        let origin = Client::Origin(format!("http://host{number}").into());
        attempts.fail(&key(origin), &policy(), now);
    }
    assert!(attempts.len() <= MAX_ORIGINS + 1);
}

#[test]
fn extreme_settings_are_bounded() {
    let now = Instant::now();
    let endless = AttemptPolicy {
        max_attempts: usize::MAX,
        ..policy()
    };
    let mut attempts = Attempts::default();
    let locked_at = (1..1_000).find(|_| locks(&attempts.fail(&v4(1), &endless, now)));
    assert_eq!(locked_at, Some(MAX_COUNTED));
    let brief = AttemptPolicy {
        max_attempts: 1,
        lockout: Duration::ZERO,
        ..policy()
    };
    let mut attempts = Attempts::default();
    for _ in 0..3 {
        assert!(locks(&attempts.fail(&v4(1), &brief, now)));
        assert_eq!(attempts.locked(&v4(1), now), None);
    }
}

#[test]
fn rows_name_the_locked_first_and_clearing_takes_the_chosen() {
    let (now, mut attempts) = (Instant::now(), Attempts::default());
    for _ in 0..3 {
        attempts.fail(&v4(1), &policy(), now);
    }
    for _ in 0..10 {
        attempts.fail(&v4(2), &policy(), now);
    }
    let rows = attempts.rows(&policy(), now + seconds(1));
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.key.client.to_string(), row.failures, row.locked_for))
        .collect();
    assert_eq!(
        shown,
        [
            ("0.0.0.2".to_owned(), 10, Some(seconds(299))),
            ("0.0.0.1".to_owned(), 3, None)
        ]
    );
    assert_eq!(attempts.rows(&policy(), now + seconds(60)).len(), 1);
    assert_eq!(attempts.clear(|key| *key == v4(2)), 1);
    assert_eq!(attempts.locked(&v4(2), now), None);
    assert_eq!(attempts.len(), 1);
}

/// §4.5 for one client, written down without any care for memory.
#[derive(Default)]
struct Model {
    failures: Vec<Instant>,
    locked_until: Option<Instant>,
}

impl Model {
    fn locked(&self, now: Instant) -> bool {
        self.locked_until.is_some_and(|until| now < until)
    }

    fn fail(&mut self, policy: &AttemptPolicy, now: Instant) {
        if self.locked(now) {
            return;
        }
        self.locked_until = None;
        self.failures.push(now);
        let counting = self.failures.iter().filter(|at| now - **at < policy.window);
        if counting.count() >= policy.max_attempts {
            self.failures.clear();
            self.locked_until = Some(now + policy.lockout);
        }
    }

    fn succeed(&mut self, now: Instant) {
        if !self.locked(now) {
            *self = Model::default();
        }
    }
}

proptest! {
    #[test]
    fn the_limiter_does_what_the_model_says(
        max_attempts in 1_usize..6,
        steps in prop::collection::vec((0_u32..4, 0_u8..8, 0_u64..20_000), 1..200),
    ) {
        let policy = AttemptPolicy {
            exempt_loopback: false,
            lockout: seconds(30),
            max_attempts,
            window: seconds(10),
        };
        let mut attempts = Attempts::default();
        let mut models: HashMap<u32, Model> = HashMap::new();
        let mut now = Instant::now();
        for (client, action, pause) in steps {
            now += Duration::from_millis(pause / 4);
            let (key, model) = (v4(client), models.entry(client).or_default());
            match action {
                0 => {
                    let noted = attempts.succeed(&key, now);
                    prop_assert_eq!(noted.is_err(), model.locked(now));
                    model.succeed(now);
                }
                1 => {
                    attempts.prune(now);
                }
                _ => {
                    let failure = attempts.fail(&key, &policy, now);
                    let was_locked = matches!(failure, Failure::Locked(_));
                    prop_assert_eq!(was_locked, model.locked(now));
                    model.fail(&policy, now);
                }
            }
            for (client, model) in &models {
                prop_assert_eq!(attempts.locked(&v4(*client), now).is_some(), model.locked(now));
            }
        }
    }
}
