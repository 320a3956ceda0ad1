//! What a connect says of itself: the client's name and the credentials it sends.
//!
//! Cleaned up as protocol.md §4.1 has it, and not judged: that is `auth`.

use crate::identity::Token;
use crate::protocol::connect::{ClientInfo, ConnectAuth};

/// The `auth` object of a connect, trimmed; empty values are absent.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// `auth.bootstrapToken`.
    pub bootstrap_token: Option<Token>,
    /// `auth.deviceToken`.
    pub device_token: Option<Token>,
    /// `auth.password`.
    pub password: Option<Token>,
    /// `auth.token`.
    pub token: Option<Token>,
}

impl Credentials {
    /// The credentials of a connect.
    pub fn of(auth: &ConnectAuth) -> Self {
        Self {
            bootstrap_token: Self::clean(auth.bootstrap_token.as_deref()),
            device_token: Self::clean(auth.device_token.as_deref()),
            password: Self::clean(auth.password.as_deref()),
            token: Self::clean(auth.token.as_deref()),
        }
    }

    /// What may be a device token: a stored one may travel in either field.
    pub fn device_token_candidate(&self) -> Option<&Token> {
        self.device_token.as_ref().or(self.token.as_ref())
    }

    /// Trims a value as sent; blank is absent.
    pub fn clean(value: Option<&str>) -> Option<Token> {
        value
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(Token::from)
    }

    /// Whether a shared credential was sent, right or wrong.
    pub fn names_shared_secret(&self) -> bool {
        self.token.is_some() || self.password.is_some()
    }
}

/// Names a client as its connect does; both values come from closed enumerations.
#[derive(Clone, Copy, Debug)]
pub struct ClientName<'a> {
    /// `client.id`.
    pub id: &'a str,
    /// `client.mode`.
    pub mode: &'a str,
}

impl<'a> ClientName<'a> {
    /// The name in a connect.
    pub fn of(client: &'a ClientInfo) -> Self {
        Self {
            id: &client.id,
            mode: &client.mode,
        }
    }
}

impl ClientName<'_> {
    /// The gateway's own back-end helper.
    pub fn is_backend(&self) -> bool {
        self.id == "gateway-client" && self.mode == "backend"
    }

    /// The command line.
    pub fn is_cli(&self) -> bool {
        self.id == "cli" && self.mode == "cli"
    }

    /// A Control UI, in a browser or a terminal.
    pub fn is_control_ui(&self) -> bool {
        matches!(self.id, "openclaw-control-ui" | "openclaw-tui")
    }

    /// A webchat client.
    pub fn is_webchat(&self) -> bool {
        self.mode == "webchat" || self.id == "webchat-ui"
    }

    /// Clients that must name their origin (§4.6).
    pub fn needs_origin(&self) -> bool {
        self.id == "openclaw-control-ui" || self.is_webchat()
    }
}
