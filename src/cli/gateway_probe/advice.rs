//! What to do when the gateway that commands go to does not answer: the client policy of the seed, in a sentence.

use crate::cli::gateway_probe::report::Probed;
use crate::cli::gateway_probe::targets::Kind;
use crate::cli::output::text::quoted;
use crate::client::GatewayUrl;
use crate::client::ssh::SshTarget;
use crate::config::Config;
use crate::discovery::Found;
use crate::discovery::selection::{Choice, Situation, choose};
use crate::net::address::is_tailnet;

/// The next step; `None` where the gateway in use answers, or nothing leads to another one.
pub fn advice(config: &Config, probed: &[Probed], found: &[Found]) -> Option<String> {
    let remote = &config.gateway.remote;
    let in_use = probed.iter().find(|one| one.target.active)?;
    let paired = in_use.target.endpoint.as_ref().ok().map(|it| &it.url);
    let tailnet = remote.url.as_deref().and_then(tailnet);
    // A login that was tried in vain is no advice.
    let tried = |one: &Probed| one.target.kind == Kind::SshTunnel && !one.is_reached();
    let ssh = remote.ssh_target.as_deref();
    let ssh = ssh.and_then(|text| SshTarget::parse(text).ok());
    let situation = Situation {
        paired,
        paired_answers: in_use.is_reached(),
        found,
        tailnet: tailnet.as_ref().filter(|url| paired != Some(url)),
        ssh: ssh.as_ref().filter(|_| !probed.iter().any(tried)),
    };
    let remotely = "openclaw config set gateway.mode remote";
    Some(match choose(&situation) {
        Choice::Paired(_) | Choice::Nowhere => return None,
        Choice::Offer(offers) => {
            let [only] = offers.as_slice() else {
                let count = offers.len();
                return Some(format!(
                    "{count} gateways were found: openclaw gateway discover shows them, openclaw node join lets you pick one"
                ));
            };
            format!(
                "a gateway was found at {}: openclaw node join --gateway {}",
                only.url,
                quoted(only.found.name())
            )
        }
        Choice::Tailnet(url) => format!("the tailnet may lead to {url}: {remotely}"),
        Choice::Ssh(target) => format!(
            "go through {target}: openclaw config set gateway.remote.transport ssh, and {remotely}"
        ),
    })
}

/// A URL whose host is in a tailnet by its name or address.
fn tailnet(text: &str) -> Option<GatewayUrl> {
    let url = GatewayUrl::parse(text).ok()?;
    let named = url.host.to_ascii_lowercase().ends_with(".ts.net");
    (named || url.address().is_some_and(is_tailnet)).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::gateway_probe::targets::targets;
    use crate::cli::testing::invocation;
    use crate::config::testing::Home;

    /// The advice where of all ways only `reached` led to a gateway.
    fn said(config: &str, reached: &[Kind], found: &[Found]) -> Option<String> {
        let home = Home::new(config);
        let loaded = home.load().unwrap();
        let invocation = invocation(&home, &["gateway", "probe"]).unwrap();
        let targets = targets(&invocation, &home.paths, &loaded, &[]).unwrap();
        let probed = targets.into_iter().map(|target| Probed {
            connected: reached.contains(&target.kind),
            ..Probed::untried(target)
        });
        advice(&loaded.config, &probed.collect::<Vec<_>>(), found)
    }

    /// The configuration, the ways that led to a gateway, what was found, and words of the advice.
    type Case<'a> = (&'a str, &'a [Kind], &'a [Found], Option<&'a str>);

    #[test]
    fn the_next_step_follows_the_order_of_the_seed() {
        let pi = |name: &str| {
            let address = "192.168.1.7:18789".parse().unwrap();
            Found::new(
                name.as_bytes(),
                "local.",
                "pi.local.",
                18_789,
                [address],
                [],
            )
        };
        let (one, two) = ([pi("Kitchen Pi")], [pi("A"), pi("B")]);
        let ssh = "{gateway: {mode: 'local', remote: {sshTarget: 'pi@gw'}}}";
        let tailnet = "{gateway: {mode: 'local', remote: {url: 'wss://pi.t.ts.net'}}}";
        let all =
            "{gateway: {mode: 'local', remote: {url: 'wss://pi.t.ts.net', sshTarget: 'pi@gw'}}}";
        let cases: &[Case<'_>] = &[
            (all, &[Kind::LocalLoopback], &one, None),
            (
                all,
                &[Kind::SshTunnel],
                &[],
                Some("lead to wss://pi.t.ts.net"),
            ),
            (ssh, &[Kind::SshTunnel], &[], Some("go through pi@gw")),
            (ssh, &[], &[], None),
            ("{}", &[Kind::LocalLoopback], &one, None),
            ("{}", &[], &one, Some("node join --gateway 'Kitchen Pi'")),
            ("{}", &[], &two, Some("2 gateways were found")),
            (
                tailnet,
                &[],
                &[],
                Some("lead to wss://pi.t.ts.net:443: openclaw config set"),
            ),
            ("{}", &[], &[], None),
        ];
        for (config, reached, found, expected) in cases {
            let said = said(config, reached, found);
            let fits = match (&said, expected) {
                (Some(said), Some(words)) => said.contains(words),
                (said, expected) => said.is_none() && expected.is_none(),
            };
            assert!(fits, "{config} {reached:?}: {said:?}");
        }
    }
}
