//! Multicast DNS: publishing a beacon on every interface, and asking who else has published one.
//!
//! The responder runs in a thread of its own with its own sockets and shares UDP port 5353 with those of other
//! programs. What comes in was sent by anybody; `found` makes it safe to show.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::thread;
use std::time::{Duration, Instant};

use mdns_sd::{
    DaemonEvent, HostnameResolutionEvent, IfKind, IfPredicate, Receiver, ResolvedService, ScopedIp,
    ServiceDaemon, ServiceEvent, ServiceInfo,
};

use crate::discovery::beacon::Beacon;
use crate::discovery::found::{Found, LOCAL, SERVICE_TYPE};
use crate::net::interfaces::{Address, addresses, can_share};

/// UDP port of multicast DNS (RFC 6762, section 3).
pub const PORT: u16 = 5353;

/// How long a responder may take to say goodbye and end.
pub const GOODBYE: Duration = Duration::from_secs(1);

/// Gateways that one browse keeps; a network with more has somebody who makes them up.
const MAX_FOUND: usize = 512;

/// The thread that passes events on only waits.
const STACK_BYTES: usize = 64 * 1024;

/// Why multicast DNS cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The port belongs to somebody who does not share it; the system's words.
    Port(String),
    /// The responder does not start; the library's words.
    Unavailable(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(why) => write!(
                f,
                "UDP port {PORT} of multicast DNS cannot be shared ({why}); if Avahi keeps it, use the service file in contrib/avahi"
            ),
            Self::Unavailable(why) => write!(f, "multicast DNS cannot be used: {why}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<mdns_sd::Error> for Fault {
    fn from(error: mdns_sd::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What happens to a published beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interface has announced it, under the names it was given or under others.
    Announced,
    /// Somebody has one of its names.
    Contested,
    /// The responder is gone.
    Ended,
}

/// A published beacon. It stays published until [`Published::end`].
pub struct Published {
    daemon: ServiceDaemon,
}

/// Who else has the names of a beacon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contest {
    /// Another machine has the instance name.
    pub instance: bool,
    /// Another machine has the host name.
    pub host: bool,
}

impl Published {
    /// Publishes a beacon on every interface but loopback. With `probe` its names are asked for first, and
    /// somebody who has one of them is told as [`Event::Contested`]. `told` is called from a thread of the
    /// responder's.
    ///
    /// # Errors
    /// [`Fault`]; what becomes of it later is told as events.
    pub fn publish(
        beacon: &Beacon,
        probe: bool,
        told: impl Fn(Event) + Send + 'static,
    ) -> Result<Published, Fault> {
        let daemon = responder()?;
        let published = Published { daemon };
        let events = published.daemon.monitor()?;
        let pass_on = move || {
            while let Ok(event) = events.recv() {
                match event {
                    DaemonEvent::Announce(..) => told(Event::Announced),
                    DaemonEvent::NameChange(..) => told(Event::Contested),
                    _ => {}
                }
            }
            told(Event::Ended);
        };
        let thread = thread::Builder::new().name("discovery-events".to_owned());
        let thread = thread.stack_size(STACK_BYTES).spawn(pass_on);
        let registered = thread
            .map_err(|error| Fault::Unavailable(error.to_string()))
            .and_then(|_| Ok(published.daemon.register(service(beacon, probe)?)?));
        match registered {
            Ok(()) => Ok(published),
            Err(fault) => {
                published.end(false);
                Err(fault)
            }
        }
    }

    /// Looks for interfaces that came or went every so many seconds from now on; 0 never, and then it sleeps
    /// until somebody asks. It begins with never.
    pub fn look_for_interfaces(&self, seconds: u32) {
        let _ = self.daemon.set_ip_check_interval(seconds);
    }

    /// Asks the networks who has the names of this beacon, and whether that is another gateway: what one
    /// interface says reaches the others where they are in the same network. Takes as long as `patience`.
    ///
    /// # Errors
    /// The responder is gone.
    pub fn contest(
        &self,
        beacon: &Beacon,
        own: &HashSet<IpAddr>,
        patience: Duration,
    ) -> Result<Contest, Fault> {
        let deadline = Instant::now() + patience;
        let milliseconds = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let host = format!("{}.{LOCAL}", beacon.host);
        let hosts = self.daemon.resolve_hostname(&host, Some(milliseconds))?;
        let found = gather(&self.daemon, deadline)?;
        let foreign = |address: &IpAddr| !own.contains(address);
        let instance = found.iter().any(|found| {
            let name = found.instance.eq_ignore_ascii_case(&beacon.instance);
            // Another gateway of this machine stands at another port.
            let elsewhere = found.addresses.iter().any(|at| foreign(&at.ip()));
            name && (elsewhere || found.port != beacon.port)
        });
        let mut holders = HashSet::new();
        while let Ok(event) = hosts.try_recv() {
            if let HostnameResolutionEvent::AddressesFound(_, addresses) = event {
                holders.extend(addresses.iter().map(ScopedIp::to_ip_addr));
            }
        }
        Ok(Contest {
            instance,
            host: holders.iter().any(foreign),
        })
    }

    /// Ends the responder, within [`GOODBYE`]. `goodbye` says that the beacon is gone; without it nothing is
    /// said, for a beacon that was never announced and whose names may be somebody else's.
    pub fn end(self, goodbye: bool) {
        if !goodbye {
            let _ = self.daemon.disable_interface(IfKind::All);
        }
        shut_down(&self.daemon);
    }
}

/// Asks all networks around this machine for gateways until the deadline.
///
/// # Errors
/// [`Fault`].
pub fn browse(deadline: Instant) -> Result<Vec<Found>, Fault> {
    let daemon = responder()?;
    let found = gather(&daemon, deadline);
    // It has said nothing that it would have to take back: nobody waits for its end.
    let _ = daemon.shutdown();
    found
}

/// A responder with nothing to say yet, on every interface but loopback, which looks at them once.
fn responder() -> Result<ServiceDaemon, Fault> {
    can_share(PORT).map_err(|error| Fault::Port(error.to_string()))?;
    let daemon = ServiceDaemon::new()?;
    let loopback = vec![IfKind::LoopbackV4, IfKind::LoopbackV6];
    let ready = daemon
        .set_ip_check_interval(0)
        .and_then(|()| daemon.disable_interface(loopback));
    match ready {
        Ok(()) => Ok(daemon),
        Err(error) => {
            shut_down(&daemon);
            Err(error.into())
        }
    }
}

fn shut_down(daemon: &ServiceDaemon) {
    if let Ok(ended) = daemon.shutdown() {
        let _ = ended.recv_timeout(GOODBYE);
    }
}

fn service_type() -> String {
    format!("{SERVICE_TYPE}.{LOCAL}")
}

fn service(beacon: &Beacon, probe: bool) -> Result<ServiceInfo, Fault> {
    let host = format!("{}.{LOCAL}", beacon.host);
    let service = ServiceInfo::new(
        &service_type(),
        &beacon.instance,
        &host,
        (),
        beacon.port,
        &beacon.txt[..],
    )?;
    let mut service = service.enable_addr_auto();
    let worth_saying = IfPredicate::new(|at| is_worth_saying(&at.name, at.ip(), &addresses()));
    service.set_interfaces(vec![IfKind::Predicate(worth_saying)]);
    service.set_requires_probe(probe);
    Ok(service)
}

/// Whether an address of an interface is published. A link-local IPv6 address is, where there is nothing else:
/// a responder of this host that has left it out would take ours for another host of the same name, and give
/// its own name up.
fn is_worth_saying(interface: &str, ip: IpAddr, all: &[Address]) -> bool {
    let spare = |ip: IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let better = |other: &Address| other.interface == interface && !spare(other.ip);
    !spare(ip) || !all.iter().any(better)
}

/// The gateways that are there until the deadline; what goes meanwhile is not among them.
fn gather(daemon: &ServiceDaemon, deadline: Instant) -> Result<Vec<Found>, Fault> {
    let kind = service_type();
    let events: Receiver<ServiceEvent> = daemon.browse(&kind)?;
    let mut found = BTreeMap::new();
    while let Ok(event) = events.recv_deadline(deadline) {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                let name = service.fullname.to_lowercase();
                if found.len() < MAX_FOUND || found.contains_key(&name) {
                    found.insert(name, resolved(&service, &kind));
                }
            }
            ServiceEvent::ServiceRemoved(_, name) => {
                found.remove(&name.to_lowercase());
            }
            _ => {}
        }
    }
    let _ = daemon.stop_browse(&kind);
    Ok(found.into_values().collect())
}

fn resolved(service: &ResolvedService, kind: &str) -> Found {
    let label = service.fullname.strip_suffix(kind);
    let label = label.unwrap_or(&service.fullname).trim_end_matches('.');
    let addresses = service.addresses.iter().map(|address| match address {
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.addr(), service.port, 0, v6.scope_id().index).into()
        }
        other => SocketAddr::new(other.to_ip_addr(), service.port),
    });
    let pairs = service.txt_properties.iter();
    Found::new(
        &unescape(label),
        LOCAL,
        &service.host,
        service.port,
        addresses,
        pairs.map(|pair| (pair.key(), pair.val().unwrap_or_default())),
    )
}

/// A label as it was before its dots and backslashes were escaped (RFC 6763, section 4.3).
pub fn unescape(label: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(label.len());
    let mut escaped = false;
    for byte in label.bytes() {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            bytes.push(byte);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_published_where_there_is_nothing_else() {
        let address = |interface: &str, ip: &str| Address {
            interface: interface.to_owned(),
            ip: ip.parse().unwrap(),
            multicast: true,
        };
        let all = [
            address("eth0", "fe80::1"),
            address("eth0", "10.0.0.1"),
            address("eth1", "fe80::2"),
            address("eth2", "fe80::3"),
            address("eth2", "fd00::3"),
        ];
        let said = all
            .iter()
            .map(|at| is_worth_saying(&at.interface, at.ip, &all));
        assert_eq!(said.collect::<Vec<_>>(), [false, true, true, false, true]);
    }

    #[test]
    fn a_label_is_decoded() {
        for (label, bytes) in [
            ("Pi (OpenClaw)", "Pi (OpenClaw)"),
            (r"Pi v1\.2", "Pi v1.2"),
            (r"back\\slash", r"back\slash"),
            (r"end\", "end"),
        ] {
            assert_eq!(unescape(label), bytes.as_bytes(), "{label}");
        }
    }

    #[test]
    fn a_beacon_becomes_a_service_with_its_text_in_order() {
        let beacon = Beacon {
            instance: "Pi v1.2 (OpenClaw)".to_owned(),
            host: "pi".to_owned(),
            port: 18_789,
            txt: vec![
                ("role".to_owned(), "gateway".to_owned()),
                ("displayName".to_owned(), "Pi = 3.14".to_owned()),
            ],
        };
        let service = service(&beacon, true).unwrap();
        assert_eq!(
            service.get_fullname(),
            r"Pi v1\.2 (OpenClaw)._openclaw-gw._tcp.local."
        );
        assert_eq!(
            (service.get_hostname(), service.get_port()),
            ("pi.local.", 18_789)
        );
        let text = service.get_properties().iter();
        let text: Vec<(&str, &str)> = text.map(|pair| (pair.key(), pair.val_str())).collect();
        assert_eq!(text, [("role", "gateway"), ("displayName", "Pi = 3.14")]);
        let found = resolved(&service.as_resolved_service(), &service_type());
        assert_eq!(found.instance, "Pi v1.2 (OpenClaw)");
        assert_eq!(
            (found.host.as_str(), found.name()),
            ("pi.local", "Pi = 3.14")
        );
    }
}
