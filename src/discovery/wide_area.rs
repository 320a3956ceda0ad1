//! Publishing in the wide-area domain: which addresses belong into its zone, and the zone's file.
//!
//! The file is for whichever DNS server serves the domain; nothing secret is in it.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::discovery::beacon::{Beacon, Facts};
use crate::discovery::domain::{Domain, DomainError};
use crate::discovery::tailscale::{Machine, Program};
use crate::discovery::zone::{HEADER, Zone, serial};
use crate::net::Wake;
use crate::net::address::{is_private, routed_address, tailnet_addresses};
use crate::net::interfaces;
use crate::store::clock::rfc3339;
use crate::store::confined::{Directory, foreign_to_root};
use crate::store::{Clock, StoreError, SystemClock};

/// Mode of the zone file: DNS servers run under accounts of their own.
const PUBLIC_FILE: u32 = 0o644;

/// The directory of the zones in the state directory.
const DIRECTORY: &str = "dns";

/// Mode of its directory.
const PUBLIC_DIRECTORY: u32 = 0o755;

/// Bytes of a zone file that are read; ours have a few thousand.
const MAX_ZONE_BYTES: u64 = 1024 * 1024;

/// What the zone is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WideArea {
    /// The domain as configured, if any is.
    pub domain: Option<String>,
    /// Below it the zone file stands.
    pub state_dir: PathBuf,
    /// The beacon's facts. Where they name no tailnet, the program is asked for one.
    pub facts: Facts,
    /// Where the gateway listens.
    pub listen: Vec<IpAddr>,
    /// Whom to ask for name and addresses in the tailnet.
    pub tailscale: Option<Program>,
}

/// Why nothing is published in the wide-area domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WideAreaError {
    /// No domain is configured.
    NoDomain,
    /// The configured one is none.
    Domain(DomainError),
    /// The gateway has no address that another machine could reach.
    Unreachable,
    /// This process is root's, and this on the way to the zone belongs to the account of that id, which could lead
    /// root anywhere.
    Foreign(PathBuf, u32),
    /// The file cannot be read or written.
    File(StoreError),
    /// Something else was wanted before it was visible.
    Interrupted,
}

/// What became of the zone file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It has another content now, with this serial.
    Written(u32),
    /// It said the same already and was not touched.
    Unchanged,
}

impl WideArea {
    /// Asks the tailnet, and brings the zone file to what is the case now, unless it is `halted` before that is
    /// visible.
    ///
    /// # Errors
    /// Why there is no zone, or an old one.
    pub fn publish(&self, halt: &Halt<'_>) -> Result<(Domain, Published), WideAreaError> {
        let domain = self.domain.as_deref().ok_or(WideAreaError::NoDomain)?;
        let domain = Domain::parse(domain)?;
        let tailnet = in_tailnet(self.tailscale.as_ref(), halt.wake);
        let addresses = reachable(&tailnet.addresses, &self.listen, &own_addresses());
        let mut facts = self.facts.clone();
        facts.tailnet_dns = facts.tailnet_dns.or(tailnet.name);
        let place = Place {
            state_dir: &self.state_dir,
            domain: &domain,
            now_ms: SystemClock.now_ms(),
        };
        let published = place.publish(&Beacon::new(&facts), &addresses, halt)?;
        Ok((domain, published))
    }
}

/// What keeps an old wish from being carried out once there is another.
pub struct Halt<'a> {
    /// Notified when there may be one: nothing outside of this process is waited for any longer.
    pub wake: Option<&'a Wake>,
    /// Whether there is one.
    pub halted: &'a dyn Fn() -> bool,
}

impl Halt<'_> {
    /// For whoever has only one wish.
    pub fn never() -> Halt<'static> {
        Halt {
            wake: None,
            halted: &|| false,
        }
    }
}

/// This machine in its tailnet: as the program says before `wake` is notified, else by its routes.
pub fn in_tailnet(tailscale: Option<&Program>, wake: Option<&Wake>) -> Machine {
    let told = tailscale.and_then(|program| program.own_machine(wake).ok());
    let mut machine = told.unwrap_or_default();
    if machine.addresses.is_empty() {
        // The program may be elsewhere, in a container for one.
        machine.addresses = tailnet_addresses();
    }
    machine
}

/// Where the zone of a domain stands below the state directory: `dns/<domain>.db`.
pub fn zone_file(state_dir: &Path, domain: &Domain) -> PathBuf {
    state_dir.join(DIRECTORY).join(domain.zone_file_name())
}

/// The addresses that belong into the zone: those of the tailnet where there are any, else the private ones
/// that the gateway listens on. `own` are those that stand for all addresses of a family: see
/// [`own_addresses`].
pub fn reachable(tailnet: &[IpAddr], listen: &[IpAddr], own: &[IpAddr]) -> Vec<IpAddr> {
    if !tailnet.is_empty() {
        return tailnet.to_vec();
    }
    let all = |any: &IpAddr| {
        let same = |own: &&IpAddr| own.is_ipv4() == any.is_ipv4();
        own.iter().filter(same).copied().collect()
    };
    let listening = listen
        .iter()
        .flat_map(|address| match address.is_unspecified() {
            true => all(address),
            false => vec![*address],
        });
    let mut found: Vec<IpAddr> = listening.filter(|address| is_private(*address)).collect();
    found.dedup();
    found
}

/// The address by which most others reach this machine; without a route to most others, those of all its
/// networks.
pub fn own_addresses() -> Vec<IpAddr> {
    match routed_address() {
        Some(address) => vec![address],
        None => {
            let all = interfaces::addresses().into_iter();
            all.filter(|address| address.multicast)
                .map(|address| address.ip)
                .collect()
        }
    }
}

/// Where and when a zone is written.
struct Place<'a> {
    state_dir: &'a Path,
    domain: &'a Domain,
    now_ms: u64,
}

impl Place<'_> {
    /// Brings the zone file to what the beacon says. `addresses` are those of [`reachable`].
    fn publish(
        &self,
        beacon: &Beacon,
        addresses: &[IpAddr],
        halt: &Halt<'_>,
    ) -> Result<Published, WideAreaError> {
        if addresses.is_empty() {
            return Err(WideAreaError::Unreachable);
        }
        if let Some((step, owner)) = foreign_to_root(self.state_dir) {
            return Err(WideAreaError::Foreign(step, owner));
        }
        let file = zone_file(self.state_dir, self.domain);
        let name = self.domain.zone_file_name();
        let unreadable = |error| WideAreaError::File(StoreError::unreadable(&file, &error));
        let unwritable = |error| WideAreaError::File(StoreError::unwritable(&file, &error));
        let directory =
            Directory::open(self.state_dir, DIRECTORY, PUBLIC_DIRECTORY).map_err(unwritable)?;
        let previous = directory.read(&name, MAX_ZONE_BYTES).map_err(unreadable)?;
        let previous = previous.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let zone = Zone {
            domain: self.domain,
            instance: &beacon.instance,
            host: &beacon.host,
            port: beacon.port,
            txt: &beacon.txt,
            addresses,
        };
        let Some(text) = zone.update(previous.as_deref(), day(self.now_ms)) else {
            return Ok(Published::Unchanged);
        };
        let prepare = |name: &str, text: &str| {
            let prepared = directory.prepare(name, text.as_bytes(), PUBLIC_FILE);
            prepared.map_err(unwritable)
        };
        let next = prepare(&name, &text)?;
        // What somebody else put there is kept beside it.
        let foreign = previous.filter(|text| !text.starts_with(HEADER));
        let kept = foreign.map(|text| prepare(&format!("{name}.bak"), &text));
        let kept = kept.transpose()?;
        if (halt.halted)() {
            return Err(WideAreaError::Interrupted);
        }
        for prepared in kept.into_iter().chain([next]) {
            prepared.commit().map_err(unwritable)?;
        }
        Ok(Published::Written(serial(&text).unwrap_or_default()))
    }
}

/// The date in UTC as a number: 20261130.
fn day(now_ms: u64) -> u32 {
    let digits: String = rfc3339(now_ms)
        .chars()
        .take(10)
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap_or_default()
}

impl fmt::Display for WideAreaError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDomain => {
                out.write_str("No wide-area domain configured. Set discovery.wideArea.domain or pass --domain.")
            }
            Self::Domain(error) => error.fmt(out),
            Self::Unreachable => out.write_str(
                "the gateway is only bound to loopback and this machine is in no tailnet, so there is no address \
                 to put into the zone. Set gateway.bind, or connect the tailnet",
            ),
            Self::Foreign(step, owner) => write!(
                out,
                "{} belongs to the account with id {owner}, and root writes no zone where another account could lead \
                 it elsewhere. The gateway of that account writes it while it runs with \
                 discovery.wideArea.enabled: true",
                step.display()
            ),
            Self::File(error) => error.fmt(out),
            Self::Interrupted => out.write_str("something else is wanted meanwhile"),
        }
    }
}

impl std::error::Error for WideAreaError {}

impl From<DomainError> for WideAreaError {
    fn from(error: DomainError) -> WideAreaError {
        WideAreaError::Domain(error)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::config::word::MdnsMode;

    /// A gateway that listens there and wants a zone below this directory.
    pub fn wide_area(state_dir: &Path, listen: &str) -> WideArea {
        WideArea {
            domain: Some("OpenClaw.internal".to_owned()),
            state_dir: state_dir.to_owned(),
            facts: Facts {
                cli_path: Some("/usr/bin/openclaw".to_owned()),
                fingerprint: None,
                hostname: None,
                mode: MdnsMode::Full,
                name: "Pi".to_owned(),
                machine: "pi".to_owned(),
                port: 18_789,
                ssh_port: None,
                tailnet_dns: None,
                tls: false,
            },
            listen: vec![listen.parse().unwrap()],
            tailscale: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown, symlink};

    use super::testing::wide_area;
    use super::*;
    use crate::discovery::tailscale::testing::FakeTailscale;
    use crate::store::testing::TempDir;

    /// 2026-11-30.
    const NOW_MS: u64 = 1_795_996_800_000;

    fn beacon(port: u16) -> Beacon {
        Beacon {
            instance: "Pi (OpenClaw)".to_owned(),
            host: "pi".to_owned(),
            port,
            txt: vec![("role".to_owned(), "gateway".to_owned())],
        }
    }

    fn publish(
        state_dir: &Path,
        port: u16,
        here: &[IpAddr],
        now_ms: u64,
    ) -> Result<Published, WideAreaError> {
        let domain = Domain::parse("OpenClaw.internal").unwrap();
        let place = Place {
            state_dir,
            domain: &domain,
            now_ms,
        };
        place.publish(&beacon(port), here, &Halt::never())
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_zone_names_the_tailnet_else_what_the_gateway_listens_on() {
        for (tailnet, listen, own, expected) in [
            (
                &["100.64.0.9", "fd7a:115c:a1e0::9"][..],
                &["127.0.0.1"][..],
                &[][..],
                &["100.64.0.9", "fd7a:115c:a1e0::9"][..],
            ),
            (
                &["100.64.0.9"],
                &["0.0.0.0"],
                &["192.168.1.7"],
                &["100.64.0.9"],
            ),
            (&[], &["0.0.0.0"], &["192.168.1.7"], &["192.168.1.7"]),
            (&[], &["0.0.0.0"], &["203.0.113.7"], &[]),
            (&[], &["0.0.0.0"], &[], &[]),
            (&[], &["::"], &["192.168.1.7"], &[]),
            (
                &[],
                &["10.0.0.7", "127.0.0.1"],
                &["192.168.1.7"],
                &["10.0.0.7"],
            ),
            (&[], &["203.0.113.7", "127.0.0.1"], &[], &[]),
            (&[], &["127.0.0.1", "::1"], &["192.168.1.7"], &[]),
        ] {
            let found = reachable(&addresses(tailnet), &addresses(listen), &addresses(own));
            assert_eq!(found, addresses(expected), "{tailnet:?} {listen:?}");
        }
    }

    #[test]
    fn a_file_that_says_the_same_is_not_touched_and_others_may_read_it() {
        let directory = TempDir::new();
        let domain = Domain::parse("OpenClaw.internal").unwrap();
        let file = zone_file(directory.path(), &domain);
        assert_eq!(file, directory.join("dns/openclaw.internal.db"));
        let here = addresses(&["100.64.0.9"]);
        let publish = |port, now| publish(directory.path(), port, &here, now);
        assert_eq!(publish(1, NOW_MS), Ok(Published::Written(2_026_113_000)));
        let first = fs::metadata(&file).unwrap();
        assert_eq!(first.mode() & 0o777, 0o644);
        assert_eq!(
            fs::metadata(directory.join("dns")).unwrap().mode() & 0o777,
            0o755
        );
        assert_eq!(publish(1, NOW_MS * 2), Ok(Published::Unchanged));
        let second = fs::metadata(&file).unwrap();
        assert_eq!(
            (first.ino(), first.mtime_nsec()),
            (second.ino(), second.mtime_nsec())
        );
        assert_eq!(publish(2, NOW_MS), Ok(Published::Written(2_026_113_001)));
        assert_eq!(publish(1, 0), Ok(Published::Written(2_026_113_002)));
        assert_eq!(fs::read_dir(directory.join("dns")).unwrap().count(), 1);
    }

    #[test]
    fn what_somebody_else_put_there_is_kept_beside_it() {
        let directory = TempDir::new();
        let domain = Domain::parse("openclaw.internal").unwrap();
        let file = zone_file(directory.path(), &domain);
        fs::create_dir(directory.join("dns")).unwrap();
        let foreign = "@ IN SOA a b ( 4000000000 1 1 1 1 )\nwww IN A 10.0.0.1\n";
        fs::write(&file, foreign).unwrap();
        let published = publish(directory.path(), 1, &addresses(&["10.0.0.7"]), NOW_MS);
        assert_eq!(published, Ok(Published::Written(4_000_000_001)));
        let kept = fs::read_to_string(directory.join("dns/openclaw.internal.db.bak")).unwrap();
        assert_eq!(kept, foreign);
    }

    #[test]
    fn without_an_address_or_a_place_of_its_own_nothing_is_written() {
        let directory = TempDir::new();
        let here = addresses(&["10.0.0.7"]);
        let unreachable = publish(directory.path(), 1, &[], NOW_MS);
        assert_eq!(unreachable, Err(WideAreaError::Unreachable));
        assert!(!directory.join("dns").exists());
        fs::create_dir(directory.join("elsewhere")).unwrap();
        symlink(directory.join("elsewhere"), directory.join("dns")).unwrap();
        let refused = || {
            let refused = publish(directory.path(), 1, &here, NOW_MS);
            assert!(
                matches!(refused, Err(WideAreaError::File(_))),
                "{refused:?}"
            );
            let count = fs::read_dir(directory.join("elsewhere")).unwrap().count();
            assert_eq!(count, 0);
        };
        refused();
        fs::remove_file(directory.join("dns")).unwrap();
        fs::create_dir(directory.join("dns")).unwrap();
        let file = directory.join("dns/openclaw.internal.db");
        symlink(directory.join("elsewhere/zone"), &file).unwrap();
        refused();
        assert!(file.is_symlink());
    }

    #[test]
    fn root_writes_no_zone_where_another_account_has_a_say() {
        let directory = TempDir::new();
        let state_dir = directory.join("home/.openclaw");
        fs::create_dir_all(&state_dir).unwrap();
        if chown(directory.join("home"), Some(65_534), None).is_err() {
            // Only root can be led astray, and only root gives a directory away.
            assert!(foreign_to_root(&state_dir).is_none());
            return;
        }
        let here = addresses(&["10.0.0.7"]);
        let refused = publish(&state_dir, 1, &here, NOW_MS).unwrap_err();
        let expected = WideAreaError::Foreign(directory.join("home"), 65_534);
        assert_eq!(refused, expected);
        assert!(refused.to_string().contains("discovery.wideArea.enabled"));
        // A way around by a link is the same way.
        symlink(&state_dir, directory.join("link")).unwrap();
        let refused = publish(&directory.join("link"), 1, &here, NOW_MS);
        assert_eq!(refused, Err(expected));
        assert!(!state_dir.join("dns").exists());
    }

    #[test]
    fn what_is_halted_before_it_is_visible_leaves_no_trace() {
        let directory = TempDir::new();
        let mut wanted = wide_area(directory.path(), "10.0.0.7");
        wanted.tailscale = None;
        let halt = Halt {
            wake: None,
            halted: &|| true,
        };
        let outcome = wanted.publish(&halt);
        assert_eq!(outcome, Err(WideAreaError::Interrupted));
        assert_eq!(fs::read_dir(directory.join("dns")).unwrap().count(), 0);
    }

    #[test]
    fn name_and_addresses_are_those_that_the_tailnet_gave() {
        let fake = FakeTailscale::new(
            r#"echo '{"Self":{"DNSName":"pi.tail1.ts.net.","TailscaleIPs":["100.64.0.9","fd7a:115c:a1e0::9"]}}'"#,
        );
        let mut wanted = wide_area(fake.dir.path(), "127.0.0.1");
        wanted.tailscale = Some(fake.program());
        wanted.publish(&Halt::never()).unwrap();
        let file = fake.dir.join("dns/openclaw.internal.db");
        let zone = fs::read_to_string(&file).unwrap();
        for line in [
            "pi IN A 100.64.0.9\n",
            "pi IN AAAA fd7a:115c:a1e0::9\n",
            "\"tailnetDns=pi.tail1.ts.net\"",
        ] {
            assert!(zone.contains(line), "{line}: {zone}");
        }
        // Whoever names it himself is believed.
        wanted.facts.tailnet_dns = Some("other.ts.net".to_owned());
        wanted.publish(&Halt::never()).unwrap();
        let zone = fs::read_to_string(&file).unwrap();
        assert!(zone.contains("\"tailnetDns=other.ts.net\""), "{zone}");
    }
}
