//! `openclaw.json(5)`, from the table of configuration keys.

use crate::cli::manual::begin;
use crate::config::key::{Effect, KEYS, Key, Preset};
use crate::config::kind::{Kind, MAX_INTEGER};

/// The page.
pub fn page() -> String {
    let mut page = begin("openclaw.json", 5, "configuration of openclaw");
    page.section("Synopsis");
    page.usage("~/.openclaw/openclaw.json", "");
    page.section("Description");
    page.text(
        "The configuration of the gateway, the node host and the command line: JSON with comments, trailing commas and \
         unquoted keys (JSON5). A file that is missing is an empty object. OPENCLAW_CONFIG_PATH names another file.",
    );
    page.paragraph(
        "Below, a key is named by its path: gateway.port is the member port of the object gateway. A star stands for any \
         name. \"openclaw config set\" changes one and keeps comments and order; \"openclaw config validate\" checks the \
         file. A gateway that runs reads it again after every change; keys that need a restart say so, and it makes that \
         restart itself.",
    );
    page.paragraph(
        "In any text ${NAME} is replaced by that environment variable; $${NAME} stands for ${NAME} itself. Where a secret \
         is expected, an object {source, provider, id} names where it is kept: an environment variable, a file or a \
         program (secrets.providers).",
    );
    page.paragraph(
        "\"$include\": \"other.json\" takes in another file of the same directory. An unknown key is an error.",
    );
    page.section("Keys");
    for key in KEYS.iter().filter(|key| key.is_used()) {
        page.tagged(key.path, &format!(" <{}>", kind(key.kind)), &meaning(key));
    }
    page.section("Keys of other programs");
    page.text("The file is shared. These are accepted and not used here:");
    let unused: Vec<&str> = KEYS
        .iter()
        .filter(|key| !key.is_used())
        .map(|key| key.path)
        .collect();
    page.paragraph(&format!("{}.", unused.join(", ")));
    page.section("Examples");
    page.text("A gateway on the local network, with TLS and a token from the environment:");
    page.example(&[
        "{",
        "  gateway: {",
        "    mode: \"local\",",
        "    bind: \"lan\",",
        "    tls: { enabled: true },",
        "    auth: { token: \"${GATEWAY_TOKEN}\" },",
        "  },",
        "}",
    ]);
    page.see_also([("openclaw", 1), ("openclaw-config", 1)]);
    page.finish()
}

fn meaning(key: &Key) -> String {
    let mut help = key.help.to_owned();
    if let Some(first) = help.get(..1).map(str::to_uppercase) {
        help.replace_range(..1, &first);
    }
    let mut notes = Vec::new();
    if let Kind::Word(words) = key.kind {
        notes.push(format!("one of: {}", words.join(", ")));
    }
    match key.preset {
        Preset::Flag(on) => notes.push(format!("default: {on}")),
        Preset::NoItems => notes.push("default: empty".to_owned()),
        Preset::Number(number) => notes.push(format!("default: {number}")),
        Preset::Text(text) => notes.push(format!("default: {text}")),
        Preset::Unset => {}
    }
    match key.effect {
        Effect::Hot => notes.push("a change counts at once".to_owned()),
        Effect::None => {}
        Effect::Restart => notes.push("a change restarts the gateway".to_owned()),
    }
    match notes.is_empty() {
        true => format!("{help}."),
        false => format!("{help} ({}).", notes.join("; ")),
    }
}

/// What stands for a value of this kind.
fn kind(kind: Kind) -> String {
    match kind {
        Kind::Any => "value".to_owned(),
        Kind::BrowserProfiles => "profiles".to_owned(),
        Kind::Flag => "true|false".to_owned(),
        Kind::Fingerprint => "sha256".to_owned(),
        Kind::Integer {
            min: 0,
            max: MAX_INTEGER,
        } => "number".to_owned(),
        Kind::Integer {
            min,
            max: MAX_INTEGER,
        } => format!("number, at least {min}"),
        Kind::Integer { min, max } => format!("number, {min} to {max}"),
        Kind::Ipv4 => "IPv4 address".to_owned(),
        Kind::Networks => "list of addresses and CIDR blocks".to_owned(),
        Kind::Object | Kind::SecretProvider => "object".to_owned(),
        Kind::Secret => "text or secret reference".to_owned(),
        Kind::Text | Kind::UserHeader => "text".to_owned(),
        Kind::TextList => "list of texts".to_owned(),
        Kind::WebSocketUrl => "ws:// or wss:// URL".to_owned(),
        Kind::Word(_) => "word".to_owned(),
    }
}
