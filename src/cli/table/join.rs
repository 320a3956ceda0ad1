//! The row of `openclaw node join`.

use super::JSON;
use super::service::SYSTEM;
use crate::cli::command::{Command, Flag, Takes};
use crate::cli::node_join;

/// `node join`.
pub(super) const JOIN: Command = Command::leaf(
    "join",
    "Make this machine a node of a gateway: find it, trust it, store it, start",
    node_join::join,
)
.flags(&[
    &[
        Flag::text(
            "gateway",
            "name",
            "The one of the gateways found that is called so; also an address or a unique beginning",
        ),
        Flag::text(
            "url",
            "ws-url",
            "Gateway URL, instead of looking for gateways",
        ),
        Flag::text(
            "setup-code-file",
            "path",
            "Join with the setup code or join key in this file; - reads stdin",
        )
        .environment("OPENCLAW_SETUP_CODE"),
        Flag::text(
            "setup-code",
            "code",
            "The same as an argument, which every user of this machine can see in ps",
        ),
        Flag::text(
            "trust-fingerprint",
            "sha256",
            "Trust the certificate with this fingerprint, and no other, without a question",
        )
        .alias("tls-fingerprint"),
        Flag::text(
            "display-name",
            "name",
            "Name shown to operators (default: saved, else the host name)",
        ),
        Flag::valued(
            "timeout",
            Takes::Milliseconds,
            "How long to look for gateways; when it is given, also how long the gateway may take to answer",
        )
        .default("3000"),
        Flag::switch("run", "Then run the node host in the foreground"),
        Flag::switch("install", "Then install the node host as a service"),
        Flag::switch(
            "force",
            "Leave the gateway this machine belongs to; replace its pin by --trust-fingerprint",
        ),
        Flag::text("run-as", "user", "With --install --system: the account it runs as"),
        SYSTEM,
        JSON,
    ],
])
.details(
    "Without --url and without a setup code it looks for gateways on the network and lists them. A gateway's certificate \
     is shown before anything is sent there; once it is confirmed, no other is accepted. Credentials come from the setup \
     code or join key, or from OPENCLAW_GATEWAY_TOKEN; without any nothing is stored. In scripts nothing is asked: name the gateway with --gateway or \
     --url and its certificate with --trust-fingerprint.",
)
.failure("Node join failed: ");
