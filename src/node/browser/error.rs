//! Why a browser request gets no result, in the words its caller is used to (node-host specification,
//! sections 4.2 to 4.6).

use std::fmt;
use std::time::Duration;

use super::cdp::CdpError;

/// What kept a request from its result. Display is the text behind `Error: ` in the invoke's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrowserError {
    /// Several tabs begin with what was given as `targetId`.
    AmbiguousTab,
    /// The navigation policy forbids the address.
    Blocked,
    /// `browser.enabled` is off.
    Disabled,
    /// A driver this program does not have.
    ExistingSession,
    /// The program cannot be started, or does not answer; the reason, with what it said.
    Launch(String),
    /// The request itself is wrong; the text of the specification.
    Invalid(String),
    /// The address of a navigation is none.
    InvalidUrl(String),
    /// Persistent profiles may not be changed through this proxy.
    ProfileMutation,
    /// `allowProfiles` does not name the profile.
    ProfileNotAllowed,
    /// No route has this method and path.
    NotFound,
    /// A document was not loaded: the browser's name for the reason (`net::ERR_…`), and its address.
    NotLoaded(String, String),
    /// The route needs a browser that runs.
    NotRunning,
    /// `nodeHost.browserProxy.enabled` is off.
    ProxyDisabled,
    /// Somebody stopped the browser while it was starting.
    Stopped,
    /// Nothing was finished before the request's time was over.
    TimedOut,
    /// A scheme that is neither of the web nor `about:blank`, with its colon.
    UnsupportedProtocol(String),
    /// The route exists elsewhere, but not in this program.
    UnsupportedRoute(String),
    /// The browser refused or the page was in the way; callers see the text behind a second `Error: `.
    Unexpected(String),
    /// No profile has this name; the names there are.
    UnknownProfile(String, Vec<String>),
    /// No tab is called this.
    UnknownTab(String),
}

impl BrowserError {
    /// A request that is wrong in this way.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// What took longer than it may.
    pub fn slow(what: &str, limit: Duration) -> Self {
        Self::Unexpected(format!("{what} took longer than {}ms", limit.as_millis()))
    }
}

impl fmt::Display for BrowserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AmbiguousTab => f.write_str("ambiguous target id prefix"),
            Self::Blocked => f.write_str("browser navigation blocked by policy"),
            Self::Disabled => f.write_str("browser control disabled"),
            Self::ExistingSession => {
                f.write_str("existing-session profiles are not supported by this node host")
            }
            Self::Launch(text) | Self::Unexpected(text) => write!(f, "Error: {text}"),
            Self::Invalid(text) => f.write_str(text),
            Self::InvalidUrl(url) => write!(f, "Invalid URL: {url}"),
            Self::ProfileMutation => f.write_str(
                "INVALID_REQUEST: browser.proxy cannot mutate persistent browser profiles",
            ),
            Self::ProfileNotAllowed => f.write_str("INVALID_REQUEST: browser profile not allowed"),
            Self::NotFound => f.write_str("Not Found"),
            Self::NotLoaded(reason, url) => write!(f, "Error: {reason} at {url}"),
            Self::NotRunning => f.write_str("browser not running"),
            Self::ProxyDisabled => f.write_str("UNAVAILABLE: node browser proxy disabled"),
            Self::Stopped => f.write_str(
                "Error: the browser was stopped while it was starting; the next request starts it again",
            ),
            Self::TimedOut => f.write_str("browser proxy timed out"),
            Self::UnsupportedProtocol(scheme) => {
                write!(f, "Navigation blocked: unsupported protocol \"{scheme}\"")
            }
            Self::UnsupportedRoute(path) => {
                write!(f, "{path} is not supported by this node host")
            }
            Self::UnknownProfile(name, known) => write!(
                f,
                "BrowserProfileNotFoundError: Profile \"{name}\" not found. Available profiles: {}",
                known.join(", ")
            ),
            Self::UnknownTab(name) => write!(
                f,
                "tab not found: browser tab \"{name}\" not found. Use action=tabs and pass suggestedTargetId, \
                 tabId, label, or raw targetId."
            ),
        }
    }
}

impl std::error::Error for BrowserError {}

impl From<CdpError> for BrowserError {
    fn from(error: CdpError) -> Self {
        match error {
            CdpError::TimedOut => Self::TimedOut,
            error => Self::Unexpected(error.to_string()),
        }
    }
}
