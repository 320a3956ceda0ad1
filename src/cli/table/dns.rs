//! The rows of `dns`.

use super::JSON;
use crate::cli::command::{Command, Flag};
use crate::cli::dns;

/// `dns`.
pub const DNS: Command = Command::group(
    "dns",
    "Set up the wide-area domain of discovery",
    &[Command::leaf(
        "setup",
        "Show what the wide-area domain needs, or have CoreDNS serve it",
        dns::setup,
    )
    .flags(&[&[
        Flag::text(
            "domain",
            "domain",
            "The domain (default: discovery.wideArea.domain)",
        )
        .environment("OPENCLAW_WIDE_AREA_DOMAIN"),
        Flag::switch(
            "apply",
            "Write the zone where it is missing, add it to CoreDNS and restart CoreDNS; needs root",
        ),
        Flag::text("corefile", "path", "The configuration of CoreDNS")
            .default("/etc/coredns/Corefile"),
        JSON,
    ]])
    .details(
        "The gateway writes the zone file itself while discovery.wideArea.enabled is on, and only when its content \
         changes. Any DNS server can serve it; contrib/bind of the installed documents (share/doc/openclaw) shows how BIND does.",
    )
    .on_gateway_host("")],
);
