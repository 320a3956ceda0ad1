//! The gateway's signs of life for a service manager: sent by the main loop, and only while the rest of
//! the daemon proves that it works.
//!
//! Each sign waits for an errand that the timer thread ran since the one before, through the locks that
//! every connection needs. A main loop, timer or lock that hangs sends none, and the manager restarts us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::gateway::context::Context;
use crate::net::Supervisor;

/// The signs of life of one running gateway.
pub struct Pulse<'a> {
    supervisor: &'a Supervisor,
    context: &'a Arc<Context>,
    /// Whether the errand was run.
    answered: Arc<AtomicBool>,
    due: Option<Instant>,
}

impl<'a> Pulse<'a> {
    /// Begins with a sign of life and the first errand.
    pub fn begin(supervisor: &'a Supervisor, context: &'a Arc<Context>) -> Self {
        let mut pulse = Self {
            supervisor,
            context,
            answered: Arc::new(AtomicBool::new(true)),
            due: supervisor.interval().map(|_| Instant::now()),
        };
        pulse.beat();
        pulse
    }

    /// When [`Pulse::beat`] is due; `None` where nobody waits for it.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// When it is due: a sign of life if the errand was run, and the next errand.
    pub fn beat(&mut self) {
        let Some(interval) = self.supervisor.interval() else {
            return;
        };
        let now = Instant::now();
        if self.due.is_some_and(|due| now < due) {
            return;
        }
        self.due = Some(now + interval);
        if !self.answered.swap(false, Ordering::AcqRel) {
            log::error!(target: "gateway", "the timer has not run for {} s; no sign of life for the service manager", interval.as_secs());
            return;
        }
        self.supervisor.beat();
        let (answered, context) = (Arc::clone(&self.answered), Arc::downgrade(self.context));
        self.context.timer.schedule(now, move || {
            if let Some(context) = context.upgrade() {
                context.connections.len();
                // Files that cannot be read are another trouble than a lock that is never given back.
                let _ = context.store.read(|_| ());
                answered.store(true, Ordering::Release);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::gateway::testing::House;
    use crate::store::testing::TempDir;

    /// Short, so that a sign of life is due at nearly every turn.
    const WATCHDOG: Duration = Duration::from_millis(2);

    fn hears(manager: &UnixDatagram) -> bool {
        let mut heard = false;
        while manager.recv(&mut [0; 64]).is_ok() {
            heard = true;
        }
        heard
    }

    #[test]
    fn a_timer_that_hangs_ends_the_signs_of_life_and_one_that_goes_on_brings_them_back() {
        let house = House::new();
        let directory = TempDir::new();
        let socket = directory.join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_nonblocking(true).unwrap();
        let supervisor = Supervisor::new(Some(socket.as_os_str()), Some(WATCHDOG)).unwrap();

        let (release, released) = mpsc::channel::<()>();
        let (holding, held) = mpsc::channel();
        house.context.timer.schedule(Instant::now(), move || {
            holding.send(()).unwrap();
            let _ = released.recv();
        });
        held.recv().unwrap();
        let mut pulse = Pulse::begin(&supervisor, &house.context);
        assert!(hears(&manager), "the start is a sign of life");
        for _ in 0..3 {
            let due = pulse.due().unwrap();
            while pulse.due() == Some(due) {
                pulse.beat();
                thread::yield_now();
            }
        }
        assert!(!hears(&manager), "the timer hangs");

        release.send(()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !hears(&manager) {
            assert!(Instant::now() < deadline, "the timer goes on");
            pulse.beat();
            thread::yield_now();
        }
    }

    #[test]
    fn without_a_watchdog_nothing_is_due() {
        let house = House::new();
        let supervisor = Supervisor::none();
        let mut pulse = Pulse::begin(&supervisor, &house.context);
        pulse.beat();
        assert_eq!(pulse.due(), None);
        assert_eq!(house.context.timer.pending(), 0);
    }
}
