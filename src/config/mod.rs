//! Configuration: `openclaw.json`, the environment, paths and the sources of secrets, as one typed
//! view with defaults (cli.md §3 and §4).
//!
//! This is the only room that reads environment variables. It never changes the operator's file
//! unless it is told to edit it, and it never prints a secret.

pub mod build;
pub mod diff;
pub mod dotenv;
pub mod edit;
#[cfg(test)]
mod edit_properties;
pub mod environment;
pub mod error;
pub mod expand;
pub mod include;
pub mod key;
pub mod kind;
pub mod layout;
pub mod load;
pub mod model;
pub mod path;
pub mod paths;
pub mod redact;
pub mod reference;
pub mod reference_check;
pub mod scan;
pub mod secret;
pub mod source;
pub mod suggest;
#[cfg(test)]
pub(crate) mod testing;
pub mod token;
pub mod validate;
pub mod view;
pub mod watch;
pub mod word;
pub mod write;

pub use environment::Environment;
pub use error::{ConfigError, Issue};
pub use load::{Loaded, load};
pub use model::Config;
pub use paths::Paths;
pub use secret::Secret;
