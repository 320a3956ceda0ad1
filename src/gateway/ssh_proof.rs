//! Proof that somebody can log in to this host by SSH as the user who runs the gateway (seed: silent approval).
//!
//! The gateway places a fresh secret that only its own user can read; whoever hands it back, together with
//! the user id that the login answered, has read it as that user on this host. A proof is good for one
//! attempt, one connection while it is open, one request that is marked silent, and a minute. It grants nothing by itself:
//! the approval behind it runs with the scopes of its session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::context::Context;
use crate::identity::{ConnId, Random, RequestId, Token, secret_eq};
use crate::store::{StoreError, place_proof, remove_proof};

/// How long an attempt may take.
pub const LIFETIME: Duration = Duration::from_secs(60);

/// Attempts at the same time; each is a small file.
pub const MAX_OPEN: usize = 16;

/// The open attempts.
#[derive(Debug, Default)]
pub struct SshProofs {
    open: Mutex<BTreeMap<String, Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    conn: ConnId,
    deadline: Instant,
    request: RequestId,
    secret: Token,
}

/// Where to look, and for how long it is worth it.
#[derive(Debug)]
pub struct Challenge {
    /// Name of the attempt.
    pub id: String,
    /// Absolute path of the secret on this host.
    pub path: String,
}

/// Why there is no attempt.
#[derive(Debug)]
pub enum NotBegun {
    /// The disk refuses.
    Store(StoreError),
    /// Too many are open.
    TooMany,
}

impl SshProofs {
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Attempt>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets an attempt, and says what it was.
    fn take(&self, id: &str) -> Option<Attempt> {
        self.open().remove(id)
    }
}

/// Begins an attempt of `conn` for `request`. The file is gone when the attempt ends, at the latest after
/// [`LIFETIME`].
///
/// # Errors
/// [`NotBegun`].
pub fn begin(
    context: &Arc<Context>,
    conn: &ConnId,
    request: &RequestId,
) -> Result<Challenge, NotBegun> {
    let (id, secret) = (Random.uuid(), Random.token());
    let deadline = Instant::now() + LIFETIME;
    {
        let mut open = context.ssh_proofs.open();
        if open.len() >= MAX_OPEN {
            return Err(NotBegun::TooMany);
        }
        let attempt = Attempt {
            conn: conn.clone(),
            deadline,
            request: request.clone(),
            secret: secret.clone(),
        };
        open.insert(id.clone(), attempt);
    }
    let placed = place_proof(context.store.dir(), &id, &secret);
    let path = match placed {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(fault) => {
            context.ssh_proofs.take(&id);
            return Err(NotBegun::Store(fault));
        }
    };
    let (weak, due) = (Arc::downgrade(context), id.clone());
    context.timer.schedule(deadline, move || {
        if let Some(context) = weak.upgrade() {
            end(&context, &due);
        }
    });
    Ok(Challenge { id, path })
}

/// Whether this is the proof; the attempt is over either way. The request that it was for, when it is.
pub fn check(
    context: &Context,
    conn: &ConnId,
    id: &str,
    uid: u64,
    secret: &str,
) -> Option<RequestId> {
    let attempt = end(context, id)?;
    let own = u64::from(rustix::process::geteuid().as_raw());
    // All is compared, so that the time tells nothing.
    let same = secret_eq(attempt.secret.as_str(), secret);
    let holds = same & (own == uid) & (&attempt.conn == conn);
    (holds && Instant::now() < attempt.deadline).then_some(attempt.request)
}

/// Ends the attempts of a connection that has closed.
pub fn forget(context: &Context, conn: &ConnId) {
    let mine: Vec<String> = {
        let open = context.ssh_proofs.open();
        let mine = open.iter().filter(|(_, attempt)| &attempt.conn == conn);
        mine.map(|(id, _)| id.clone()).collect()
    };
    for id in mine {
        end(context, &id);
    }
}

fn end(context: &Context, id: &str) -> Option<Attempt> {
    let attempt = context.ssh_proofs.take(id)?;
    remove_proof(context.store.dir(), id);
    Some(attempt)
}
