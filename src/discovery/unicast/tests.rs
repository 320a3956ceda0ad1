//! Servers of every kind, in raw bytes on loopback, and what becomes of what they say.

use std::net::UdpSocket;
use std::time::Duration;

use super::testing::*;
use super::*;

const SERVICE: &str = "_openclaw-gw._tcp.openclaw.internal";
const HOST: &str = "pi.openclaw.internal";

fn domain() -> Domain {
    Domain::parse("openclaw.internal").unwrap()
}

/// An instance of the service in bytes, and as a server names it in its log of questions.
fn instance(label: &[u8]) -> Vec<u8> {
    name(&[label, b"_openclaw-gw", b"_tcp", b"openclaw", b"internal"])
}

fn pointer(label: &[u8]) -> Vec<u8> {
    record(&plain(SERVICE), PTR, &instance(label))
}

fn address(host: &str, octets: [u8; 4]) -> Vec<u8> {
    record(&plain(host), A, &octets)
}

/// A server that knows one gateway and answers exactly what it is asked.
fn exact(query: &Query) -> Vec<Vec<u8>> {
    let pi = instance(b"Pi (OpenClaw)");
    let records = match (query.name.as_str(), query.kind) {
        (SERVICE, PTR) => vec![pointer(b"Pi (OpenClaw)")],
        (_, SRV) => vec![srv(&pi, 0, 18_789, &plain(HOST))],
        (_, TXT) => vec![txt(&pi, &[b"role=gateway", b"displayName=Pi"])],
        (HOST, A) => vec![address(HOST, [192, 168, 1, 7])],
        (HOST, AAAA) => vec![record(
            &plain(HOST),
            AAAA,
            &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        )],
        _ => vec![],
    };
    vec![query.reply(OK, &records, &[])]
}

/// Servers that get all the time they need.
fn asking(servers: &[&Server]) -> Resolvers {
    let mut resolvers = Resolvers::new(servers.iter().map(|server| server.address).collect());
    resolvers.patience = Duration::from_secs(30);
    resolvers
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn browsed(servers: &[&Server]) -> Result<Vec<Found>, Fault> {
    browse(&domain(), &asking(servers), soon())
}

fn assert_is_pi(found: &[Found]) {
    let [pi] = found else { panic!("{found:?}") };
    assert_eq!((pi.instance.as_str(), pi.name()), ("Pi (OpenClaw)", "Pi"));
    assert_eq!(
        (pi.domain.as_str(), pi.host.as_str(), pi.port),
        ("openclaw.internal.", HOST, 18_789)
    );
    let addresses: Vec<String> = pi.addresses.iter().map(SocketAddr::to_string).collect();
    assert_eq!(addresses, ["192.168.1.7:18789", "[fd00::7]:18789"]);
}

#[test]
fn what_is_missing_is_asked_for() {
    let server = Server::new(exact);
    assert_is_pi(&browsed(&[&server]).unwrap());
    let mut asked: Vec<(String, u16)> = server
        .queries()
        .into_iter()
        .map(|it| (it.name, it.kind))
        .collect();
    asked.sort();
    let pi = format!("pi (openclaw).{SERVICE}");
    let expected = [
        (SERVICE, PTR),
        (&pi, TXT),
        (&pi, SRV),
        (HOST, A),
        (HOST, AAAA),
    ];
    assert_eq!(asked, expected.map(|(name, kind)| (name.to_owned(), kind)));
    // Ids are random: five equal ones are no chance.
    let ids: BTreeSet<Vec<u8>> = server
        .queries()
        .iter()
        .map(|it| it.bytes[..2].to_vec())
        .collect();
    let ports: BTreeSet<u16> = server
        .queries()
        .iter()
        .filter_map(|it| Some(it.from?.port()))
        .collect();
    assert!(ids.len() > 1 && ports.len() > 1, "{ids:?} {ports:?}");
}

#[test]
fn additional_records_save_questions() {
    let server = Server::new(|query| {
        let pi = instance(b"Pi (OpenClaw)");
        let v6 = record(
            &plain(HOST),
            AAAA,
            &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        );
        let additional = [
            srv(&pi, 0, 18_789, &plain(HOST)),
            txt(&pi, &[b"displayName=Pi"]),
            address(HOST, [192, 168, 1, 7]),
            v6,
        ];
        vec![query.reply(OK, &[pointer(b"Pi (OpenClaw)")], &additional)]
    });
    assert_is_pi(&browsed(&[&server]).unwrap());
    assert_eq!(server.queries().len(), 1);
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let server = Server::new(|query| match query.over_tcp {
        false => vec![query.reply(TRUNCATED, &[], &[])],
        true => exact(query).iter().map(|message| framed(message)).collect(),
    });
    assert_is_pi(&browsed(&[&server]).unwrap());
    // A server that has a large answer to anything.
    let server = Server::new(|query| {
        let pointers: Vec<Vec<u8>> = (0..500)
            .map(|n| pointer(format!("gateway {n}").as_bytes()))
            .collect();
        match (query.kind, query.over_tcp) {
            (PTR, false) => vec![query.reply(TRUNCATED, &pointers[..3], &[])],
            (PTR, true) => vec![framed(&query.reply(OK, &pointers, &[]))],
            _ => vec![query.reply(OK, &[], &[])],
        }
    });
    assert_eq!(browsed(&[&server]).unwrap(), []);
    // Two questions for each of so many gateways as are looked at.
    assert_eq!(server.queries().len(), 2 + 2 * MAX_INSTANCES);
}

#[test]
fn only_the_answer_of_the_server_that_was_asked_counts() {
    let lie = |query: &Query| query.reply(OK, &[pointer(b"Lie")], &[]);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = Server::new(move |query| {
        if let Some(from) = query.from {
            // The right answer of somebody else.
            stranger.send_to(&lie(query), from).unwrap();
        }
        let (mut other_id, mut other_question, mut question, mut none) =
            (lie(query), lie(query), lie(query), lie(query));
        other_id[0] ^= 0x80;
        other_question[14] ^= 0x01;
        question[2] &= 0x7f;
        none[5] = 0;
        let other_type = {
            let mut bytes = lie(query);
            let end = 12 + query.question().len();
            bytes[end - 3] ^= 1;
            bytes
        };
        let mut loops = query.reply(OK, &[], &[]);
        loops[7] = 1;
        // A name that points at itself, and one that points into its own labels.
        loops.extend([
            0xc0,
            u8::try_from(loops.len()).unwrap(),
            0,
            12,
            0,
            1,
            0,
            0,
            0,
            60,
            0,
            0,
        ]);
        let mut packets = vec![
            Vec::new(),
            vec![0; 11],
            vec![0xff; 512],
            query.bytes.clone(),
            other_id,
            other_question,
            question,
            none,
            other_type,
            loops,
        ];
        packets.extend(exact(query));
        packets
    });
    assert_is_pi(&browsed(&[&server]).unwrap());
}

#[test]
fn the_next_server_is_asked_when_one_is_silent_broken_or_unwilling() {
    let silent = Server::new(|_| vec![]);
    let garbage = Server::new(|_| vec![b"no DNS at all".to_vec(); 100]);
    let broken = Server::new(|query| vec![query.reply(SERVFAIL, &[pointer(b"Lie")], &[])]);
    let unwilling = Server::new(|query| vec![query.reply(REFUSED, &[], &[])]);
    let other_over_tcp = Server::new(|query| match query.over_tcp {
        false => vec![query.reply(TRUNCATED, &[], &[])],
        true => vec![framed(b"no DNS at all")],
    });
    let good = Server::new(exact);
    for first in [&silent, &garbage, &broken, &unwilling, &other_over_tcp] {
        let mut resolvers = asking(&[first, &good]);
        (resolvers.patience, resolvers.attempts) = (Duration::from_millis(200), 5);
        assert_is_pi(&browse(&domain(), &resolvers, soon()).unwrap());
        assert!(!first.queries().is_empty());
    }
    // Nobody listens there at all.
    let gone = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut resolvers = asking(&[&good]);
    resolvers.servers.insert(0, gone);
    assert_is_pi(&browse(&domain(), &resolvers, soon()).unwrap());
}

#[test]
fn a_domain_that_nobody_answers_for_is_told_apart_from_one_without_gateways() {
    let none = Server::new(|query| vec![query.reply(NXDOMAIN, &[], &[])]);
    assert_eq!(browsed(&[&none]), Ok(vec![]));
    let empty = Server::new(|query| vec![query.reply(OK, &[], &[])]);
    assert_eq!(browsed(&[&empty]), Ok(vec![]));
    let refused = |code: &str| {
        Err(Fault::Refused {
            code: code.to_owned(),
        })
    };
    let unwilling = Server::new(|query| vec![query.reply(REFUSED, &[], &[])]);
    assert_eq!(browsed(&[&unwilling]), refused("REFUSED"));
    let broken = Server::new(|query| vec![query.reply(SERVFAIL, &[], &[])]);
    assert_eq!(browsed(&[&unwilling, &broken]), refused("SERVFAIL"));
    let silent = Server::new(|_| vec![]);
    let deadline = Instant::now() + Duration::from_millis(300);
    let fault = browse(&domain(), &asking(&[&silent]), deadline);
    assert_eq!(fault, Err(Fault::NoAnswer { servers: 1 }));
    assert_eq!(
        browse(&domain(), &asking(&[&silent]), Instant::now()),
        Err(Fault::NoAnswer { servers: 1 })
    );
    let drips = Server::new(|query| match query.over_tcp {
        false => vec![query.reply(TRUNCATED, &[], &[])],
        true => vec![vec![0xff, 0xff, 1]],
    });
    let deadline = Instant::now() + Duration::from_millis(300);
    let fault = browse(&domain(), &asking(&[&drips]), deadline);
    assert_eq!(fault, Err(Fault::NoAnswer { servers: 1 }));
}

#[test]
fn what_was_resolved_is_found_although_the_rest_is_missing() {
    let server = Server::new(|query| match query.kind {
        A | AAAA | TXT => vec![],
        _ => exact(query),
    });
    let mut resolvers = asking(&[&server]);
    (resolvers.patience, resolvers.attempts) = (Duration::from_secs(1), 1);
    let found = browse(&domain(), &resolvers, soon()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].port, found[0].addresses.len(), found[0].txt.len()),
        (18_789, 0, 0)
    );
}

/// What is found when the first question is answered with these records and all others with nothing.
fn found_in(records: Vec<Vec<u8>>) -> Vec<Found> {
    let server = Server::new(move |query| match query.kind {
        PTR => vec![query.reply(OK, &records, &[])],
        _ => vec![query.reply(OK, &[], &[])],
    });
    browsed(&[&server]).unwrap()
}

#[test]
fn hostile_records_lead_nowhere() {
    let pi = instance(b"Pi");
    let here = || srv(&pi, 0, 18_789, &plain(HOST));
    // A pointer out of the domain, to the service itself, to the root, and to something below an instance.
    let elsewhere = [
        plain("Pi._openclaw-gw._tcp.evil.example"),
        plain(SERVICE),
        vec![0],
        name(&[
            b"x",
            b"Pi",
            b"_openclaw-gw",
            b"_tcp",
            b"openclaw",
            b"internal",
        ]),
    ];
    let pointers = elsewhere.map(|target| record(&plain(SERVICE), PTR, &target));
    assert_eq!(found_in(pointers.to_vec()), []);
    // A service that says it is not there, at no port, and a better one behind a worse.
    for (offers, port) in [
        (vec![srv(&pi, 0, 1, &[0])], None),
        (vec![srv(&pi, 0, 0, &plain(HOST))], None),
        (
            vec![srv(&pi, 9, 1, &plain(HOST)), srv(&pi, 3, 2, &plain(HOST))],
            Some(2),
        ),
    ] {
        let found = found_in([vec![pointer(b"Pi")], offers].concat());
        assert_eq!(found.first().map(|it| it.port), port);
    }
    // Addresses that no other machine can have.
    let nowhere = [
        [0, 0, 0, 0],
        [127, 0, 0, 1],
        [224, 0, 0, 251],
        [255, 255, 255, 255],
    ];
    let nowhere = nowhere.map(|octets| address(HOST, octets)).to_vec();
    let mapped = record(
        &plain(HOST),
        AAAA,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1],
    );
    let found = found_in([vec![pointer(b"Pi"), here(), mapped], nowhere].concat());
    assert_eq!((found.len(), found[0].url()), (1, None));
    // Aliases: followed, and in a circle.
    let alias = |from: &str, to: &str| record(&plain(from), CNAME, &plain(to));
    let found = found_in(vec![
        pointer(b"Pi"),
        here(),
        alias(HOST, "b.x"),
        alias("b.x", "c.x"),
        address("c.x", [10, 0, 0, 1]),
    ]);
    assert_eq!(found[0].addresses, ["10.0.0.1:18789".parse().unwrap()]);
    let found = found_in(vec![
        pointer(b"Pi"),
        here(),
        alias(HOST, "b.x"),
        alias("b.x", HOST),
    ]);
    assert_eq!((found.len(), found[0].addresses.len()), (1, 0));
    // Text that would move a terminal, a key twice, a key without a value, one that is no text.
    let found = found_in(vec![
        pointer(b"\x1b[2J.Pi\xff"),
        srv(&instance(b"\x1b[2J.PI\xff"), 0, 7, &plain(HOST)),
        txt(
            &instance(b"\x1b[2J.pi\xff"),
            &[
                b"",
                b"=x",
                b"displayName=\x07a",
                b"DISPLAYNAME=b",
                b"flag",
                b"\xff=c",
            ],
        ),
    ]);
    let [it] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        (it.instance.as_str(), it.name(), it.port),
        ("[2J.Pi\u{fffd}", "a", 7)
    );
    assert_eq!(it.txt.keys().collect::<Vec<_>>(), ["displayname", "flag"]);
}

#[test]
fn a_server_that_never_ends_is_bounded() {
    let many: Vec<Vec<u8>> = (0..MAX_INSTANCES + 9)
        .map(|n| pointer(format!("{n}").as_bytes()))
        .collect();
    let offers = (0..MAX_INSTANCES + 9)
        .map(|n| srv(&instance(format!("{n}").as_bytes()), 0, 1, &plain(HOST)));
    let server = {
        let records = [many, offers.collect()].concat();
        Server::new(move |query| match (query.kind, query.over_tcp) {
            (PTR, false) => vec![query.reply(TRUNCATED, &[], &[])],
            (PTR, true) => vec![framed(&query.reply(OK, &records, &[]))],
            // Every answer leads to another name.
            _ => vec![query.reply(
                OK,
                &[record(
                    &plain(&query.name),
                    CNAME,
                    &plain(&format!("x.{}", query.name)),
                )],
                &[],
            )],
        })
    };
    assert_eq!(browsed(&[&server]).unwrap().len(), MAX_INSTANCES);
    assert!(
        server.queries().len() < MAX_INSTANCES * 4,
        "{}",
        server.queries().len()
    );
}
