//! How many strangers may wait for an approval at once, and who gives way when there are too many.
//!
//! A stranger is a device that is not paired here; whoever is paired has one open request per layer at most
//! and is never refused for the sake of strangers. Only who knows a right shared credential, or has an
//! operator ask in its name, gets here at all. Within one source the first to come wait, and whoever comes later is
//! refused without a trace on the disk; a full list makes room for a source that has less than its share,
//! at the cost of the one that has the most. So a flood takes the places of its own source alone.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{
    REQUEST_TTL_MS, State, device_record::DeviceRequest, expiry, node_record::NodeRequest,
};
use crate::identity::{NodeId, RequestId};

/// How many strangers of one source may wait on one layer: a rack that is switched on at once, and still a
/// list that a person can read. The others of a larger fleet get their turn as these are decided.
pub const MAX_STRANGERS_PER_SOURCE: usize = 64;

/// How many strangers may wait on one layer at all: a bound on memory (8 MiB with
/// [`MAX_REQUEST_BYTES`]) and on the size of the file that every new request writes.
pub const MAX_STRANGERS: usize = 1_024;

/// Bytes of names, scopes and commands in one request of a stranger: real ones have a few hundred.
pub const MAX_REQUEST_BYTES: usize = 8 * 1_024;

/// The shortest time after which a refused stranger is told to come again, in milliseconds.
const SHORTEST_RETRY_MS: u64 = 1_000;

/// Leading 16-bit groups of an IPv6 address that name one source: a host is given a whole /64.
const V6_SOURCE_GROUPS: usize = 4;

/// Who shares one allotment: an IPv4 address, an IPv6 /64, or everybody whose address is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Option<IpAddr>);

/// A stranger finds no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// Whose places are taken.
    pub source: Source,
    /// How many of that source wait.
    pub waiting: usize,
    /// When it is worth trying again, in milliseconds from now.
    pub retry_after_ms: u64,
}

/// What became of a request that found no place or lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// It gave way to one of another source.
    Displaced,
    /// It was not recorded.
    Refused,
}

/// One waiting stranger.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    source: Source,
    ts: u64,
    request_id: RequestId,
}

impl Waiting {
    /// Which request it is.
    pub(super) fn request_id(&self) -> &RequestId {
        &self.request_id
    }
}

impl Source {
    /// The source of a reported address.
    pub fn of(address: Option<IpAddr>) -> Source {
        Source(address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => {
                let mut groups = v6.segments();
                groups[V6_SOURCE_GROUPS..].fill(0);
                IpAddr::V6(groups.into())
            }
            v4 => v4,
        }))
    }

    /// The source of an address as a request holds it; one that cannot be read is unknown.
    pub(super) fn of_text(address: Option<&str>) -> Source {
        Source::of(address.and_then(|text| text.trim().parse().ok()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => formatter.write_str("unknown"),
            Some(IpAddr::V6(network)) => write!(formatter, "{network}/64"),
            Some(address) => address.fmt(formatter),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Full {
    /// The error message.
    pub fn message(&self) -> String {
        format!(
            "too many pairing requests wait ({}; this one comes from {}): decide about some of them \
             (openclaw devices list), or try again later",
            self.waiting, self.source
        )
    }

    /// The error details.
    pub fn details(&self) -> Value {
        json!({"code": "PAIRING_REQUESTS_FULL", "reason": "too-many-pending", "waiting": self.waiting})
    }
}

/// The waiting device requests of strangers.
pub(super) fn devices(state: &State) -> impl Iterator<Item = Waiting> {
    let strangers = state.devices.pending.records().filter(|request| {
        let record = state.devices.paired.record(request.device_id.as_str());
        record.is_none_or(|record| record.public_key != request.public_key)
    });
    strangers.map(|request: &DeviceRequest| Waiting {
        source: Source::of_text(request.remote_ip.as_deref()),
        ts: request.ts,
        request_id: request.request_id.clone(),
    })
}

/// Whether one more request in the name of this node finds a place. Nodes whose device is paired always do;
/// for strangers an operator asks, who says the address himself, so only their number counts.
pub(super) fn node_place(
    state: &State,
    node: &NodeId,
    address: Option<&str>,
    now: u64,
) -> Result<(), Full> {
    let strange = |node: &NodeId| state.devices.paired.record(node.as_str()).is_none();
    if !strange(node) {
        return Ok(());
    }
    let requests = state.nodes.pending.records();
    let strangers: Vec<Waiting> = requests
        .filter(|request| strange(&request.node_id) && !expiry::is_expired(request.ts, now))
        .map(|request: &NodeRequest| Waiting {
            source: Source::of_text(request.metadata.remote_ip.as_deref()),
            ts: request.ts,
            request_id: request.request_id.clone(),
        })
        .collect();
    let (source, waiting) = (Source::of_text(address), strangers.len());
    match waiting < MAX_STRANGERS {
        true => Ok(()),
        false => Err(full(source, waiting, strangers.iter(), now)),
    }
}

/// Whether one more stranger of `source` finds a place among those that wait; with the request that has to
/// give way to it, where one has to.
pub(super) fn place(
    waiting: impl Iterator<Item = Waiting>,
    source: Source,
    now: u64,
) -> Result<Option<(RequestId, Source)>, Full> {
    let mut by_source: BTreeMap<Source, Vec<Waiting>> = BTreeMap::new();
    for one in waiting {
        by_source.entry(one.source).or_default().push(one);
    }
    let own = by_source.get(&source).map_or(0, Vec::len);
    let total: usize = by_source.values().map(Vec::len).sum();
    if own >= MAX_STRANGERS_PER_SOURCE {
        let places = by_source.get(&source).into_iter().flatten();
        return Err(full(source, own, places, now));
    }
    if total < MAX_STRANGERS {
        return Ok(None);
    }
    let largest = by_source.values().max_by_key(|requests| requests.len());
    // With a difference of one both would only change places, and so on for ever.
    let oldest = largest
        .filter(|requests| requests.len() > own + 1)
        .and_then(|requests| requests.iter().min_by_key(|request| request.ts));
    match oldest {
        Some(oldest) => Ok(Some((oldest.request_id.clone(), oldest.source))),
        None => Err(full(source, own, by_source.values().flatten(), now)),
    }
}

fn full<'a>(
    source: Source,
    waiting: usize,
    places: impl Iterator<Item = &'a Waiting>,
    now: u64,
) -> Full {
    let free_at = places
        .map(|place| place.ts.saturating_add(REQUEST_TTL_MS + 1))
        .min()
        .unwrap_or(now);
    Full {
        source,
        waiting,
        retry_after_ms: free_at
            .saturating_sub(now)
            .clamp(SHORTEST_RETRY_MS, REQUEST_TTL_MS),
    }
}

#[cfg(test)]
mod tests;
