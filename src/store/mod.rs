//! The state directory: who may write it, how it is read, and how a change becomes durable before
//! anybody hears of it.
//!
//! One process holds the [`Lock`]. It opens the [`Store`], which keeps the pairing [`State`] in
//! memory and its files on the disk; concurrent changes share saves. The formats are the
//! reference's (protocol §10), so a state directory moves between both programs.
//!
//! This room holds no rules about who may do what, and reads no configuration and no environment:
//! paths are given to it. What it cannot read it reports with path, line and column and leaves
//! alone.
//!
//! [`State`]: crate::pairing::State

pub mod atomic;
pub mod audit;
pub mod care;
pub mod clock;
pub mod commit;
pub mod confined;
pub mod device_auth;
pub mod directory;
pub mod error;
pub mod keys;
pub mod lock;
pub mod lock_owner;
pub mod log_file;
pub mod node_file;
pub mod pairing_files;
mod pairing_store;
pub mod proof_file;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls_files;
pub mod trail;
pub mod turn;
mod write_order;

pub use audit::{AuditLog, AuditTrail};
pub use clock::{Clock, ManualClock, SteadyClock, SystemClock};
pub use device_auth::{DeviceAuth, StoredToken};
pub use directory::StateDir;
pub use error::{StoreError, TransactError};
pub use keys::{load_key, load_or_create_key};
pub use lock::{ConfigLock, Lock};
pub use lock_owner::Purpose;
pub use node_file::{NodeFile, NodeGateway};
pub use pairing_store::Store;
pub use proof_file::{place_proof, remove_proof, sweep_proofs};
