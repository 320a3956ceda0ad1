//! The thread that keeps a beacon published: it takes other names where somebody has them, follows the
//! interfaces, tries again after a failure with growing pauses and then is quiet, and says goodbye at the end.
//!
//! Whatever happens in here is told as a standing and a log line. Nobody waits for it but who ends it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde_json::{Value, json};

use crate::config::word::{MdnsMode, Word};
use crate::discovery::beacon::{Beacon, Facts, Numbers};
#[cfg(feature = "libmdns")]
use crate::discovery::libmdns::Published;
#[cfg(not(feature = "libmdns"))]
use crate::discovery::mdns::Published;
use crate::discovery::mdns::{Event, PORT};
use crate::discovery::tailscale::{Fault, Program};
use crate::net::Wake;
use crate::net::interfaces::{addresses, can_share};
use crate::net::links::{LinkNews, News};
use crate::net::readiness::wait_all;

/// Pauses between the attempts after a failure; behind the last one it waits for the network to change.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(60 * 60),
];

/// How long a change of the network may take to become an announcement, or an end of one: two looks at the
/// interfaces, three probes and two announcements.
const SETTLING: Duration = Duration::from_secs(5);

/// How long the names of a contest are collected before it is looked into: each interface probes for itself.
const CONTEST: Duration = Duration::from_secs(1);

/// How long the networks are asked who has a name.
const ASKING: Duration = Duration::from_millis(1_500);

/// Names that are tried before somebody is taken to contest every one of them.
const MAX_CONTESTS: u32 = 12;

/// Seconds between two looks at the interfaces while something changes, and where nobody tells of changes.
const LOOK_SECONDS: u32 = 1;
const UNTOLD_LOOK_SECONDS: u32 = 10;

/// Stack of the thread in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// What is to be advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing, and why.
    Off(String),
    /// A beacon of these facts. Where they name no tailnet, the program is asked for one.
    On(Box<Facts>, Option<Program>),
}

/// How far that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is advertised, on purpose.
    Off(String),
    /// Nothing is announced yet.
    Starting,
    /// The beacon is announced.
    Advertising {
        /// Under this instance name.
        instance: String,
        /// Saying this much.
        mode: MdnsMode,
    },
    /// It should be, and is not.
    Degraded(String),
}

impl Standing {
    /// The standing as everybody may see it: `{state, reason?, instance?, mode?}`, `state` one of `off`,
    /// `starting`, `advertising`, `degraded`.
    pub fn document(&self) -> Value {
        match self {
            Self::Off(reason) => json!({"state": "off", "reason": reason}),
            Self::Starting => json!({"state": "starting"}),
            Self::Advertising { instance, mode } => {
                json!({"state": "advertising", "instance": instance, "mode": mode.as_str()})
            }
            Self::Degraded(reason) => json!({"state": "degraded", "reason": reason}),
        }
    }
}

/// An order for the thread.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    Replace(Wanted),
    Stop,
}

/// The owner's handle. Clones are the same advertiser.
#[derive(Clone)]
pub struct Advertiser {
    shared: Arc<Shared>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    standing: Mutex<Standing>,
    wake: Wake,
}

#[derive(Debug, Default)]
struct Inbox {
    order: Option<Order>,
    /// What the present publication told.
    events: Vec<Event>,
    /// Which publication is the present one; what earlier ones still tell is of no interest.
    publication: u64,
}

impl Advertiser {
    /// An advertiser that has not begun.
    ///
    /// # Errors
    /// The system gives no descriptor.
    pub fn new() -> std::io::Result<Advertiser> {
        let shared = Shared {
            inbox: Mutex::default(),
            standing: Mutex::new(Standing::Off("not started".to_owned())),
            wake: Wake::new()?,
        };
        Ok(Advertiser {
            shared: Arc::new(shared),
        })
    }

    /// Begins in a thread of its own, which [`Advertiser::stop`] ends; `None` when there is none to be had,
    /// which the standing says.
    pub fn begin(&self, wanted: Wanted) -> Option<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        let thread = Builder::new().name("discovery".to_owned());
        let thread = thread.stack_size(STACK_BYTES).spawn(move || {
            let worked = catch_unwind(AssertUnwindSafe(|| work(&shared, wanted)));
            if worked.is_err() {
                shared.degrade(
                    "it ended by a fault of its own; a restart of the gateway begins anew",
                );
            }
        });
        match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                self.shared.degrade(&format!("no thread for it: {error}"));
                None
            }
        }
    }

    /// Advertises something else from now on; the names that were used are free again before.
    pub fn replace(&self, wanted: Wanted) {
        self.shared.give(Order::Replace(wanted));
    }

    /// Says goodbye and ends the thread; does not wait for it.
    pub fn stop(&self) {
        self.shared.give(Order::Stop);
    }

    /// How far it is.
    pub fn standing(&self) -> Standing {
        lock(&self.shared.standing).clone()
    }
}

impl Shared {
    fn give(&self, order: Order) {
        let mut inbox = lock(&self.inbox);
        if inbox.order != Some(Order::Stop) {
            inbox.order = Some(order);
        }
        drop(inbox);
        self.wake.notify();
    }

    fn order(&self) -> Option<Order> {
        lock(&self.inbox).order.take()
    }

    /// The name of this machine in the tailnet. An order ends the waiting for it.
    fn own_name(&self, tailnet: &Program) -> Option<String> {
        loop {
            // Cleared before the order is looked at: what wakes from here on is new.
            self.wake.clear();
            if lock(&self.inbox).order.is_some() {
                return None;
            }
            match tailnet.own_machine(Some(&self.wake)) {
                Err(Fault::Interrupted) => {}
                told => return told.ok()?.name,
            }
        }
    }

    fn events(&self) -> Vec<Event> {
        std::mem::take(&mut lock(&self.inbox).events)
    }

    /// A new publication; the value notes what it tells.
    fn next_publication(self: &Arc<Self>) -> impl Fn(Event) + Send + 'static {
        let mut inbox = lock(&self.inbox);
        inbox.publication += 1;
        inbox.events.clear();
        let (own, shared) = (inbox.publication, Arc::clone(self));
        move |event| {
            let mut inbox = lock(&shared.inbox);
            if inbox.publication == own && !inbox.events.contains(&event) {
                inbox.events.push(event);
                drop(inbox);
                shared.wake.notify();
            }
        }
    }

    /// Notes a standing; a new one is a log line. Requests look at the standing: nobody waits for a line to be
    /// written while it is locked.
    fn note(&self, standing: Standing) {
        let before = std::mem::replace(&mut *lock(&self.standing), standing.clone());
        if before == standing {
            return;
        }
        match &standing {
            Standing::Off(reason) => {
                log::info!(target: "discovery", "nothing is advertised: {reason}")
            }
            Standing::Starting => {}
            Standing::Advertising { instance, mode } => {
                log::info!(target: "discovery", "advertising as \"{instance}\" ({mode})");
            }
            Standing::Degraded(reason) => log::warn!(target: "discovery", "degraded: {reason}"),
        }
    }

    fn degrade(&self, reason: &str) {
        self.note(Standing::Degraded(reason.to_owned()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(shared: &Arc<Shared>, mut wanted: Wanted) {
    let mut worker = Worker {
        shared,
        links: None,
    };
    loop {
        let order = match &wanted {
            Wanted::Off(why) => {
                shared.note(Standing::Off(why.clone()));
                worker.links = None;
                worker.wait_for_order()
            }
            Wanted::On(facts, tailnet) => {
                shared.note(Standing::Starting);
                worker.links = LinkNews::open().ok();
                let mut facts = Facts::clone(facts);
                if facts.tailnet_dns.is_none() {
                    facts.tailnet_dns = tailnet.as_ref().and_then(|it| shared.own_name(it));
                }
                worker.advertise(&facts)
            }
        };
        match order {
            Order::Replace(other) => wanted = other,
            Order::Stop => return shared.note(Standing::Off("stopped".to_owned())),
        }
    }
}

struct Worker<'a> {
    shared: &'a Arc<Shared>,
    links: Option<LinkNews>,
}

/// The names of one attempt.
#[derive(Clone, Copy, Debug)]
struct Names {
    numbers: Numbers,
    /// Ask first whether somebody has them.
    probe: bool,
}

/// Why a publication ended.
enum Ended {
    Failed(String),
    /// Under these names it may go better.
    Contested(Names),
    Told(Order),
}

impl Worker<'_> {
    fn wait_for_order(&mut self) -> Order {
        loop {
            if let Some(order) = self.shared.order() {
                return order;
            }
            self.sleep(None, false);
        }
    }

    /// Publishes the facts until there is an order to do something else.
    fn advertise(&mut self, facts: &Facts) -> Order {
        let mut names = Names {
            numbers: Numbers::FIRST,
            probe: true,
        };
        let (mut contests, mut pauses) = (0, PAUSES.iter());
        loop {
            if let Some(order) = self.shared.order() {
                return order;
            }
            let reason = match self.publish(facts, names) {
                Ended::Told(order) => return order,
                Ended::Contested(others) if contests < MAX_CONTESTS => {
                    contests += 1;
                    names = others;
                    continue;
                }
                Ended::Contested(_) => {
                    format!("somebody on the network claims each of {MAX_CONTESTS} names")
                }
                Ended::Failed(reason) => reason,
            };
            self.shared.degrade(&reason);
            let pause = pauses.next().copied();
            if pause.is_none() {
                log::warn!(target: "discovery", "no further attempts before the network changes");
            }
            if let Some(order) = self.pause(pause) {
                return order;
            }
        }
    }

    /// Waits before the next attempt; shorter when the network comes up.
    fn pause(&mut self, pause: Option<Duration>) -> Option<Order> {
        let until = pause.map(|pause| Instant::now() + pause);
        loop {
            if let Some(order) = self.shared.order() {
                return Some(order);
            }
            if until.is_some_and(|until| Instant::now() >= until)
                || self.sleep(until, true) == News::CameUp
            {
                return None;
            }
        }
    }

    fn publish(&mut self, facts: &Facts, names: Names) -> Ended {
        let beacon = Beacon::numbered(facts, names.numbers);
        let told = self.shared.next_publication();
        let published = match Published::publish(&beacon, names.probe, told) {
            Ok(published) => published,
            Err(fault) => return Ended::Failed(fault.to_string()),
        };
        let mut attempt = Attempt {
            advertising: Standing::Advertising {
                instance: beacon.instance.clone(),
                mode: facts.mode,
            },
            beacon,
            names,
            published,
            announced: false,
            contested: None,
            settled: Some(Instant::now() + SETTLING),
            looking: false,
            unsettled: false,
        };
        if self.links.is_none() {
            attempt.published.look_for_interfaces(UNTOLD_LOOK_SECONDS);
        }
        let ended = self.hold(&mut attempt);
        // What was never announced may be somebody else's: no goodbye in his name.
        attempt.published.end(attempt.announced);
        ended
    }

    /// Stays with a publication until it ends.
    fn hold(&mut self, attempt: &mut Attempt) -> Ended {
        loop {
            if let Some(order) = self.shared.order() {
                return Ended::Told(order);
            }
            for event in self.shared.events() {
                match event {
                    Event::Announced => {
                        attempt.announced = true;
                        if attempt.contested.is_none() {
                            self.shared.note(attempt.advertising.clone());
                        }
                    }
                    Event::Contested => {
                        attempt.contested.get_or_insert(Instant::now() + CONTEST);
                    }
                    Event::Ended => return Ended::Failed("the responder ended".to_owned()),
                }
            }
            let now = Instant::now();
            if attempt.contested.is_some_and(|due| due <= now) {
                return attempt.look_into_contest();
            }
            if attempt.settled.is_some_and(|due| due <= now) {
                self.settle(attempt);
            }
            let due = attempt.contested.into_iter().chain(attempt.settled).min();
            if self.sleep(due, true) > News::Nothing {
                attempt.follow();
            }
        }
    }

    /// The network has had its time: says what is the case, and stops looking where nothing changed meanwhile.
    fn settle(&self, attempt: &mut Attempt) {
        if std::mem::take(&mut attempt.unsettled) {
            attempt.settled = Some(Instant::now() + SETTLING);
        } else {
            attempt.settled = None;
            if std::mem::take(&mut attempt.looking) && self.links.is_some() {
                attempt.published.look_for_interfaces(0);
            }
        }
        if !addresses().iter().any(|address| address.multicast) {
            self.shared
                .degrade("no network interface with multicast is up; it goes on when one comes");
        } else if attempt.announced {
            self.shared.note(attempt.advertising.clone());
        } else if let Err(error) = can_share(PORT) {
            self.shared
                .degrade(&format!("UDP port {PORT} cannot be shared: {error}"));
        } else {
            self.shared.degrade("no interface takes the announcement");
        }
    }

    /// Sleeps until there is something to look at, or the deadline; with `watching`, also until the network
    /// changes, and says how.
    fn sleep(&mut self, deadline: Option<Instant>, watching: bool) -> News {
        let links = self.links.as_ref().filter(|_| watching);
        let descriptors: Vec<_> = [Some(self.shared.wake.as_fd()), links.map(AsFd::as_fd)]
            .into_iter()
            .flatten()
            .map(|descriptor| (descriptor, PollFlags::IN))
            .collect();
        let ready = wait_all(&descriptors, deadline).unwrap_or_else(|_| {
            // The system is out of something: it is asked again, but not without end.
            std::thread::sleep(Duration::from_secs(1));
            Vec::new()
        });
        let is_ready = |at: usize| ready.get(at).is_some_and(|flags| !flags.is_empty());
        let (woken, changed) = (is_ready(0), is_ready(1));
        if woken {
            self.shared.wake.clear();
        }
        match self.links.as_mut().filter(|_| changed).map(LinkNews::look) {
            None => News::Nothing,
            Some(Ok(news)) => news,
            Some(Err(error)) => {
                log::warn!(target: "discovery", "changes of the network go unnoticed: {error}");
                self.links = None;
                News::Changed
            }
        }
    }
}

/// One publication.
struct Attempt {
    advertising: Standing,
    beacon: Beacon,
    names: Names,
    published: Published,
    announced: bool,
    /// When to look into who else has its names.
    contested: Option<Instant>,
    /// When the network counts as having come to rest.
    settled: Option<Instant>,
    /// The responder looks for interfaces meanwhile.
    looking: bool,
    /// Something has changed since it began to.
    unsettled: bool,
}

impl Attempt {
    /// Something about the network has changed. A network that never rests is looked at all the same: the
    /// responder's next look is not put off by the next change.
    fn follow(&mut self) {
        if std::mem::replace(&mut self.looking, true) {
            self.unsettled = true;
        } else {
            self.published.look_for_interfaces(LOOK_SECONDS);
            self.settled = Some(Instant::now() + SETTLING);
        }
    }

    /// Who has the names? Another machine gets the next number from us. This machine itself, on another
    /// interface of the same network, or nobody any more: then they are ours, and asking again would only find
    /// the same.
    fn look_into_contest(&self) -> Ended {
        let own: HashSet<IpAddr> = addresses().into_iter().map(|address| address.ip).collect();
        let contest = match self.published.contest(&self.beacon, &own, ASKING) {
            Ok(contest) => contest,
            Err(fault) => return Ended::Failed(fault.to_string()),
        };
        let Numbers { instance, host } = self.names.numbers;
        let names = Names {
            numbers: Numbers {
                instance: instance + u32::from(contest.instance),
                host: host + u32::from(contest.host),
            },
            probe: contest.instance || contest.host,
        };
        if names.probe {
            log::info!(target: "discovery", "another machine has a name of this beacon; taking the next one");
        } else {
            log::info!(target: "discovery", "two interfaces of this machine are in one network; the names stay");
        }
        Ended::Contested(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Box<Facts> {
        Box::new(Facts {
            cli_path: None,
            fingerprint: None,
            hostname: None,
            mode: MdnsMode::Minimal,
            name: "Pi".to_owned(),
            machine: "pi".to_owned(),
            port: 1,
            ssh_port: None,
            tailnet_dns: None,
            tls: false,
        })
    }

    fn until(advertiser: &Advertiser, wanted: &Standing) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while advertiser.standing() != *wanted {
            assert!(Instant::now() < deadline, "{:?}", advertiser.standing());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_standing_is_told_in_one_shape() {
        for (standing, document) in [
            (
                Standing::Off("x".to_owned()),
                json!({"state": "off", "reason": "x"}),
            ),
            (Standing::Starting, json!({"state": "starting"})),
            (
                Standing::Advertising {
                    instance: "Pi (OpenClaw)".to_owned(),
                    mode: MdnsMode::Full,
                },
                json!({"state": "advertising", "instance": "Pi (OpenClaw)", "mode": "full"}),
            ),
            (
                Standing::Degraded("x".to_owned()),
                json!({"state": "degraded", "reason": "x"}),
            ),
        ] {
            assert_eq!(standing.document(), document);
        }
    }

    #[test]
    fn an_advertiser_that_is_off_takes_orders_and_ends() {
        let advertiser = Advertiser::new().unwrap();
        let off = |why: &str| Wanted::Off(why.to_owned());
        let thread = advertiser.begin(off("first")).unwrap();
        until(&advertiser, &Standing::Off("first".to_owned()));
        advertiser.replace(off("second"));
        until(&advertiser, &Standing::Off("second".to_owned()));
        advertiser.stop();
        // An order that comes behind the stop does not undo it.
        advertiser.replace(Wanted::On(facts(), None));
        thread.join().unwrap();
        assert_eq!(advertiser.standing(), Standing::Off("stopped".to_owned()));
    }

    #[test]
    fn what_an_earlier_publication_still_tells_is_ignored() {
        let advertiser = Advertiser::new().unwrap();
        let first = advertiser.shared.next_publication();
        first(Event::Announced);
        first(Event::Announced);
        assert_eq!(advertiser.shared.events(), [Event::Announced]);
        let second = advertiser.shared.next_publication();
        first(Event::Ended);
        assert_eq!(advertiser.shared.events(), []);
        second(Event::Contested);
        assert_eq!(advertiser.shared.events(), [Event::Contested]);
    }
}
