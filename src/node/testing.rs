//! What the tests of this room share: a machine in a temporary directory.

use std::sync::Arc;

use super::audit::NodeAudit;
use super::browser::BrowserProxy;
use super::machine::Machine;
use super::skills::Skills;
use crate::config::{Environment, Paths};
use crate::exec::{ApprovalsFile, HostPolicy};
use crate::store::AuditLog;

pub(crate) use crate::exec::testing::TempDir;

/// A machine whose state, home and working directory are `dir`, with an empty policy.
pub fn machine(dir: &TempDir) -> Machine {
    let environment = Environment::from_pairs([("HOME", dir.path())]);
    let paths = Paths::resolve(&environment, None).unwrap();
    Machine {
        node_id: "abc".to_owned(),
        program: "openclaw".to_owned(),
        path: "/usr/bin:/bin".to_owned(),
        home: Some(dir.path().to_owned()),
        cwd: dir.path().to_owned(),
        environment: vec![
            ("MARK".into(), "own".into()),
            ("LD_PRELOAD".into(), "x.so".into()),
        ],
        approvals: ApprovalsFile::new(dir.path(), Some(dir.path())),
        host_policy: Box::new(|_| Ok(HostPolicy::default())),
        children: Arc::default(),
        audit: NodeAudit::new(
            AuditLog::new(dir.path().join("node-audit.jsonl")),
            "ws://gateway".to_owned(),
        ),
        browser: BrowserProxy::new(paths, environment),
        skills: Skills::default(),
    }
}

/// Writes the policy file of [`machine`].
pub fn policy(dir: &TempDir, text: &str) {
    std::fs::write(dir.path().join("exec-approvals.json"), text).unwrap();
}
