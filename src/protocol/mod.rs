//! The words on the wire: frames, connect, errors, the method table, event names and schema checks.
//!
//! This room knows what may be said and in which words; it never does I/O.

pub mod close;
pub mod command_text;
pub mod connect;
pub mod error;
pub mod event;
pub mod frame;
pub mod hello;
pub mod hidden;
pub mod json_text;
pub mod limits;
pub mod method;
pub mod nesting;
pub mod params;
pub mod schema;
pub mod scope;
