//! The browser of one profile: started when first needed, stopped, started anew after a crash.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cdp::Connection;
use super::error::BrowserError;
use super::executable::Executable;
use super::guard::Policy;
use super::launch::Process;
use super::outlet::Outlet;
use super::page::Page;
use super::pages::Pages;
use super::refs::Refs;
use super::settings::{Headless, Profile};
use super::start::{self, Before, Halt};
use super::tabs::{TabBook, Target};
use crate::node::environment::ChildEnvironment;
use crate::node::run::Children;

/// Failed launches in a row after which the next one waits.
const PATIENT_FAILURES: u32 = 3;

/// The first wait after too many failures; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A browser that answers.
#[derive(Debug)]
pub struct Running {
    /// Calls to it.
    pub connection: Arc<Connection>,
    /// Its pages.
    pub pages: Arc<Pages>,
    /// Where its connections go out, when this program started it and it has no proxy of its owner.
    pub outlet: Option<Arc<Outlet>>,
    /// Its process, when this program started it.
    pub process: Option<Arc<Process>>,
    /// Its program, when this program started it.
    pub executable: Option<Executable>,
    /// Whether it shows a window, and who said so.
    pub headless: Headless,
}

impl Running {
    /// From now on where its pages may go is judged by `policy`.
    pub fn guard(&self, policy: &Policy) {
        self.pages.guard(policy);
        if let Some(outlet) = &self.outlet {
            outlet.change(policy);
        }
    }

    /// Why nothing was loaded from `url`, where the browser only knows that its outlet did not connect it.
    pub fn told_reason(&self, reason: &str, url: &str) -> String {
        let outlet = self.outlet.as_ref();
        let known = outlet.and_then(|outlet| outlet.tell(reason, url));
        known.unwrap_or(reason).to_owned()
    }

    /// The pages that are open.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn targets(&self, deadline: Instant) -> Result<Vec<Target>, BrowserError> {
        let answer = self
            .connection
            .call(None, "Target.getTargets", json!({}), deadline)?;
        Ok(Target::pages(&answer))
    }

    /// The page of a target.
    ///
    /// # Errors
    /// As [`Pages::page`].
    pub fn page(&self, target: &str, deadline: Instant) -> Result<Arc<Page>, BrowserError> {
        let page = self.pages.page(target, deadline)?;
        page.listen(deadline)?;
        Ok(page)
    }

    /// Opens a tab that shows nothing and gives its target.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn open_tab(&self, deadline: Instant) -> Result<String, BrowserError> {
        let params = json!({"url": super::guard::BLANK});
        let answer = self
            .connection
            .call(None, "Target.createTarget", params, deadline)?;
        let target = answer.get("targetId").and_then(Value::as_str);
        let missing = || BrowserError::Unexpected("the browser opened no tab".to_owned());
        target.map(str::to_owned).ok_or_else(missing)
    }

    /// Ends the browser, or leaves one that somebody else started.
    fn end(&self) {
        if let Some(process) = &self.process {
            process.stop();
        }
        self.connection.close();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.connection.close();
    }
}

/// What starting a browser needs beside the profile.
#[derive(Debug, Clone)]
pub struct Means {
    /// What is known of how to start it.
    pub plan: start::Plan,
    /// Its environment.
    pub environment: ChildEnvironment,
    /// Where its process group is registered.
    pub children: Arc<Children>,
}

/// The browser of one profile, running or not.
#[derive(Debug, Default)]
pub struct Instance {
    state: Mutex<State>,
    book: Mutex<TabBook>,
    refs: Mutex<Refs>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Arc<Running>>,
    starting: Option<Arc<Start>>,
    /// The browser that was stopped last, which may still be ending.
    leaving: Option<Arc<Process>>,
    failures: u32,
    /// Before then no launch is tried, and why the last one failed.
    pause: Option<(Instant, BrowserError)>,
}

/// The end of a start: whoever waits for it hears of it when this is dropped.
struct Ending<'a> {
    instance: &'a Instance,
    profile: &'a Profile,
    told: &'a Start,
    outcome: Outcome,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.instance.started(self.profile, &self.outcome);
        *lock(&self.told.outcome) = Some(self.outcome.clone());
        self.told.changed.notify_all();
    }
}

/// A start that is under way; everybody who needs the browser waits for the same one.
#[derive(Debug, Default)]
struct Start {
    halt: Halt,
    outcome: Mutex<Option<Outcome>>,
    changed: Condvar,
}

type Outcome = Result<Arc<Running>, BrowserError>;

impl Start {
    fn wait(&self, deadline: Instant) -> Outcome {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(BrowserError::TimedOut);
            }
            let waited = self.changed.wait_timeout(outcome, left);
            outcome = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Instance {
    /// The browser if it answers.
    pub fn running(&self) -> Option<Arc<Running>> {
        let running = lock(&self.state).running.clone();
        running.filter(|running| running.connection.is_open())
    }

    /// The browser, started if it does not run. A start goes on when the caller's time is over.
    ///
    /// # Errors
    /// [`BrowserError::Launch`] with the reason, [`BrowserError::TimedOut`].
    pub fn ensure(
        self: &Arc<Self>,
        profile: &Profile,
        means: impl FnOnce() -> Result<Means, BrowserError>,
        deadline: Instant,
    ) -> Result<Arc<Running>, BrowserError> {
        let mut state = lock(&self.state);
        let open = |running: &&Arc<Running>| running.connection.is_open();
        if let Some(running) = state.running.as_ref().filter(open) {
            return Ok(Arc::clone(running));
        }
        let start = match &state.starting {
            Some(start) => Arc::clone(start),
            None => {
                state.refuse_in_pause(profile)?;
                let means = means()?;
                let start = Arc::new(Start::default());
                state.starting = Some(Arc::clone(&start));
                let before = Before {
                    former: state.running.take(),
                    leaving: state.leaving.take(),
                };
                let (own, told) = (Arc::clone(self), Arc::clone(&start));
                let profile = profile.clone();
                let work = move || {
                    own.start(&profile, &told, || {
                        start::start(&profile, &means, &before, &told.halt)
                    });
                };
                let builder = std::thread::Builder::new().name("browser-start".to_owned());
                if let Err(error) = builder.spawn(work) {
                    state.starting = None;
                    return Err(BrowserError::Launch(error.to_string()));
                }
                start
            }
        };
        drop(state);
        start.wait(deadline)
    }

    /// Starts a browser and tells everybody who waits, even when that ends in a panic.
    fn start(
        &self,
        profile: &Profile,
        told: &Start,
        work: impl FnOnce() -> Result<Running, BrowserError>,
    ) {
        let mut ending = Ending {
            instance: self,
            profile,
            told,
            outcome: Err(BrowserError::Launch(
                "the start broke off; the log of the node host says why".to_owned(),
            )),
        };
        ending.outcome = work().map(Arc::new);
    }

    fn started(&self, profile: &Profile, outcome: &Outcome) {
        let mut state = lock(&self.state);
        state.starting = None;
        match outcome {
            Ok(running) => {
                state.running = Some(Arc::clone(running));
                state.failures = 0;
                state.pause = None;
            }
            Err(BrowserError::Stopped) => {}
            // What somebody else runs is asked again at once.
            Err(error) if profile.is_launched() => state.failed(error),
            Err(_) => {}
        }
    }

    /// Ends the browser, or the start of one; false when none runs.
    ///
    /// # Errors
    /// [`BrowserError::TimedOut`] while a start takes its time to break off.
    pub fn stop(&self, deadline: Instant) -> Result<bool, BrowserError> {
        let starting = lock(&self.state).starting.clone();
        let mut stopped = false;
        if let Some(start) = starting {
            start.halt.ask();
            match start.wait(deadline) {
                Err(BrowserError::TimedOut) => return Err(BrowserError::TimedOut),
                outcome => stopped = matches!(outcome, Err(BrowserError::Stopped)),
            }
        }
        let mut state = lock(&self.state);
        let running = state.running.take();
        if let Some(running) = &running {
            state.leaving.clone_from(&running.process);
        }
        drop(state);
        if let Some(running) = running {
            stopped |= running.connection.is_open();
            running.end();
        }
        Ok(stopped)
    }

    /// Closes a tab.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn close_tab(
        &self,
        running: &Running,
        target: &str,
        deadline: Instant,
    ) -> Result<(), BrowserError> {
        let params = json!({"targetId": target});
        running
            .connection
            .call(None, "Target.closeTarget", params, deadline)?;
        self.book().close(target);
        Ok(())
    }

    /// The names of the tabs.
    pub fn book(&self) -> MutexGuard<'_, TabBook> {
        lock(&self.book)
    }

    /// The names of elements.
    pub fn refs(&self) -> MutexGuard<'_, Refs> {
        lock(&self.refs)
    }

    /// Reads the list of tabs anew; the book and the refs know no others afterwards.
    ///
    /// # Errors
    /// As [`Running::targets`].
    pub fn update(
        &self,
        running: &Running,
        deadline: Instant,
    ) -> Result<Vec<Target>, BrowserError> {
        let targets = running.targets(deadline)?;
        self.book().update(&targets);
        self.refs()
            .retain(|id| targets.iter().any(|target| target.id == id));
        Ok(targets)
    }
}

impl State {
    fn failed(&mut self, error: &BrowserError) {
        self.failures = self.failures.saturating_add(1);
        if let Some(pause) = pause_after(self.failures) {
            self.pause = Some((Instant::now() + pause, error.clone()));
        }
    }

    fn refuse_in_pause(&self, profile: &Profile) -> Result<(), BrowserError> {
        let Some((until, error)) = &self.pause else {
            return Ok(());
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let reason = match error {
            BrowserError::Launch(reason) => reason.clone(),
            error => error.to_string(),
        };
        Err(BrowserError::Launch(format!(
            "the browser of profile \"{}\" failed to start {} times; the next try is possible in {}s. {reason}",
            profile.name,
            self.failures,
            left.as_secs() + 1
        )))
    }
}

/// How long the next launch waits after this many failures in a row.
fn pause_after(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(PATIENT_FAILURES)?;
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    Some(FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_start_that_broke_off() {
        let settings = crate::node::browser::settings::tests::settings("{}", &[]);
        let profile = settings.profile("openclaw").unwrap();
        let (instance, start) = (Instance::default(), Arc::new(Start::default()));
        lock(&instance.state).starting = Some(Arc::clone(&start));
        let broken = std::thread::scope(|scope| {
            let starter = scope.spawn(|| instance.start(profile, &start, || panic!("on purpose")));
            starter.join()
        });
        assert!(broken.is_err());
        let patient = Instant::now() + Duration::from_secs(60);
        let told = start.wait(patient).unwrap_err().to_string();
        assert!(told.starts_with("Error: the start broke off"), "{told}");
        let state = lock(&instance.state);
        assert!(state.starting.is_none() && state.failures == 1);
    }

    #[test]
    fn the_fourth_launch_after_three_failures_waits() {
        let seconds = |failures| pause_after(failures).map(|pause| pause.as_secs());
        let expected = [
            None,
            None,
            None,
            Some(30),
            Some(60),
            Some(120),
            Some(240),
            Some(300),
        ];
        for (failures, expected) in (0..).zip(expected) {
            assert_eq!(seconds(failures), expected, "{failures}");
        }
        assert_eq!(seconds(u32::MAX), Some(300));
    }
}
