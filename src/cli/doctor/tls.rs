//! The gateway's certificate: whether it can be used, when it ends, and whether what this machine pins is it.

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::client::GatewayUrl;
use crate::config::Loaded;
use crate::identity::Fingerprint;
use crate::protocol::limits::DAY_MS;
use crate::store::NodeFile;
use crate::store::clock::parse_rfc3339;
use crate::store::tls_files::{OwnCertificate, TlsFileError};

const ID: &str = "tls.certificate";

/// Days before its end in which a certificate is to be replaced.
const NOTICE_DAYS: u64 = 30;

const RENEW: &str = "put a new certificate and key at gateway.tls.certPath and keyPath, then: openclaw gateway restart";

/// `tls.certificate` and `tls.pins`.
pub fn checks(scene: &Scene) -> Vec<Check> {
    let Ok(loaded) = &scene.loaded else {
        return vec![Check::skipped(ID, "the configuration is not valid")];
    };
    let tls = &loaded.config.gateway.tls;
    if scene.is_remote() || !tls.enabled {
        return vec![Check::skipped(ID, "no gateway of this machine speaks TLS")];
    }
    let pair = tls.files(&scene.paths.state_dir).pair();
    let pair = pair.map(|(certificate, _)| certificate);
    let mut checks = vec![certificate(&pair, tls.auto_generate, scene.now_ms)];
    if let Ok(own) = &pair {
        checks.push(pins(own.fingerprint, &pinned(scene, loaded)));
    }
    checks
}

fn certificate(
    pair: &Result<OwnCertificate, TlsFileError>,
    auto_generate: bool,
    now_ms: u64,
) -> Check {
    let own = match pair {
        Ok(own) => own,
        Err(TlsFileError::Missing(_)) if auto_generate => {
            return Check::ok(
                ID,
                "there is no certificate yet; the gateway makes one when it starts",
            );
        }
        Err(fault) => {
            let what = fault.to_string();
            return Check::fail(
                ID,
                what.trim_end_matches('.'),
                "openclaw gateway fingerprint",
            );
        }
    };
    let end = own.not_after.as_deref().unwrap_or("an unknown time");
    let end_ms = own.not_after.as_deref().and_then(parse_rfc3339);
    let days = end_ms.map(|end_ms| end_ms.saturating_sub(now_ms) / DAY_MS);
    match days {
        _ if own.has_expired(now_ms) => Check::warn(
            ID,
            format!("the certificate ended at {end}; only clients that pin it connect"),
            RENEW,
        ),
        Some(days) if days < NOTICE_DAYS => Check::warn(
            ID,
            format!("the certificate ends in {days} days, at {end}"),
            RENEW,
        ),
        _ => Check::ok(
            ID,
            format!("the certificate and its key are good until {end}"),
        ),
    }
}

/// Who on this machine pins the certificate of this machine's gateway, and as which.
fn pinned(scene: &Scene, loaded: &Loaded) -> Vec<(&'static str, Fingerprint)> {
    let gateway = &loaded.config.gateway;
    let mut found = Vec::new();
    let is_own = |url: &GatewayUrl| url.is_loopback() && url.port == gateway.port;
    let remote = gateway
        .remote
        .url
        .as_deref()
        .and_then(|url| GatewayUrl::parse(url).ok());
    if let (Some(pin), true) = (
        gateway.remote.tls_fingerprint,
        remote.as_ref().is_some_and(is_own),
    ) {
        found.push(("gateway.remote.tlsFingerprint", pin));
    }
    let node = scene
        .directory()
        .and_then(|directory| NodeFile::load(&directory).ok());
    if let Some(node) = node.and_then(|node| node.gateway) {
        let host = node.host.as_deref().unwrap_or("127.0.0.1");
        let url = GatewayUrl::new(host, node.port.unwrap_or(gateway.port), node.tls);
        let pin = node.tls_fingerprint.as_deref().and_then(Fingerprint::parse);
        if let (Some(pin), true) = (pin, is_own(&url)) {
            found.push(("node.json", pin));
        }
    }
    found
}

fn pins(own: Fingerprint, pinned: &[(&str, Fingerprint)]) -> Check {
    const ID: &str = "tls.pins";
    let others: Vec<String> = pinned
        .iter()
        .filter(|(_, pin)| *pin != own)
        .map(|(place, pin)| format!("{place}: {pin}"))
        .collect();
    match (others.is_empty(), pinned.is_empty()) {
        (false, _) => {
            let what = format!("another certificate is pinned than the gateway's ({own})");
            Check::fail(
                ID,
                what,
                format!("openclaw node install --force --tls-fingerprint {own}"),
            )
            .items(others)
        }
        (true, true) => Check::ok(ID, "nothing on this machine pins the certificate"),
        (true, false) => Check::ok(
            ID,
            format!("what this machine pins is the gateway's certificate ({own})"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;
    use crate::store::clock::rfc3339;
    use crate::store::tls_files::TlsPaths;

    #[test]
    fn a_certificate_is_judged_by_its_end() {
        let now = 1_795_221_070_445;
        let until = |end_ms: u64| {
            let end = rfc3339(end_ms).replace(&format!(".{:03}", end_ms % 1_000), "");
            Ok(OwnCertificate {
                chain: Vec::new(),
                fingerprint: Fingerprint::of(b"c"),
                not_after: Some(end),
            })
        };
        let missing = || {
            Err(TlsFileError::Missing(TlsPaths::new(
                "/s".as_ref(),
                None,
                None,
                None,
            )))
        };
        for (pair, auto_generate, state) in [
            (until(now + 365 * DAY_MS), true, State::Ok),
            (until(now + 29 * DAY_MS), true, State::Warn),
            (until(now - DAY_MS), true, State::Warn),
            (missing(), true, State::Ok),
            (missing(), false, State::Fail),
            (Err(TlsFileError::NoKey("/k".into())), true, State::Fail),
        ] {
            let check = certificate(&pair, auto_generate, now);
            assert_eq!(check.state, state, "{check:?}");
        }
    }

    #[test]
    fn a_pin_of_another_certificate_fails() {
        let (own, other) = (Fingerprint::of(b"own"), Fingerprint::of(b"other"));
        assert_eq!(pins(own, &[]).state, State::Ok);
        assert_eq!(pins(own, &[("node.json", own)]).state, State::Ok);
        let check = pins(own, &[("node.json", own), ("remote", other)]);
        assert_eq!(check.state, State::Fail);
        assert_eq!(check.items, [format!("remote: {other}")]);
    }
}
