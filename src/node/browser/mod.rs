//! The browser proxy: a browser of this machine, driven for the gateway (node-host specification, section 4).
//!
//! Requests come as `browser.proxy` and name a route, as if to a small HTTP server. The browser speaks the
//! DevTools protocol over one WebSocket. Nothing is started, opened or kept before the first request; what is
//! started ends with the node host, however that ends.

mod act;
mod addresses;
mod answers;
mod cdp;
mod chooser;
mod context;
mod dialogs;
mod downloads;
mod elements;
mod enclosure;
mod endpoint;
mod error;
mod executable;
mod files;
mod guard;
mod instance;
mod interception;
mod labels;
mod launch;
mod logs;
mod lookups;
mod outlet;
mod page;
mod pages;
mod profiles;
mod proxy;
mod refs;
mod request;
mod routes;
mod settings;
mod shown;
mod singleton;
mod snapshot;
mod socks;
mod start;
mod status;
mod tabs;
mod turns;
mod world;

pub use self::proxy::BrowserProxy;
