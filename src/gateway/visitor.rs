//! Connections without a device: who may come in all the same, and with which scopes (protocol.md §4.4).
//!
//! Pure decisions over what is known before the final verdict on the credentials.

use crate::gateway::auth::{AuthMethod, AuthReason, ClientName, Pairing};
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
        self.client.is_control_ui() && self.control_ui_break_glass && self.role == Role::Operator
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

    /// Whether a proven device must be paired: not the back-end helper in the exception of §4.4, and
    /// not a Control UI of a gateway that asks for nothing.
    pub fn pairing(&self) -> Pairing {
        if self.client.is_backend() && self.keeps_scopes() {
            Pairing::Absent
        } else if self.client.is_control_ui() && self.shared == Ok(AuthMethod::None) {
            Pairing::Waived
        } else {
            Pairing::Required
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
        let insecure_ok = self.control_ui_insecure && self.locality == Locality::DirectLocal;
        if self.client.is_control_ui() && !insecure_ok {
            return WithoutDevice::ControlUiNeedsDevice;
        }
        match self.shared {
            Ok(method) if method.is_shared_secret() && self.role == Role::Operator => {
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
}
