//! This machine as the commands of a node see it: search path, environment, policy, live children.
//!
//! Made once at start and shared by all invokes. Holds no connection.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::audit::NodeAudit;
use super::browser::BrowserProxy;
use super::run::Children;
use super::skills::Skills;
use crate::exec::{ApprovalsFile, HostPolicy};

/// Reads what the machine's configuration says now about exec for an agent, so that edits need no
/// restart; an error text when it cannot be read, which denies every run.
pub type PolicySource = Box<dyn Fn(Option<&str>) -> Result<HostPolicy, String> + Send + Sync>;

/// What invokes work on.
pub struct Machine {
    /// The node's id on the wire: its device id.
    pub node_id: String,
    /// This program as typed here for this node's state directory.
    pub program: String,
    /// The search path of the host and its children.
    pub path: String,
    /// What `~` means.
    pub home: Option<PathBuf>,
    /// The host's own working directory.
    pub cwd: PathBuf,
    /// The host's own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The exec policy file.
    pub approvals: ApprovalsFile,
    /// The configuration's part of the policy.
    pub host_policy: PolicySource,
    /// Live process groups.
    pub children: Arc<Children>,
    /// The trail of what is run and refused here.
    pub audit: NodeAudit,
    /// The browsers of this machine.
    pub browser: BrowserProxy,
    /// Programs of the gateway's skills.
    pub skills: Skills,
}

impl Machine {
    /// The host's environment as pairs.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.environment
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl fmt::Debug for Machine {
    /// Without the environment, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("node_id", &self.node_id)
            .finish_non_exhaustive()
    }
}
