//! Connections without a device: who may come in all the same, and with which scopes (protocol.md §4.4).
//!
//! Pure decisions over what is known before the final verdict on the credentials.

use crate::gateway::auth::{AuthMethod, Pairing};
use crate::gateway::auth_reason::AuthReason;
use crate::gateway::credentials::ClientName;
use crate::gateway::locality::Locality;
use crate::protocol::scope::Role;

/// Everything the rules for connections without a device look at.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// Who it says it is.
    pub client: ClientName<'a>,
    /// `gateway.controlUi.dangerouslyDisableDeviceAuth`.
    pub control_ui_break_glass: bool,
    /// `gateway.controlUi.allowInsecureAuth`.
    pub control_ui_insecure: bool,
    /// An `Origin` header was sent.
    pub has_origin: bool,
    /// Where it comes from.
    pub locality: Locality,
    /// The resolved role.
    pub role: Role,
    /// The verdict of `check_shared`.
    pub shared: Result<AuthMethod, AuthReason>,
    /// A shared credential was sent, right or wrong.
    pub shared_sent: bool,
}

/// The verdict on a connection without a device (§4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutDevice {
    /// Admitted with the scopes it asked for.
    AllowedWithScopes,
    /// Admitted with no scope at all.
    AllowedWithoutScopes,
    /// A Control UI must have a device identity here.
    ControlUiNeedsDevice,
    /// The shared credentials are wrong: answer with `rejection`.
    CredentialsWrong(AuthReason),
    /// Only devices are admitted.
    DeviceRequired,
}

impl Visitor<'_> {
    /// A Control UI whose device is neither asked for nor looked at.
    pub fn ignores_device(&self) -> bool {
        self.is_operators_ui() && self.control_ui_break_glass
    }

    fn is_operators_ui(&self) -> bool {
        self.client.is_control_ui() && self.role == Role::Operator
    }

    /// The scope-preserving exceptions of §4.4: only for a proven shared secret on this host without
    /// any browser or proxy in between.
    pub fn keeps_scopes(&self) -> bool {
        self.role == Role::Operator
            && self.shared.is_ok_and(AuthMethod::is_shared_secret)
            && self.locality == Locality::DirectLocal
            && !self.has_origin
            && (self.client.is_backend()
                || self.client.is_cli()
                || (self.client.is_control_ui() && self.control_ui_insecure))
    }

    /// Whether a proven device must be paired: not the back-end helper in the exception of §4.4, and not a
    /// Control UI whose user a trusted proxy names, or that is on the host of a gateway that asks for nothing.
    /// From elsewhere such a gateway, and a tailnet with its guests, would make everybody its owner: there a
    /// Control UI is paired once like any other device.
    pub fn pairing(&self) -> Pairing {
        if self.client.is_backend() && self.keeps_scopes() {
            Pairing::Absent
        } else if self.is_operators_ui() && self.is_vouched_for() {
            Pairing::Waived
        } else {
            Pairing::Required
        }
    }

    /// Whether somebody else than the user answers for a Control UI.
    fn is_vouched_for(&self) -> bool {
        match self.shared {
            Ok(AuthMethod::TrustedProxy) => true,
            Ok(AuthMethod::None) => self.locality == Locality::DirectLocal,
            _ => false,
        }
    }

    /// Decides about a connection without a device; evaluated before the final verdict on its
    /// credentials.
    pub fn without_device(&self) -> WithoutDevice {
        if self.ignores_device() {
            return match self.shared {
                Ok(_) => WithoutDevice::AllowedWithScopes,
                Err(reason) => WithoutDevice::CredentialsWrong(reason),
            };
        }
        if self.is_operators_ui() && self.shared == Ok(AuthMethod::TrustedProxy) {
            return WithoutDevice::AllowedWithoutScopes;
        }
        let insecure_ok = self.control_ui_insecure && self.locality == Locality::DirectLocal;
        if self.client.is_control_ui() && !insecure_ok {
            return WithoutDevice::ControlUiNeedsDevice;
        }
        match self.shared {
            Ok(method) if method.is_shared_auth() && self.role == Role::Operator => {
                if self.keeps_scopes() {
                    WithoutDevice::AllowedWithScopes
                } else {
                    WithoutDevice::AllowedWithoutScopes
                }
            }
            Err(reason) if self.shared_sent => WithoutDevice::CredentialsWrong(reason),
            _ => WithoutDevice::DeviceRequired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn without_a_device_only_proven_operators_come_in() {
        use Locality::{DirectLocal, Remote};
        use WithoutDevice::{
            AllowedWithScopes, AllowedWithoutScopes, ControlUiNeedsDevice, CredentialsWrong,
            DeviceRequired,
        };
        const TOKEN: Result<AuthMethod, AuthReason> = Ok(AuthMethod::Token);
        const OPEN: Result<AuthMethod, AuthReason> = Ok(AuthMethod::None);
        const WRONG: Result<AuthMethod, AuthReason> = Err(AuthReason::TokenMismatch);
        const MISSING: Result<AuthMethod, AuthReason> = Err(AuthReason::TokenMissing);
        let op = Role::Operator;
        const PROXY: Result<AuthMethod, AuthReason> = Ok(AuthMethod::TrustedProxy);
        const TAILNET: Result<AuthMethod, AuthReason> = Ok(AuthMethod::Tailscale);
        const STRANGER: Result<AuthMethod, AuthReason> = Err(AuthReason::TrustedProxyUntrustedSource);
        // id, mode, role, verdict, sent, locality, origin, insecure, break glass -> expected
        for (id, mode, role, shared, sent, locality, origin, insecure, glass, expected) in [
            ("cli", "cli", op, TOKEN, true, DirectLocal, false, false, false, AllowedWithScopes),
            ("cli", "cli", op, TOKEN, true, DirectLocal, true, false, false, AllowedWithoutScopes),
            ("cli", "cli", op, TOKEN, true, Remote, false, false, false, AllowedWithoutScopes),
            ("cli", "probe", op, TOKEN, true, DirectLocal, false, false, false, AllowedWithoutScopes),
            ("test", "test", op, TOKEN, true, DirectLocal, false, false, false, AllowedWithoutScopes),
            ("gateway-client", "backend", op, Ok(AuthMethod::Password), true, DirectLocal, false, false, false, AllowedWithScopes),
            ("gateway-client", "backend", op, TOKEN, true, Remote, false, false, false, AllowedWithoutScopes),
            ("gateway-client", "cli", op, TOKEN, true, DirectLocal, false, false, false, AllowedWithoutScopes),
            ("cli", "cli", op, WRONG, true, DirectLocal, false, false, false, CredentialsWrong(AuthReason::TokenMismatch)),
            ("cli", "cli", op, MISSING, true, DirectLocal, false, false, false, CredentialsWrong(AuthReason::TokenMissing)),
            ("cli", "cli", op, MISSING, false, DirectLocal, false, false, false, DeviceRequired),
            ("cli", "cli", op, OPEN, true, DirectLocal, false, false, false, DeviceRequired),
            ("node-host", "node", Role::Node, TOKEN, true, DirectLocal, false, false, false, DeviceRequired),
            ("node-host", "node", Role::Node, WRONG, true, DirectLocal, false, false, false, CredentialsWrong(AuthReason::TokenMismatch)),
            ("openclaw-control-ui", "ui", op, TOKEN, true, DirectLocal, true, false, false, ControlUiNeedsDevice),
            ("openclaw-control-ui", "ui", op, TOKEN, true, Remote, true, true, false, ControlUiNeedsDevice),
            ("openclaw-control-ui", "ui", op, TOKEN, true, DirectLocal, true, true, false, AllowedWithoutScopes),
            ("openclaw-tui", "ui", op, TOKEN, true, DirectLocal, false, true, false, AllowedWithScopes),
            ("openclaw-control-ui", "ui", op, TOKEN, true, Remote, true, false, true, AllowedWithScopes),
            ("openclaw-control-ui", "ui", op, WRONG, true, Remote, true, false, true, CredentialsWrong(AuthReason::TokenMismatch)),
            ("openclaw-control-ui", "ui", Role::Node, TOKEN, true, Remote, true, false, true, ControlUiNeedsDevice),
            ("openclaw-control-ui", "ui", op, PROXY, false, Remote, true, false, false, AllowedWithoutScopes),
            ("openclaw-tui", "ui", op, PROXY, false, Remote, false, false, false, AllowedWithoutScopes),
            ("openclaw-control-ui", "ui", op, PROXY, false, Remote, true, false, true, AllowedWithScopes),
            ("openclaw-control-ui", "ui", Role::Node, PROXY, false, Remote, true, false, false, ControlUiNeedsDevice),
            ("openclaw-control-ui", "ui", op, STRANGER, false, Remote, true, false, false, ControlUiNeedsDevice),
            ("openclaw-control-ui", "ui", op, TAILNET, false, Remote, true, false, false, ControlUiNeedsDevice),
            ("cli", "cli", op, PROXY, false, Remote, false, false, false, AllowedWithoutScopes),
            ("gateway-client", "backend", op, PROXY, false, Remote, false, false, false, AllowedWithoutScopes),
            ("node-host", "node", Role::Node, PROXY, false, Remote, false, false, false, DeviceRequired),
            ("cli", "cli", op, STRANGER, false, Remote, false, false, false, DeviceRequired),
            ("cli", "cli", op, STRANGER, true, Remote, false, false, false, CredentialsWrong(AuthReason::TrustedProxyUntrustedSource)),
            ("cli", "cli", op, TAILNET, false, Remote, false, false, false, DeviceRequired),
        ] {
            let visitor = Visitor {
                client: ClientName { id, mode },
                control_ui_break_glass: glass,
                control_ui_insecure: insecure,
                has_origin: origin,
                locality,
                role,
                shared,
                shared_sent: sent,
            };
            assert_eq!(visitor.without_device(), expected, "{visitor:?}");
        }
    }

    #[test]
    fn a_control_ui_that_others_vouch_for_needs_no_pairing() {
        use AuthMethod::{DeviceToken, None, Password, Tailscale, Token, TrustedProxy};
        let op = Role::Operator;
        for (id, role, method, expected) in [
            ("openclaw-control-ui", op, TrustedProxy, Pairing::Waived),
            ("openclaw-control-ui", op, Tailscale, Pairing::Required),
            ("openclaw-tui", op, None, Pairing::Required),
            ("openclaw-control-ui", op, Token, Pairing::Required),
            ("openclaw-control-ui", op, Password, Pairing::Required),
            ("openclaw-control-ui", op, DeviceToken, Pairing::Required),
            (
                "openclaw-control-ui",
                Role::Node,
                TrustedProxy,
                Pairing::Required,
            ),
            ("openclaw-control-ui", Role::Node, None, Pairing::Required),
            ("cli", op, TrustedProxy, Pairing::Required),
            ("webchat-ui", op, Tailscale, Pairing::Required),
        ] {
            let visitor = Visitor {
                client: ClientName { id, mode: "ui" },
                control_ui_break_glass: false,
                control_ui_insecure: false,
                has_origin: true,
                locality: Locality::Remote,
                role,
                shared: Ok(method),
                shared_sent: false,
            };
            assert_eq!(visitor.pairing(), expected, "{visitor:?}");
            // On the gateway's own host there is nobody but its owner.
            let here = Visitor {
                locality: Locality::DirectLocal,
                ..visitor
            };
            let waived = expected == Pairing::Waived || (id == "openclaw-tui" && method == None);
            assert_eq!(here.pairing() == Pairing::Waived, waived, "{here:?}");
        }
    }
}
