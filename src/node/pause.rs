//! What follows a connect that failed or a connection that ended: exit, pause or back off, and what is
//! said about it (node-host specification, sections 1.4, 1.5 and 1.8).
//!
//! Pure decisions and texts; the run loop waits and prints.

use std::io;
use std::time::Duration;

use crate::client::{ClientError, PairingRefusal};
use crate::protocol::close::POLICY;
use crate::protocol::error::ErrorShape;

/// Between two attempts while a request waits for approval; an approval works within this.
pub const PAIRING_RETRY: Duration = Duration::from_secs(4);

/// Between two attempts while somebody has to repair something.
const REPAIR_RETRY: Duration = Duration::from_secs(30);

/// Between two attempts when the gateway counts failures and does not say how long.
const LIMITED_RETRY: Duration = Duration::from_secs(60);

/// The shortest and the longest such wait that is obeyed: the gateway's own lockout lasts five minutes.
const LIMITED_RETRIES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// The wait a starting gateway may ask for: shortest, when it does not say, longest.
const STARTING_RETRY: (Duration, Duration, Duration) = (
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(2_000),
);

/// A close while the gateway still starts.
const STARTING_CLOSE: (u16, &str) = (1013, "gateway starting");

/// Answers that only other credentials can change; a supervisor starts the program anew with them.
const TERMINAL: &[&str] = &[
    "AUTH_BOOTSTRAP_TOKEN_INVALID",
    "AUTH_PASSWORD_MISMATCH",
    "AUTH_PASSWORD_MISSING",
    "AUTH_TOKEN_MISMATCH",
    "AUTH_TOKEN_MISSING",
];

/// Answers that an operator can change at the gateway.
const REPAIRABLE: &[&str] = &[
    "AUTH_DEVICE_TOKEN_MISMATCH",
    "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
    "DEVICE_IDENTITY_REQUIRED",
];

/// What to give a node host instead of credentials that are refused with this detail code.
pub fn credentials_hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "AUTH_BOOTSTRAP_TOKEN_INVALID" => {
            "What it was given may be used up or expired: make a join key with `openclaw devices keys create`, or a setup code with `openclaw qr`, on the gateway's machine. The gateway's own token goes into OPENCLAW_GATEWAY_TOKEN."
        }
        "AUTH_PASSWORD_MISMATCH" | "AUTH_PASSWORD_MISSING" => {
            "Set OPENCLAW_GATEWAY_PASSWORD to the gateway's password, or pass a join key or setup code: --setup-code-file -"
        }
        "AUTH_TOKEN_MISMATCH" | "AUTH_TOKEN_MISSING" => {
            "Set OPENCLAW_GATEWAY_TOKEN to the gateway's token, or pass a join key or setup code: --setup-code-file -"
        }
        _ => return None,
    })
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait as the backoff says.
    BackOff,
    /// End with exit code 1.
    Exit,
    /// Nothing answered: the network, the name or the gateway's machine is away. Short waits, for nobody is
    /// bothered by them.
    Lost,
    /// Wait this long; the backoff is not touched.
    Pause(Duration),
}

/// Why a connect failed: what to do, and the lines that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What to do.
    pub next: Next,
    /// Lines for stderr.
    pub lines: Vec<String>,
    /// The pending request, when the connect waits for an approval.
    pub request_id: Option<String>,
}

/// Judges a connect that failed.
pub fn after_failure(error: &ClientError) -> Failure {
    if let ClientError::PairingRequired(refusal) = error {
        return waiting_for_approval(refusal);
    }
    let message = match error {
        ClientError::Plaintext { host, opted_in, .. } => plaintext_refusal(host, *opted_in),
        other => other.to_string(),
    };
    let mut lines = vec![format!("node host gateway connect failed: {message}")];
    let told = matches!(error, ClientError::Tls { .. } | ClientError::Tunnel { .. });
    if let Some(hint) = error.hint().filter(|_| told) {
        lines.extend(hint.lines().map(str::to_owned));
    }
    let code = error.detail_code().unwrap_or_default();
    lines.extend(credentials_hint(code).map(str::to_owned));
    let next = if TERMINAL.contains(&code) {
        lines.push(pause_line(&message, code, "exiting for supervisor restart"));
        Next::Exit
    } else if code == "AUTH_RATE_LIMITED" {
        lines.push(pause_line(&message, code, "waiting for operator action"));
        let asked = error.shape().and_then(|shape| shape.retry_after_ms);
        let (shortest, longest) = LIMITED_RETRIES;
        let wait = asked.map_or(LIMITED_RETRY, Duration::from_millis);
        Next::Pause(wait.clamp(shortest, longest))
    } else if REPAIRABLE.contains(&code) {
        lines.extend((code == "AUTH_DEVICE_TOKEN_MISMATCH").then(|| NOT_KNOWN.to_owned()));
        lines.push(pause_line(&message, code, "waiting for operator action"));
        Next::Pause(REPAIR_RETRY)
    } else if let Some(wait) = error.shape().and_then(starting) {
        Next::Pause(wait)
    } else {
        match error {
            ClientError::Plaintext { .. } | ClientError::Resolve(_) => Next::Exit,
            ClientError::Closed { code, reason } => after_close(*code, reason),
            ClientError::Unresolvable { .. } => Next::Lost,
            ClientError::Unreachable { cause, .. } if is_lost(cause) => Next::Lost,
            _ => Next::BackOff,
        }
    };
    Failure {
        next,
        lines,
        request_id: None,
    }
}

/// What helps where the gateway does not know the device's token and the machine has no other credential.
const NOT_KNOWN: &str = "The token was replaced, or the gateway's state is older than it: set OPENCLAW_GATEWAY_TOKEN for one start, \
     or use a join key; the gateway then asks for an approval where it does not know this machine.";

/// Whether the failure says that nobody is there, rather than that somebody refuses.
fn is_lost(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
    )
}

/// Judges the end of a connection that had been accepted.
pub fn after_close(code: u16, reason: &str) -> Next {
    if (code, reason) == STARTING_CLOSE {
        Next::Pause(STARTING_RETRY.1)
    } else {
        Next::BackOff
    }
}

/// The line about the end of a connection.
pub fn close_line(code: u16, reason: &str) -> String {
    let reason = if reason.is_empty() {
        "no close reason"
    } else {
        reason
    };
    format!("node host gateway closed ({code}): {reason}")
}

fn waiting_for_approval(refusal: &PairingRefusal) -> Failure {
    let what = match refusal.reason.as_deref() {
        Some("role-upgrade") => "role upgrade pending approval",
        Some("scope-upgrade") => "scope upgrade pending approval",
        Some("metadata-upgrade") => "device metadata change pending approval",
        Some("pairing-disabled") => "pairing is closed on this gateway",
        _ => "device pairing required",
    };
    let message = match &refusal.request_id {
        Some(id) => format!("{what} (requestId: {id})"),
        None => what.to_owned(),
    };
    let mut lines = vec![
        format!("node host gateway connect failed: {message}"),
        pause_line(&message, "PAIRING_REQUIRED", "waiting for operator action"),
    ];
    lines.extend(refusal.hint());
    let next = Next::Pause(PAIRING_RETRY);
    Failure {
        next,
        lines,
        request_id: refusal.request_id.clone(),
    }
}

fn pause_line(reason: &str, code: &str, then: &str) -> String {
    format!(
        "node host gateway reconnect paused after close ({POLICY}): {reason} detail={code}; {then}"
    )
}

fn starting(error: &ErrorShape) -> Option<Duration> {
    let reason = error.details.as_ref()?.get("reason")?.as_str()?;
    let (shortest, usual, longest) = STARTING_RETRY;
    let asked = error.retry_after_ms.map_or(usual, Duration::from_millis);
    (reason == "startup-sidecars" && error.retryable == Some(true))
        .then(|| asked.clamp(shortest, longest))
}

fn plaintext_refusal(host: &str, opted_in: bool) -> String {
    let break_glass = if opted_in {
        ""
    } else {
        "Break-glass (trusted private networks only): set OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1. "
    };
    format!(
        "SECURITY ERROR: Cannot connect to \"{host}\" over plaintext ws://. Both credentials and chat data \
         would be exposed to network interception. Use wss:// for remote URLs. Safe defaults: keep \
         gateway.bind=loopback and connect via SSH tunnel (ssh -N -L 18789:127.0.0.1:18789 \
         user@gateway-host), or use Tailscale Serve/Funnel. {break_glass}Run `openclaw doctor --fix` for \
         guidance."
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::UrlSource;
    use crate::pairing::waiting::OPEN_COMMAND;
    use crate::protocol::error::ErrorCode;

    fn refused(code: &str) -> ClientError {
        let shape = ErrorShape::invalid("unauthorized: x").with_details(json!({"code": code}));
        ClientError::refused(shape)
    }

    #[test]
    fn refusals_decide_what_follows() {
        let exit = "; exiting for supervisor restart";
        let wait = "; waiting for operator action";
        let cases = [
            ("AUTH_TOKEN_MISSING", Next::Exit, exit),
            ("AUTH_TOKEN_MISMATCH", Next::Exit, exit),
            ("AUTH_PASSWORD_MISSING", Next::Exit, exit),
            ("AUTH_PASSWORD_MISMATCH", Next::Exit, exit),
            ("AUTH_BOOTSTRAP_TOKEN_INVALID", Next::Exit, exit),
            ("AUTH_RATE_LIMITED", Next::Pause(LIMITED_RETRY), wait),
            (
                "AUTH_DEVICE_TOKEN_MISMATCH",
                Next::Pause(REPAIR_RETRY),
                wait,
            ),
            ("DEVICE_IDENTITY_REQUIRED", Next::Pause(REPAIR_RETRY), wait),
            ("DEVICE_AUTH_SIGNATURE_INVALID", Next::BackOff, "x"),
            ("", Next::BackOff, "x"),
        ];
        for (code, next, end) in cases {
            let failure = after_failure(&refused(code));
            assert_eq!(failure.next, next, "{code}");
            assert!(
                failure.lines.last().unwrap().ends_with(end),
                "{code}: {:?}",
                failure.lines
            );
        }
        assert_eq!(
            after_failure(&refused("AUTH_TOKEN_MISSING")).lines,
            [
                "node host gateway connect failed: unauthorized: x",
                "Set OPENCLAW_GATEWAY_TOKEN to the gateway's token, or pass a join key or setup code: --setup-code-file -",
                "node host gateway reconnect paused after close (1008): unauthorized: x \
                 detail=AUTH_TOKEN_MISSING; exiting for supervisor restart",
            ]
        );
    }

    #[test]
    fn a_closed_gateway_is_told_with_the_command_that_opens_it() {
        let details = json!({"code": "PAIRING_REQUIRED", "reason": "pairing-disabled"});
        let shape = ErrorShape::not_paired("pairing required").with_details(details);
        let failure = after_failure(&ClientError::refused(shape));
        let text = failure.lines.join("\n");
        assert!(
            text.contains("connect failed: pairing is closed on this gateway"),
            "{text}"
        );
        assert!(text.ends_with(&format!("with: {OPEN_COMMAND}")), "{text}");
        assert_eq!(failure.next, Next::Pause(PAIRING_RETRY));
    }

    #[test]
    fn a_pending_request_is_told_with_the_command_that_approves_it() {
        let cases = [
            (Some("not-paired"), "device pairing required"),
            (Some("role-upgrade"), "role upgrade pending approval"),
            (Some("scope-upgrade"), "scope upgrade pending approval"),
            (
                Some("metadata-upgrade"),
                "device metadata change pending approval",
            ),
            (None, "device pairing required"),
        ];
        for (reason, what) in cases {
            let details = json!({"code": "PAIRING_REQUIRED", "reason": reason, "requestId": "r-1"});
            let shape = ErrorShape::not_paired("pairing required").with_details(details);
            let failure = after_failure(&ClientError::refused(shape));
            let said = format!("{what} (requestId: r-1)");
            assert_eq!(
                failure.lines,
                [
                    format!("node host gateway connect failed: {said}"),
                    format!(
                        "node host gateway reconnect paused after close (1008): {said} \
                         detail=PAIRING_REQUIRED; waiting for operator action"
                    ),
                    "Approve with: openclaw devices approve r-1".to_owned(),
                ]
            );
            assert_eq!(failure.next, Next::Pause(PAIRING_RETRY));
            assert_eq!(failure.request_id.as_deref(), Some("r-1"));
        }
    }

    #[test]
    fn waits_that_the_gateway_asks_for() {
        let starting = |after: Option<u64>| {
            let mut shape = ErrorShape::new(ErrorCode::Unavailable, "gateway starting")
                .with_details(json!({"reason": "startup-sidecars"}));
            shape.retryable = Some(true);
            shape.retry_after_ms = after;
            after_failure(&ClientError::refused(shape)).next
        };
        let ms = |ms| Next::Pause(Duration::from_millis(ms));
        assert_eq!(
            [starting(None), starting(Some(1)), starting(Some(9_000))],
            [ms(500), ms(100), ms(2_000)]
        );
        assert_eq!(after_close(1013, "gateway starting"), ms(500));
        assert_eq!(after_close(1012, "service restart"), Next::BackOff);
        let mut limited =
            ErrorShape::invalid("x").with_details(json!({"code": "AUTH_RATE_LIMITED"}));
        limited.retry_after_ms = Some(7_000);
        assert_eq!(
            after_failure(&ClientError::refused(limited)).next,
            ms(7_000)
        );
    }

    #[test]
    fn nobody_there_is_told_from_somebody_who_refuses() {
        use std::io::ErrorKind::{
            ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
        };
        for (kind, next) in [
            (ConnectionRefused, Next::BackOff),
            (ConnectionReset, Next::BackOff),
            (HostUnreachable, Next::Lost),
            (NetworkUnreachable, Next::Lost),
            (TimedOut, Next::Lost),
        ] {
            let address = "10.0.0.1:1".to_owned();
            let cause = kind.into();
            let error = ClientError::Unreachable { address, cause };
            assert_eq!(after_failure(&error).next, next, "{kind}");
        }
        let host = "gw.lan".to_owned();
        let error = ClientError::Unresolvable { host };
        assert_eq!(after_failure(&error).next, Next::Lost);
    }

    #[test]
    fn a_wait_that_is_asked_for_stays_within_reason() {
        for (asked, seconds) in [(0, 1), (7_000, 7), (u64::MAX, 3_600)] {
            let mut limited =
                ErrorShape::invalid("x").with_details(json!({"code": "AUTH_RATE_LIMITED"}));
            limited.retry_after_ms = Some(asked);
            let next = after_failure(&ClientError::refused(limited)).next;
            assert_eq!(next, Next::Pause(Duration::from_secs(seconds)), "{asked}");
        }
    }

    #[test]
    fn a_gateway_that_does_not_know_the_token_is_given_another_credential() {
        let lines = after_failure(&refused("AUTH_DEVICE_TOKEN_MISMATCH")).lines;
        assert!(lines[1].contains("OPENCLAW_GATEWAY_TOKEN"), "{lines:?}");
        assert!(lines[1].contains("join key"), "{lines:?}");
    }

    #[test]
    fn plaintext_is_refused_for_good() {
        let refusal = |opted_in| {
            after_failure(&ClientError::Plaintext {
                url: "ws://gw.lan:1".to_owned(),
                host: "gw.lan".to_owned(),
                source: UrlSource::NodeHost,
                opted_in,
                why: "x".to_owned(),
            })
        };
        let start = "node host gateway connect failed: SECURITY ERROR: Cannot connect to \"gw.lan\" over plaintext ws://. Both ";
        for (opted_in, mentions) in [(false, true), (true, false)] {
            let failure = refusal(opted_in);
            assert_eq!((failure.next, failure.lines.len()), (Next::Exit, 1));
            assert!(failure.lines[0].starts_with(start));
            let advice = "Funnel. Break-glass (trusted private networks only): set OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1. Run `";
            assert_eq!(failure.lines[0].contains(advice), mentions);
        }
    }
}
