//! `openclaw audit`: the trail of decisions on the gateway's host, and the node host's own.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::reach::refuse_elsewhere;
use crate::config::Paths;
use crate::store::{StateDir, StoreError};

mod tail;
mod verify;
mod view;

pub use tail::tail;
pub use verify::verify;

/// Which trail is meant.
struct Place {
    paths: Paths,
    file: PathBuf,
    dir: StateDir,
}

impl Place {
    /// The gateway's trail on its host, or with `--node` that of this machine's node host.
    fn of(invocation: &Invocation) -> Result<Place, CliError> {
        let of_node = invocation.has("node");
        if !of_node {
            refuse_elsewhere(
                invocation,
                "With --node it reads the trail of this machine's node host.",
            )?;
        }
        let paths = invocation.paths()?;
        invocation.load(&paths)?;
        let dir = StateDir::at(&paths.state_dir);
        let file = match of_node {
            true => dir.node_audit_log(),
            false => dir.audit_log(),
        };
        Ok(Place { paths, file, dir })
    }

    fn shown(&self) -> String {
        self.paths.shorten(&self.file)
    }

    fn unreadable(&self, fault: &io::Error) -> CliError {
        unreadable(&self.file, fault)
    }
}

fn unreadable(path: &Path, fault: &io::Error) -> CliError {
    StoreError::unreadable(path, fault).into()
}
