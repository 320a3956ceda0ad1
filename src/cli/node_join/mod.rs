//! `node join`: from a machine that belongs to nobody to a node of a gateway. It finds the gateway or is told, has the
//! certificate confirmed before any secret leaves, tries the connect, and only then stores where it belongs.
//!
//! Until the connect was answered nothing is stored but this machine's own key and, per gateway, device tokens.

mod admission;
mod choice;
mod finish;
mod goal;
mod permission;
pub(crate) mod person;
mod trust;
mod view;
mod wish;

use std::io::IsTerminal;

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::node::Start;
use crate::cli::node_join::admission::{Admission, Applicant, Secretless};
use crate::cli::node_join::choice::Around;
use crate::cli::node_join::finish::{finish, warnings};
use crate::cli::node_join::goal::{Search, Seen, first_that_answers, goal};
use crate::cli::node_join::permission::may_join;
use crate::cli::node_join::person::{Person, Script, Terminal};
use crate::cli::node_join::view::Joined;
use crate::cli::node_join::wish::{Then, Wish};
use crate::cli::{node_setup, service};
use crate::client::{GatewayUrl, SetupCode};
use crate::identity::{DeviceId, Fingerprint, Random, Token};
use crate::node::settings::{self, Flags, Settings};
use crate::store::{Clock, DeviceAuth, NodeFile, StateDir, SystemClock, load_or_create_key};

/// Joins a gateway.
///
/// # Errors
/// No gateway, one that is not trusted or refuses, or whoever was asked left; `node.json` is then as it was.
pub fn join(invocation: &Invocation) -> Result<Answer, CliError> {
    let search = |start: &Start, patience| Around::look(&start.loaded, patience);
    match std::io::stdin().is_terminal() {
        true => join_with(invocation, &mut Terminal, &search),
        false => join_with(invocation, &mut Script, &search),
    }
}

fn join_with(
    invocation: &Invocation,
    person: &mut dyn Person,
    search: Search<'_>,
) -> Result<Answer, CliError> {
    let wish = Wish::read(invocation)?;
    let place = match wish.then {
        Then::Install => Some(service::place(invocation)?),
        Then::Nothing | Then::Run => None,
    };
    let start = match &place {
        Some(place) => Start::read(place.paths.clone(), place.environment.clone())?,
        None => Start::read(invocation.paths()?, invocation.environment().clone())?,
    };
    let code = node_setup::setup_code(invocation, &start.loaded.environment)?;
    let stored = node_setup::stored_gateway(&start.paths)?;
    let goal = goal(invocation, code.as_ref(), &start, &stored, person, search)?;
    let seen = first_that_answers(&goal, &wish, &start)?;
    let trusted = may_join(&seen, &goal, &stored, &wish, person)?;
    if let Some(place) = &place {
        service::prepare_node(place)?;
    }
    let mut application = Application {
        start: &start,
        wish: &wish,
        seen: &seen,
        pin: trusted.pin,
        secret: code.as_ref().map(|code| code.secret.clone()),
        display_name: invocation.text("display-name"),
    };
    let (device, settings, admission) = match application.carry_out()? {
        Ok(joined) => joined,
        Err(secretless) => {
            application.secret = Some(ask_secret(secretless, &seen, &wish, person)?);
            application.carry_out()??
        }
    };
    let profile = start.paths.profile.clone();
    let joined = Joined {
        url: &settings.url,
        found: goal.found.as_ref(),
        pin: trusted.pin,
        trust: trusted.word,
        device,
        display_name: &settings.display_name,
        admission: &admission,
        profile: profile.as_deref(),
        warnings: warnings(invocation, &wish, trusted.warning),
    };
    finish(invocation, &wish, person, &joined, start, code)
}

/// What is known when this machine asks to be let in.
struct Application<'a> {
    start: &'a Start,
    wish: &'a Wish,
    seen: &'a Seen,
    pin: Option<Fingerprint>,
    secret: Option<Token>,
    display_name: Option<&'a str>,
}

impl Application<'_> {
    /// Connects, and stores the gateway once it has answered; one that wants a secret is not stored.
    fn carry_out(&self) -> Result<Result<(DeviceId, Settings, Admission), Secretless>, CliError> {
        let url = &self.seen.url;
        let dir = StateDir::open(&self.start.paths.state_dir)?;
        let key = load_or_create_key(&dir, SystemClock.now_ms())?;
        let mut file = NodeFile::load(&dir)?;
        let former = file.gateway.clone().unwrap_or_default();
        let mut settings = settle(&mut file, url, self.display_name);
        settings.tls_fingerprint = self.pin.map(|pin| pin.to_string());
        if let Some(gateway) = &mut file.gateway {
            gateway.tls_fingerprint = settings.tls_fingerprint.clone();
        }
        let mut tokens = DeviceAuth::load(&dir, &key.device_id())?;
        let former_url = settings.former_url.to_string();
        tokens.claim(&former_url, "node")?;
        // Whoever has the pinned key is the gateway that gave the token, wherever it stands now.
        let pinned = former.tls_fingerprint.as_deref();
        let moved = self.pin.is_some() && pinned.and_then(Fingerprint::parse) == self.pin;
        let former_token = || Some(tokens.token(&former_url, "node", false)?.token);
        let kept = file.token.clone();
        let kept = kept.or_else(|| former_token().filter(|_| moved));
        let applicant = Applicant {
            start: self.start,
            dir: &dir,
            key: &key,
            settings: &settings,
            pin: self.pin,
            secret: self.secret.clone(),
            kept,
        };
        let (admission, token) = match applicant.apply(&self.wish.budget())? {
            Ok(admitted) => admitted,
            Err(secretless) => return Ok(Err(secretless)),
        };
        file.token = token.or(file.token);
        file.save(&dir)?;
        Ok(Ok((key.device_id(), settings, admission)))
    }
}

/// Moves the file to the gateway at `url`; the former one of the result is that of the file.
fn settle(file: &mut NodeFile, url: &GatewayUrl, display_name: Option<&str>) -> Settings {
    let former = file.gateway.clone().unwrap_or_default();
    if !url.secure && former.tls {
        // TLS there was given up on purpose, so none of it is kept.
        file.gateway = None;
        file.token = None;
    }
    let flags = Flags {
        host: Some(&url.host),
        port: Some(url.port),
        tls: url.secure,
        display_name,
        ..Flags::default()
    };
    let fresh_id = || Random.uuid();
    Settings {
        former_url: settings::url(&former),
        ..settings::resolve(file, &flags, fresh_id, settings::machine_name)
    }
}

/// The join key or setup code that whoever is there types.
///
/// # Errors
/// Nobody is there, they left, or what they typed is neither or names another gateway.
fn ask_secret(
    secretless: Secretless,
    seen: &Seen,
    wish: &Wish,
    person: &mut dyn Person,
) -> Result<Token, CliError> {
    if wish.json || !person.is_there() {
        return Err(secretless.into());
    }
    person.tell(&format!("{} lets nobody in without a secret. A join key comes from `openclaw devices keys create`, a setup code from `openclaw qr` on its machine.", seen.url));
    let typed = person.secret("Join key or setup code (not shown): ");
    let typed = typed.filter(|typed| !typed.trim().is_empty());
    let Some(typed) = typed else {
        return Err(secretless.into());
    };
    let code = SetupCode::decode(&typed);
    let code = code.map_err(|fault| secretless.because(fault.to_string()))?;
    match &code.url {
        Some(url) if *url != seen.url => Err(secretless.because(format!(
            "the setup code is for {url}, and this is {}",
            seen.url
        ))),
        _ => Ok(code.secret),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::cli::node_join::person::testing::Actor;
    use crate::cli::testing::invocation;
    use crate::config::testing::Home;
    use crate::discovery::Found;
    use crate::discovery::found::LOCAL;
    use crate::store::node_file::NodeGateway;

    fn found(instance: &str, address: &str, tls: bool) -> Found {
        let txt = [("gatewayTls", if tls { &b"1"[..] } else { &b""[..] })];
        let address: std::net::SocketAddr = address.parse().unwrap();
        let port = address.port();
        Found {
            // Tests have nothing but loopback to listen on.
            addresses: vec![address],
            ..Found::new(instance.as_bytes(), LOCAL, "pi.local", port, [], txt)
        }
    }

    /// Joins among these gateways; nothing may be left behind, because none of them can be joined.
    fn refused(found: &[Found], words: &[&str], person: &mut dyn Person) -> String {
        let home = Home::new("{}");
        let line = [&["node", "join", "--timeout", "5000"], words].concat();
        let search = |_: &Start, patience: Duration| {
            assert_eq!(patience, Duration::from_secs(5));
            Around {
                found: found.to_vec(),
                ..Around::default()
            }
        };
        let outcome = join_with(&invocation(&home, &line).unwrap(), person, &search);
        // This machine's own key may be there: it was needed to ask.
        for name in ["node.json", "identity/device-auth.json"] {
            assert!(!home.paths.state_dir.join(name).exists(), "{name}");
        }
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn the_token_of_a_former_gateway_is_not_the_new_ones_wherever_that_is() {
        for (former, tls, joined, keeps) in [
            ("gw.lan", true, "ws://127.0.0.1:18789", false),
            ("127.0.0.1", true, "ws://127.0.0.1:18789", false),
            ("gw.lan", false, "ws://127.0.0.1:18789", false),
            ("127.0.0.1", false, "ws://127.0.0.1:18789", true),
            ("gw.lan", true, "wss://gw.lan:18789", true),
        ] {
            let mut file = NodeFile::default();
            file.token = Some(Token::from("former"));
            file.gateway = Some(NodeGateway {
                host: Some(former.to_owned()),
                tls,
                ..NodeGateway::default()
            });
            let url = GatewayUrl::parse(joined).unwrap();
            let settings = settle(&mut file, &url, None);
            let was = GatewayUrl::new(former, 18_789, tls);
            assert_eq!((settings.url, settings.former_url), (url, was));
            assert_eq!(file.token.is_some(), keeps, "{former} {tls} {joined}");
        }
    }

    #[test]
    fn leaving_at_the_list_leaves_nothing_behind() {
        let two = [
            found("Attic", "10.0.0.1:18789", true),
            found("Cellar", "10.0.0.2:18789", true),
        ];
        for answers in [&["q"][..], &[], &["x", "q"]] {
            let mut person = Actor::new(answers);
            let said = refused(&two, &[], &mut person);
            assert_eq!(said, "Left without joining; nothing was stored.");
            assert!(person.seen.contains("10.0.0.2:18789"), "{}", person.seen);
        }
        let said = refused(&two, &["--gateway", "roof"], &mut Script);
        assert!(
            said.starts_with("no gateway that was found is called roof"),
            "{said}"
        );
    }

    #[test]
    fn what_is_found_where_no_gateway_is_is_a_visible_refusal() {
        // Something that ends every connection, and a port where nothing is.
        let closing = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = closing.local_addr().unwrap().to_string();
        std::thread::spawn(move || closing.incoming().for_each(drop));
        let unused = TcpListener::bind("127.0.0.1:0").unwrap();
        let nowhere = unused.local_addr().unwrap().to_string();
        drop(unused);
        for (address, tls) in [
            (&at, true),
            (&at, false),
            (&nowhere, true),
            (&nowhere, false),
        ] {
            let liar = [found("Attic", address, tls)];
            let said = refused(&liar, &["--gateway", "attic"], &mut Actor::new(&["y"]));
            assert!(said.contains("gateway"), "{said}");
        }
    }

    #[test]
    fn a_found_gateway_gets_no_plaintext_by_saying_that_it_speaks_none_else() {
        for (address, why) in [
            (
                "192.168.77.7:18789",
                "set OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1",
            ),
            ("100.64.7.7:18789", "an address of a tailnet"),
            ("203.0.113.7:18789", "a public address"),
        ] {
            let plain = [found("Attic", address, false)];
            let said = refused(&plain, &[], &mut Actor::new(&["y", "y", "y"]));
            assert!(
                said.contains("SECURITY ERROR") && said.contains(why),
                "{said}"
            );
        }
    }
}
