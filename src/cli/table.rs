//! The command table: every command, argument and option of the program, once.
//!
//! The parser, the help texts and everything else generated from commands read these rows.

mod approvals;
mod audit;
mod completion;
mod dns;
mod fleet;
mod join;

use crate::cli::command::{Argument, Command, Flag, Offers, Takes};
use crate::cli::{
    config, config_set, devices, discover, gateway_limits, gateway_probe, gateway_query,
    gateway_run, gateway_status, gateway_tls, node, node_setup, nodes, overview, pairing, qr,
};

mod doctor;
pub mod service;

/// Default budget of a command that talks to a gateway, in milliseconds.
const RPC_TIMEOUT: &str = "10000";
/// Default budget of `nodes invoke`, in milliseconds: the node's own 15 s and the way there and back.
const INVOKE_TIMEOUT: &str = "30000";
/// What a node gets to finish one invoke, in milliseconds.
const NODE_INVOKE_TIMEOUT: &str = "15000";

const JSON: Flag = Flag::switch("json", "Print one JSON document on stdout");

/// How to reach a gateway: on every command that asks one.
const GATEWAY: &[Flag] = &[
    Flag::text(
        "url",
        "ws-url",
        "Gateway WebSocket URL; needs --token or --password",
    )
    .environment("OPENCLAW_GATEWAY_URL"),
    Flag::text("token", "token", "Gateway token").environment("OPENCLAW_GATEWAY_TOKEN"),
    Flag::text("password", "password", "Gateway password").environment("OPENCLAW_GATEWAY_PASSWORD"),
    Flag::text(
        "tls-fingerprint",
        "sha256",
        "Trust exactly the certificate with this fingerprint; needs wss://",
    ),
    SSH,
    JSON,
];

/// A login to go through.
const SSH: Flag = Flag::text(
    "ssh",
    "user@host[:port]",
    "Reach the gateway on that host through an SSH login",
);

const TIMEOUT: &[Flag] = &[Flag::valued(
    "timeout",
    Takes::Milliseconds,
    "Budget for connect, handshake and answer",
)
.default(RPC_TIMEOUT)];

const RPC: &[&[Flag]] = &[GATEWAY, TIMEOUT];

const NODE: Flag = Flag::text(
    "node",
    "idOrNameOrIp",
    "Node id, name, IP or unique id prefix",
)
.required();
const DEVICE: Flag = Flag::text("device", "id", "Device id or unique prefix").required();
const ROLE: Flag = Flag::text("role", "role", "Role of the token").required();

const FILTERS: &[Flag] = &[
    Flag::switch("connected", "Only nodes that are connected now"),
    Flag::text(
        "last-connected",
        "duration",
        "Only nodes connected within this time, e.g. 24h",
    ),
];

const LOG_LEVELS: &[&str] = &["silent", "fatal", "error", "warn", "info", "debug", "trace"];

/// The root of the table: the program itself with its global options.
pub static ROOT: Command = Command::group(
    "openclaw",
    "Gateway-owned pairing: the gateway, its command line and the headless node host",
    &[
        NODES,
        DEVICES,
        NODE_HOST,
        approvals::APPROVALS,
        audit::AUDIT,
        GATEWAY_COMMANDS,
        CONFIG,
        QR,
        dns::DNS,
        doctor::DOCTOR,
        HEALTH,
        STATUS,
        completion::COMPLETION,
    ],
)
.flags(&[&[
    Flag::switch("no-color", "No ANSI colour").environment("NO_COLOR"),
    Flag::text(
        "profile",
        "name",
        "Use ~/.openclaw-<name> as state directory",
    )
    .environment("OPENCLAW_PROFILE"),
    Flag::switch("dev", "Profile `dev` and default gateway port 19001"),
    Flag::valued("log-level", Takes::Choice("level", LOG_LEVELS), "Log level")
        .environment("OPENCLAW_LOG_LEVEL"),
]]);

const NODES: Command = Command::group(
    "nodes",
    "Approve, inspect and use nodes",
    &[
        Command::leaf(
            "pending",
            "List requests that wait for approval, of both layers",
            nodes::pending,
        )
        .flags(&[GATEWAY, TIMEOUT, fleet::WATCH_NODES])
        .details(fleet::WATCHING)
        .scopes("operator.pairing"),
        Command::leaf(
            "list",
            "List pending requests and paired nodes",
            nodes::list,
        )
        .flags(&[GATEWAY, TIMEOUT, FILTERS, fleet::WATCH_NODES])
        .details(fleet::WATCHING)
        .scopes("operator.pairing, operator.read"),
        Command::leaf(
            "status",
            "Show known nodes and whether they are connected",
            nodes::status,
        )
        .flags(&[GATEWAY, TIMEOUT, FILTERS, fleet::WATCH_NODES])
        .details(fleet::WATCHING)
        .scopes("operator.read (operator.pairing with --last-connected)"),
        Command::leaf(
            "describe",
            "Show one node and its commands",
            nodes::describe,
        )
        .flags(&[GATEWAY, TIMEOUT, &[NODE]])
        .scopes("operator.read"),
        Command::leaf("approve", "Approve a pending request", nodes::approve)
            .arguments(&[OPTIONAL_REQUEST])
            .flags(&[
                GATEWAY,
                TIMEOUT,
                DIGEST,
                &[Flag::text(
                    "silent-ssh",
                    "user@host",
                    "Approve a request marked silent once this SSH login reaches the gateway's own user",
                )],
            ])
            .details(
                "With --silent-ssh the id may be left out when one request is marked silent. The login asks nothing and \
                 accepts no new host key; when it does not work, the request and the command that approves it are \
                 shown, and the exit code is 1.",
            )
            .scopes("operator.pairing and what the node's commands require"),
        Command::leaf("reject", "Reject a pending request", nodes::reject)
            .arguments(&[REQUEST])
            .flags(RPC)
            .scopes("operator.pairing"),
        Command::leaf("remove", "Remove a paired node", nodes::remove)
            .flags(&[GATEWAY, TIMEOUT, &[NODE]])
            .scopes("operator.pairing, operator.read"),
        fleet::PRUNE,
        Command::leaf("rename", "Give a node another name", nodes::rename)
            .flags(&[
                GATEWAY,
                TIMEOUT,
                &[
                    NODE,
                    Flag::text("name", "text", "New display name").required(),
                ],
            ])
            .scopes("operator.pairing, operator.read"),
        Command::leaf("invoke", "Run one command of a node", nodes::invoke)
            .flags(&[
                GATEWAY,
                &[Flag::valued(
                    "timeout",
                    Takes::Milliseconds,
                    "Budget for the whole command",
                )
                .default(INVOKE_TIMEOUT)],
                INVOKE,
            ])
            .scopes("operator.write, operator.read"),
    ],
);

const REQUEST_HELP: &str = "Request id, or a unique prefix of at least 8 characters";
const REQUEST: Argument = Argument::required("requestId", REQUEST_HELP);
const OPTIONAL_REQUEST: Argument = Argument::optional("requestId", REQUEST_HELP);

/// What an approver looked at.
const DIGEST: &[Flag] = &[Flag::text(
    "digest",
    "hex",
    "Approve only if the request still has this digest (from pending --json)",
)];

const INVOKE: &[Flag] = &[
    NODE,
    Flag::text(
        "command",
        "command",
        "Command of the node, e.g. system.which",
    )
    .required(),
    Flag::text("params", "json", "Parameters, a JSON object").default("{}"),
    Flag::valued(
        "invoke-timeout",
        Takes::Milliseconds,
        "What the node gets to answer",
    )
    .default(NODE_INVOKE_TIMEOUT),
    Flag::text(
        "idempotency-key",
        "key",
        "Key that names this invoke (default: random)",
    ),
];

const DEVICES: Command = Command::group(
    "devices",
    "Approve devices and manage their tokens",
    &[
        Command::leaf(
            "list",
            "List pending requests and paired devices",
            devices::list,
        )
        .flags(&[GATEWAY, TIMEOUT, fleet::WATCH_DEVICES])
        .details(fleet::WATCHING)
        .scopes("operator.pairing"),
        Command::leaf(
            "approve",
            "Approve a pending request; without an id only show the newest",
            devices::approve,
        )
        .arguments(&[OPTIONAL_REQUEST])
        .flags(&[
            GATEWAY,
            TIMEOUT,
            DIGEST,
            &[Flag::switch(
                "latest",
                "Only show the newest request, approve nothing",
            )],
        ])
        .scopes("operator.pairing"),
        Command::leaf("reject", "Reject a pending request", devices::reject)
            .arguments(&[REQUEST])
            .flags(RPC)
            .scopes("operator.pairing"),
        Command::leaf("remove", "Remove a paired device", devices::remove)
            .arguments(&[Argument::required("deviceId", "Device id or unique prefix")])
            .flags(RPC)
            .scopes("operator.pairing"),
        Command::leaf("clear", "Remove every paired device", devices::clear)
            .flags(&[
                GATEWAY,
                TIMEOUT,
                &[
                    Flag::switch("yes", "Confirm"),
                    Flag::switch("pending", "Also reject all pending requests"),
                ],
            ])
            .scopes("operator.pairing"),
        fleet::EXPORT,
        fleet::IMPORT,
        KEYS,
        Command::leaf(
            "preapprove",
            "Approve a device by its public key, before it connects",
            devices::keys::preapprove,
        )
        .arguments(&[Argument::required(
            "publicKey",
            "What `openclaw node identity` prints on that machine",
        )])
        .flags(&[GATEWAY, TIMEOUT, OFFER, &[PREAPPROVAL_TTL]])
        .details(
            "The first connect of exactly this key, with the right gateway credentials, needs no person.",
        )
        .scopes("operator.pairing and what the commands or scopes require"),
        Command::leaf("rotate", "Replace the token of a device", devices::rotate)
            .flags(&[
                GATEWAY,
                TIMEOUT,
                &[
                    DEVICE,
                    ROLE,
                    Flag::text(
                        "scope",
                        "scope",
                        "Scopes of the new token (default: unchanged)",
                    )
                    .many(),
                ],
            ])
            .scopes("operator.pairing"),
        Command::leaf("revoke", "Revoke the token of a device", devices::revoke)
            .flags(&[GATEWAY, TIMEOUT, &[DEVICE, ROLE]])
            .scopes("operator.pairing"),
    ],
);

/// What an invitation gives.
const OFFER: &[Flag] = &[
    Flag::valued(
        "role",
        Takes::Choice("role", &["node", "operator"]),
        "Role of the device",
    )
    .default("node"),
    Flag::text(
        "command",
        "command",
        "Commands of the node that are approved with it; others wait for approval",
    )
    .many(),
    Flag::text(
        "scope",
        "scope",
        "Scopes of an operator: read, write, approvals or talk.secrets",
    )
    .many(),
    Flag::text("name", "text", "Name to know it by"),
];

const PREAPPROVAL_TTL: Flag = Flag::text(
    "ttl",
    "duration",
    "How long it waits, e.g. 12h (at most 30d)",
)
.default("24h");

const KEYS: Command = Command::group(
    "keys",
    "Make, list and revoke join keys, which let new devices in without a person",
    &[
        Command::leaf(
            "create",
            "Make a join key; it is shown this once",
            devices::keys::create,
        )
        .flags(&[
            GATEWAY,
            TIMEOUT,
            OFFER,
            &[
                Flag::text("ttl", "duration", "How long it can be used, e.g. 30m (at most 30d)")
                    .default("1h"),
                Flag::text("uses", "count", "How many devices may join by it").default("1"),
                Flag::text(
                    "cidr",
                    "network",
                    "Addresses or CIDR blocks from which it can be used (default: anywhere)",
                )
                .many(),
                Flag::switch(
                    "print-join-command",
                    "Print the one line to paste on the new machine",
                ),
                Flag::text(
                    "public-url",
                    "ws-url",
                    "URL for the join command (default: as for openclaw qr)",
                ),
            ],
        ])
        .details(
            "A join key is a secret: whoever has it joins. Prefer few uses, a short life and a network.",
        )
        .scopes("operator.pairing and what the commands or scopes require"),
        Command::leaf(
            "list",
            "List join keys and pre-approved devices",
            devices::keys::list,
        )
        .flags(RPC)
        .scopes("operator.pairing"),
        Command::leaf(
            "revoke",
            "End a join key or take a pre-approval back; devices that joined stay",
            devices::keys::revoke,
        )
        .arguments(&[Argument::required(
            "id",
            "Key id, device id, or a unique prefix",
        )])
        .flags(RPC)
        .scopes("operator.pairing"),
    ],
);

const NODE_HOST: Command = Command::group(
    "node",
    "Run this machine as a node",
    &[
        Command::leaf(
            "identity",
            "Print this machine's device id and public key; makes the key when there is none",
            node_setup::identity,
        )
        .flags(&[&[JSON]]),
        Command::leaf("run", "Run the headless node host in the foreground", node::run)
        .flags(&[&[
            Flag::text("url", "ws-url", "Gateway URL; instead of --host, --port and --tls"),
            Flag::text("host", "host", "Gateway host (default: saved, else 127.0.0.1)"),
            Flag::valued("port", Takes::Port, "Gateway port (default: saved, else 18789)"),
            Flag::switch("tls", "Use TLS"),
            Flag::text("tls-fingerprint", "sha256", "Expected certificate fingerprint; implies --tls"),
            SSH,
            Flag::text("node-id", "id", "Another instance id; forgets the stored node token"),
            Flag::text("display-name", "name", "Name shown to operators (default: saved, else the host name)"),
            Flag::text("setup-code-file", "path", "Join with the setup code or join key in this file; - reads stdin")
                .environment("OPENCLAW_SETUP_CODE"),
            Flag::text("setup-code", "code", "The same as an argument, which every user of this machine can see in ps"),
        ]])
        .details(
            "Credentials come from OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD, then from the configuration, then from an \
             earlier connect. A setup code or join key is used when there is none of these, and forgotten once the gateway \
             has handed out a token. Give it in a file, on stdin or in OPENCLAW_SETUP_CODE: arguments show in ps.",
        )
        .failure(""),
        join::JOIN,
        service::NODE_INSTALL,
        service::NODE_STATUS,
        service::NODE_START,
        service::NODE_STOP,
        service::NODE_RESTART,
        service::NODE_UNINSTALL,
    ],
);

const GATEWAY_RUN: &[Flag] = &[
    Flag::valued("port", Takes::Port, "Port for WebSocket and HTTP")
        .environment("OPENCLAW_GATEWAY_PORT"),
    Flag::valued(
        "bind",
        Takes::Choice("mode", &["loopback", "lan", "tailnet", "auto", "custom"]),
        "Addresses to listen on",
    ),
    Flag::valued(
        "auth",
        Takes::Choice("mode", &["none", "token", "password", "trusted-proxy"]),
        "How clients authenticate",
    ),
    Flag::text("token", "token", "Shared token").environment("OPENCLAW_GATEWAY_TOKEN"),
    Flag::text(
        "password",
        "password",
        "Shared password (process listings show it)",
    )
    .environment("OPENCLAW_GATEWAY_PASSWORD"),
    Flag::text(
        "password-file",
        "path",
        "Read the shared password from this file",
    ),
    Flag::valued(
        "tailscale",
        Takes::Choice("mode", &["off", "serve", "funnel"]),
        "Tailscale exposure",
    ),
    Flag::switch(
        "tailscale-reset-on-exit",
        "Undo the Tailscale exposure at exit",
    ),
    Flag::switch(
        "allow-unconfigured",
        "Start without gateway.mode=local in the configuration",
    ),
    Flag::switch("dev", "Development profile"),
    Flag::switch(
        "reset",
        "Start the development profile afresh; only with --dev",
    ),
    Flag::switch("force", "End the gateway that holds the port first"),
    Flag::switch("verbose", "More log lines"),
    Flag::valued(
        "ws-log",
        Takes::Choice("style", &["auto", "full", "compact"]),
        "How WebSocket traffic is logged",
    ),
    Flag::switch("compact", "Same as --ws-log compact"),
    Flag::switch("cli-backend-logs", "Accepted, without effect").hidden(),
    Flag::switch("raw-stream", "Accepted, without effect").hidden(),
    Flag::text("raw-stream-path", "path", "Accepted, without effect").hidden(),
];

const LIMITS: &[Flag] = &[
    Flag::text("client", "client", "Only this client, as the list names it"),
    Flag::valued(
        "kind",
        Takes::Choice(
            "kind",
            &["bootstrap-token", "device-token", "shared-secret"],
        ),
        "Only this kind of credential",
    ),
];

const GATEWAY_COMMANDS: Command = Command::group(
    "gateway",
    "Run the gateway and ask it things",
    &[
        Command::leaf("run", "Run the gateway in the foreground", gateway_run::run)
            .flags(&[GATEWAY_RUN])
            .failure(""),
        service::GATEWAY_INSTALL,
        service::GATEWAY_START,
        service::GATEWAY_STOP,
        service::GATEWAY_RESTART,
        service::GATEWAY_UNINSTALL,
        Command::leaf(
            "health",
            "Ask the gateway whether it is well",
            gateway_query::health,
        )
        .flags(RPC)
        .scopes("operator.read")
        .failure(""),
        Command::leaf(
            "status",
            "Show service, configuration, port and connection of the gateway",
            gateway_status::status,
        )
        .flags(&[
            GATEWAY,
            TIMEOUT,
            &[
                Flag::switch("no-probe", "Do not connect"),
                Flag::switch("require-rpc", "Fail unless a read request succeeds"),
                Flag::switch("deep", "Look for other gateway services too"),
                service::SYSTEM,
            ],
        ])
        .scopes("none (operator.read with --require-rpc)")
        .failure("Gateway status failed: "),
        Command::group(
            "limits",
            "Show who failed too often and what is used of every bound",
            &[
                Command::leaf(
                    "list",
                    "List counters of failed attempts and budgets",
                    gateway_limits::list,
                )
                .flags(RPC)
                .scopes("operator.admin")
                .failure("Gateway limits failed: "),
                Command::leaf(
                    "clear",
                    "Let clients that failed too often try again",
                    gateway_limits::clear,
                )
                .flags(&[GATEWAY, TIMEOUT, LIMITS])
                .scopes("operator.admin")
                .failure("Gateway limits failed: "),
            ],
        ),
        Command::leaf(
            "discover",
            "Look for gateways on the networks around this machine",
            discover::discover,
        )
        .flags(&[&[
            Flag::valued("timeout", Takes::Milliseconds, "How long to look").default("2000"),
            JSON,
        ]])
        .details(
            "Browses local. and, when discovery.wideArea is enabled, its domain. What gateways say about themselves is \
             unproven; the URL is where they were resolved to. No connection is made.",
        )
        .failure("Gateway discover failed: "),
        Command::leaf(
            "probe",
            "Try every way to a gateway that this machine knows, and look around",
            gateway_probe::probe,
        )
        .flags(&[
            GATEWAY,
            &[
                Flag::valued(
                    "timeout",
                    Takes::Milliseconds,
                    "Budget for each way",
                )
                .default("3000"),
                Flag::text(
                    "ssh-identity",
                    "path",
                    "Key file for --ssh (default: gateway.remote.sshIdentity)",
                ),
                Flag::switch(
                    "ssh-auto",
                    "Without a login of its own: try one on the first gateway that is found",
                ),
            ],
        ])
        .details(
            "Leaves no trace: it makes no device key and no request. Ends with 0 when at least one gateway was reached.",
        )
        .scopes("operator.read")
        .failure("Gateway probe failed: "),
        PAIRING,
        Command::leaf(
            "fingerprint",
            "Print the certificate fingerprint that clients of this gateway pin",
            gateway_tls::fingerprint,
        )
        .flags(&[&[JSON]])
        .details(
            "Reads the certificate of the gateway on this machine; no connection is made. Pass the value to \
             --tls-fingerprint, or store it in gateway.remote.tlsFingerprint on the other machine.",
        )
        .on_gateway_host("")
        .failure(""),
        Command::leaf(
            "call",
            "Call one method of the gateway",
            gateway_query::call,
        )
        .arguments(&[Argument::required("method", "Method name, e.g. node.list")])
        .flags(&[
            GATEWAY,
            TIMEOUT,
            &[
                Flag::text("params", "json", "Parameters, a JSON object").default("{}"),
                Flag::switch(
                    "expect-final",
                    "Wait for the final answer of a method that first accepts",
                ),
            ],
        ])
        .scopes("what the method needs")
        .failure("Gateway call failed: "),
    ],
)
.details("Without a command it runs the gateway.")
.flags(&[GATEWAY_RUN])
.handler(gateway_run::run)
.failure("");

const PAIRING: Command = Command::group(
    "pairing",
    "Decide whether anybody new may ask to join",
    &[
        Command::leaf("status", "Show whether pairing is open", pairing::status)
            .flags(RPC)
            .scopes("operator.pairing"),
        Command::leaf(
            "open",
            "Let new devices and nodes ask, for a while or until it is closed",
            pairing::open,
        )
        .flags(&[
            GATEWAY,
            TIMEOUT,
            &[Flag::text(
                "for",
                "duration",
                "Close again by itself after this time, e.g. 3m (at most 24h)",
            )],
        ])
        .scopes("operator.admin"),
        Command::leaf(
            "close",
            "Refuse everybody new; stays so over restarts and edits until it is opened",
            pairing::close,
        )
        .flags(RPC)
        .scopes("operator.admin"),
    ],
)
.details(
    "While pairing is closed no request of a node or of an operator's device is recorded and nothing new is approved \
     by itself. Who is paired keeps working, wider roles, scopes and commands wait until it is open, and requests \
     that wait already can be approved or rejected. What these commands decide wins over \
     gateway.nodes.pairing.enabled; only \"open\" without --for, where the configuration opens it too, leaves it to \
     the configuration again.",
);

const CONFIG: Command = Command::group(
    "config",
    "Read and change the configuration file",
    &[
        Command::leaf(
            "file",
            "Print the path of the configuration file",
            config::file,
        )
        .flags(&[&[JSON]]),
        Command::leaf("get", "Print one value", config::get)
            .arguments(&[PATH])
            .flags(&[&[
                JSON,
                Flag::switch("reveal", "Print secrets instead of a placeholder"),
            ]]),
        Command::leaf(
            "set",
            "Change one value, or several at once",
            config_set::set,
        )
        .arguments(&[
            Argument::optional("path", "Dotted path, e.g. gateway.port").offers(Offers::ConfigKeys),
            Argument::optional("value", "JSON5 value; other text is taken as a string"),
        ])
        .flags(&[&[
            Flag::switch("strict-json", "The value must be JSON5"),
            Flag::switch(
                "json",
                "With --dry-run: print JSON; otherwise the same as --strict-json",
            ),
            Flag::text(
                "ref-provider",
                "alias",
                "Write a secret reference: provider",
            ),
            Flag::valued(
                "ref-source",
                Takes::Choice("source", &["env", "file", "exec"]),
                "Write a secret reference: source",
            ),
            Flag::text("ref-id", "id", "Write a secret reference: id"),
            Flag::text("batch-json", "json", "Several changes as a JSON array"),
            Flag::text("batch-file", "path", "Several changes from a file"),
            Flag::switch("dry-run", "Check only, write nothing"),
        ]])
        .failure("Error: "),
        Command::leaf("unset", "Remove one value", config_set::unset)
            .arguments(&[PATH])
            .flags(&[&[JSON]])
            .failure("Error: "),
        Command::leaf("validate", "Check the configuration file", config::validate)
            .flags(&[&[JSON]]),
    ],
);

const PATH: Argument =
    Argument::required("path", "Dotted path, e.g. gateway.port").offers(Offers::ConfigKeys);

const QR: Command = Command::leaf(
    "qr",
    "Make a setup code that lets one phone or node join, and show it as a QR code",
    qr::run,
)
.flags(&[&[
    Flag::text("url", "url", "Gateway URL for the code instead of the configured one"),
    Flag::text("public-url", "url", "The same as --url"),
    Flag::switch("remote", "Use gateway.remote.url, or the Tailscale name"),
    Flag::text("token", "token", "Name the gateway's auth as token; the code never contains it"),
    Flag::text("password", "password", "Name the gateway's auth as password; the code never contains it"),
    Flag::switch("setup-code-only", "Print just the code"),
    Flag::switch("no-ascii", "Do not draw the QR code"),
    Flag::text("svg", "file", "Write the QR code as SVG (mode 0600); - is stdout"),
    JSON,
]])
.details(
    "Run it on the gateway's machine: the code's token goes into the state directory. It works for one device within \
     10 minutes. Node hosts take the code too: openclaw node run --setup-code-file <file>.",
)
.on_gateway_host("From here a node can be let in with: openclaw devices keys create --print-join-command");

const HEALTH: Command = Command::leaf(
    "health",
    "Ask the gateway whether it is well",
    gateway_query::health,
)
.flags(&[
    GATEWAY,
    TIMEOUT,
    &[
        Flag::switch("verbose", "Probe and show the connection first"),
        Flag::switch("debug", "Same as --verbose"),
    ],
])
.scopes("operator.read")
.failure("");

const STATUS: Command = Command::leaf(
    "status",
    "Show the whole system at a glance",
    overview::status,
)
.flags(&[
    GATEWAY,
    TIMEOUT,
    &[
        Flag::switch("all", "Show everything"),
        Flag::switch("deep", "Probe deeper"),
    ],
])
.scopes("operator.read");

#[cfg(test)]
mod tests {
    use super::*;

    fn each(command: &'static Command, path: &str, visit: &mut impl FnMut(&str, &'static Command)) {
        let path = format!("{path} {}", command.name);
        visit(&path, command);
        for child in command.children {
            each(child, &path, visit);
        }
    }

    #[test]
    fn rows_are_consistent() {
        each(&ROOT, "", &mut |path, command| {
            assert!(
                !command.summary.ends_with('.'),
                "{path}: {}",
                command.summary
            );
            let mut names: Vec<&str> = command.own_flags().map(|flag| flag.long).collect();
            names.extend(command.own_flags().filter_map(|flag| flag.alias));
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{path}: an option twice");
            for flag in command.own_flags() {
                assert!(
                    !flag.help.is_empty() && !flag.help.ends_with('.'),
                    "{path} --{}",
                    flag.long
                );
                if flag.takes == Takes::Milliseconds {
                    let default: u64 = flag.default.unwrap().parse().unwrap();
                    assert!(default > 0, "{path} --{}", flag.long);
                }
            }
            let optional_then_required = command
                .arguments
                .windows(2)
                .any(|pair| !pair[0].required && pair[1].required);
            assert!(!optional_then_required, "{path}");
            let words: Vec<&str> = command.children.iter().map(|child| child.name).collect();
            for word in &words {
                assert_eq!(
                    words.iter().filter(|other| *other == word).count(),
                    1,
                    "{path} {word}"
                );
            }
        });
    }
}
