//! Answers of DNS servers, as lines of hexadecimal digits so that they can be read, kept and edited.

use std::cell::Cell;

use data_encoding::HEXLOWER_PERMISSIVE;
use openclaw::discovery::Found;
use openclaw::discovery::domain::Domain;
use openclaw::discovery::found::LOCAL;
use openclaw::discovery::mdns::unescape;
use openclaw::discovery::unicast::message::{Answer, Kind, Name, Question, Record};
use openclaw::discovery::unicast::{MAX_INSTANCES, browse_with};

use super::mutate::{Dice, vary_bytes};

const DOMAIN: &str = "openclaw.internal";

/// Bytes of the shortest record: the root, type, class, time to live and no data.
const SHORTEST_RECORD: usize = 11;

/// Rounds of questions that are more than any browse has.
const ENOUGH_ROUNDS: usize = 16;

/// The packet of an input; what is no hexadecimal text is an empty one.
fn packet(input: &[u8]) -> Vec<u8> {
    HEXLOWER_PERMISSIVE
        .decode(input.trim_ascii())
        .unwrap_or_default()
}

fn question() -> Question {
    Question::new(
        Name::parse(&format!("_openclaw-gw._tcp.{DOMAIN}")),
        Kind::Ptr,
    )
}

fn id(packet: &[u8]) -> u16 {
    match packet {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// Whether it is an answer to the question for gateways.
pub fn accepts(input: &[u8]) -> bool {
    let packet = packet(input);
    question().answer(id(&packet), &packet).is_some()
}

/// A packet of the corpus with names, counts or any bytes changed.
pub fn vary(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = packet(dice.pick::<Vec<u8>>(corpus));
    for _ in 0..=dice.below(2) {
        if bytes.len() < 13 {
            break;
        }
        let at = 12 + dice.below(bytes.len() - 12);
        match dice.below(6) {
            // A pointer into the packet, to anywhere.
            0 => {
                let pointer = 0xc000 | (dice.below(bytes.len() + 4) as u16);
                let end = (at + 2).min(bytes.len());
                bytes.splice(at..end, pointer.to_be_bytes());
            }
            1 => bytes[4 + dice.below(8)] = dice.below(4) as u8,
            2 => bytes[at] = *dice.pick(b"\0\x01\x3f\x40\x7f\x80\xc0\xff\x0c\x21\x10"),
            3 => bytes[2 + dice.below(2)] ^= 1 << dice.below(8),
            4 => {
                let tail = bytes[at..].repeat(dice.below(30));
                bytes.extend_from_slice(&tail);
            }
            _ => vary_bytes(&mut bytes, dice),
        }
    }
    bytes.truncate(super::mutate::LONGEST / 2);
    HEXLOWER_PERMISSIVE.encode(&bytes).into_bytes()
}

/// Whatever a server sends: only the answer to the question counts, and only as gateways that are safe to show
/// and lead to other machines.
pub fn check(input: &[u8]) -> Result<(), String> {
    let packet = packet(input);
    let id = id(&packet);
    if question().answer(id ^ 1, &packet).is_some() {
        return Err("an answer under another id counts".to_owned());
    }
    let other = Question::new(Name::parse("another.name"), Kind::Ptr);
    if question().answer(id, &packet).is_some() && other.answer(id, &packet).is_some() {
        return Err("one packet answers two questions".to_owned());
    }
    by_multicast(&packet)?;
    match question().answer(id, &packet) {
        Some(Answer::Records(records)) => {
            if records.len() * SHORTEST_RECORD > packet.len() {
                return Err(format!(
                    "{} records in {} bytes",
                    records.len(),
                    packet.len()
                ));
            }
            browse(&records)
        }
        Some(Answer::Refused(code)) if code.is_empty() => Err("refused without a word".to_owned()),
        Some(Answer::Refused(_) | Answer::Truncated) | None => Ok(()),
    }
}

/// The same bytes as multicast DNS hands them on: names as text, pairs already apart.
fn by_multicast(packet: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(packet);
    let pairs: Vec<(&str, &[u8])> = text.split('\n').map(|line| (line, packet)).collect();
    harmless(&Found::new(&unescape(&text), LOCAL, &text, 1, [], pairs))
}

/// Browses where every question is answered with the same records.
fn browse(records: &[Record]) -> Result<(), String> {
    let domain = Domain::parse(DOMAIN).map_err(|error| error.to_string())?;
    let rounds = Cell::new(0);
    let found = browse_with(&domain, |questions| {
        rounds.set(rounds.get() + 1);
        vec![Ok(records.to_vec()); questions.len()]
    });
    let found = found.map_err(|fault| format!("answered, and yet: {fault}"))?;
    if rounds.get() > ENOUGH_ROUNDS || found.len() > MAX_INSTANCES {
        return Err(format!(
            "{} gateways after {} rounds",
            found.len(),
            rounds.get()
        ));
    }
    found.iter().try_for_each(harmless)
}

fn harmless(found: &Found) -> Result<(), String> {
    let values = found.txt.iter().flat_map(|(key, value)| [key, value]);
    let shown = values.chain([&found.instance, &found.domain, &found.host]);
    if let Some(text) = shown
        .into_iter()
        .find(|text| text.contains(char::is_control))
    {
        return Err(format!("{text:?} would move a terminal"));
    }
    let leads_elsewhere = found.addresses.iter().all(|address| {
        let ip = address.ip().to_canonical();
        address.port() == found.port
            && !ip.is_loopback()
            && !ip.is_unspecified()
            && !ip.is_multicast()
    });
    if found.port == 0 || !leads_elsewhere {
        return Err(format!("{:?} at port {}", found.addresses, found.port));
    }
    Ok(())
}
