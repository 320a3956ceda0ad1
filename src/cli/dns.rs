//! `dns setup`: what the wide-area domain needs besides the gateway, shown or done (cli.md §2.8).

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::{CliError, Failed};
use crate::cli::gateway_tls::own_certificate;
use crate::cli::invocation::Invocation;
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::cli::output::{Style, pretty};
use crate::cli::service::Place;
use crate::config::{Loaded, Paths};
use crate::discovery::domain::Domain;
use crate::discovery::tailscale::Program;
use crate::discovery::wide_area::{
    Halt, WideArea, WideAreaError, in_tailnet, own_addresses, reachable, zone_file,
};
use crate::gateway::advertising::{self, Advertising};
use crate::gateway::settings::addresses;
use crate::gateway::start_error::StartError;
use crate::net::address::tailnet_addresses;
use crate::service::Kind;
use crate::service::coredns::{COREFILE, Coredns, CorednsError};

/// What the domain needs.
struct Plan {
    domain: Domain,
    zone: PathBuf,
    tailnet: Vec<IpAddr>,
    tailscale: Program,
    /// Directories on the way to the zone that a DNS server cannot pass.
    closed: Option<PathBuf>,
}

/// Shows the plan, or carries it out with `--apply`.
///
/// # Errors
/// No domain, or none that can be used; with `--apply` whatever keeps CoreDNS from serving it.
pub fn setup(invocation: &Invocation) -> Result<Answer, CliError> {
    // Root behind sudo sets up the zone of the gateway of the user it came from.
    let place = Place::of(invocation, Kind::Gateway)?;
    let loaded = invocation.load_in(&place.paths, &place.environment)?;
    let domain = domain(invocation, &loaded)?;
    let tailscale = Program {
        // As it was called, not as the configuration of whom root works for says.
        search_path: invocation.environment().search_path(),
        home: place.paths.home.clone(),
    };
    let zone = zone_file(&place.paths.state_dir, &domain);
    let plan = Plan {
        tailnet: in_tailnet(Some(&tailscale), None).addresses,
        closed: closed_directory(&zone),
        tailscale,
        domain,
        zone,
    };
    if !invocation.has("apply") {
        return Ok(Answer::new(
            plan.document(false),
            plan.text(invocation.style()),
        ));
    }
    let corefile = PathBuf::from(invocation.text("corefile").unwrap_or(COREFILE));
    let coredns = Coredns::new(corefile, invocation.environment());
    let done = plan.apply(&coredns, &loaded, &place.paths)?;
    Ok(Answer::new(plan.document(true), done))
}

fn domain(invocation: &Invocation, loaded: &Loaded) -> Result<Domain, CliError> {
    let configured = loaded.config.discovery.wide_area_domain.as_deref();
    let (text, typed) = match invocation.text("domain") {
        Some(typed) => (Some(typed), true),
        None => (configured, false),
    };
    let text = text.ok_or_else(|| wide_area_error(&WideAreaError::NoDomain))?;
    Domain::parse(text).map_err(|error| match typed {
        true => CliError::rule(format!("Invalid --domain: {error}")),
        false => CliError::failed(
            "CONFIG_INVALID",
            format!("discovery.wideArea.domain: {error}"),
        ),
    })
}

impl Plan {
    fn recommended(&self) -> Value {
        json!({
            "gateway": {"bind": "auto"},
            "discovery": {"wideArea": {"enabled": true, "domain": self.domain.as_str()}},
        })
    }

    fn tailnet_words(&self) -> Vec<String> {
        self.tailnet.iter().map(IpAddr::to_string).collect()
    }

    fn warning(&self) -> Option<String> {
        let closed = self.closed.as_deref()?;
        Some(format!(
            "A DNS server with an account of its own cannot reach the zone file: nobody else may pass {}. Let it \
             through, for example with: setfacl -m u:coredns:x {}",
            closed.display(),
            closed.display()
        ))
    }

    /// `{domain,zonePath,tailnetIPs,recommendedConfig,splitDns,warnings,applied}`.
    fn document(&self, applied: bool) -> Value {
        json!({
            "domain": self.domain.as_str(),
            "zonePath": self.zone,
            "tailnetIPs": self.tailnet_words(),
            "recommendedConfig": self.recommended(),
            "splitDns": {"domain": self.domain.bare(), "nameservers": self.tailnet_words()},
            "warnings": self.warning().into_iter().collect::<Vec<String>>(),
            "applied": applied,
        })
    }

    fn text(&self, style: &Style) -> String {
        let tailnet = match self.tailnet.is_empty() {
            true => "—".to_owned(),
            false => self.tailnet_words().join(", "),
        };
        let row = |key: &str, value: String| vec![key.to_owned(), value];
        let rows = [
            row("Domain", self.domain.to_string()),
            row("Zone file", self.zone.display().to_string()),
            row("Tailnet IP", tailnet.clone()),
        ];
        let mut out = style.heading("DNS setup (wide-area discovery)");
        out += &grid(&[fixed("Key"), flexible("Value")], &rows, style.width);
        out += &style.heading("Recommended configuration");
        out += &format!(
            "{}\nWith gateway.bind auto the gateway is found and reached over SSH or tailscale serve; with tailnet or \
             lan it listens there itself (turn on gateway.tls then).\n",
            pretty(&self.recommended())
        );
        out += &style.heading("Tailscale admin console, DNS, Nameservers: Add nameserver, Custom");
        out += &format!(
            "Nameserver: {tailnet}\nRestrict to domain (split DNS): {}\n",
            self.domain.bare()
        );
        if let Some(warning) = self.warning() {
            out += &format!("{warning}\n");
        }
        out += &format!(
            "To serve the zone with CoreDNS on this machine, as root: openclaw dns setup --domain {} --apply\n",
            self.domain.bare()
        );
        out
    }

    /// Writes the zone where it is missing, and has CoreDNS serve it; what was done, for people.
    fn apply(&self, coredns: &Coredns, loaded: &Loaded, paths: &Paths) -> Result<String, CliError> {
        coredns.check().map_err(coredns_error)?;
        let gateway = &loaded.config.gateway;
        let listen = addresses(
            gateway.bind,
            gateway.custom_bind_host.as_deref(),
            tailnet_addresses(),
        );
        let invalid = |error: StartError| CliError::failed("CONFIG_INVALID", error.to_string());
        let place = advertising::Place {
            listen: listen.map_err(invalid)?,
            port: gateway.port,
            fingerprint: own_certificate(paths, loaded)
                .ok()
                .map(|own| own.fingerprint),
        };
        let bind = reachable(&self.tailnet, &place.listen, &own_addresses());
        let mut out = String::new();
        if !self.zone.exists() {
            let wide_area = WideArea {
                domain: Some(self.domain.to_string()),
                tailscale: Some(self.tailscale.clone()),
                ..Advertising::of(loaded, paths).wide_area(&place)
            };
            wide_area
                .publish(&Halt::never())
                .map_err(|error| wide_area_error(&error))?;
            out += &format!("Wrote {}.\n", self.zone.display());
        }
        let changed = coredns
            .serve(&self.domain, &self.zone, &bind)
            .map_err(coredns_error)?;
        if changed.server {
            out += &format!(
                "CoreDNS serves {} from {}.\n",
                self.domain,
                self.zone.display()
            );
        }
        if let Some(backup) = changed.backup {
            out += &format!("The Corefile as it was: {}.\n", backup.display());
        }
        out += "Restarted CoreDNS.\n";
        if !loaded.config.discovery.wide_area_enabled {
            out += &format!(
                "The gateway keeps the zone up to date once it is told to: openclaw config set discovery.wideArea \
                 '{{enabled: true, domain: \"{}\"}}'\n",
                self.domain
            );
        }
        if let Some(warning) = self.warning() {
            out += &format!("{warning}\n");
        }
        Ok(out)
    }
}

/// The first directory above `file` that only its owner may pass.
fn closed_directory(file: &Path) -> Option<PathBuf> {
    let mut above: Vec<&Path> = file.ancestors().skip(1).collect();
    above.reverse();
    let is_closed = |directory: &&&Path| {
        let metadata = directory.metadata();
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0)
    };
    above
        .iter()
        .find(is_closed)
        .map(|directory| directory.to_path_buf())
}

fn wide_area_error(error: &WideAreaError) -> CliError {
    let code = match error {
        WideAreaError::File(_) | WideAreaError::Foreign(..) | WideAreaError::Interrupted => {
            "UNAVAILABLE"
        }
        WideAreaError::Domain(_) | WideAreaError::NoDomain | WideAreaError::Unreachable => {
            "CONFIG_INVALID"
        }
    };
    CliError::failed(code, error.to_string())
}

fn coredns_error(error: CorednsError) -> CliError {
    let mut failed = Failed::new("UNAVAILABLE", error.to_string());
    if let CorednsError::NotRoot = error {
        failed.hint = Some("Run: sudo openclaw dns setup --apply".to_owned());
    }
    failed.into()
}
