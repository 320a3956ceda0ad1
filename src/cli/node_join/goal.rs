//! Which gateway is meant, and what stands there.

use std::time::Duration;

use crate::cli::error::{CliError, Failed, GatewayFailure};
use crate::cli::invocation::Invocation;
use crate::cli::node::Start;
use crate::cli::node_join::admission::target;
use crate::cli::node_join::choice::{Around, choose, label};
use crate::cli::node_join::person::Person;
use crate::cli::node_join::wish::Wish;
use crate::cli::node_setup;
use crate::client::transport::look;
use crate::client::{GatewayUrl, SetupCode, UrlSource};
use crate::discovery::Found;
use crate::net::Presented;
use crate::store::NodeGateway;

/// Addresses of one gateway that are tried; whoever announces more is no gateway.
const MAX_ADDRESSES: usize = 6;

/// Looks for gateways for that long.
pub type Search<'a> = &'a dyn Fn(&Start, Duration) -> Around;

/// The gateway that is meant, and where it may be.
pub struct Goal {
    /// Best first.
    pub urls: Vec<GatewayUrl>,
    /// The network named it, and this is what it said.
    pub found: Option<Found>,
}

/// The gateway that was named, or the one that is chosen among those that are found.
///
/// # Errors
/// Two gateways were named, and as [`choose`].
pub fn goal(
    invocation: &Invocation,
    code: Option<&SetupCode>,
    start: &Start,
    stored: &NodeGateway,
    person: &mut dyn Person,
    search: Search<'_>,
) -> Result<Goal, CliError> {
    let named = invocation.text("gateway");
    if let Some(url) = node_setup::gateway(invocation, code)? {
        if named.is_some() {
            let text = "--gateway picks one of the gateways that are found; --url or the setup code names one already. Leave one of them out.";
            return Err(CliError::rule(text));
        }
        return Ok(Goal {
            urls: vec![url],
            found: None,
        });
    }
    let patience = Duration::from_millis(invocation.milliseconds("timeout"));
    let around = search(start, patience);
    let width = invocation.style().width;
    let found = choose(&around, named, Some(stored), person, width);
    let found = found.map_err(|error| match code {
        Some(_) if around.found.is_empty() => unnamed(error),
        _ => error,
    })?;
    let found = found.clone();
    Ok(Goal {
        urls: found.urls().take(MAX_ADDRESSES).collect(),
        found: Some(found),
    })
}

/// A join key that was given names no gateway, and none was found.
fn unnamed(error: CliError) -> CliError {
    let mut failed = Failed::from(error);
    failed.hint =
        Some("A join key names no gateway. Add: --url wss://<gateway-host>:18789".to_owned());
    failed.into()
}

/// What stands where the gateway was named.
pub struct Seen {
    /// Where it answered.
    pub url: GatewayUrl,
    /// The certificate; `None` for plaintext.
    pub presented: Option<Presented>,
}

/// Looks at the addresses in their order; nothing is sent to any of them.
///
/// # Errors
/// None answers; what the best one failed with.
pub fn first_that_answers(goal: &Goal, wish: &Wish, start: &Start) -> Result<Seen, CliError> {
    let environment = &start.loaded.environment;
    let mut first_failure = None;
    for url in &goal.urls {
        let outcome = look(
            url,
            UrlSource::Join,
            environment.allow_insecure_private_ws(),
            environment.authorities().map(Into::into),
            &wish.budget(),
        );
        match outcome {
            Ok(presented) => {
                return Ok(Seen {
                    url: url.clone(),
                    presented,
                });
            }
            Err(error) => {
                let failure = GatewayFailure::at(error, &target(&url.to_string(), start));
                first_failure.get_or_insert(failure);
            }
        }
    }
    Err(match (first_failure, &goal.found) {
        (Some(failure), Some(_)) if failure.is_refused() => refused_by_found(failure),
        (Some(failure), _) => failure.into(),
        (None, Some(found)) => CliError::failed(
            "GATEWAY_UNREACHABLE",
            format!("no address of {} was found", label(found)),
        ),
        (None, None) => CliError::rule("Name the gateway: --url <ws-url>"),
    })
}

/// What announces itself and refuses connections is there, and listens for others elsewhere or not at all.
fn refused_by_found(failure: GatewayFailure) -> CliError {
    let error = CliError::from(failure);
    let mut failed = Failed::new("GATEWAY_UNREACHABLE", error.to_string());
    failed.details = error.details();
    failed.hint = Some(
        "It may listen on loopback only: use --ssh user@host, or set gateway.bind lan there."
            .to_owned(),
    );
    failed.into()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use crate::cli::error::Target;
    use crate::client::ClientError;

    #[test]
    fn a_found_gateway_that_refuses_connections_may_listen_on_loopback_only() {
        let failure = |kind: io::ErrorKind| {
            let target = Target {
                url: "ws://192.168.1.7:18789".to_owned(),
                source: UrlSource::Join,
                via: None,
                config: PathBuf::new(),
                bind: None,
            };
            let address = "192.168.1.7:18789".to_owned();
            let cause = kind.into();
            GatewayFailure::at(ClientError::Unreachable { address, cause }, &target)
        };
        assert!(!failure(io::ErrorKind::TimedOut).is_refused());
        let refused = failure(io::ErrorKind::ConnectionRefused);
        assert!(refused.is_refused());
        let error = refused_by_found(refused);
        assert!(error.to_string().contains("ECONNREFUSED"), "{error}");
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("loopback only: use --ssh user@host"),
            "{hint}"
        );
        assert_eq!(error.details()["url"], "ws://192.168.1.7:18789");
    }
}
