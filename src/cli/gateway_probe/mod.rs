//! `gateway probe`: every way to a gateway that this machine knows, tried at once and without a trace, and what the
//! networks around it tell (cli.md §2.5).

use std::thread;
use std::time::{Duration, Instant};

use crate::cli::answer::{Answer, FAILURE, SUCCESS};
use crate::cli::error::CliError;
use crate::cli::gateway_probe::advice::advice;
use crate::cli::gateway_probe::report::{Probed, Report, Warning};
use crate::cli::gateway_probe::targets::{Kind, Target, targets};
use crate::cli::invocation::Invocation;
use crate::cli::probe::probe as connect;
use crate::client::Budget;
use crate::config::{Loaded, Paths};
use crate::discovery::browse::{Scan, domains, scan};
use crate::store::{Clock, SystemClock};

mod advice;
mod report;
mod targets;

/// The longest look around: what is not heard by then is not worth a longer wait here.
const LOOK_AROUND: Duration = Duration::from_millis(1_200);

/// Tries every target. Exit code 0 when at least one was reached.
///
/// # Errors
/// A URL without credentials, an SSH target that is none, an unusable state directory.
pub fn probe(invocation: &Invocation) -> Result<Answer, CliError> {
    let (ts, started) = (SystemClock.now_ms(), Instant::now());
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let timeout = Duration::from_millis(invocation.milliseconds("timeout"));
    let patience = timeout.min(LOOK_AROUND);
    let around = || scan(domains(&loaded), patience);
    // Whose host is tried is only known after the look around.
    let (seen, targets) = match invocation.has("ssh-auto") && !invocation.has("ssh") {
        true => {
            let seen = around();
            let targets = targets(invocation, &paths, &loaded, &seen.found)?;
            (Some(seen), targets)
        }
        false => (None, targets(invocation, &paths, &loaded, &[])?),
    };
    let (seen, probed): (Scan, Vec<Probed>) = thread::scope(|scope| {
        let looking = seen.is_none().then(|| scope.spawn(around));
        let tries: Vec<_> = targets
            .into_iter()
            .map(|target| scope.spawn(|| attempt(target, &paths, &loaded, timeout)))
            .collect();
        let probed = tries
            .into_iter()
            .filter_map(|one| one.join().ok())
            .collect();
        let looked = looking.and_then(|looking| looking.join().ok());
        (seen.or(looked).unwrap_or_default(), probed)
    });
    let report = Report {
        ts,
        took: started.elapsed(),
        timeout,
        patience,
        domains: domains(&loaded).into_iter().map(|(name, _)| name).collect(),
        silenced: loaded
            .environment
            .bonjour_setting()
            .unwrap_or_default()
            .to_owned(),
        warnings: warnings(&probed),
        next: advice(&loaded.config, &probed, &seen.found),
        probed,
        scan: seen,
        port: loaded.config.gateway.port,
        tls: loaded.config.gateway.tls.enabled,
    };
    let exit = if report.reached() { SUCCESS } else { FAILURE };
    Ok(Answer::new(report.document(), report.text(invocation.style())).exit(exit))
}

fn attempt(target: Target, paths: &Paths, loaded: &Loaded, timeout: Duration) -> Probed {
    let endpoint = match &target.endpoint {
        Ok(endpoint) => endpoint,
        Err(why) => {
            let error = Some(why.text.clone());
            return Probed {
                error,
                ..Probed::untried(target)
            };
        }
    };
    let opt_in = loaded.environment.allow_insecure_private_ws();
    let budget = Budget::new(timeout);
    let mut finding = connect(endpoint, paths, loaded, opt_in, &budget);
    let mut read = |method: &str| {
        let left = budget.deadline().saturating_duration_since(Instant::now());
        match finding.session {
            Some(_) => finding.ask(method, left).ok(),
            None => None,
        }
    };
    let (health, status) = (read("health"), read("status"));
    let (presence, config) = (read("system-presence"), read("config.get"));
    Probed {
        connected: finding.session.is_some(),
        reads: health.is_some(),
        nameless: finding.is_nameless() || (finding.session.is_some() && health.is_none()),
        latency_ms: finding.session.is_some().then_some(finding.latency_ms),
        error: finding.message(),
        fix: finding.error.as_ref().and_then(CliError::hint),
        close: finding.close(),
        capability: finding.capability,
        gateway: finding.gateway_itself(),
        auth: finding.auth.take(),
        config: config.unwrap_or_default(),
        health: health.unwrap_or_default(),
        summary: status.unwrap_or_default(),
        presence: presence.unwrap_or_default(),
        target,
    }
}

/// What a person should know about what was found.
fn warnings(probed: &[Probed]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for one in probed {
        let id = one.target.kind.id();
        let failed = one.error.as_deref().filter(|_| !one.is_reached());
        let unresolved = one.target.endpoint.as_ref().err();
        let unresolved = unresolved.filter(|fault| fault.secret);
        if let Some(fault) = unresolved {
            let code = "auth_secretref_unresolved";
            Warning::new(code, fault.text.clone(), &[id]).join(&mut warnings);
        } else if let (Kind::SshTunnel, Some(why)) = (one.target.kind, failed) {
            let message = format!("the SSH login did not lead to the gateway: {why}");
            warnings.push(Warning::new("ssh_tunnel_failed", message, &[id]));
        }
        if one.nameless {
            let message = "connected, but without the right to read: the probe has no device that is approved there";
            warnings.push(Warning::new(
                "probe_scope_limited",
                message.to_owned(),
                &[id],
            ));
        }
    }
    let reached: Vec<&Probed> = probed.iter().filter(|one| one.is_reached()).collect();
    let mut gateways: Vec<String> = reached.iter().filter_map(|one| one.identity()).collect();
    gateways.sort();
    gateways.dedup();
    if gateways.len() > 1 {
        let ids: Vec<&str> = reached.iter().map(|one| one.target.kind.id()).collect();
        let message = format!(
            "{} different gateways answer; commands go to one of them: see openclaw gateway status",
            gateways.len()
        );
        warnings.push(Warning::new("multiple_gateways", message, &ids));
    }
    warnings
}
