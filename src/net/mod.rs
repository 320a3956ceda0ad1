//! Bytes: listening, TCP, TLS, HTTP heads, WebSocket over poll, wake-ups and deadlines.
//!
//! Every socket is non-blocking and every wait has a deadline given by the caller; a thread that has
//! nothing to do sleeps in one `poll` without periodic wake-ups. No method name is known here.

pub mod child;
pub mod dial;
pub mod diversion;
pub mod error;
pub mod file_events;
pub mod head;
pub mod http;
pub mod inherited;
pub mod interfaces;
pub mod links;
pub mod listener;
pub mod notify;
pub mod outbox;
pub mod peer;
pub mod process;
pub mod processor;
pub mod readiness;
mod remains;
pub mod stream;
pub mod tls;
pub mod tls_server;
pub mod traffic;
pub mod trust;
pub mod upgrade;
pub mod wake;

pub mod address;
mod boundary;
mod frame_head;
mod wire;

pub use error::{HeadFault, NetError};
pub use file_events::FileEvents;
pub use head::{Head, Headers};
pub use inherited::{Inherited, InheritedError};
pub use listener::Listener;
pub use notify::Supervisor;
pub use outbox::Outbox;
pub use peer::{Closed, Peer, Side, Step, Text};
pub use processor::thread_time;
pub use remains::Remains;
pub use stream::Stream;
pub use tls::ShakeFault;
pub use tls_server::{ServerTls, ServerTlsError};
pub use traffic::Traffic;
pub use trust::{Presented, TlsFault, Trust};
pub use wake::Wake;
