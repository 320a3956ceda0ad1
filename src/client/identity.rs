//! Who connects: the client that a gateway sees, for the command line and the node host alike.

use crate::identity::Random;
use crate::protocol::connect::{ClientInfo, ConnectParams};
use crate::protocol::scope::{Role, Scope, Scopes};

/// Everything a client says about itself and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectIdentity {
    /// Oldest and newest protocol version offered.
    pub protocols: (u64, u64),
    /// Program, version, platform, mode.
    pub client: ClientInfo,
    /// Role asked for.
    pub role: Role,
    /// Scopes asked for: the least that will do.
    pub scopes: Scopes,
    /// Scopes asked for as long as no device token of this gateway is known, so that one first approval covers all.
    pub first_scopes: Scopes,
    /// Capabilities: what a node offers, what an operator's client can do.
    pub caps: Vec<String>,
    /// Commands a node declares.
    pub commands: Vec<String>,
    /// `PATH` of a node.
    pub path_env: Option<String>,
}

impl ConnectIdentity {
    /// The command line as an operator that needs `scopes`.
    pub fn command_line(scopes: Scopes) -> ConnectIdentity {
        ConnectIdentity::operator("cli", "cli", scopes, full_operator())
    }

    /// The command line as the gateway's own backend on the same machine: older gateways grant its scopes to a
    /// connection without a device (protocol §4.4).
    pub fn backend(scopes: Scopes) -> ConnectIdentity {
        ConnectIdentity::operator("gateway-client", "backend", scopes.clone(), scopes)
    }

    /// A probe that only wants to know whether the gateway answers.
    pub fn probe(scopes: Scopes) -> ConnectIdentity {
        ConnectIdentity::operator("cli", "probe", scopes.clone(), scopes)
    }

    /// The same for a client that shows a person the commands that wait for approval, and can have them decided.
    /// Gateways of 2026.9 offer these to clients alone that say so.
    pub fn showing_approvals(mut self) -> ConnectIdentity {
        self.caps.push("exec-approvals".to_owned());
        self
    }

    /// A node host, without scopes; what it offers is said at each connect.
    pub fn node_host(display_name: &str, instance_id: &str, path_env: &str) -> ConnectIdentity {
        let mut client = client("node-host", "node");
        client.display_name = Some(display_name.to_owned());
        client.instance_id = Some(instance_id.to_owned());
        ConnectIdentity {
            protocols: (3, 4),
            client,
            role: Role::Node,
            scopes: Scopes::none(),
            first_scopes: Scopes::none(),
            caps: Vec::new(),
            commands: Vec::new(),
            path_env: Some(path_env.to_owned()),
        }
    }

    fn operator(id: &str, mode: &str, scopes: Scopes, first_scopes: Scopes) -> ConnectIdentity {
        ConnectIdentity {
            protocols: (3, 4),
            client: client(id, mode),
            role: Role::Operator,
            scopes,
            first_scopes,
            caps: Vec::new(),
            commands: Vec::new(),
            path_env: None,
        }
    }

    /// The params of `connect` without device and credentials, asking for `scopes`.
    pub fn params(&self, scopes: &Scopes) -> ConnectParams {
        ConnectParams {
            min_protocol: self.protocols.0,
            max_protocol: self.protocols.1,
            client: self.client.clone(),
            caps: self.caps.clone(),
            commands: self.commands.clone(),
            path_env: self.path_env.clone(),
            role: Some(self.role.as_str().to_owned()),
            scopes: scopes.clone(),
            ..ConnectParams::default()
        }
    }
}

/// Every operator scope a command of this program may need (cli.md §1.3).
pub fn full_operator() -> Scopes {
    [
        Scope::ADMIN,
        Scope::READ,
        Scope::WRITE,
        Scope::APPROVALS,
        Scope::PAIRING,
    ]
    .into_iter()
    .collect()
}

/// The operating system as the protocol names it.
pub const fn platform() -> &'static str {
    if cfg!(target_os = "macos") {
        "darwin"
    } else if cfg!(windows) {
        "win32"
    } else {
        "linux"
    }
}

fn client(id: &str, mode: &str) -> ClientInfo {
    ClientInfo {
        id: id.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: platform().to_owned(),
        mode: mode.to_owned(),
        instance_id: Some(Random.uuid()),
        ..ClientInfo::default()
    }
}
