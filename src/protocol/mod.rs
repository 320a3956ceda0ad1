//! The words on the wire: frames, connect, errors, the method table, event names and schema checks.
//!
//! This room knows what may be said and in which words; it never does I/O.

pub mod command_text;
pub mod scope;
