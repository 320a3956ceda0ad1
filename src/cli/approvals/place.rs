//! Whose exec policy a command means, and how it is read and written there: this machine's file, or through a gateway
//! the one of its host or of a node.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::error::{CliError, Failed, unmarked};
use crate::cli::invocation::Invocation;
use crate::cli::nodes::select;
use crate::cli::row;
use crate::config::Paths;
use crate::config::word::RemoteEdits;
use crate::exec::{ApprovalsError, ApprovalsFile, Document};
use crate::protocol::scope::Scope;

/// How often an edit is made anew because the file changed between reading and writing it.
const ATTEMPTS: usize = 3;

/// What remote answers say when the hash is not the one of the file any more.
const CHANGED: &str = "exec approvals changed";

/// One machine's exec policy.
pub enum Place {
    /// The file of this machine; no gateway is asked.
    Local(Box<ApprovalsFile>, Paths),
    /// A file that a gateway reaches: its own host's, or that of a node with this id.
    Remote(Box<dyn Administration>, Option<String>),
}

impl Place {
    /// The place that `--gateway` and `--node` mean.
    ///
    /// # Errors
    /// Both at once, an unknown node, and as every command that asks a gateway.
    pub fn open(invocation: &Invocation) -> Result<Place, CliError> {
        let (gateway, node) = (invocation.has("gateway"), invocation.has("node"));
        if gateway && node {
            let text = "error: --gateway and --node cannot be used together: name one machine";
            return Err(CliError::rule(text));
        }
        if !gateway && !node {
            let paths = invocation.paths()?;
            let file = ApprovalsFile::new(&paths.state_dir, Some(&paths.home));
            return Ok(Place::Local(Box::new(file), paths));
        }
        let mut asked = open(invocation, &[Scope::ADMIN], Fallback::Never)?;
        let id = match node {
            true => Some(select(invocation, &mut *asked)?),
            false => None,
        };
        Ok(Place::Remote(asked, id))
    }

    /// `local`, `gateway` or `node:<id>`.
    pub fn label(&self) -> String {
        match self {
            Place::Local(..) => "local".to_owned(),
            Place::Remote(_, None) => "gateway".to_owned(),
            Place::Remote(_, Some(node)) => format!("node:{node}"),
        }
    }

    /// The path as people read it: on this machine with `~`.
    pub fn shown_path(&self, path: &str) -> String {
        match self {
            Place::Local(_, paths) => paths.shorten(Path::new(path)),
            Place::Remote(..) => path.to_owned(),
        }
    }

    /// `{"path","exists","hash","file"}` without secrets. Looking at this machine's file never writes it.
    ///
    /// # Errors
    /// A file that gives no policy, and the refusal of the other side.
    pub fn get(&mut self) -> Result<Value, CliError> {
        match self {
            Place::Local(file, _) => Ok(complete(file.snapshot().map_err(local)?.answer())),
            Place::Remote(gateway, node) => {
                let answer = match node {
                    None => gateway.call("exec.approvals.get", &json!({})),
                    Some(node) => gateway.call("exec.approvals.node.get", &json!({"nodeId": node})),
                };
                answer.map(complete).map_err(plain)
            }
        }
    }

    /// Replaces the policy. `base`: the hash of what is replaced; by default of what is there now.
    ///
    /// # Errors
    /// [`Place::get`]'s, a hash that is not the file's any more, and an edit that the node does not take.
    pub fn set(&mut self, document: Document, base: Option<&str>) -> Result<Value, CliError> {
        match self {
            Place::Local(file, _) => {
                let there = file.load().hash;
                let base = base.or(there.as_deref());
                let replaced = file.replace(base, document, RemoteEdits::Widen);
                Ok(complete(replaced.map_err(local)?.answer()))
            }
            Place::Remote(..) => {
                let base = match base {
                    Some(base) => base.to_owned(),
                    None => hash(&self.get()?).to_owned(),
                };
                self.write(&document, &base)
            }
        }
    }

    /// Edits the policy; `change` says whether it changed anything, and if not, the file stays untouched. The
    /// second value says the same.
    ///
    /// # Errors
    /// As [`Place::set`]; a remote file that changes again and again.
    pub fn edit(
        &mut self,
        change: impl Fn(&mut Document) -> bool,
    ) -> Result<(Value, bool), CliError> {
        if let Place::Local(file, _) = self {
            let mut changed = false;
            let edited = file.edit(None, |document| {
                changed = change(document);
                changed
            });
            return Ok((complete(edited.map_err(local)?.answer()), changed));
        }
        let mut attempt = 1;
        loop {
            let snapshot = self.get()?;
            let mut document = policy(&snapshot)?;
            if !change(&mut document) {
                return Ok((snapshot, false));
            }
            match self.write(&document, hash(&snapshot)) {
                // Somebody else's edit came between; the same one is made on what is there now.
                Err(error) if attempt < ATTEMPTS && is_conflict(&error) => attempt += 1,
                written => return Ok((written?, true)),
            }
        }
    }

    fn write(&mut self, document: &Document, base: &str) -> Result<Value, CliError> {
        let Place::Remote(gateway, node) = self else {
            return self.set(document.clone(), Some(base));
        };
        let written = match node {
            None => {
                let params = json!({"file": document, "baseHash": base});
                gateway.call("exec.approvals.set", &params)
            }
            Some(node) => {
                let params = json!({"nodeId": node, "file": document, "baseHash": base});
                gateway.call("exec.approvals.node.set", &params)
            }
        };
        written.map(complete).map_err(plain)
    }
}

/// The hash that an answer to `get` tells.
fn hash(snapshot: &Value) -> &str {
    snapshot["hash"].as_str().unwrap_or_default()
}

/// The policy of a snapshot, for an edit: what is not understood must not be lost by it.
///
/// # Errors
/// A file that gives none, and members that this version does not know.
pub fn policy(snapshot: &Value) -> Result<Document, CliError> {
    if let Some(fault) = row::text(snapshot, "fault") {
        let broken = ApprovalsError::Broken(fault.to_owned());
        return Err(CliError::failed("CONFIG_INVALID", broken.to_string()));
    }
    Document::from_value(snapshot["file"].clone()).map_err(|fault| {
        let message =
            format!("the exec policy there is not understood, nothing was changed: {fault}");
        CliError::failed("INVALID_REQUEST", message)
    })
}

/// Every member a reader may count on, and no secret whoever answered.
fn complete(mut snapshot: Value) -> Value {
    let Some(file) = snapshot.get_mut("file").and_then(Value::as_object_mut) else {
        return snapshot;
    };
    for member in ["socket", "defaults", "agents"] {
        file.entry(member).or_insert(json!({}));
    }
    if let Some(socket) = file.get_mut("socket").and_then(Value::as_object_mut) {
        socket.shift_remove("token");
    }
    snapshot
}

fn is_conflict(error: &CliError) -> bool {
    error.to_string().contains(CHANGED)
}

/// A refusal without the codes that node and gateway put in front of it.
fn plain(error: CliError) -> CliError {
    error.reworded(|text| unmarked(text).to_owned())
}

/// An error of this machine's file with what to do about it.
fn local(error: ApprovalsError) -> CliError {
    let code = match &error {
        ApprovalsError::Broken(_) | ApprovalsError::Invalid(_) => "CONFIG_INVALID",
        ApprovalsError::BaseHashRequired
        | ApprovalsError::Changed
        | ApprovalsError::FileRequired
        | ApprovalsError::Widens(_) => "INVALID_REQUEST",
        ApprovalsError::Busy(_) | ApprovalsError::Io(..) | ApprovalsError::SymbolicLink(_) => {
            "UNAVAILABLE"
        }
    };
    let mut failed = Failed::new(code, error.to_string());
    if matches!(error, ApprovalsError::Broken(_)) {
        failed.hint = Some(
            "Correct it in an editor, or replace it with: openclaw approvals set --file <path>"
                .to_owned(),
        );
    }
    failed.into()
}
