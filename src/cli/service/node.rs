//! What a node host adds to an install: where its gateway is, and the secrets of the install's environment.

use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::node_setup;
use crate::cli::reach;
use crate::cli::service::install::Parts;
use crate::cli::service::place::Place;
use crate::client::GatewayUrl;
use crate::service::definition::SECRETS;

/// Where a gateway is when nobody says it.
const DEFAULT_HOST: &str = "127.0.0.1";

/// The arguments of `node run` and the secrets it needs; what was not typed comes from `node.json`.
///
/// # Errors
/// An unusable fingerprint, or a state directory that cannot be read.
pub fn parts(invocation: &Invocation, place: &Place) -> Result<Parts, CliError> {
    reach::pin(invocation)?;
    let direct = reach::ssh(invocation)?.is_none();
    let stored = node_setup::stored_gateway(&place.paths)?;
    let host = node_setup::host(invocation)?.map(str::to_owned);
    let host = host
        .or(stored.host)
        .unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let port = invocation.port("port").or(stored.port);
    let port = port.unwrap_or(crate::config::paths::DEFAULT_GATEWAY_PORT);
    let pin = invocation.text("tls-fingerprint").map(str::to_owned);
    let pin = pin.or(stored.tls_fingerprint);
    let tls = invocation.has("tls") || pin.is_some() || stored.tls;
    let mut arguments = vec!["node".to_owned(), "run".to_owned()];
    let mut option = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            arguments.extend([format!("--{name}"), value.to_owned()]);
        }
    };
    option("host", Some(&host));
    option("port", Some(&port.to_string()));
    if tls {
        arguments.push("--tls".to_owned());
    }
    let mut option = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            arguments.extend([format!("--{name}"), value.to_owned()]);
        }
    };
    option("tls-fingerprint", pin.as_deref());
    option("ssh", invocation.text("ssh"));
    option("node-id", invocation.text("node-id"));
    option("display-name", invocation.text("display-name"));
    let environment = &place.environment;
    let secrets = SECRETS.iter().filter_map(|name| {
        let value = environment.credential(name)?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    let url = GatewayUrl::new(&host, port, tls);
    let exposed = direct && !tls && !url.is_loopback() && !environment.allow_insecure_private_ws();
    let warning = exposed.then(|| {
        format!(
            "warning: the node host refuses {url}: plaintext to another machine. Use --tls with --tls-fingerprint, or on a \
             trusted private network: OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1 openclaw node install --force"
        )
    });
    Ok(Parts {
        secrets: secrets.collect(),
        warnings: warning.into_iter().collect(),
        port: None,
        arguments,
    })
}
