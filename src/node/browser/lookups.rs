//! Addresses of hosts that held requests go to: every host is looked up once for all that wait, and remembered for a
//! moment, so that a page with hundreds of pictures costs its hosts one look each.
//!
//! Whoever asks goes on at once; a look-up costs a thread for as long as somebody waits.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::guard;

/// Hosts that are looked up at the same time.
const MAX_THREADS: usize = 16;

/// Hosts that wait for their turn; a page that asks for more gets none of them.
const MAX_WAITING: usize = 256;

/// Hosts that are remembered.
const MAX_KNOWN: usize = 512;

/// How long addresses are remembered: a name that leads elsewhere later is looked at again.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// How long one look-up may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Looking up only waits.
const STACK: usize = 256 * 1024;

/// Gives the addresses of a host; none when there are none.
pub type Resolve = Box<dyn Fn(&str) -> Vec<IpAddr> + Send + Sync>;

/// Takes the addresses of a host; none when it has none, or when too many hosts wait.
pub type Then = Box<dyn FnOnce(&[IpAddr]) + Send>;

/// Hosts and their addresses.
pub struct Lookups {
    resolve: Resolve,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hosts: HashMap<String, Host>,
    waiting: VecDeque<String>,
    threads: usize,
}

enum Host {
    Asked(Vec<Then>),
    Known(Vec<IpAddr>, Instant),
}

impl Lookups {
    /// Asks the system's resolver; nothing is known yet.
    pub fn of_system() -> Self {
        Self::new(Box::new(|host| {
            guard::addresses(host, Instant::now() + LIMIT).unwrap_or_default()
        }))
    }

    /// Nothing is known yet.
    pub fn new(resolve: Resolve) -> Self {
        Self {
            resolve,
            state: Mutex::default(),
        }
    }

    /// Hands the addresses of a host to `then`: at once when they are known, else in a thread of its own.
    pub fn ask(self: &Arc<Self>, host: &str, then: Then) {
        let mut state = self.lock();
        match state.hosts.get_mut(host) {
            Some(Host::Known(addresses, until)) if Instant::now() < *until => {
                let addresses = addresses.clone();
                drop(state);
                return then(&addresses);
            }
            Some(Host::Asked(others)) => return others.push(then),
            _ => {}
        }
        if state.waiting.len() >= MAX_WAITING {
            drop(state);
            return then(&[]);
        }
        if state.hosts.len() >= MAX_KNOWN {
            state.hosts.retain(|_, host| matches!(host, Host::Asked(_)));
        }
        let asked = Host::Asked(vec![then]);
        state.hosts.insert(host.to_owned(), asked);
        state.waiting.push_back(host.to_owned());
        if state.threads >= MAX_THREADS {
            return;
        }
        state.threads += 1;
        drop(state);
        let own = Arc::clone(self);
        let builder = std::thread::Builder::new().name("browser-lookup".to_owned());
        if builder.stack_size(STACK).spawn(move || own.work()).is_err() {
            self.refuse(host);
        }
    }

    /// Looks hosts up until nobody waits.
    fn work(&self) {
        loop {
            let mut state = self.lock();
            let Some(host) = state.waiting.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            let found = (self.resolve)(&host);
            let mut state = self.lock();
            let asked = if found.is_empty() {
                state.hosts.remove(&host)
            } else {
                let known = Host::Known(found.clone(), Instant::now() + KEPT_FOR);
                state.hosts.insert(host, known)
            };
            drop(state);
            if let Some(Host::Asked(waiting)) = asked {
                waiting.into_iter().for_each(|then| then(&found));
            }
        }
    }

    /// There is no thread for a host.
    fn refuse(&self, host: &str) {
        let mut state = self.lock();
        state.threads -= 1;
        state.waiting.retain(|waiting| waiting != host);
        let asked = state.hosts.remove(host);
        drop(state);
        if let Some(Host::Asked(waiting)) = asked {
            waiting.into_iter().for_each(|then| then(&[]));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn then(told: &Sender<Vec<IpAddr>>) -> Then {
        let told = told.clone();
        Box::new(move |addresses| told.send(addresses.to_vec()).unwrap())
    }

    #[test]
    fn a_host_is_looked_up_once_for_all_that_wait_and_again_later() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (gate, opened) = channel::<IpAddr>();
        let (count, opened) = (Arc::clone(&asked), Mutex::new(opened));
        let lookups = Arc::new(Lookups::new(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            let opened = opened.lock().unwrap().recv_timeout(PATIENCE);
            opened.into_iter().collect()
        })));
        let (told, answers) = channel();
        for _ in 0..100 {
            lookups.ask("a.example", then(&told));
        }
        let public: IpAddr = "8.8.8.8".parse().unwrap();
        gate.send(public).unwrap();
        for _ in 0..100 {
            assert_eq!(answers.recv_timeout(PATIENCE), Ok(vec![public]));
        }
        // Known by now: at once, in this thread.
        lookups.ask("a.example", then(&told));
        assert_eq!(answers.try_recv(), Ok(vec![public]));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // The name leads elsewhere when its time is over.
        if let Some(Host::Known(_, until)) = lookups.lock().hosts.get_mut("a.example") {
            *until = Instant::now();
        }
        let internal: IpAddr = "127.0.0.1".parse().unwrap();
        gate.send(internal).unwrap();
        lookups.ask("a.example", then(&told));
        assert_eq!(answers.recv_timeout(PATIENCE), Ok(vec![internal]));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn more_hosts_than_threads_wait_for_their_turn_and_far_too_many_get_nothing() {
        let gate = Arc::new(Mutex::new(()));
        let inside = Arc::clone(&gate);
        let lookups = Arc::new(Lookups::new(Box::new(move |host| {
            drop(inside.lock().unwrap());
            // A host without addresses is not remembered.
            let none = host == "h0";
            (!none)
                .then(|| "8.8.8.8".parse().unwrap())
                .into_iter()
                .collect()
        })));
        let held = gate.lock().unwrap();
        let (told, answers) = channel();
        let hosts = MAX_THREADS + MAX_WAITING;
        for number in 0..hosts + 9 {
            lookups.ask(&format!("h{number}"), then(&told));
        }
        drop(held);
        let mut found = 0;
        for _ in 0..hosts + 9 {
            found += answers.recv_timeout(PATIENCE).unwrap().len();
        }
        // Threads take hosts off the queue while it fills.
        assert!((MAX_WAITING - 1..hosts).contains(&found), "{found}");
        assert!(!lookups.lock().hosts.contains_key("h0"));
    }
}
