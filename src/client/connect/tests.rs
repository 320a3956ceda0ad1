use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::client::credentials::{Credential, CredentialSource, Credentials};
use crate::client::target::{GatewayUrl, UrlSource};
use crate::client::testing::{FakeTransport, accept, hello, refuse};
use crate::identity::PublicKey;
use crate::protocol::scope::Scope;

/// Keeps one token and writes down what happened to it.
#[derive(Default)]
struct Keeper {
    token: RefCell<Option<StoredToken>>,
    bootstrap: Option<Token>,
    log: RefCell<Vec<String>>,
}

impl TokenKeeper for Keeper {
    fn load(&self, _: Role) -> Option<StoredToken> {
        self.token.borrow().clone()
    }

    fn store(&self, role: Role, token: &Token, scopes: &Scopes) {
        self.log.borrow_mut().push(format!(
            "store {role} {} [{}]",
            token.as_str(),
            scopes.join(",")
        ));
    }

    fn bootstrap(&self) -> Option<Token> {
        self.bootstrap.clone()
    }

    fn forget(&self, role: Role) {
        self.log.borrow_mut().push(format!("forget {role}"));
    }
}

fn stored(scopes: &[&str]) -> Keeper {
    let token = StoredToken {
        token: Token::from("dev"),
        scopes: scopes.iter().copied().collect(),
    };
    Keeper {
        token: RefCell::new(Some(token)),
        ..Keeper::default()
    }
}

fn endpoint(url: &str, token: Option<&str>) -> Endpoint {
    let credential = |value: &str| Credential {
        value: value.to_owned(),
        source: CredentialSource::Auth("gateway.auth.token"),
    };
    Endpoint {
        url: GatewayUrl::parse(url).unwrap(),
        source: UrlSource::Flag,
        via: None,
        credentials: Credentials {
            token: token.map(credential),
            password: None,
        },
        pin: None,
        authorities: None,
    }
}

/// Connects; every attempt is answered with the next of `answers` (a detail code, or a device token for success).
/// Returns the outcome and what each attempt sent as `token/deviceToken [scopes]`.
fn run(
    endpoint: &Endpoint,
    keeper: &Keeper,
    answers: &[Result<&'static str, &'static str>],
) -> (Result<(), String>, Vec<String>) {
    let key = DeviceKey::from_seed(&[7; 32]).unwrap();
    let identity = ConnectIdentity::command_line([Scope::READ].into_iter().collect());
    let connector = Connector {
        endpoint,
        identity: &identity,
        device: Some(Device {
            key: &key,
            tokens: keeper,
        }),
        plaintext_opt_in: false,
    };
    let sent: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::default();
    let remaining = RefCell::new(answers.iter());
    let outcome = connector.connect_with(&Budget::new(Duration::from_secs(20)), &|_| {
        let answer = *remaining
            .borrow_mut()
            .next()
            .expect("no further attempt expected");
        let sent = Arc::clone(&sent);
        let answer = move |frame: &Value| {
            sent.lock().unwrap().push(shown(&frame["params"]));
            vec![match answer {
                Ok(token) => accept(frame, &hello("operator", Some(token), &["operator.read"])),
                Err(code) => refuse(
                    frame,
                    &json!({"code":"INVALID_REQUEST","message":code,"details":{"code":code}}),
                ),
            }]
        };
        Ok(Box::new(FakeTransport::new(&log, Box::new(answer))) as Box<dyn Transport>)
    });
    assert!(
        remaining.borrow_mut().next().is_none(),
        "an attempt was expected that did not come"
    );
    let sent = sent.lock().unwrap().clone();
    (outcome.map(drop).map_err(|error| error.to_string()), sent)
}

/// Credentials and scopes of connect params, after checking the signature over them.
fn shown(params: &Value) -> String {
    let auth = |name: &str| params["auth"][name].as_str().unwrap_or("-").to_owned();
    let scopes: Vec<String> = serde_json::from_value(params["scopes"].clone()).unwrap();
    let device = &params["device"];
    assert_eq!(
        device["signedAt"],
        json!(1_737_264_000_000_u64),
        "the challenge's clock signs"
    );
    let payload = format!(
        "v3|{}|cli|cli|operator|{}|1737264000000|{}|n-1|{}|",
        device["id"].as_str().unwrap(),
        scopes.join(","),
        ["token", "bootstrapToken"]
            .iter()
            .find_map(|name| params["auth"][name].as_str())
            .unwrap_or_default(),
        params["client"]["platform"].as_str().unwrap(),
    );
    let key = PublicKey::decode(device["publicKey"].as_str().unwrap()).unwrap();
    assert!(key.verify(&payload, device["signature"].as_str().unwrap()));
    if let Some(secret) = params["auth"]["bootstrapToken"].as_str() {
        assert_eq!(
            (auth("token"), auth("deviceToken")),
            ("-".into(), "-".into())
        );
        return format!("bootstrap {secret} [{}]", scopes.join(","));
    }
    format!(
        "{}/{} [{}]",
        auth("token"),
        auth("deviceToken"),
        scopes.join(",")
    )
}

const FULL: &str =
    "operator.admin,operator.read,operator.write,operator.approvals,operator.pairing";
const LOCAL: &str = "ws://127.0.0.1:1";

#[test]
fn first_contact_asks_for_everything_and_keeps_the_token() {
    let keeper = Keeper::default();
    let (outcome, sent) = run(&endpoint(LOCAL, Some("sec")), &keeper, &[Ok("new")]);
    assert_eq!(outcome, Ok(()));
    assert_eq!(sent, [format!("sec/- [{FULL}]")]);
    assert_eq!(*keeper.log.borrow(), ["store operator new [operator.read]"]);
}

#[test]
fn a_bootstrap_secret_is_shown_alone_and_only_at_first_contact() {
    let with_bootstrap = |keeper: Keeper| Keeper {
        bootstrap: Some(Token::from("key")),
        ..keeper
    };
    let fresh = with_bootstrap(Keeper::default());
    let (outcome, sent) = run(&endpoint(LOCAL, None), &fresh, &[Ok("new")]);
    assert_eq!(outcome, Ok(()));
    assert_eq!(sent, [format!("bootstrap key [{FULL}]")]);
    let (_, sent) = run(&endpoint(LOCAL, Some("sec")), &fresh, &[Ok("new")]);
    assert_eq!(sent, [format!("bootstrap key [{FULL}]")]);
    let known = with_bootstrap(stored(&["operator.admin"]));
    let (_, sent) = run(&endpoint(LOCAL, None), &known, &[Ok("new")]);
    assert_eq!(sent, ["dev/dev [operator.read]"]);
    let refused = [Err("AUTH_BOOTSTRAP_TOKEN_INVALID")];
    let (outcome, sent) = run(&endpoint(LOCAL, None), &fresh, &refused);
    assert!(outcome.is_err() && sent.len() == 1, "{sent:?}");
    let (outcome, sent) = run(&endpoint(LOCAL, Some("sec")), &fresh, &refused);
    assert!(outcome.is_err() && sent.len() == 1, "{sent:?}");
}

#[test]
fn later_connects_ask_for_the_least() {
    let keeper = stored(&["operator.admin"]);
    let (_, sent) = run(&endpoint(LOCAL, Some("sec")), &keeper, &[Ok("new")]);
    assert_eq!(
        sent,
        ["sec/- [operator.read]"],
        "the secret wins over the stored token"
    );
    let (_, sent) = run(&endpoint(LOCAL, None), &keeper, &[Ok("new")]);
    assert_eq!(sent, ["dev/dev [operator.read]"]);
    let keeper = stored(&["operator.pairing"]);
    let (_, sent) = run(&endpoint(LOCAL, None), &keeper, &[Ok("new")]);
    assert_eq!(
        sent,
        ["dev/dev [operator.pairing]"],
        "never beyond the stored token"
    );
}

#[test]
fn the_scopes_of_an_unchanged_token_never_shrink() {
    let keeper = stored(&["operator.admin", "operator.read"]);
    run(&endpoint(LOCAL, Some("sec")), &keeper, &[Ok("dev")])
        .0
        .unwrap();
    let kept = "store operator dev [operator.admin,operator.read]";
    assert_eq!(*keeper.log.borrow(), [kept]);
    let keeper = stored(&["operator.pairing"]);
    run(&endpoint(LOCAL, Some("sec")), &keeper, &[Ok("dev")])
        .0
        .unwrap();
    assert_eq!(
        *keeper.log.borrow(),
        ["store operator dev [operator.pairing,operator.read]"]
    );
    let keeper = stored(&["operator.pairing"]);
    run(&endpoint(LOCAL, Some("sec")), &keeper, &[Ok("another")])
        .0
        .unwrap();
    assert_eq!(
        *keeper.log.borrow(),
        ["store operator another [operator.read]"]
    );
}

#[test]
fn a_refused_secret_is_retried_once_with_the_stored_token_on_trusted_endpoints() {
    const MISMATCH: Result<&str, &str> = Err("AUTH_TOKEN_MISMATCH");
    let keeper = stored(&["operator.read"]);
    let (outcome, sent) = run(
        &endpoint(LOCAL, Some("old")),
        &keeper,
        &[MISMATCH, Ok("new")],
    );
    assert_eq!(outcome, Ok(()));
    assert_eq!(sent, ["old/- [operator.read]", "old/dev [operator.read]"]);
    let (outcome, sent) = run(
        &endpoint(LOCAL, Some("old")),
        &keeper,
        &[MISMATCH, MISMATCH],
    );
    assert_eq!(outcome, Err("AUTH_TOKEN_MISMATCH".to_owned()));
    assert_eq!(sent.len(), 2);
    let (outcome, _) = run(
        &endpoint("ws://10.0.0.1:1", Some("old")),
        &keeper,
        &[MISMATCH],
    );
    assert_eq!(
        outcome,
        Err("AUTH_TOKEN_MISMATCH".to_owned()),
        "an untrusted endpoint never sees the token"
    );
    let (outcome, _) = run(
        &endpoint(LOCAL, Some("old")),
        &Keeper::default(),
        &[MISMATCH],
    );
    assert_eq!(outcome, Err("AUTH_TOKEN_MISMATCH".to_owned()));
}

#[test]
fn a_refused_device_token_is_dropped() {
    const UNKNOWN: Result<&str, &str> = Err("AUTH_DEVICE_TOKEN_MISMATCH");
    let keeper = stored(&["operator.read"]);
    let (outcome, sent) = run(&endpoint(LOCAL, None), &keeper, &[UNKNOWN]);
    assert_eq!(outcome, Err("AUTH_DEVICE_TOKEN_MISMATCH".to_owned()));
    assert_eq!(sent, ["dev/dev [operator.read]"]);
    assert_eq!(*keeper.log.borrow(), ["forget operator"]);
    let keeper = stored(&["operator.read"]);
    let answers = [Err("AUTH_TOKEN_MISMATCH"), UNKNOWN];
    let (outcome, _) = run(&endpoint(LOCAL, Some("old")), &keeper, &answers);
    assert_eq!(outcome, Err("AUTH_DEVICE_TOKEN_MISMATCH".to_owned()));
    assert_eq!(*keeper.log.borrow(), ["forget operator"]);
}

#[test]
fn other_refusals_end_at_once() {
    let keeper = stored(&["operator.read"]);
    let (outcome, sent) = run(
        &endpoint(LOCAL, Some("sec")),
        &keeper,
        &[Err("AUTH_RATE_LIMITED")],
    );
    assert_eq!(outcome, Err("AUTH_RATE_LIMITED".to_owned()));
    assert_eq!(sent.len(), 1);
    assert!(keeper.log.borrow().is_empty());
}
