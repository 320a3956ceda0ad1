//! What a route works with: the request, its profile's browser, its time.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::error::BrowserError;
use super::guard::{self, Verdict};
use super::instance::{Instance, Means, Running};
use super::page::Page;
use super::proxy::BrowserProxy;
use super::request::Request;
use super::routes::{Route, Start};
use super::settings::{Driver, Profile, Settings};
use super::start::Plan;
use super::tabs::Target;
use crate::node::environment::inherited;
use crate::node::machine::Machine;

/// One request on its way.
pub struct Context<'a> {
    /// All browsers.
    pub proxy: &'a BrowserProxy,
    /// This machine.
    pub machine: &'a Machine,
    /// What the configuration says.
    pub settings: &'a Settings,
    /// The profile that is meant.
    pub profile: &'a Profile,
    /// The request.
    pub request: &'a Request,
    /// The part of the path that the route leaves open; empty where it leaves none.
    pub last: &'a str,
    /// The profile's browser, running or not.
    pub instance: Arc<Instance>,
    /// When the request's time is over.
    pub deadline: Instant,
    /// The tab that the request reads or works on, once that passed the judgement.
    pub judged: OnceLock<Tab>,
}

/// A tab that a request works on.
#[derive(Clone)]
pub struct Tab {
    /// Its page.
    pub page: Arc<Page>,
    /// Its place in the browser's list.
    pub target: Target,
    /// Its browser.
    pub browser: Arc<Running>,
}

impl Context<'_> {
    /// Runs a route, with its browser in the state that the route needs.
    ///
    /// # Errors
    /// As the route; [`BrowserError::NotRunning`] and [`BrowserError::Launch`].
    pub fn run(&self, route: &Route) -> Result<Value, BrowserError> {
        if self.profile.driver == Driver::ExistingSession && route.start != Start::Anything {
            return Err(BrowserError::ExistingSession);
        }
        if route.start == Start::Running && self.instance.running().is_none() {
            return Err(BrowserError::NotRunning);
        }
        (route.handle)(self).map_err(|error| self.told(error))
    }

    /// What is told of a failure: its text may be the page's, which may have been led astray meanwhile.
    fn told(&self, error: BrowserError) -> BrowserError {
        let Some(tab) = self.judged.get() else {
            return error;
        };
        // That text is this program's, and no time is left to look.
        if error == BrowserError::TimedOut {
            return error;
        }
        let targets = self.instance.update(&tab.browser, self.deadline);
        self.judge_again(tab, targets.unwrap_or_default())
            .err()
            .unwrap_or(error)
    }

    /// The browser, started if need be.
    ///
    /// # Errors
    /// [`BrowserError::Launch`], [`BrowserError::TimedOut`].
    pub fn browser(&self) -> Result<Arc<Running>, BrowserError> {
        self.browser_with(None)
    }

    /// The same; `headless` is the request's own wish.
    ///
    /// # Errors
    /// As [`Context::browser`].
    pub fn browser_with(&self, headless: Option<bool>) -> Result<Arc<Running>, BrowserError> {
        let means = || {
            if self.profile.is_launched() {
                self.settings.check_port(self.profile)?;
            }
            Ok(Means {
                plan: self.plan(headless),
                environment: inherited(self.machine.variables(), &self.machine.path),
                children: Arc::clone(&self.machine.children),
            })
        };
        self.proxy.remember(self.profile);
        let browser = self.instance.ensure(self.profile, means, self.deadline)?;
        // Somebody else's request may have begun to start it under another policy.
        browser.guard(&self.settings.policy);
        Ok(browser)
    }

    /// The user-data directory of the profile's browser.
    pub fn user_data(&self) -> PathBuf {
        let own = self.profile.user_data.clone();
        own.unwrap_or_else(|| self.folder().join("user-data"))
    }

    /// Where the profile's browser keeps everything else.
    fn folder(&self) -> PathBuf {
        self.proxy.profile_directory(&self.profile.name)
    }

    fn plan(&self, headless: Option<bool>) -> Plan {
        Plan {
            executable: self.settings.program(Some(self.profile)),
            user_data: self.user_data(),
            folder: self.folder(),
            headless: self.settings.headless(self.profile, headless),
            no_sandbox: self.settings.no_sandbox,
            extra: self.settings.extra_arguments.clone(),
            proxied: self.settings.has_proxy(),
            launch_limit: self.settings.launch_limit,
            ready_limit: self.settings.ready_limit,
            policy: self.settings.policy.clone(),
        }
    }

    /// The same as [`Context::any_tab`], if pages may be where it is: a popup, a tab of a browser that runs already, or
    /// one whose policy was tightened meanwhile may be anywhere. When the request fails, it is judged again.
    ///
    /// # Errors
    /// As [`Context::any_tab`] and [`Context::judge`].
    pub fn tab(&self) -> Result<Tab, BrowserError> {
        let tab = self.any_tab()?;
        self.judge(&tab.page, &tab.target.url)?;
        let _ = self.judged.set(tab.clone());
        Ok(tab)
    }

    /// The tab that the request names, else the last used one; where there is none, one is opened. It may be anywhere.
    ///
    /// # Errors
    /// [`BrowserError::UnknownTab`], [`BrowserError::AmbiguousTab`], and those of [`Context::browser`].
    pub fn any_tab(&self) -> Result<Tab, BrowserError> {
        let browser = self.browser()?;
        self.instance.update(&browser, self.deadline)?;
        let found = match self.request.target() {
            Some(name) => Some(self.instance.book().find(name)?.clone()),
            None => self.instance.book().current().cloned(),
        };
        let target = match found {
            Some(target) => target,
            None => {
                let id = browser.open_tab(self.deadline)?;
                return self.known_tab(&browser, &id);
            }
        };
        self.use_tab(&browser, target)
    }

    /// The tab of a target that the browser has just opened.
    ///
    /// # Errors
    /// As [`Context::use_tab`].
    pub fn known_tab(&self, browser: &Arc<Running>, id: &str) -> Result<Tab, BrowserError> {
        self.instance.update(browser, self.deadline)?;
        let target = self.instance.book().find(id)?.clone();
        self.use_tab(browser, target)
    }

    /// A tab that is worked on from now on.
    ///
    /// # Errors
    /// As [`Running::page`].
    pub fn use_tab(&self, browser: &Arc<Running>, target: Target) -> Result<Tab, BrowserError> {
        let page = browser.page(&target.id, self.deadline)?;
        self.instance.book().used(&target.id);
        Ok(Tab {
            page,
            target,
            browser: Arc::clone(browser),
        })
    }

    /// A result about a tab: `ok`, the given members, its target and where it is now. Where that is is judged again: it
    /// may have gone there while the members were read.
    ///
    /// # Errors
    /// As [`Running::targets`] and [`Context::judge`].
    pub fn result(&self, tab: &Tab, members: Value) -> Result<Value, BrowserError> {
        let targets = self.instance.update(&tab.browser, self.deadline)?;
        let mut result = Map::new();
        result.insert("ok".to_owned(), true.into());
        if let Value::Object(members) = members {
            result.extend(members);
        }
        result.insert("targetId".to_owned(), tab.target.id.as_str().into());
        if let Some(target) = self.judge_again(tab, targets)? {
            result.insert("url".to_owned(), target.url.into());
        }
        Ok(Value::Object(result))
    }

    /// Judges a tab that passed before, which may have gone elsewhere since; gives its place among the `targets` that the
    /// browser lists now, if it is still there.
    ///
    /// # Errors
    /// As [`Context::judge`].
    fn judge_again(&self, tab: &Tab, targets: Vec<Target>) -> Result<Option<Target>, BrowserError> {
        let mut targets = targets.into_iter();
        let target = targets.find(|target| target.id == tab.target.id);
        let url = &target.as_ref().unwrap_or(&tab.target).url;
        self.judge(&tab.page, url)?;
        Ok(target)
    }

    /// Judges a file that a tab has given to the browser to keep: where it came from, and the tab once more.
    ///
    /// # Errors
    /// As [`Running::targets`] and [`Context::judge`].
    pub fn check_download(&self, tab: &Tab, url: &str) -> Result<(), BrowserError> {
        if let Some(site) = guard::document(url).map_err(|_| BrowserError::Blocked)? {
            guard::check_site(&self.settings.policy, &site, self.deadline)?;
        }
        let targets = self.instance.update(&tab.browser, self.deadline)?;
        self.judge_again(tab, targets).map(drop)
    }

    /// Whether title and URL of a listed page may be told, as far as that is known without a look at the network.
    pub fn may_list(&self, browser: &Running, target: &Target) -> bool {
        let judged = |page: Arc<Page>| page.shown(|shown| shown.judge(&self.settings.policy));
        // One that nobody listens to yet is listed with both in a moment.
        self.may_show(&target.url)
            && browser
                .pages
                .known(&target.id)
                .is_some_and(|page| judged(page).is_ok())
    }

    /// Whether a URL may be told: it is one that a navigation could have asked for, as far as that is known without
    /// a look at the network.
    pub fn may_show(&self, url: &str) -> bool {
        match guard::document(url) {
            Ok(Some(site)) => self.settings.policy.verdict(&site) != Verdict::Refused,
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Judges where a page has arrived; one that was led astray shows nothing afterwards.
    ///
    /// # Errors
    /// [`BrowserError::Blocked`], and those of [`Page::navigate`].
    pub fn check_arrival(&self, tab: &Tab, limit: Duration) -> Result<(), BrowserError> {
        let mut targets = self
            .instance
            .update(&tab.browser, self.deadline)?
            .into_iter();
        let Some(target) = targets.find(|target| target.id == tab.target.id) else {
            return Ok(());
        };
        if let Err(error) = self.judge(&tab.page, &target.url) {
            tab.page.navigate(guard::BLANK, limit, self.deadline)?;
            return Err(match error {
                BrowserError::TimedOut => BrowserError::TimedOut,
                _ => BrowserError::Blocked,
            });
        }
        Ok(())
    }

    /// Judges what a page shows, its frames included, by the addresses that all of it came from; `url` is where the
    /// browser says that it is.
    ///
    /// # Errors
    /// [`BrowserError::Blocked`], and those of [`guard::check_site`].
    pub fn judge(&self, page: &Page, url: &str) -> Result<(), BrowserError> {
        let policy = &self.settings.policy;
        if !self.may_show(url) {
            return Err(BrowserError::Blocked);
        }
        let open = page.shown(|shown| shown.judge(policy))?;
        open.iter()
            .try_for_each(|site| guard::check_site(policy, site, self.deadline))
    }

    /// Judges where a navigation goes.
    ///
    /// # Errors
    /// [`BrowserError::InvalidUrl`], [`BrowserError::UnsupportedProtocol`], [`BrowserError::Blocked`].
    pub fn check_destination(&self, url: &str) -> Result<(), BrowserError> {
        guard::check(&self.settings.policy, url, self.deadline)
    }
}
