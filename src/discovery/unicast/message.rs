//! One question and its answer as DNS messages: what is sent, and what of a received packet counts.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Label, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, TYPE};

/// Bytes of a datagram that servers are told they may send: what passes every network in one piece.
pub const UDP_BYTES: u16 = 1_232;

/// Bytes of the head of a message.
const HEAD_BYTES: usize = 12;

/// Bytes of the smallest question, and of the smallest record.
const MIN_QUESTION_BYTES: usize = 5;
const MIN_RECORD_BYTES: usize = 11;

/// A domain name; capital letters are shown but do not count (RFC 4343).
#[derive(Debug, Clone, Eq)]
pub struct Name {
    labels: Vec<Vec<u8>>,
    folded: Vec<Vec<u8>>,
}

impl Name {
    /// A name of plain labels, with or without the dot at its end.
    pub fn parse(text: &str) -> Name {
        let labels = text.split('.').filter(|label| !label.is_empty());
        Name::of(labels.map(|label| label.as_bytes().to_vec()).collect())
    }

    /// A name of any labels.
    pub fn of(labels: Vec<Vec<u8>>) -> Name {
        let folded = labels
            .iter()
            .map(|label| label.to_ascii_lowercase())
            .collect();
        Name { labels, folded }
    }

    /// The leftmost label as it was sent; empty for the root.
    pub fn first_label(&self) -> &[u8] {
        self.labels.first().map_or(&[], Vec::as_slice)
    }

    /// The name without its leftmost label; the root has none.
    pub fn parent(&self) -> Option<Name> {
        let (_, rest) = self.labels.split_first()?;
        Some(Name::of(rest.to_vec()))
    }

    /// Whether it has no label.
    pub fn is_root(&self) -> bool {
        self.labels.is_empty()
    }

    fn sent(&self) -> simple_dns::Name<'_> {
        let labels: Vec<Label<'_>> = self
            .labels
            .iter()
            .map(|it| Label::new_unchecked(it.as_slice()))
            .collect();
        simple_dns::Name::new_with_labels(&labels)
    }
}

impl From<&simple_dns::Name<'_>> for Name {
    fn from(name: &simple_dns::Name<'_>) -> Name {
        Name::of(name.as_bytes().map(<[u8]>::to_vec).collect())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.folded == other.folded
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<_> = self
            .labels
            .iter()
            .map(|label| String::from_utf8_lossy(label))
            .collect();
        out.write_str(&labels.join("."))
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Ptr,
    /// Port and host of a service.
    Srv,
    /// Pairs of text.
    Txt,
}

impl Kind {
    fn sent(self) -> TYPE {
        match self {
            Kind::A => TYPE::A,
            Kind::Aaaa => TYPE::AAAA,
            Kind::Ptr => TYPE::PTR,
            Kind::Srv => TYPE::SRV,
            Kind::Txt => TYPE::TXT,
        }
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    name: Name,
    kind: Kind,
}

/// One record that counts here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub name: Name,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// `A` and `AAAA`.
    Address(IpAddr),
    /// The name is an alias of this one.
    Cname(Name),
    /// `PTR`.
    Ptr(Name),
    /// `SRV`.
    Srv {
        /// The lowest is tried first.
        priority: u16,
        /// The larger share of the same priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: Name,
    },
    /// `TXT`: its pairs in their order; a key that is no text is left out, one without a value has an empty one.
    Txt(Vec<(String, Vec<u8>)>),
}

impl Data {
    /// The kind that asks for it; an alias answers any.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Data::Address(IpAddr::V4(_)) => Some(Kind::A),
            Data::Address(IpAddr::V6(_)) => Some(Kind::Aaaa),
            Data::Cname(_) => None,
            Data::Ptr(_) => Some(Kind::Ptr),
            Data::Srv { .. } => Some(Kind::Srv),
            Data::Txt(_) => Some(Kind::Txt),
        }
    }
}

/// What a packet answers to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The records, none where there are none; additional ones are among them.
    Records(Vec<Record>),
    /// The server will not or cannot answer; the word of RFC 1035.
    Refused(String),
    /// The answer did not fit and is to be asked for over TCP.
    Truncated,
}

impl Question {
    /// Asks for records of this kind at this name.
    pub fn new(name: Name, kind: Kind) -> Question {
        Question { name, kind }
    }

    /// The message that asks; `None` for a name that cannot be sent.
    pub fn packet(&self, id: u16) -> Option<Vec<u8>> {
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(simple_dns::Question::new(
            self.name.sent(),
            QTYPE::TYPE(self.kind.sent()),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        *packet.opt_mut() = Some(OPT {
            opt_codes: Vec::new(),
            udp_packet_size: UDP_BYTES,
            version: 0,
        });
        packet.build_bytes_vec().ok()
    }

    /// What a packet that came in says to this question; `None` when it is no answer to it.
    pub fn answer(&self, id: u16, bytes: &[u8]) -> Option<Answer> {
        if !counts_fit(bytes) {
            return None;
        }
        let packet = Packet::parse(bytes).ok()?;
        let is_answer = packet.id() == id
            && packet.has_flags(PacketFlag::RESPONSE)
            && packet.opcode() == OPCODE::StandardQuery;
        let [question] = packet.questions.as_slice() else {
            return None;
        };
        let is_mine = Name::from(&question.qname) == self.name
            && question.qtype == QTYPE::TYPE(self.kind.sent())
            && question.qclass == QCLASS::CLASS(CLASS::IN);
        if !is_answer || !is_mine {
            return None;
        }
        Some(match packet.rcode() {
            _ if packet.has_flags(PacketFlag::TRUNCATION) => Answer::Truncated,
            RCODE::NoError | RCODE::NameError => Answer::Records(records(&packet)),
            RCODE::Refused => Answer::Refused("REFUSED".to_owned()),
            RCODE::ServerFailure => Answer::Refused("SERVFAIL".to_owned()),
            other => Answer::Refused(format!("{other:?}")),
        })
    }
}

/// Whether so many questions and records as the head promises can be in the packet at all: room is made for
/// them before they are read.
fn counts_fit(bytes: &[u8]) -> bool {
    let count = |at: usize| {
        let pair = bytes.get(at..at + 2)?;
        Some(usize::from(pair[0]) << 8 | usize::from(pair[1]))
    };
    let counts = [4, 6, 8, 10].map(count);
    let [
        Some(questions),
        Some(answers),
        Some(servers),
        Some(additional),
    ] = counts
    else {
        return false;
    };
    let least =
        questions * MIN_QUESTION_BYTES + (answers + servers + additional) * MIN_RECORD_BYTES;
    HEAD_BYTES + least <= bytes.len()
}

fn records(packet: &Packet<'_>) -> Vec<Record> {
    let records = packet.answers.iter().chain(&packet.additional_records);
    let records = records.filter(|record| record.class == CLASS::IN);
    let record = |record: &simple_dns::ResourceRecord<'_>| {
        let data = match &record.rdata {
            RData::A(a) => Data::Address(IpAddr::V4(a.address.into())),
            RData::AAAA(aaaa) => Data::Address(IpAddr::V6(aaaa.address.into())),
            RData::CNAME(cname) => Data::Cname(Name::from(&cname.0)),
            RData::PTR(ptr) => Data::Ptr(Name::from(&ptr.0)),
            RData::SRV(srv) => Data::Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: Name::from(&srv.target),
            },
            RData::TXT(txt) => Data::Txt(pairs(txt)),
            _ => return None,
        };
        let name = Name::from(&record.name);
        Some(Record { name, data })
    };
    records.filter_map(record).collect()
}

fn pairs(txt: &simple_dns::rdata::TXT<'_>) -> Vec<(String, Vec<u8>)> {
    let pairs = txt.iter_raw().filter_map(|(key, value)| {
        let key = std::str::from_utf8(key).ok()?;
        Some((key.to_owned(), value.unwrap_or_default().to_vec()))
    });
    pairs.collect()
}
