//! Discovery on networks that the tests make: hosts in network namespaces, switches between them, and on the
//! other side real Avahi and python-zeroconf. Nothing ever leaves the namespaces.
//!
//! Needs root; `make lan` installs what is missing.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

// The tests of the two advertisers need different parts of these.
#[allow(dead_code)]
mod lan;
#[allow(dead_code)]
mod peers;

#[cfg(not(feature = "libmdns"))]
mod conflicts;
#[cfg(not(feature = "libmdns"))]
mod discover;
#[cfg(not(feature = "libmdns"))]
mod faults;
#[cfg(not(feature = "libmdns"))]
mod hostile;
#[cfg(not(feature = "libmdns"))]
mod interfaces;
#[cfg(not(feature = "libmdns"))]
mod joining;
mod one_interface;
#[cfg(not(feature = "libmdns"))]
mod quiet;
#[cfg(not(feature = "libmdns"))]
mod ssh;
#[cfg(not(feature = "libmdns"))]
mod wide_area;
