//! `openclaw devices keys` and `openclaw devices preapprove`: what lets devices in without a person at the
//! moment they ask.

use serde_json::{Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::advertise::{Advertised, Asked, advertised};
use crate::cli::answer::Answer;
use crate::cli::devices::{key_view as view, typed_scopes};
use crate::cli::error::{CliError, Usage};
use crate::cli::invocation::Invocation;
use crate::cli::nodes::with_note;
use crate::cli::output::text::{plain, quoted};
use crate::cli::{row, selectors};
use crate::client::GatewayUrl;
use crate::config::suggest::nearest;
use crate::pairing::policy::{required_approve_scopes, usual_commands};
use crate::protocol::scope::{Role, Scope, Scopes};
use crate::store::{Clock, SystemClock};

/// `devices keys create`: the answer holds the secret, this once.
///
/// # Errors
/// What the rules of join keys say, a gateway that nobody else reaches, and as every administration command.
pub fn create(invocation: &Invocation) -> Result<Answer, CliError> {
    let mut params = offer(invocation)?;
    params["cidrs"] = json!(invocation.values("cidr"));
    if let Some(uses) = invocation.text("uses") {
        let parsed: u64 = uses.parse().map_err(|_| {
            CliError::Usage(Usage::Rule(format!(
                "Invalid --uses: not a whole number: {uses}"
            )))
        })?;
        params["uses"] = json!(parsed);
    }
    if invocation.has("print-join-command") && params["role"] != Role::Node.as_str() {
        return Err(CliError::Usage(Usage::Rule(
            "--print-join-command makes a line for node hosts; hand an operator's key to its client by hand"
                .to_owned(),
        )));
    }
    // A key that nobody could use from elsewhere is not made in the first place.
    let join = match invocation.has("print-join-command") {
        true => Some(destination(invocation)?),
        false => None,
    };
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    gateway.raise(&needed(&params))?;
    let mut made = gateway.call("device.keys.create", &params)?;
    let doubtful = doubtful(invocation);
    let Some(join) = join else {
        let text = view::made_key(&made, SystemClock.now_ms());
        let answer = doubtful
            .into_iter()
            .fold(Answer::new(made, text), Answer::note);
        return Ok(with_note(answer, &*gateway));
    };
    let line = join_command(row::text(&made, "key").unwrap_or_default(), &join);
    made["joinCommand"] = json!(line);
    made["gatewayUrl"] = json!(join.url);
    let mut answer = Answer::new(made, line).note(JOIN_NOTE);
    if needs_opt_in(&join.url) {
        answer = answer.note(PLAINTEXT_NOTE);
    }
    answer = doubtful.into_iter().fold(answer, Answer::note);
    Ok(with_note(answer, &*gateway))
}

/// A line for each command that no node has by itself: it may be a mistyped one.
fn doubtful(invocation: &Invocation) -> Vec<String> {
    let typed = invocation.values("command").into_iter();
    let unusual = typed.filter(|typed| usual_commands().all(|known| known != *typed));
    let lines = unusual.map(|typed| {
        let near = nearest(typed, usual_commands())
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        format!(
            "No node has {} unless gateway.nodes.allowCommands names it{near}",
            plain(typed)
        )
    });
    lines.collect()
}

/// What to know about the line with the key in it.
const JOIN_NOTE: &str = "Paste this line on the new machine. It holds the key: the leading blank keeps it out of the history of \
     most shells, and the process list does not show it. To keep it out of the environment too, store the key in a file and use \
     --setup-code-file. With `node join` in place of `node run` it stores the gateway first; `node join … --install` makes a service.";

/// What to know about a line with the opt-in to plaintext.
const PLAINTEXT_NOTE: &str = "The gateway speaks plaintext ws:// there: everybody on that network can read the key and what follows. \
     Turn on gateway.tls, or join through an SSH tunnel or a tailnet.";

/// `devices keys list`.
///
/// # Errors
/// As every administration command.
pub fn list(invocation: &Invocation) -> Result<Answer, CliError> {
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let listed = gateway.call("device.keys.list", &json!({}))?;
    let text = view::keys(&listed, SystemClock.now_ms(), invocation.style());
    Ok(with_note(Answer::new(listed, text), &*gateway))
}

/// `devices keys revoke`: a join key, or the pre-approval of a device.
///
/// # Errors
/// `unknown join key or pre-approval`, `ambiguous key: …`, and as every administration command.
pub fn revoke(invocation: &Invocation) -> Result<Answer, CliError> {
    let typed = invocation.required_argument(0)?;
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let listed = gateway.call("device.keys.list", &json!({}))?;
    let id = selectors::key(
        typed,
        row::rows(&listed, "keys"),
        row::rows(&listed, "preapproved"),
    )?;
    let revoked = gateway.call("device.keys.revoke", &json!({"id": id}))?;
    let what = match row::text(&revoked, "kind") {
        Some("preapproval") => "pre-approval of",
        _ => "join key",
    };
    let text = format!(
        "Revoked {what} {}",
        plain(row::text(&revoked, "id").unwrap_or_default())
    );
    Ok(with_note(Answer::new(revoked, text), &*gateway))
}

/// `devices preapprove`: a device by its public key, before it ever connects.
///
/// # Errors
/// A key that is none or belongs to a paired device, and as [`create`].
pub fn preapprove(invocation: &Invocation) -> Result<Answer, CliError> {
    let mut params = offer(invocation)?;
    params["publicKey"] = json!(invocation.required_argument(0)?);
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    gateway.raise(&needed(&params))?;
    let made = gateway.call("device.keys.preapprove", &params)?;
    let text = format!(
        "Expecting device {}{}: its first connect needs no approval {}.",
        plain(row::id(&made)),
        row::text(&made, "name")
            .map(|name| format!(" ({})", plain(name)))
            .unwrap_or_default(),
        view::until(&made, SystemClock.now_ms()),
    );
    Ok(with_note(Answer::new(made, text), &*gateway))
}

/// The pre-approvals that wait. A gateway that knows no such thing, a session of one device or an unusable
/// file does not keep the list of devices back.
pub fn expected(gateway: &mut dyn Administration) -> Vec<Value> {
    if !gateway.knows("device.keys.list") {
        return Vec::new();
    }
    let listed = gateway
        .call("device.keys.list", &json!({}))
        .unwrap_or_default();
    let rows = row::rows(&listed, "preapproved").iter();
    let waiting = rows.filter(|entry| row::text(entry, "status") == Some("waiting"));
    waiting.cloned().collect()
}

/// What both kinds of invitation say, as params.
///
/// # Errors
/// A command that is no single name.
fn offer(invocation: &Invocation) -> Result<Value, CliError> {
    let commands = invocation.values("command");
    let odd = |letter: char| letter == ',' || letter.is_whitespace();
    if let Some(wrong) = commands.iter().find(|command| command.contains(odd)) {
        return Err(CliError::Usage(Usage::Rule(format!(
            "Invalid --command: {} is no single command name; repeat --command for several",
            plain(wrong)
        ))));
    }
    let mut params = json!({
        "role": invocation.text("role").unwrap_or(Role::Node.as_str()),
        "scopes": typed_scopes(invocation).collect::<Vec<_>>(),
        "commands": commands,
    });
    if let Some(name) = invocation.text("name") {
        params["name"] = json!(name);
    }
    if let Some(ttl) = invocation.duration("ttl")? {
        params["ttlMs"] = json!(ttl);
    }
    Ok(params)
}

/// The scopes that somebody who offers this must hold.
fn needed(params: &Value) -> Scopes {
    let commands = row::words(params, "commands").unwrap_or_default();
    let commands: Vec<String> = commands.into_iter().map(str::to_owned).collect();
    let scopes = row::words(params, "scopes").unwrap_or_default();
    let own = required_approve_scopes(&commands);
    own.iter()
        .cloned()
        .chain(scopes.into_iter().map(Scope::from))
        .collect()
}

/// Where the new machine is to connect: what was typed, else the gateway this command talks to when that
/// is another machine's, else this machine's gateway as others see it.
fn destination(invocation: &Invocation) -> Result<Advertised, CliError> {
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let public = invocation.text("public-url");
    if public.is_none() && invocation.has("ssh") {
        return Err(CliError::rule(
            "--print-join-command with --ssh needs --public-url: the new machine has to reach the gateway by itself",
        ));
    }
    let typed = public.or(invocation.text("url"));
    let asked = Asked {
        typed: typed.or(loaded.environment.gateway_url()),
        remote: false,
    };
    advertised(asked, &loaded, &paths)
}

fn join_command(key: &str, join: &Advertised) -> String {
    let pin = join
        .fingerprint
        .as_ref()
        .map(|pin| format!(" --tls-fingerprint {pin}"));
    let opt_in = match needs_opt_in(&join.url) {
        true => " OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1",
        false => "",
    };
    format!(
        "{opt_in} OPENCLAW_SETUP_CODE={key} openclaw node run --url {}{}",
        quoted(&join.url),
        pin.unwrap_or_default()
    )
}

/// Whether a node host refuses this URL unless its environment permits plaintext.
fn needs_opt_in(url: &str) -> bool {
    GatewayUrl::parse(url).is_ok_and(|url| !url.secure && !url.is_loopback())
}
