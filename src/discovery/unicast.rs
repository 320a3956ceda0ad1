//! Browsing the wide-area domain: DNS-SD over unicast DNS (RFC 6763), asked of the machine's own resolvers.
//!
//! What servers say is bounded in every direction and only ever becomes [`Found`]: whatever they do, the
//! answer is there at the deadline, with what was resolved until then.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::discovery::domain::Domain;
use crate::discovery::found::{Found, SERVICE_TYPE};
use crate::discovery::unicast::message::{Data, Kind, Name, Question, Record};
use crate::discovery::unicast::resolvers::Resolvers;

mod exchange;
pub mod message;
pub mod resolvers;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

/// Gateways of one domain that are looked at.
pub const MAX_INSTANCES: usize = 64;

/// Records that are kept of all answers together.
const MAX_RECORDS: usize = 2_048;

/// Rounds of questions: pointer, service, addresses, and the aliases in between.
const MAX_ROUNDS: usize = 8;

/// Aliases followed from a service to its host.
const MAX_ALIASES: usize = 8;

/// Why a domain could not be browsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No server answered in time.
    NoAnswer {
        /// How many were asked.
        servers: usize,
    },
    /// This machine has no socket to ask with, or no server to ask.
    NotAsked(String),
    /// The servers answered that they will not or cannot answer.
    Refused {
        /// What the last one said, a word of RFC 1035: `REFUSED`, `SERVFAIL`.
        code: String,
    },
}

/// What became of one question.
pub type Answered = Result<Vec<Record>, Fault>;

/// The gateways of a domain, resolved as far as the deadline allowed; none where the domain has none.
///
/// # Errors
/// Not even the question for the gateways was answered.
pub fn browse(
    domain: &Domain,
    resolvers: &Resolvers,
    deadline: Instant,
) -> Result<Vec<Found>, Fault> {
    browse_with(domain, |questions| resolvers.ask(questions, deadline))
}

/// The same, whoever answers; `ask` returns what became of each question, in their order.
///
/// # Errors
/// As [`browse`].
pub fn browse_with(
    domain: &Domain,
    mut ask: impl FnMut(&[Question]) -> Vec<Answered>,
) -> Result<Vec<Found>, Fault> {
    let mut pool = Pool::new(domain);
    let mut asked = BTreeSet::new();
    for round in 0..MAX_ROUNDS {
        let mut questions = pool.questions();
        questions.retain(|question| asked.insert(question.clone()));
        if questions.is_empty() {
            break;
        }
        for answer in ask(&questions) {
            match answer {
                Ok(records) => pool.take(records),
                Err(fault) if round == 0 => return Err(fault),
                // What is missing shows in what was found.
                Err(_) => {}
            }
        }
    }
    Ok(pool.found())
}

/// What was answered so far.
struct Pool<'a> {
    domain: &'a Domain,
    service: Name,
    records: Vec<Record>,
}

impl<'a> Pool<'a> {
    fn new(domain: &'a Domain) -> Self {
        Pool {
            domain,
            service: Name::parse(&format!("{SERVICE_TYPE}.{domain}")),
            records: Vec::new(),
        }
    }

    fn take(&mut self, records: Vec<Record>) {
        for record in records {
            if self.records.len() < MAX_RECORDS && !self.records.contains(&record) {
                self.records.push(record);
            }
        }
    }

    /// What would have to be known as well.
    fn questions(&self) -> Vec<Question> {
        if !self.has(&self.service, Kind::Ptr) {
            return vec![Question::new(self.service.clone(), Kind::Ptr)];
        }
        let mut questions = Vec::new();
        for instance in self.instances() {
            for kind in [Kind::Srv, Kind::Txt] {
                if !self.has(instance, kind) {
                    questions.push(Question::new(instance.clone(), kind));
                }
            }
            let Some((_, target)) = self.service_of(instance) else {
                continue;
            };
            let host = self.canonical(target);
            if self.addresses(host).next().is_none() {
                questions
                    .extend([Kind::A, Kind::Aaaa].map(|kind| Question::new(host.clone(), kind)));
            }
        }
        questions
    }

    fn has(&self, name: &Name, kind: Kind) -> bool {
        self.of(name).any(|data| data.kind() == Some(kind))
    }

    fn of(&self, name: &Name) -> impl Iterator<Item = &Data> {
        let records = self.records.iter();
        records
            .filter(move |record| record.name == *name)
            .map(|record| &record.data)
    }

    /// The instances that the pointers of the service name: one label below it.
    fn instances(&self) -> Vec<&Name> {
        let mut instances: Vec<&Name> = Vec::new();
        for data in self.of(&self.service) {
            if let Data::Ptr(instance) = data
                && instance
                    .parent()
                    .is_some_and(|parent| parent == self.service)
                && !instances.contains(&instance)
                && instances.len() < MAX_INSTANCES
            {
                instances.push(instance);
            }
        }
        instances
    }

    /// Port and host of an instance; the one that is to be tried first where there are several (RFC 2782).
    fn service_of(&self, instance: &Name) -> Option<(u16, &Name)> {
        let offers = self.of(instance).filter_map(|data| match data {
            // The root as a target says that the service is not there.
            Data::Srv {
                priority,
                weight,
                port,
                target,
            } if *port != 0 && !target.is_root() => {
                Some((*priority, u16::MAX - weight, *port, target))
            }
            _ => None,
        });
        offers.min().map(|(_, _, port, target)| (port, target))
    }

    /// The name behind aliases; a loop of them ends anywhere in it.
    fn canonical<'b>(&'b self, name: &'b Name) -> &'b Name {
        let mut at = name;
        for _ in 0..MAX_ALIASES {
            let mut aliases = self.of(at).filter_map(|data| match data {
                Data::Cname(target) => Some(target),
                _ => None,
            });
            match aliases.next() {
                Some(target) => at = target,
                None => break,
            }
        }
        at
    }

    /// Where a host is.
    fn addresses(&self, host: &Name) -> impl Iterator<Item = IpAddr> {
        self.of(host).filter_map(|data| match data {
            Data::Address(address) => Some(*address),
            _ => None,
        })
    }

    fn found(&self) -> Vec<Found> {
        let resolved = |instance: &&Name| {
            let (port, target) = self.service_of(instance)?;
            let addresses = self.addresses(self.canonical(target));
            let addresses = addresses.map(|address| SocketAddr::new(address, port));
            let txt = self.of(instance).find_map(|data| match data {
                Data::Txt(pairs) => Some(pairs.as_slice()),
                _ => None,
            });
            let pairs = txt.unwrap_or_default().iter();
            Some(Found::new(
                instance.first_label(),
                self.domain.as_str(),
                &target.to_string(),
                port,
                addresses,
                pairs.map(|(key, value)| (key.as_str(), value.as_slice())),
            ))
        };
        self.instances().iter().filter_map(resolved).collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer { servers: 1 } => out.write_str("the DNS server does not answer"),
            Self::NoAnswer { servers } => write!(out, "none of {servers} DNS servers answers"),
            Self::NotAsked(why) => write!(out, "no DNS server can be asked: {why}"),
            Self::Refused { code } => write!(
                out,
                "the DNS server answers {code}; it has to serve the domain or forward it, see: openclaw dns setup"
            ),
        }
    }
}

impl std::error::Error for Fault {}
