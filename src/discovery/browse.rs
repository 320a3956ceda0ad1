//! Looking for gateways in several domains at once, within one time, and one list of what was found.
//!
//! A domain that fails or hangs takes nothing from the others.

use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Loaded;
use crate::discovery::domain::Domain;
use crate::discovery::found::{Found, LOCAL};
use crate::discovery::unicast::resolvers::Resolvers;
use crate::discovery::{mdns, unicast};

/// How long after the end of the time an answer still counts: browsing ends at that moment, not before.
const LATE: Duration = Duration::from_millis(250);

/// Browses one domain until a moment.
pub type Browser = Box<dyn FnOnce(Instant) -> Result<Vec<Found>, String> + Send>;

/// The domains that this machine browses: that of the local network unless it is turned off, and the configured
/// wide-area domain.
pub fn domains(loaded: &Loaded) -> Vec<(String, Browser)> {
    let mut domains: Vec<(String, Browser)> = Vec::new();
    if matches!(loaded.environment.disable_bonjour(), Ok(None | Some(false))) {
        let browse = |deadline| mdns::browse(deadline).map_err(|fault| fault.to_string());
        domains.push((LOCAL.to_owned(), Box::new(browse)));
    }
    let discovery = &loaded.config.discovery;
    let wide = discovery.wide_area_domain.as_deref();
    if let Some(text) = wide.filter(|_| discovery.wide_area_enabled) {
        domains.push(match Domain::parse(text) {
            Ok(domain) => (domain.as_str().to_owned(), wide_area(domain)),
            Err(fault) => (text.to_owned(), Box::new(move |_| Err(fault.to_string()))),
        });
    }
    domains
}

fn wide_area(domain: Domain) -> Browser {
    Box::new(move |deadline| {
        let resolvers = Resolvers::of_this_machine();
        unicast::browse(&domain, &resolvers, deadline).map_err(|fault| fault.to_string())
    })
}

/// What a look around has shown.
#[derive(Debug, Default)]
pub struct Scan {
    /// Each gateway once, in the order of their names.
    pub found: Vec<Found>,
    /// Domains that could not be browsed, and why.
    pub faults: Vec<(String, String)>,
}

/// Browses all domains at once for `patience`; comes back at most a quarter of a second later.
pub fn scan(domains: Vec<(String, Browser)>, patience: Duration) -> Scan {
    let deadline = Instant::now() + patience;
    let mut scan = Scan::default();
    let (answers, answered) = channel();
    let mut open: Vec<String> = Vec::new();
    for (domain, browse) in domains {
        let (answers, name) = (answers.clone(), domain.clone());
        let look = move || {
            // Nobody listens any more when this took too long.
            let _ = answers.send((name, browse(deadline)));
        };
        match thread::Builder::new().name("browse".to_owned()).spawn(look) {
            Ok(_) => open.push(domain),
            Err(error) => scan.faults.push((domain, error.to_string())),
        }
    }
    drop(answers);
    while !open.is_empty() {
        let left = (deadline + LATE).saturating_duration_since(Instant::now());
        match answered.recv_timeout(left) {
            Ok((domain, outcome)) => {
                open.retain(|waiting| *waiting != domain);
                match outcome {
                    Ok(found) => scan.found.extend(found),
                    Err(why) => scan.faults.push((domain, why)),
                }
            }
            Err(end) => {
                let why = match end {
                    RecvTimeoutError::Timeout => "no answer in time",
                    RecvTimeoutError::Disconnected => "browsing broke off",
                };
                let faults = open.drain(..).map(|domain| (domain, why.to_owned()));
                scan.faults.extend(faults);
            }
        }
    }
    scan.found = merged(scan.found);
    scan.faults.sort();
    scan
}

/// Each gateway once: the same instance, host and port with the same word on TLS is one. Of the two domains the local
/// network's answer counts, but anybody there can take a name: it replaces no other than one at the same address, and
/// then leads nowhere else. One that was not resolved gives way.
fn merged(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|found| found.domain != LOCAL);
    let mut rows: Vec<Found> = Vec::new();
    for next in found {
        match rows.iter_mut().find(|row| is_same(row, &next)) {
            None => rows.push(next),
            Some(row) if row.domain == next.domain => {
                let addresses = row.addresses.iter().chain(&next.addresses);
                row.addresses = Found::in_order(addresses.copied());
            }
            Some(row) if row.addresses.is_empty() => *row = next,
            Some(row) => row.addresses.retain(|at| next.addresses.contains(at)),
        }
    }
    rows.sort_by_key(|row| (row.name().to_lowercase(), row.instance.clone(), row.port));
    rows
}

/// Hosts are compared by their first label: the rest is the domain's.
fn is_same(one: &Found, other: &Found) -> bool {
    let label = |found: &Found| {
        let label = found.host.split('.').next().unwrap_or_default();
        label.to_ascii_lowercase()
    };
    let together =
        one.addresses.is_empty() || other.addresses.iter().any(|at| one.addresses.contains(at));
    one.port == other.port
        && one.says_tls() == other.says_tls()
        && one.instance.eq_ignore_ascii_case(&other.instance)
        && label(one) == label(other)
        && match one.domain == other.domain {
            true => one.host.eq_ignore_ascii_case(&other.host),
            false => together,
        }
}

impl fmt::Display for Scan {
    /// The domains that could not be browsed, one line each.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (domain, why)) in self.faults.iter().enumerate() {
            let end = if index > 0 { "\n" } else { "" };
            write!(out, "{end}{domain} could not be browsed: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(instance: &str, domain: &str, host: &str, port: u16, addresses: &[&str]) -> Found {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        Found::new(instance.as_bytes(), domain, host, port, addresses, [])
    }

    fn shown(scan: &Scan) -> Vec<String> {
        let row = |found: &Found| {
            let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
            format!(
                "{} {} {} {}",
                found.instance,
                found.domain,
                found.host,
                addresses.join(" ")
            )
        };
        scan.found.iter().map(row).collect()
    }

    fn browser(found: Vec<Found>) -> Browser {
        Box::new(move |_| Ok(found))
    }

    #[test]
    fn a_gateway_of_both_domains_is_one_row_and_the_local_network_wins() {
        const WIDE: &str = "claw.example.";
        let wide = vec![
            found("Pi", WIDE, "pi.claw.example.", 1, &["10.0.0.1:1"]),
            found("Dark", WIDE, "dark.claw.example.", 1, &["100.64.0.2:1"]),
            found("Far", WIDE, "far.claw.example.", 1, &["100.64.0.3:1"]),
            found("Pi", WIDE, "pi.claw.example.", 2, &["100.64.0.1:2"]),
        ];
        let local = vec![
            found("Pi", LOCAL, "pi.local.", 1, &["[fe80::1%2]:1"]),
            found("Pi", LOCAL, "PI.local.", 1, &["10.0.0.1:1"]),
            found("Dark", LOCAL, "dark.local.", 1, &[]),
            found("Pi", LOCAL, "other.local.", 1, &["10.0.0.9:1"]),
        ];
        let expected = [
            "Dark claw.example. dark.claw.example 100.64.0.2:1",
            "Far claw.example. far.claw.example 100.64.0.3:1",
            "Pi local. pi.local 10.0.0.1:1",
            "Pi local. other.local 10.0.0.9:1",
            "Pi claw.example. pi.claw.example 100.64.0.1:2",
        ];
        for turned in [false, true] {
            let mut domains = vec![
                (WIDE.to_owned(), browser(wide.clone())),
                (LOCAL.to_owned(), browser(local.clone())),
            ];
            if turned {
                domains.reverse();
            }
            let scan = scan(domains, Duration::ZERO);
            assert_eq!(
                (shown(&scan), scan.faults),
                (expected.map(str::to_owned).to_vec(), vec![])
            );
        }
    }

    #[test]
    fn whoever_takes_the_name_of_a_wide_area_gateway_stands_beside_it() {
        const WIDE: &str = "claw.example.";
        let real = |addresses: &[&str]| Found {
            txt: [("gatewaytls".to_owned(), "1".to_owned())].into(),
            ..found("Pi", WIDE, "pi.claw.example.", 1, addresses)
        };
        let liar = |tls: &str, addresses: &[&str]| Found {
            txt: [("gatewaytls".to_owned(), tls.to_owned())].into(),
            ..found("Pi", LOCAL, "pi.local.", 1, addresses)
        };
        let at = "100.64.0.1:1";
        for (wide, local) in [
            (real(&[at]), liar("1", &["10.0.0.66:1"])),
            (real(&[at]), liar("0", &["10.0.0.66:1"])),
            (real(&[at]), liar("0", &[at])),
            (real(&[]), liar("1", &["10.0.0.66:1"])),
            (real(&[]), liar("0", &["10.0.0.66:1"])),
        ] {
            let rows = merged(vec![wide.clone(), local.clone()]);
            assert_eq!(rows, [local, wide]);
        }
        // What stands at the same address is the same, and leads there alone.
        let rows = merged(vec![real(&[at]), liar("1", &["10.0.0.66:1", at])]);
        assert_eq!(rows, [liar("1", &[at])]);
    }

    #[test]
    fn a_domain_that_fails_breaks_or_hangs_takes_nothing_from_the_others() {
        let (release, released) = channel::<()>();
        let hangs: Browser = Box::new(move |_| {
            let _ = released.recv();
            Ok(Vec::new())
        });
        let domains = vec![
            ("hangs.".to_owned(), hangs),
            (
                "fails.".to_owned(),
                Box::new(|_| Err("refused".to_owned())) as Browser,
            ),
            (
                LOCAL.to_owned(),
                browser(vec![found("Pi", LOCAL, "pi.local.", 1, &[])]),
            ),
        ];
        let scan = scan(domains, Duration::from_millis(20));
        drop(release);
        assert_eq!(shown(&scan), ["Pi local. pi.local "]);
        assert_eq!(
            scan.to_string(),
            "fails. could not be browsed: refused\nhangs. could not be browsed: no answer in time"
        );
    }
}
