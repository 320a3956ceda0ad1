//! `--fix`: what can be mended without a decision. Access is only ever taken away, nothing secret is changed, and
//! nothing that could be somebody's is removed.

use crate::cli::doctor::files::outside;
use crate::cli::doctor::scene::Scene;
use crate::cli::output::text::counted;
use crate::store::care::{Kept, kept, narrow};
use crate::store::{Lock, Purpose, StoreError};

/// What was changed, and what could not be; one sentence each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Done.
    pub done: Vec<String>,
    /// Not done, and why.
    pub left: Vec<String>,
}

/// Mends what is safe to mend. Doing it again changes nothing.
pub fn mend(scene: &Scene) -> Mended {
    let mut mended = Mended::default();
    let Some(directory) = scene.directory() else {
        return mended;
    };
    let found = kept(directory.root()).unwrap_or_default();
    let open = found.into_iter().chain(outside(scene));
    for kept in open.filter(Kept::is_open) {
        match narrow(&kept) {
            Ok(()) => mended.done.push(narrowed(&kept)),
            Err(fault) => mended.left.push(fault.to_string()),
        }
    }
    let left = kept(directory.root()).unwrap_or_default();
    if left.iter().any(|kept| kept.leftover) {
        // Nobody writes there while this command holds the lock.
        match Lock::acquire_state(&directory, Purpose::Administration) {
            Ok(lock) => {
                let swept = lock.dir().sweep() as u64;
                let files = counted(swept, "temporary file");
                mended.done.push(format!("removed {files} of interrupted writes"));
            }
            Err(StoreError::Locked { pid: Some(pid), .. }) => mended.left.push(format!(
                "temporary files stay: process {pid} holds the state directory, and removes them when it starts again"
            )),
            Err(fault) => mended.left.push(fault.to_string()),
        }
    }
    mended
}

fn narrowed(kept: &Kept) -> String {
    let (path, was, is) = (kept.path.display(), kept.mode, kept.proper_mode());
    format!("{path}: mode {was:04o} is now {is:04o}")
}
