//! The URL by which other machines reach this gateway: for setup codes and join commands (cli.md §2.7).
//!
//! The choice is pure over what is configured; only the addresses of this machine are looked up, and only
//! where the choice falls on one of them.

use std::net::{IpAddr, Ipv4Addr};

use crate::cli::error::CliError;
use crate::cli::gateway_tls::own_certificate;
use crate::client::GatewayUrl;
use crate::config::word::{Bind, GatewayMode, TailscaleMode, Word};
use crate::config::{Config, Loaded, Paths};
use crate::discovery::tailscale::Program;
use crate::net::address::{is_private, routed_address, tailnet_address};
use crate::net::interfaces::{Address, addresses};

/// The source of a URL that is another gateway's.
const REMOTE_URL: &str = "gateway.remote.url";

/// A URL in its normal form and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// `ws(s)://host[:port]`.
    pub url: String,
    /// The option or configuration key that decided.
    pub source: String,
    /// What clients pin: the certificate of this gateway where the URL is its own port and it speaks TLS itself,
    /// the configured pin where the URL is the configured other gateway's.
    pub fingerprint: Option<String>,
}

/// What decides besides the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// `--url` or `--public-url`.
    pub typed: Option<&'a str>,
    /// `--remote`: the other gateway of the configuration.
    pub remote: bool,
}

/// The URL, first hit of the table, and the pin that belongs to it.
///
/// # Errors
/// Why there is none that others could use; the gateway's own certificate does not exist yet or cannot be
/// read.
pub fn advertised(
    asked: Asked<'_>,
    loaded: &Loaded,
    paths: &Paths,
) -> Result<Advertised, CliError> {
    let tailscale = Program {
        search_path: loaded.environment.search_path(),
        home: paths.home.clone(),
    };
    let config = &loaded.config;
    let found = choose(asked, config, &|| tailscale.own_name(), &|bind| {
        own_address(bind, config)
    })?;
    let gateway = &config.gateway;
    // Whatever stands at another port shows another certificate.
    let here = gateway.mode != Some(GatewayMode::Remote) && found.source != REMOTE_URL;
    let own = here
        && GatewayUrl::parse(&found.url).is_ok_and(|url| url.secure && url.port == gateway.port);
    let fingerprint = if gateway.tls.enabled && own {
        Some(own_certificate(paths, loaded)?.fingerprint.to_string())
    } else if found.source == REMOTE_URL {
        gateway.remote.tls_fingerprint.map(|pin| pin.to_string())
    } else {
        None
    };
    Ok(Advertised {
        fingerprint,
        ..found
    })
}

fn choose(
    asked: Asked<'_>,
    config: &Config,
    tailnet_name: &dyn Fn() -> Option<String>,
    own_address: &dyn Fn(Bind) -> Option<String>,
) -> Result<Advertised, CliError> {
    const PUBLIC_URL: &str = "plugins.entries.device-pair.config.publicUrl";
    let gateway = &config.gateway;
    if let Some(typed) = asked.typed {
        return checked(typed, "cli --url");
    }
    let remote = gateway.remote.url.as_deref();
    if gateway.mode == Some(GatewayMode::Remote) {
        // Everything else is about a gateway of this machine, which there is not.
        let others = |url: &&str| GatewayUrl::parse(url).is_ok_and(|url| !url.is_loopback());
        return match remote.filter(others) {
            Some(url) => checked(url, REMOTE_URL),
            None => Err(failed(
                "gateway.mode is remote, and gateway.remote.url is no URL that other machines could use: pass --public-url.",
            )),
        };
    }
    if let Some(url) = &config.public_url {
        return checked(url, PUBLIC_URL);
    }
    if let (true, Some(url)) = (asked.remote, remote) {
        return checked(url, REMOTE_URL);
    }
    let mode = gateway.tailscale.mode;
    if mode != TailscaleMode::Off {
        let source = format!("gateway.tailscale.mode={}", mode.as_str());
        let name = tailnet_name().ok_or_else(|| {
            failed(format!(
                "{source}, but `tailscale status` names no tailnet name of this machine. Start Tailscale, or pass --url."
            ))
        })?;
        return checked(&format!("wss://{name}"), &source);
    }
    if asked.remote {
        return Err(failed(
            "qr --remote requires gateway.remote.url (or gateway.tailscale.mode=serve/funnel).",
        ));
    }
    if let Some(url) = remote {
        return checked(url, REMOTE_URL);
    }
    let bind = gateway.bind;
    let host = own_address(bind).ok_or_else(|| match bind {
        Bind::Lan => failed("no address of this machine found that others could reach; pass --public-url"),
        Bind::Auto | Bind::Custom | Bind::Loopback | Bind::Tailnet => failed(format!(
            "Gateway is only bound to loopback. Set gateway.bind=lan, enable tailscale serve, or configure {PUBLIC_URL}."
        )),
    })?;
    let url = GatewayUrl::new(&host, gateway.port, gateway.tls.enabled);
    checked(&url.to_string(), &format!("gateway.bind={}", bind.as_str()))
}

/// A URL in its normal form, if a device that is given it may use it.
fn checked(text: &str, source: &str) -> Result<Advertised, CliError> {
    let text = text.trim();
    let rewritten = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("ws://{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("wss://{rest}"),
        Some(_) => text.to_owned(),
        // A bare host is meant to be reached safely.
        None => format!("wss://{text}"),
    };
    let invalid = || {
        failed(if source.starts_with("cli ") {
            "The URL is invalid: use wss://host[:port], without user name and password."
        } else if source.starts_with("plugins.") {
            "Configured publicUrl is invalid."
        } else {
            "Configured gateway.remote.url is invalid."
        })
    };
    let mut url = GatewayUrl::parse(&rewritten).map_err(|_| invalid())?;
    "/".clone_into(&mut url.path);
    let private = url.is_loopback() || url.address().is_some_and(is_private);
    if !url.secure && !private {
        return Err(failed(format!(
            "Refusing to hand out plaintext ws:// to {}: anybody on the way could read the token. Use wss:// (gateway.tls, a TLS proxy or tailscale serve), or a private address.",
            url.host
        )));
    }
    Ok(Advertised {
        url: normal_form(&url),
        source: source.to_owned(),
        fingerprint: None,
    })
}

/// Scheme and host; the port where it is not the scheme's own.
fn normal_form(url: &GatewayUrl) -> String {
    let (scheme, own_port) = if url.secure { ("wss", 443) } else { ("ws", 80) };
    let authority = url.authority();
    let host = authority.strip_suffix(&format!(":{own_port}"));
    format!("{scheme}://{}", host.unwrap_or(&authority))
}

/// The address of this machine that a bind mode listens on; None when only this machine reaches it.
fn own_address(bind: Bind, config: &Config) -> Option<String> {
    let address = match bind {
        Bind::Auto | Bind::Loopback => return None,
        Bind::Custom => config.gateway.custom_bind_host.as_ref()?.parse().ok()?,
        Bind::Lan => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Bind::Tailnet => tailnet_address()?,
    };
    let address = match address.is_unspecified() {
        true => routed_address().or_else(|| reachable_address(&addresses()))?,
        false => address,
    };
    (!address.is_loopback()).then(|| address.to_string())
}

/// Where no route tells: the first private IPv4 address by which a network reaches this machine, else IPv6. A link-local
/// one of IPv6 means nothing to others without the name of their interface.
fn reachable_address(all: &[Address]) -> Option<IpAddr> {
    let reached = |address: &&Address| address.multicast && is_private(address.ip);
    let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let usable = all.iter().filter(reached).map(|address| address.ip);
    let usable: Vec<IpAddr> = usable.filter(|ip| !link_local(*ip)).collect();
    let v4 = usable.iter().find(|ip| ip.is_ipv4());
    v4.or(usable.first()).copied()
}

fn failed(message: impl Into<String>) -> CliError {
    CliError::failed("CONFIG_INVALID", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::Home;

    fn chosen(config: &str, asked: Asked<'_>) -> Result<(String, String), String> {
        let config = Home::new(config).load().unwrap().config;
        let tailnet = || Some("pi.tail1.ts.net".to_owned());
        let own = |bind| match bind {
            Bind::Lan => Some("192.168.1.5".to_owned()),
            Bind::Tailnet => Some("100.64.0.9".to_owned()),
            Bind::Custom => config.gateway.custom_bind_host.clone(),
            Bind::Auto | Bind::Loopback => None,
        };
        match choose(asked, &config, &tailnet, &own) {
            Ok(found) => Ok((found.url, found.source)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_first_hit_decides() {
        let plugin =
            "plugins: {entries: {'device-pair': {config: {publicUrl: 'https://pub.example/x'}}}}";
        let remote = "remote: {url: 'wss://far.example:9'}";
        let serve = "tailscale: {mode: 'serve'}";
        let typed = Asked {
            typed: Some("http://10.0.0.9:18789/path"),
            remote: true,
        };
        let asked = Asked::default();
        let far = Asked {
            remote: true,
            ..asked
        };
        let cases = [
            (
                format!("{{{plugin}, gateway: {{bind: 'lan', {remote}, {serve}}}}}"),
                typed,
                "ws://10.0.0.9:18789",
                "cli --url",
            ),
            (
                format!("{{{plugin}, gateway: {{bind: 'lan', {remote}, {serve}}}}}"),
                far,
                "wss://pub.example",
                "plugins.entries.device-pair.config.publicUrl",
            ),
            (
                format!("{{gateway: {{bind: 'lan', {remote}, {serve}}}}}"),
                far,
                "wss://far.example:9",
                "gateway.remote.url",
            ),
            (
                format!("{{gateway: {{{remote}, {serve}}}}}"),
                asked,
                "wss://pi.tail1.ts.net",
                "gateway.tailscale.mode=serve",
            ),
            (
                format!("{{gateway: {{{serve}}}}}"),
                far,
                "wss://pi.tail1.ts.net",
                "gateway.tailscale.mode=serve",
            ),
            (
                format!("{{gateway: {{bind: 'lan', {remote}}}}}"),
                asked,
                "wss://far.example:9",
                "gateway.remote.url",
            ),
            (
                "{gateway: {bind: 'lan', port: 19000}}".to_owned(),
                asked,
                "ws://192.168.1.5:19000",
                "gateway.bind=lan",
            ),
            (
                "{gateway: {bind: 'lan', tls: {enabled: true}}}".to_owned(),
                asked,
                "wss://192.168.1.5:18789",
                "gateway.bind=lan",
            ),
            (
                "{gateway: {bind: 'tailnet'}}".to_owned(),
                asked,
                "ws://100.64.0.9:18789",
                "gateway.bind=tailnet",
            ),
            (
                "{gateway: {bind: 'custom', customBindHost: '10.1.2.3'}}".to_owned(),
                asked,
                "ws://10.1.2.3:18789",
                "gateway.bind=custom",
            ),
        ];
        for (config, asked, url, source) in cases {
            assert_eq!(
                chosen(&config, asked),
                Ok((url.to_owned(), source.to_owned())),
                "{config}"
            );
        }
    }

    #[test]
    fn without_a_route_the_address_of_an_interface_that_is_up_is_handed_out() {
        let address = |ip: &str, multicast| Address {
            interface: "eth0".to_owned(),
            ip: ip.parse().unwrap(),
            multicast,
        };
        type Case<'a> = (&'a [(&'a str, bool)], Option<&'a str>);
        let cases: &[Case<'_>] = &[
            (
                &[("127.0.0.1", false), ("fd00::5", true), ("10.0.0.5", true)],
                Some("10.0.0.5"),
            ),
            (&[("10.0.0.4", false), ("fd00::5", true)], Some("fd00::5")),
            (&[("fe80::5", true), ("203.0.113.5", true)], None),
            (&[], None),
        ];
        for (all, expected) in cases {
            let all: Vec<Address> = all.iter().map(|(ip, up)| address(ip, *up)).collect();
            let expected = expected.map(|ip| ip.parse().unwrap());
            assert_eq!(reachable_address(&all), expected, "{all:?}");
        }
        let config = Home::new("{gateway: {bind: 'lan'}}").load().unwrap().config;
        let error = choose(Asked::default(), &config, &|| None, &|_| None).unwrap_err();
        let said = error.to_string();
        assert!(
            said.ends_with("that others could reach; pass --public-url"),
            "{said}"
        );
    }

    #[test]
    fn what_others_could_not_or_should_not_use_is_refused() {
        let typed = |url| Asked {
            typed: Some(url),
            remote: false,
        };
        let far = Asked {
            remote: true,
            ..Asked::default()
        };
        let bad_plugin = "{plugins: {entries: {'device-pair': {config: {publicUrl: 'ftp://x'}}}}}";
        let cases = [
            (
                "{}",
                Asked::default(),
                "Gateway is only bound to loopback. Set gateway.bind=lan, enable tailscale serve, or configure plugins.entries.device-pair.config.publicUrl.",
            ),
            (
                "{}",
                far,
                "qr --remote requires gateway.remote.url (or gateway.tailscale.mode=serve/funnel).",
            ),
            (
                bad_plugin,
                Asked::default(),
                "Configured publicUrl is invalid.",
            ),
            ("{}", typed("wss://user:secret@gw"), "The URL is invalid"),
            (
                "{}",
                typed("ws://203.0.113.5:18789"),
                "Refusing to hand out plaintext ws:// to 203.0.113.5",
            ),
            (
                "{}",
                typed("http://gw.example.com"),
                "Refusing to hand out plaintext ws:// to gw.example.com",
            ),
            (
                "{gateway: {bind: 'custom', customBindHost: '203.0.113.5'}}",
                Asked::default(),
                "Refusing to hand out plaintext",
            ),
        ];
        for (config, asked, message) in cases {
            let error = chosen(config, asked).unwrap_err();
            assert!(error.contains(message), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for private in [
            "ws://127.0.0.1:1",
            "ws://[::1]:1",
            "ws://10.0.2.2:1",
            "ws://169.254.1.1:1",
            "wss://gw.example.com:444",
            "gw.example.com",
        ] {
            assert!(chosen("{}", typed(private)).is_ok(), "{private}");
        }
    }
}
