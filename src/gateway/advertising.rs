//! What a gateway lets the networks know of itself: from its configuration and environment to the order for
//! the advertiser, which is started last and never waited for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::config::load::Loaded;
use crate::config::word::MdnsMode;
use crate::config::{Environment, Paths};
use crate::discovery::container::Traces;
use crate::discovery::tailscale::Program;
use crate::discovery::{Advertiser, Facts, Standing, Wanted, WideArea, ZoneKeeper, ZoneStanding};
use crate::gateway::host;
use crate::identity::Fingerprint;

/// What is to be advertised, as far as it is known before the gateway listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertising {
    /// Why nothing is, if so.
    off: Option<String>,
    /// Port and certificate are not known yet.
    facts: Facts,
    /// Whom to ask for the name in the tailnet.
    tailscale: Option<Program>,
    /// Whether a zone is to be kept for the wide-area domain.
    zone: bool,
    /// The domain, if any is configured.
    domain: Option<String>,
    /// Below it the zone stands.
    state_dir: PathBuf,
}

/// What is known once the gateway listens.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it listens.
    pub listen: Vec<IpAddr>,
    /// The port.
    pub port: u16,
    /// Of the certificate; `None` is plaintext.
    pub fingerprint: Option<Fingerprint>,
}

impl Advertising {
    /// Nothing, for gateways in tests and in other programs.
    pub fn none() -> Advertising {
        Advertising {
            off: Some("this gateway is part of another program".to_owned()),
            facts: facts(MdnsMode::Off, &Environment::default(), None),
            tailscale: None,
            zone: false,
            domain: None,
            state_dir: PathBuf::new(),
        }
    }

    /// What configuration and environment ask for on this machine.
    pub fn of(loaded: &Loaded, paths: &Paths) -> Advertising {
        let environment = &loaded.environment;
        let mode = loaded.config.discovery.mdns_mode;
        let own = std::env::current_exe().ok();
        let own = own.and_then(|path| path.to_str().map(str::to_owned));
        Advertising {
            off: silence(mode, environment.disable_bonjour(), || {
                Traces::look().of_a_container()
            }),
            facts: facts(mode, environment, own),
            tailscale: Some(Program {
                search_path: environment.search_path(),
                home: paths.home.clone(),
            }),
            zone: loaded.config.discovery.wide_area_enabled,
            domain: loaded.config.discovery.wide_area_domain.clone(),
            state_dir: paths.state_dir.clone(),
        }
    }

    fn wanted(&self, place: &Place) -> Wanted {
        match &self.off {
            Some(why) => Wanted::Off(why.clone()),
            None => Wanted::On(Box::new(self.facts_at(place)), self.tailscale.clone()),
        }
    }

    /// What a zone says of a gateway there, whether one is wanted or not. It is only read by who is let near
    /// the domain, and tells how to install by SSH in every mode (discovery seed, service beacon details).
    pub fn wide_area(&self, place: &Place) -> WideArea {
        WideArea {
            domain: self.domain.clone(),
            state_dir: self.state_dir.clone(),
            facts: Facts {
                mode: MdnsMode::Full,
                ..self.facts_at(place)
            },
            listen: place.listen.clone(),
            tailscale: self.tailscale.clone(),
        }
    }

    fn wanted_zone(&self, place: &Place) -> Option<WideArea> {
        self.zone.then(|| self.wide_area(place))
    }

    fn facts_at(&self, place: &Place) -> Facts {
        Facts {
            port: place.port,
            tls: place.fingerprint.is_some(),
            fingerprint: place.fingerprint,
            ..self.facts.clone()
        }
    }
}

fn facts(mode: MdnsMode, environment: &Environment, own_path: Option<String>) -> Facts {
    let ssh_port = environment.ssh_port().unwrap_or_else(|warning| {
        log::warn!(target: "discovery", "{warning}");
        None
    });
    Facts {
        cli_path: environment.cli_path().map(str::to_owned).or(own_path),
        fingerprint: None,
        hostname: environment.mdns_hostname().map(str::to_owned),
        mode,
        name: host::display_name(),
        machine: host::name(),
        port: 0,
        ssh_port,
        tailnet_dns: environment.tailnet_dns().map(str::to_owned),
        tls: false,
    }
}

/// Why nothing is advertised, if so (discovery seed, disable/override).
fn silence(
    mode: MdnsMode,
    disabled: Result<Option<bool>, String>,
    in_container: impl FnOnce() -> bool,
) -> Option<String> {
    match disabled {
        _ if mode == MdnsMode::Off => Some("discovery.mdns.mode is off".to_owned()),
        Err(warning) => Some(warning),
        Ok(Some(true)) => Some("OPENCLAW_DISABLE_BONJOUR is 1".to_owned()),
        Ok(None) if in_container() => Some(
            "this is a container; OPENCLAW_DISABLE_BONJOUR=0 advertises all the same".to_owned(),
        ),
        Ok(Some(false) | None) => None,
    }
}

/// What publishes a gateway, from before it has begun.
#[derive(Default)]
pub struct Publicity {
    begun: OnceLock<Begun>,
    /// Not among the others: it may wait for a disk that does not answer.
    keeper_thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the system gave threads and descriptors for.
struct Begun {
    advertiser: Option<Advertiser>,
    keeper: Option<ZoneKeeper>,
    place: Place,
}

impl Publicity {
    /// Begins; the threads end with [`Publicity::end`], and those that are certain to are returned: see
    /// [`Publicity::take_keeper`] for the other. Where that is not possible, a log line says so and the
    /// gateway does without.
    pub fn begin(&self, advertising: &Advertising, place: Place) -> Vec<JoinHandle<()>> {
        let mut threads = Vec::new();
        let advertiser = Advertiser::new().map_err(|error| {
            log::warn!(target: "discovery", "nothing is advertised: {error}");
        });
        let advertiser = advertiser.ok();
        let keeper = ZoneKeeper::begin(advertising.wanted_zone(&place)).map_err(|error| {
            log::warn!(target: "discovery", "no zone is kept for the wide-area domain: {error}");
        });
        let keeper = keeper.ok().map(|(keeper, thread)| {
            *self.lock_keeper() = Some(thread);
            keeper
        });
        let begun = self.begun.get_or_init(|| Begun {
            advertiser,
            keeper,
            place,
        });
        let wanted = advertising.wanted(&begun.place);
        threads.extend(begun.advertiser.as_ref().and_then(|it| it.begin(wanted)));
        threads
    }

    /// Publishes as the configuration says now.
    pub fn adopt(&self, advertising: &Advertising) {
        let Some(begun) = self.begun.get() else {
            return;
        };
        if let Some(advertiser) = &begun.advertiser {
            advertiser.replace(advertising.wanted(&begun.place));
        }
        if let Some(keeper) = &begun.keeper {
            keeper.replace(advertising.wanted_zone(&begun.place));
        }
    }

    /// The thread that keeps the zone, once. It changes nothing any more after [`Publicity::end`], but may end late.
    pub fn take_keeper(&self) -> Option<JoinHandle<()>> {
        self.lock_keeper().take()
    }

    fn lock_keeper(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        let lock = self.keeper_thread.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Says goodbye; waits for nothing.
    pub fn end(&self) {
        let Some(begun) = self.begun.get() else {
            return;
        };
        begun.advertiser.iter().for_each(Advertiser::stop);
        begun.keeper.iter().for_each(ZoneKeeper::stop);
    }

    /// How it is, for everybody: see [`Standing::document`]; where a zone is wanted, how that is stands in it
    /// as `wideArea`: see [`ZoneStanding::document`].
    pub fn document(&self) -> Value {
        let begun = self.begun.get();
        let advertiser = begun.and_then(|begun| begun.advertiser.as_ref());
        let mut document = match advertiser {
            Some(advertiser) => advertiser.standing(),
            None => Standing::Off("not started".to_owned()),
        }
        .document();
        let keeper = begun.and_then(|begun| begun.keeper.as_ref());
        let zone = keeper.map_or(ZoneStanding::Off, ZoneKeeper::standing);
        if zone != ZoneStanding::Off {
            document["wideArea"] = zone.document();
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn configuration_comes_first_then_the_variable_then_the_container() {
        let warning = || Err("neither".to_owned());
        for (mode, disabled, in_container, silent) in [
            (MdnsMode::Minimal, Ok(None), false, None),
            (MdnsMode::Full, Ok(None), false, None),
            (MdnsMode::Off, Ok(None), false, Some("discovery.mdns.mode")),
            (MdnsMode::Off, Ok(Some(false)), true, Some("discovery.mdns.mode")),
            (MdnsMode::Full, Ok(Some(true)), false, Some("OPENCLAW_DISABLE_BONJOUR")),
            (MdnsMode::Full, Ok(Some(true)), true, Some("OPENCLAW_DISABLE_BONJOUR")),
            (MdnsMode::Minimal, Ok(Some(false)), false, None),
            (MdnsMode::Minimal, Ok(Some(false)), true, None),
            (MdnsMode::Minimal, Ok(None), true, Some("container")),
            (MdnsMode::Minimal, warning(), false, Some("neither")),
        ] {
            let found = silence(mode, disabled.clone(), || in_container);
            let expected = match silent {
                None => found.is_none(),
                Some(word) => found.as_ref().is_some_and(|why| why.contains(word)),
            };
            assert!(expected, "{mode} {disabled:?} {in_container}: {found:?}");
        }
    }

    #[test]
    fn what_is_found_out_late_is_advertised_too() {
        let mut advertising = Advertising::none();
        let place = |fingerprint| Place {
            listen: Vec::new(),
            port: 4711,
            fingerprint,
        };
        assert!(matches!(advertising.wanted(&place(None)), Wanted::Off(_)));
        advertising.off = None;
        let sha = Fingerprint::of(b"certificate");
        for fingerprint in [None, Some(sha)] {
            let Wanted::On(facts, _) = advertising.wanted(&place(fingerprint)) else {
                panic!("nothing is wanted");
            };
            assert_eq!((facts.port, facts.tls), (4711, fingerprint.is_some()));
            assert_eq!(facts.fingerprint, fingerprint);
            // The zone is another matter than multicast, and says all there is in every mode.
            assert_eq!(advertising.wanted_zone(&place(fingerprint)), None);
            let zone = Advertising {
                zone: true,
                ..advertising.clone()
            }
            .wanted_zone(&place(fingerprint));
            let expected = Facts {
                mode: MdnsMode::Full,
                ..*facts
            };
            assert_eq!(zone.unwrap().facts, expected);
        }
    }

    #[test]
    fn the_variables_override_what_the_machine_says() {
        let environment = Environment::from_pairs([
            ("OPENCLAW_CLI_PATH", "/opt/openclaw"),
            ("OPENCLAW_MDNS_HOSTNAME", "attic.local"),
            ("OPENCLAW_SSH_PORT", "2222"),
            ("OPENCLAW_TAILNET_DNS", "pi.tail1.ts.net."),
        ]);
        let own = || Some("/usr/bin/openclaw".to_owned());
        let found = facts(MdnsMode::Full, &environment, own());
        assert_eq!(found.cli_path.as_deref(), Some("/opt/openclaw"));
        assert_eq!(found.hostname.as_deref(), Some("attic.local"));
        assert_eq!(found.ssh_port, Some(2222));
        assert_eq!(found.tailnet_dns.as_deref(), Some("pi.tail1.ts.net"));
        let found = facts(MdnsMode::Full, &Environment::default(), own());
        assert_eq!(found.cli_path, own());
        assert_eq!(
            (found.hostname, found.ssh_port, found.tailnet_dns),
            (None, None, None)
        );
    }
}
