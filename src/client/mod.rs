//! The client's side of a gateway connection: which URL, which credentials, connect, requests, events, reconnect policy.
//! The command line, the node host and probes use the same code.
//!
//! This room never prints; whoever calls it decides what a person sees.

pub mod backoff;
pub mod budget;
pub mod connect;
pub mod credentials;
pub mod error;
pub mod handshake;
pub mod identity;
pub mod plaintext;
pub mod resolve_error;
pub mod session;
pub mod setup_code;
pub mod sources;
pub mod ssh;
pub mod target;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod transport;
pub mod tunnel;

pub use backoff::Backoff;
pub use budget::{Budget, Steps};
pub use connect::{Connector, Device, TokenKeeper, connect_without_device};
pub use credentials::{Credentials, Endpoint, Purpose, Sources, resolve};
pub use error::{ClientError, PairingRefusal};
pub use handshake::StoredToken;
pub use identity::ConnectIdentity;
pub use resolve_error::ResolveError;
pub use session::{Notice, Received, Session};
pub use setup_code::{SetupCode, SetupCodeFault};
pub use target::{GatewayUrl, UrlSource};
pub use tokens::DeviceTokens;
pub use tunnel::Tunnel;
