//! The policy as a table, and the pools against crowds.

use proptest::prelude::*;

use super::*;

fn limits() -> ArrivalLimits {
    ArrivalLimits::new(8_192)
}

fn load(local: bool, open: usize, pool: usize, source: usize) -> Load {
    Load {
        local,
        open,
        pool,
        source,
    }
}

#[test]
#[rustfmt::skip]
fn the_chance_to_cost_somebody_a_place_grows_between_start_and_full() {
    let refused_from = 8_192 - LOCAL_RESERVE;
    for (load, dice, fate) in [
        (load(false, 0, 0, 0), 0, Fate::Admit),
        (load(false, 900, START - 1, 0), 0, Fate::Admit),
        (load(false, 900, START, 0), RATE_PERCENT - 1, Fate::Displace),
        (load(false, 900, START, 0), RATE_PERCENT, Fate::Admit),
        (load(false, 900, (START + FULL) / 2, 0), 64, Fate::Displace),
        (load(false, 900, (START + FULL) / 2, 0), 65, Fate::Admit),
        (load(false, 900, FULL, 0), 99, Fate::Displace),
        (load(true, 900, FULL, 0), 99, Fate::Displace),
        (load(false, 900, 0, PER_SOURCE - 1), 0, Fate::Admit),
        (load(false, 900, 0, PER_SOURCE), 99, Fate::DisplaceOwn),
        // The last connections are for this host.
        (load(false, refused_from, 0, 0), 99, Fate::Refuse),
        (load(true, refused_from, 0, 0), 99, Fate::Admit),
        (load(true, 8_192, 0, 0), 99, Fate::Refuse),
    ] {
        assert_eq!(decide(&load, &limits(), dice), fate, "{load:?} {dice}");
    }
}

#[test]
fn small_hosts_get_small_pools() {
    let small = ArrivalLimits::new(100);
    assert_eq!(
        (small.full, small.start, small.per_source, small.reserve()),
        (50, 50, 50, 12)
    );
    assert_eq!(
        decide(&load(false, 0, 0, 0), &ArrivalLimits::new(1), 0),
        Fate::Admit
    );
}

fn outbox() -> Outbox {
    Outbox::new(1024).unwrap()
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn whoever_waits_longest_at_the_source_with_the_most_gives_way() {
    let arrivals = Arrivals::new(ArrivalLimits {
        start: 4,
        full: 4,
        per_source: 4,
        ..limits()
    });
    let start = Instant::now();
    let enter = |from, outbox: &Outbox, now| arrivals.enter_at(from, outbox, 0, 0, now);
    let outboxes: Vec<Outbox> = (0..5).map(|_| outbox()).collect();
    let honest = enter(address("192.0.2.1"), &outboxes[0], start).unwrap();
    let crowd: Vec<Slot> = (1..4)
        .map(|at| enter(address("2001:db8::1"), &outboxes[at], start).unwrap())
        .collect();
    // At once nobody gives way; the newcomer is turned away.
    assert!(enter(address("192.0.2.2"), &outboxes[4], start).is_none());
    let later = start + GRACE;
    let newcomer = enter(address("192.0.2.2"), &outboxes[4], later).unwrap();
    let open: Vec<bool> = outboxes.iter().map(Outbox::is_open).collect();
    assert_eq!(open, [true, false, true, true, true]);
    // What is being decided is safe.
    crowd[1].hold();
    assert_eq!(
        arrivals.usage(),
        Usage {
            local: 0,
            remote: 5
        }
    );
    let another = enter(address("192.0.2.3"), &outbox(), later);
    assert!(another.is_none(), "the displaced one is not gone yet");
    drop(crowd);
    assert!(outboxes[2].is_open());
    drop((honest, newcomer));
    assert_eq!(
        arrivals.usage(),
        Usage {
            local: 0,
            remote: 0
        }
    );
    assert!(
        arrivals
            .lock()
            .pools
            .iter()
            .all(|pool| pool.sources.is_empty())
    );
}

#[test]
fn a_greedy_source_gives_way_at_once_and_a_crowd_of_single_ones_does_not() {
    let arrivals = Arrivals::new(limits());
    let now = Instant::now();
    let enter = |from: IpAddr, outbox: &Outbox| arrivals.enter_at(Some(from), outbox, 0, 99, now);
    let (crowd_box, greedy_box) = (outbox(), outbox());
    let single = |number: u32| IpAddr::from((number + 0x0b00_0000).to_be_bytes());
    let crowd: Vec<Slot> = (0..u32::try_from(FULL - GREEDY - 1).unwrap())
        .map(|number| enter(single(number), &crowd_box).unwrap())
        .collect();
    let greedy = IpAddr::from([192, 0, 2, 1]);
    let held: Vec<Slot> = (0..=GREEDY)
        .map(|_| enter(greedy, &greedy_box).unwrap())
        .collect();
    assert_eq!(crowd.len() + held.len(), FULL);
    // Nobody has waited long, but one has taken nine places.
    let newcomer = enter(IpAddr::from([192, 0, 2, 2]), &outbox());
    assert!(newcomer.is_some());
    assert!(crowd_box.is_open() && !greedy_box.is_open());
    // The greedy source itself gets nothing for that.
    assert!(enter(greedy, &outbox()).is_none());
    drop(held);
    drop(newcomer);
    let refill: Vec<Slot> = (10_000..)
        .map_while(|number| enter(single(number), &crowd_box))
        .collect();
    assert_eq!(crowd.len() + refill.len(), FULL);
    assert!(crowd_box.is_open());
}

#[test]
fn a_source_at_its_limit_displaces_its_own_only_and_a_whole_64_is_one() {
    let arrivals = Arrivals::new(ArrivalLimits {
        per_source: 2,
        ..limits()
    });
    let start = Instant::now();
    let outboxes: Vec<Outbox> = (0..4).map(|_| outbox()).collect();
    let mut held = vec![
        arrivals
            .enter_at(address("192.0.2.1"), &outboxes[0], 0, 0, start)
            .unwrap(),
        arrivals
            .enter_at(address("2001:db8::1"), &outboxes[1], 0, 0, start)
            .unwrap(),
        arrivals
            .enter_at(address("2001:db8::2"), &outboxes[2], 0, 0, start)
            .unwrap(),
    ];
    let third = |now| arrivals.enter_at(address("2001:db8::3"), &outboxes[3], 0, 0, now);
    assert!(third(start).is_none());
    held.push(third(start + GRACE).unwrap_or_else(|| panic!("the first gives way")));
    let open: Vec<bool> = outboxes.iter().map(Outbox::is_open).collect();
    assert_eq!(open, [true, false, true, true]);
}

#[test]
fn strangers_never_take_the_places_of_this_host() {
    let arrivals = Arrivals::new(limits());
    let shared = outbox();
    let now = Instant::now();
    let crowd: Vec<Slot> = (0..u32::try_from(FULL).unwrap() * 2)
        .filter_map(|number| {
            let from = IpAddr::from((number + 0x0b00_0000).to_be_bytes());
            arrivals.enter_at(Some(from), &shared, 0, 99, now)
        })
        .collect();
    assert_eq!(crowd.len(), FULL);
    assert!(arrivals.enter_at(None, &shared, 0, 99, now).is_none());
    assert!(
        arrivals
            .enter_at(address("127.0.0.1"), &shared, 0, 99, now)
            .is_some()
    );
    assert!(
        arrivals
            .enter_at(address("::1"), &shared, 8_191, 99, now)
            .is_some()
    );
}

proptest! {
    #[test]
    fn the_pools_stay_bounded_and_end_empty(
        steps in prop::collection::vec((0_u8..6, 0_u8..100, 0_u64..3_000, any::<bool>()), 1..300),
    ) {
        let limits = ArrivalLimits { start: 8, full: 16, per_source: 8, ..limits() };
        let arrivals = Arrivals::new(limits);
        let shared = outbox();
        let mut now = Instant::now();
        let mut held = Vec::new();
        for (from, dice, pause, leaves) in steps {
            now += Duration::from_millis(pause / 10);
            let from = (from > 0).then(|| IpAddr::from([192, 0, 2, from]));
            held.extend(arrivals.enter_at(from, &shared, 0, usize::from(dice), now));
            if leaves && !held.is_empty() {
                held.remove(0);
            }
            prop_assert_eq!(arrivals.usage().remote, held.len());
            prop_assert!(held.len() <= limits.full + limits.full.div_ceil(4));
        }
        drop(held);
        prop_assert!(arrivals.lock().pools.iter().all(|pool| pool.count == 0 && pool.sources.is_empty()));
    }
}
