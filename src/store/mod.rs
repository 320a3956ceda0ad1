//! temp

pub mod atomic;
pub mod clock;
pub mod commit;
pub mod directory;
pub mod error;
pub mod lock;
#[cfg(test)]
mod testing;

pub use clock::{Clock, ManualClock, SystemClock};
pub use directory::StateDir;
pub use error::{StoreError, TransactError};
