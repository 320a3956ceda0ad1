//! The browser proxy of a node host against a real headless Chromium and pages that the tests serve on loopback.
//! Every process ends with its test.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod act;
mod armed;
mod astray;
mod crashes;
mod dialogs;
mod downloads;
mod forwarding;
mod frames;
mod guard;
mod life;
mod logs;
mod memory;
mod node;
mod outlet;
mod pages;
mod picture;
mod pictures;
mod profiles;
mod reach;
mod renderings;
mod routes;
mod snapshots;
mod starts;
mod stores;
mod tabs;
mod transfer;
mod waits;
mod world;

use support::site;
