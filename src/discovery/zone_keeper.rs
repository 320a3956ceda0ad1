//! The thread that keeps the wide-area zone right: written at the start, looked at again when the network
//! changes, and otherwise asleep.
//!
//! Whatever happens in here is told as a standing and a log line. Nobody waits for it but who ends it.

use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde_json::{Value, json};

use crate::discovery::wide_area::{Halt, Published, WideArea};
use crate::net::Wake;
use crate::net::links::{LinkNews, News};
use crate::net::readiness::wait_all;

/// When the zone is looked at after a change of the network: once it has come to rest, and once more for what
/// takes its time, like a tailnet that logs in.
const AFTER_CHANGE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];

/// Between two looks where nobody tells of changes.
const UNTOLD: Duration = Duration::from_secs(5 * 60);

/// Stack of the thread in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// How far the zone is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ZoneStanding {
    /// No zone is wanted.
    #[default]
    Off,
    /// Not looked at yet.
    Starting,
    /// The file says what it should.
    Published {
        /// Of this domain.
        domain: String,
    },
    /// There should be a zone and is none, or an old one.
    Degraded(String),
}

impl ZoneStanding {
    /// The standing as everybody may see it: `{state, domain?, reason?}`, `state` one of `off`, `starting`,
    /// `published`, `degraded`.
    pub fn document(&self) -> Value {
        match self {
            Self::Off => json!({"state": "off"}),
            Self::Starting => json!({"state": "starting"}),
            Self::Published { domain } => json!({"state": "published", "domain": domain}),
            Self::Degraded(reason) => json!({"state": "degraded", "reason": reason}),
        }
    }
}

/// An order for the thread.
#[derive(Debug)]
enum Order {
    Replace(Option<Box<WideArea>>),
    Stop,
}

/// The owner's handle. Clones are the same keeper.
#[derive(Clone)]
pub struct ZoneKeeper {
    shared: Arc<Shared>,
}

struct Shared {
    order: Mutex<Option<Order>>,
    standing: Mutex<ZoneStanding>,
    wake: Wake,
}

impl ZoneKeeper {
    /// Begins in a thread of its own, which [`ZoneKeeper::stop`] ends. `None` wants no zone for the time being.
    ///
    /// # Errors
    /// The system gives no descriptor or no thread.
    pub fn begin(wanted: Option<WideArea>) -> std::io::Result<(ZoneKeeper, JoinHandle<()>)> {
        let shared = Arc::new(Shared {
            order: Mutex::new(None),
            standing: Mutex::default(),
            wake: Wake::new()?,
        });
        let keeper = ZoneKeeper {
            shared: Arc::clone(&shared),
        };
        let thread = Builder::new().name("wide-area".to_owned());
        let thread = thread.stack_size(STACK_BYTES).spawn(move || {
            let worked = catch_unwind(AssertUnwindSafe(|| work(&shared, wanted.map(Box::new))));
            if worked.is_err() {
                let fault = "it ended by a fault of its own; a restart of the gateway begins anew";
                shared.note(ZoneStanding::Degraded(fault.to_owned()));
            }
        })?;
        Ok((keeper, thread))
    }

    /// Keeps another zone from now on. The file of the one before stays: a server may still serve it.
    pub fn replace(&self, wanted: Option<WideArea>) {
        self.shared.give(Order::Replace(wanted.map(Box::new)));
    }

    /// Ends the thread; does not wait for it.
    pub fn stop(&self) {
        self.shared.give(Order::Stop);
    }

    /// How far the zone is.
    pub fn standing(&self) -> ZoneStanding {
        lock(&self.shared.standing).clone()
    }
}

impl Shared {
    fn give(&self, order: Order) {
        let mut present = lock(&self.order);
        if !matches!(*present, Some(Order::Stop)) {
            *present = Some(order);
        }
        drop(present);
        self.wake.notify();
    }

    /// Notes a standing; a new one is a log line.
    fn note(&self, standing: ZoneStanding) {
        let mut present = lock(&self.standing);
        if *present == standing {
            return;
        }
        match &standing {
            ZoneStanding::Off | ZoneStanding::Starting => {}
            ZoneStanding::Published { domain } => {
                log::info!(target: "discovery", "the zone of {domain} is up to date");
            }
            ZoneStanding::Degraded(reason) => {
                log::warn!(target: "discovery", "nothing is published in the wide-area domain: {reason}");
            }
        }
        *present = standing;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(shared: &Shared, mut wanted: Option<Box<WideArea>>) {
    let mut watch = Watch {
        links: None,
        due: Vec::new(),
    };
    loop {
        if wanted.is_some() && watch.links.is_none() {
            watch.links = LinkNews::open().ok();
        }
        shared.note(match wanted.as_deref() {
            None => ZoneStanding::Off,
            Some(wide_area) => look(shared, wide_area),
        });
        let degraded = matches!(*lock(&shared.standing), ZoneStanding::Degraded(_));
        match watch.wait(shared, wanted.is_some(), degraded) {
            None => {}
            Some(Order::Replace(other)) => wanted = other,
            Some(Order::Stop) => return shared.note(ZoneStanding::Off),
        }
    }
}

fn look(shared: &Shared, wide_area: &WideArea) -> ZoneStanding {
    if *lock(&shared.standing) == ZoneStanding::Off {
        shared.note(ZoneStanding::Starting);
    }
    // Cleared before the order is looked at: what wakes from here on is a new one.
    shared.wake.clear();
    let halted = || lock(&shared.order).is_some();
    let present = || lock(&shared.standing).clone();
    if halted() {
        return present();
    }
    let halt = Halt {
        wake: Some(&shared.wake),
        halted: &halted,
    };
    match wide_area.publish(&halt) {
        Ok((domain, published)) => {
            if let Published::Written(serial) = published {
                log::info!(target: "discovery", "wrote the zone of {domain} with serial {serial}");
            }
            ZoneStanding::Published {
                domain: domain.to_string(),
            }
        }
        // Whatever it was, nobody wants it any more.
        Err(_) if halted() => present(),
        Err(error) => ZoneStanding::Degraded(error.to_string()),
    }
}

/// What tells when to look again.
struct Watch {
    links: Option<LinkNews>,
    due: Vec<Instant>,
}

impl Watch {
    /// Sleeps until there is an order, or, with `watching`, until it is time for another look. A disk that was
    /// full tells nobody that it has room again: while something is `degraded` time passes too.
    fn wait(&mut self, shared: &Shared, watching: bool, degraded: bool) -> Option<Order> {
        if !watching {
            self.due.clear();
        } else if self.due.is_empty() && (degraded || self.links.is_none()) {
            self.due.push(Instant::now() + UNTOLD);
        }
        loop {
            if let Some(order) = lock(&shared.order).take() {
                return Some(order);
            }
            let (now, waiting) = (Instant::now(), self.due.len());
            self.due.retain(|due| *due > now);
            if self.due.len() < waiting {
                return None;
            }
            self.sleep(shared, watching);
        }
    }

    fn sleep(&mut self, shared: &Shared, watching: bool) {
        let links = self.links.as_ref().filter(|_| watching);
        let descriptors = [Some(shared.wake.as_fd()), links.map(AsFd::as_fd)];
        let descriptors = descriptors.into_iter().flatten();
        let descriptors: Vec<_> = descriptors.map(|it| (it, PollFlags::IN)).collect();
        let Ok(ready) = wait_all(&descriptors, self.due.iter().min().copied()) else {
            // Without memory for a system call; it is no use to ask again at once.
            return std::thread::sleep(AFTER_CHANGE[0]);
        };
        let is_ready = |at: usize| ready.get(at).is_some_and(|flags| !flags.is_empty());
        if is_ready(0) {
            shared.wake.clear();
        }
        if is_ready(1) {
            match self.links.as_mut().map(LinkNews::look) {
                Some(Ok(News::Nothing)) | None => {}
                Some(Ok(_)) => self.changed(),
                Some(Err(_)) => self.links = None,
            }
        }
    }

    /// A first look stays due however often the network changes meanwhile; the last one comes after all.
    fn changed(&mut self) {
        let [soon, later] = AFTER_CHANGE.map(|pause| Instant::now() + pause);
        let first = self.due.iter().min().copied().unwrap_or(soon).min(soon);
        self.due = vec![first, later];
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::discovery::tailscale::testing::FakeTailscale;
    use crate::discovery::wide_area::testing::wide_area;
    use crate::store::testing::TempDir;

    fn until(keeper: &ZoneKeeper, wanted: impl Fn(&ZoneStanding) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !wanted(&keeper.standing()) {
            assert!(Instant::now() < deadline, "{:?}", keeper.standing());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_zone_follows_the_orders_and_the_thread_ends() {
        // A machine that really is in a tailnet must not get into the way.
        let fake = FakeTailscale::new(r#"echo '{"Self":{"TailscaleIPs":["100.64.0.9"]}}'"#);
        let wide_area = |state_dir: &Path| WideArea {
            tailscale: Some(fake.program()),
            ..wide_area(state_dir, "127.0.0.1")
        };
        let directory = TempDir::new();
        let file = directory.join("dns/openclaw.internal.db");
        let (keeper, thread) = ZoneKeeper::begin(None).unwrap();
        until(&keeper, |standing| *standing == ZoneStanding::Off);
        keeper.replace(Some(wide_area(directory.path())));
        let published = ZoneStanding::Published {
            domain: "openclaw.internal.".to_owned(),
        };
        until(&keeper, |standing| *standing == published);
        let zone = fs::read_to_string(&file).unwrap();
        assert!(zone.contains("pi IN A 100.64.0.9\n"), "{zone}");
        assert!(zone.contains("\"cliPath=/usr/bin/openclaw\""), "{zone}");
        for (broken, why) in [
            (
                WideArea {
                    domain: None,
                    ..wide_area(directory.path())
                },
                "No wide-area domain configured",
            ),
            (
                WideArea {
                    domain: Some("a b".to_owned()),
                    ..wide_area(directory.path())
                },
                "has a part \"a b\"",
            ),
            (wide_area(Path::new("/proc/nothing")), "/proc/nothing/dns"),
        ] {
            keeper.replace(Some(broken));
            until(
                &keeper,
                |standing| matches!(standing, ZoneStanding::Degraded(reason) if reason.contains(why)),
            );
        }
        keeper.replace(None);
        until(&keeper, |standing| *standing == ZoneStanding::Off);
        assert_eq!(fs::read_to_string(&file).unwrap(), zone);
        keeper.stop();
        // An order that comes behind the stop does not undo it.
        keeper.replace(Some(wide_area(directory.path())));
        thread.join().unwrap();
        assert_eq!(keeper.standing(), ZoneStanding::Off);
    }

    #[test]
    fn a_program_that_hangs_is_not_waited_for_once_something_else_is_wanted() {
        let fake = FakeTailscale::new("exec sleep 600");
        let hangs = WideArea {
            tailscale: Some(fake.program()),
            ..wide_area(fake.dir.path(), "10.0.0.7")
        };
        let wake = Wake::new().unwrap();
        wake.notify();
        let told = fake.program().own_machine(Some(&wake));
        assert_eq!(told, Err(crate::discovery::tailscale::Fault::Interrupted));
        let asked = fake.runs().len();
        let (keeper, thread) = ZoneKeeper::begin(Some(hangs)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while fake.runs().len() == asked {
            assert!(Instant::now() < deadline, "the program was not asked");
            std::thread::sleep(Duration::from_millis(1));
        }
        keeper.stop();
        thread.join().unwrap();
        assert!(!fake.dir.join("dns/openclaw.internal.db").exists());
        assert_eq!(keeper.standing(), ZoneStanding::Off);
    }

    #[test]
    fn a_restless_network_delays_no_look_and_the_last_look_comes_after_it() {
        let mut watch = Watch {
            links: None,
            due: Vec::new(),
        };
        watch.changed();
        let first = watch.due.clone();
        watch.changed();
        assert_eq!(watch.due[0], first[0]);
        assert!(watch.due[1] >= first[1]);
        assert_eq!(watch.due.len(), 2);
    }
}
