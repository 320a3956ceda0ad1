//! What a gateway that starts is told about its own configuration.
//!
//! Nothing here keeps it from starting; that is `start_checks`.

use crate::config::Config;
use crate::config::word::{Bind, TailscaleMode};
use crate::gateway::auth::SharedAuth;
use crate::gateway::settings::RunFlags;
use crate::gateway::start_checks::{is_loopback, tailscale_mode};
use crate::pairing::networks::Networks;

/// For a gateway that is to listen in a tailnet that this machine is not in.
pub const OUTSIDE_TAILNET: &str = "gateway.bind=tailnet: this machine is in no tailnet yet, so only loopback is listened on; restart the \
     gateway once the tailnet is connected";

/// What a gateway that starts should be told about its own configuration, one sentence each.
pub fn advice(
    config: &Config,
    flags: &RunFlags,
    auth: &SharedAuth,
    bind: Bind,
    port: u16,
) -> Vec<String> {
    let mut advice = Vec::new();
    match auth {
        SharedAuth::None => advice.push(
            "gateway.auth.mode=none: no shared secret is asked for; devices still need pairing"
                .to_owned(),
        ),
        SharedAuth::TrustedProxy(proxy) if is_loopback(bind) => {
            let proxies = Networks::parse(&config.gateway.trusted_proxies);
            if !proxy.rule.allow_loopback || !proxies.covers_loopback() {
                advice.push(
                    "gateway.auth.mode=trusted-proxy on loopback accepts no proxy: add 127.0.0.1 to \
                     gateway.trustedProxies and set gateway.auth.trustedProxy.allowLoopback"
                        .to_owned(),
                );
            }
        }
        SharedAuth::Password(_) | SharedAuth::Token(_) | SharedAuth::TrustedProxy(_) => {}
    }
    let tailscale = tailscale_mode(config, flags);
    if tailscale != TailscaleMode::Off {
        advice.push(format!(
            "gateway.tailscale.mode={tailscale}: this version does not publish the gateway itself; run: \
             tailscale {tailscale} --bg {port}"
        ));
        if !Networks::parse(&config.gateway.trusted_proxies).covers_loopback() {
            advice.push(
                "gateway.tailscale.mode without 127.0.0.1 in gateway.trustedProxies: everybody who comes through \
                 Tailscale counts as one client, and shares one lockout after failed attempts"
                    .to_owned(),
            );
        }
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::start_checks::{AuthPlan, plan_auth};
    use crate::gateway::testing::loaded;

    #[test]
    fn advice_names_what_the_gateway_cannot_do_by_itself() {
        let told = |text: &str, bind| {
            let loaded = loaded(text, &[]);
            let Ok(AuthPlan::Ready(auth)) = plan_auth(&loaded, &RunFlags::default(), bind) else {
                panic!("{text}");
            };
            advice(&loaded.config, &RunFlags::default(), &auth, bind, 18_789).join("|")
        };
        let proxied = |proxies: &str, loopback: bool| {
            format!(
                "{{gateway:{{trustedProxies:['{proxies}'],auth:{{mode:'trusted-proxy',\
                 trustedProxy:{{userHeader:'u',allowLoopback:{loopback}}}}}}}}}"
            )
        };
        let none = "gateway.auth.mode=none: no shared secret is asked for";
        let proxy = "gateway.auth.mode=trusted-proxy on loopback accepts no proxy";
        let serve = "gateway.tailscale.mode=serve: this version does not publish the gateway itself; run: \
                     tailscale serve --bg 18789";
        for (text, bind, expected) in [
            ("{gateway:{auth:{token:'t'}}}", Bind::Loopback, ""),
            ("{gateway:{auth:{mode:'none'}}}", Bind::Loopback, none),
            (&proxied("10.0.0.1", true), Bind::Loopback, proxy),
            (&proxied("127.0.0.1", false), Bind::Auto, proxy),
            (&proxied("127.0.0.1", true), Bind::Loopback, ""),
            (&proxied("10.0.0.1", false), Bind::Lan, ""),
            (
                "{gateway:{auth:{token:'t'},tailscale:{mode:'serve'}}}",
                Bind::Loopback,
                serve,
            ),
        ] {
            let found = told(text, bind);
            assert!(found.starts_with(expected), "{text}: {found}");
            assert_eq!(found.is_empty(), expected.is_empty(), "{text}: {found}");
        }
        for (proxies, shared) in [("", true), ("'10.0.0.1'", true), ("'127.0.0.1'", false)] {
            let text = format!(
                "{{gateway:{{trustedProxies:[{proxies}],auth:{{token:'t'}},tailscale:{{mode:'serve'}}}}}}"
            );
            let found = told(&text, Bind::Loopback);
            assert_eq!(found.contains("counts as one client"), shared, "{found}");
        }
    }
}
