//! What is tried, and what must hold for every input whatever it is.

use std::path::{Path, PathBuf};

use openclaw::exec::script::{MAX_COMMANDS, Word, split};
use openclaw::exec::which::Unresolved;
use openclaw::exec::{BoundLine, Context, Effective, Entry, Programs, SafeBins, assess};
use openclaw::gateway::forwarded::ProxyTrust;
use openclaw::gateway::locality::{Locality, RequestHeaders, place};
use openclaw::gateway::origin::{OriginPolicy, check_origin};
use openclaw::net::head::{Head, ResponseHead, end_of_head};
use openclaw::net::upgrade;
use openclaw::protocol::connect::{ConnectParams, negotiate};
use openclaw::protocol::error::ErrorShape;
use openclaw::protocol::frame::{Frame, parse_request};
use openclaw::protocol::method::authorize;
use openclaw::protocol::params;
use openclaw::protocol::scope::{Role, Scopes};
use serde_json::{Value, json};

use super::mutate::{Dice, vary_document, vary_head, vary_script};
use super::{configs, dns, states, words};

/// One thing that reads what a stranger sent.
pub struct Target {
    pub name: &'static str,
    /// What it reads on ordinary days, and what is known to be odd.
    corpus: &'static str,
    /// What separates the entries of the corpus.
    separator: &'static str,
    /// Makes an input of them.
    pub vary: fn(&[Vec<u8>], &mut Dice) -> Vec<u8>,
    /// Whether an input passes the first check.
    pub accepts: fn(&[u8]) -> bool,
    /// What must hold; why it does not.
    pub check: fn(&[u8]) -> Result<(), String>,
}

pub static TARGETS: [Target; 9] = [
    Target {
        name: "frames",
        corpus: include_str!("corpus/frames.jsonl"),
        separator: "\n",
        vary: vary_document,
        accepts: |input| parse_request(&text(input)).is_ok(),
        check: frames,
    },
    Target {
        name: "connect",
        corpus: include_str!("corpus/connect.jsonl"),
        separator: "\n",
        vary: vary_document,
        accepts: |input| {
            let value = serde_json::from_slice::<Value>(input).ok();
            value.is_some_and(|value| ConnectParams::parse(Some(&value)).is_ok())
        },
        check: connect,
    },
    Target {
        name: "params",
        corpus: include_str!("corpus/params.jsonl"),
        separator: "\n",
        vary: vary_document,
        accepts: |input| {
            let value = serde_json::from_slice::<Value>(input).ok();
            value.is_some_and(|value| {
                PARSERS
                    .iter()
                    .any(|(_, parse)| parse(value.clone()).is_ok())
            })
        },
        check: method_params,
    },
    Target {
        name: "heads",
        corpus: include_str!("corpus/heads.txt"),
        separator: "\n---\n",
        vary: vary_head,
        accepts: |input| head(input).is_some(),
        check: heads,
    },
    Target {
        name: "scripts",
        corpus: include_str!("corpus/scripts.txt"),
        separator: "\n",
        vary: vary_script,
        accepts: |input| split(&text(input), false).is_ok(),
        check: scripts,
    },
    Target {
        name: "answers",
        corpus: include_str!("corpus/answers.txt"),
        separator: "\n",
        vary: dns::vary,
        accepts: dns::accepts,
        check: dns::check,
    },
    Target {
        name: "configs",
        corpus: include_str!("corpus/configs.txt"),
        separator: "\n---\n",
        vary: configs::vary,
        accepts: configs::accepts,
        check: configs::check,
    },
    Target {
        name: "states",
        corpus: include_str!("corpus/states.jsonl"),
        separator: "\n",
        vary: vary_document,
        accepts: states::accepts,
        check: states::check,
    },
    Target {
        name: "words",
        corpus: include_str!("corpus/words.txt"),
        separator: "\n",
        vary: words::vary,
        accepts: words::accepts,
        check: words::check,
    },
];

impl Target {
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let entries = self
            .corpus
            .split(self.separator)
            .filter(|entry| !entry.trim().is_empty());
        let entry = |entry: &str| match self.name == "heads" {
            true => (entry.replace('\n', "\r\n") + "\r\n\r\n").into_bytes(),
            false => entry.as_bytes().to_vec(),
        };
        entries.map(entry).collect()
    }
}

fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

macro_rules! hold {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}

/// An error is one that can be sent: code and message, no larger than what it is about.
fn well_formed(error: &ErrorShape, input: usize) -> Result<(), String> {
    let value = error.to_value();
    hold!(
        !error.message.is_empty(),
        "an error without a message: {value}"
    );
    hold!(
        value["code"].as_str().is_some_and(|code| !code.is_empty()),
        "no code: {value}"
    );
    let size = value.to_string().len();
    hold!(
        size <= 16 * input + 4_096,
        "{size} bytes of error for {input}"
    );
    let again = ErrorShape::from_value(&value);
    hold!(
        again.to_value() == value,
        "not the same when read again: {value}"
    );
    Ok(())
}

fn frames(input: &[u8]) -> Result<(), String> {
    let text = text(input);
    let _ = Frame::parse(&text);
    match parse_request(&text) {
        Ok(request) => {
            hold!(
                !request.id.is_empty() && !request.method.is_empty(),
                "blank id or method"
            );
            let mut frame = json!({"type": "req", "id": request.id, "method": request.method});
            if let Some(params) = &request.params {
                frame["params"] = params.clone();
            }
            let again = parse_request(&frame.to_string());
            hold!(
                again.as_ref() == Ok(&request),
                "not the same when read again: {again:?}"
            );
            let scopes: Scopes = ["operator.read"].into_iter().collect();
            for role in [Role::Node, Role::Operator] {
                if let Err(error) = authorize(role, &scopes, &request.method) {
                    well_formed(&error, text.len())?;
                }
            }
        }
        Err(fault) => {
            if let Some(response) = fault.response() {
                let size = response.len();
                hold!(
                    size <= 16 * text.len() + 4_096,
                    "{size} bytes for {}",
                    text.len()
                );
                let answer: Value =
                    serde_json::from_str(&response).map_err(|error| error.to_string())?;
                hold!(
                    answer["type"] == "res" && answer["ok"] == false,
                    "{response}"
                );
                let error = ErrorShape::from_value(&answer["error"]);
                let start = "invalid request frame: ";
                hold!(
                    error.message.len() > start.len() && error.message.starts_with(start),
                    "{response}"
                );
            }
        }
    }
    Ok(())
}

fn connect(input: &[u8]) -> Result<(), String> {
    let Ok(value) = serde_json::from_slice::<Value>(input) else {
        return Ok(());
    };
    match ConnectParams::parse(Some(&value)) {
        Ok(said) => {
            let again = ConnectParams::parse(Some(&said.to_value()));
            hold!(
                again.as_ref() == Ok(&said),
                "not the same when read again: {again:?}"
            );
            if let Err(error) = negotiate(said.min_protocol, said.max_protocol) {
                well_formed(&error, input.len())?;
            }
            for secret in [
                &said.auth.token,
                &said.auth.device_token,
                &said.auth.password,
            ] {
                let shown = format!("{:?}", said.auth);
                let hidden = |secret: &String| secret.len() < 6 || !shown.contains(secret.as_str());
                hold!(
                    secret.as_ref().is_none_or(hidden),
                    "a secret shows itself: {shown}"
                );
            }
            let _ = (said.auth.signed_token(), said.client.label());
        }
        Err(list) => {
            hold!(!list.is_empty(), "no finding");
            hold!(
                list.starts_with("must ") || list.starts_with("at "),
                "{list}"
            );
            hold!(
                list.len() <= 16 * input.len() + 4_096,
                "{} bytes",
                list.len()
            );
        }
    }
    Ok(())
}

type Parser = fn(Value) -> Result<(), ErrorShape>;

macro_rules! parsers {
    ($($kind:ident)+) => {
        [$((stringify!($kind), |value| params::$kind::parse(Some(value)).map(|_| ()))),+]
    };
}

static PARSERS: [(&str, Parser); 19] = parsers!(
    DeviceKeysCreate DeviceKeysPreapprove DevicePairRemove DeviceTokenRevoke DeviceTokenRotate
    ExecApprovalsNodeGet ExecApprovalsNodeSet NodeDescribe NodeEvent NodeInvoke NodeInvokeResult
    NodePairRemove NodePairRequest NodePairVerify NodeRename PendingAck PendingDrain PendingEnqueue
    SystemEvent
);

fn method_params(input: &[u8]) -> Result<(), String> {
    let Ok(value) = serde_json::from_slice::<Value>(input) else {
        return Ok(());
    };
    for (name, parse) in &PARSERS {
        if let Err(error) = parse(value.clone()) {
            well_formed(&error, input.len()).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    if let Ok(result) = params::NodeInvokeResult::parse(Some(value)) {
        let again = params::NodeInvokeResult::parse(Some(result.to_value()));
        hold!(again.is_ok(), "what it renders is refused: {again:?}");
    }
    Ok(())
}

fn head(input: &[u8]) -> Option<Head> {
    let end = end_of_head(input)?;
    Head::parse(&input[..end], input[end..].to_vec())
}

fn heads(input: &[u8]) -> Result<(), String> {
    if let Some(end) = end_of_head(input) {
        hold!(
            end <= input.len() && input[..end].ends_with(b"\r\n\r\n"),
            "end at {end}"
        );
        let _ = ResponseHead::parse(&input[..end], Vec::new());
    }
    let Some(head) = head(input) else {
        return Ok(());
    };
    let clean = |text: &str| !text.contains(['\r', '\n', '\0', ' ']);
    hold!(
        clean(&head.method) && !head.method.is_empty(),
        "method {:?}",
        head.method
    );
    hold!(
        clean(&head.target) && !head.target.is_empty(),
        "target {:?}",
        head.target
    );
    hold!(!head.path().contains('?'), "path {:?}", head.path());
    let once = format!(
        "{} {} HTTP/1.{}\r\n",
        head.method, head.target, head.minor_version
    );
    hold!(
        input.starts_with(once.as_bytes()),
        "another first line: {once}"
    );
    for name in ["host", "origin", "X-Forwarded-For"] {
        let all: Vec<&str> = head.headers.all(name).collect();
        hold!(head.header(name) == all.first().copied(), "{name}");
        hold!(
            head.headers.only(name).is_some() == (all.len() == 1),
            "{name} {all:?}"
        );
        hold!(
            all.iter().all(|value| !value.contains(['\r', '\n', '\0'])),
            "{name} {all:?}"
        );
    }
    match upgrade::accept(&head) {
        Ok(answer) => {
            hold!(
                answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"),
                "{answer}"
            );
            hold!(answer.matches("\r\n").count() == 5, "{answer}");
        }
        Err(refusal) => {
            let sent = refusal.render(false);
            hold!(sent.starts_with("HTTP/1.1 4"), "{sent}");
        }
    }
    whereabouts(head)
}

/// Headers never bring a connection nearer than its address says.
fn whereabouts(head: Head) -> Result<(), String> {
    let trust = ProxyTrust {
        real_ip_fallback: true,
        ..ProxyTrust::default()
    };
    let headers = RequestHeaders::new(head.headers, &trust);
    let near = place([127, 0, 0, 1].into(), &headers, &trust);
    hold!(
        (near.locality == Locality::DirectLocal) != headers.forwarded,
        "{near:?}"
    );
    let far = place([203, 0, 113, 9].into(), &headers, &trust);
    hold!(far.locality == Locality::Remote, "{far:?}");
    hold!(
        far.client == Some([203, 0, 113, 9].into()),
        "an untrusted header named {far:?}"
    );
    let open = check_origin(&headers, &OriginPolicy::default(), false, Locality::Remote);
    hold!(
        open.is_err() == headers.has_origin(),
        "an origin from afar: {open:?}"
    );
    Ok(())
}

/// Finds every program in one directory.
struct Everywhere;

impl Programs for Everywhere {
    fn resolve(&self, program: &str, cwd: &Path) -> Result<PathBuf, Unresolved> {
        match program.contains('/') {
            true => Ok(cwd.join(program)),
            false => Ok(Path::new("/usr/bin").join(program)),
        }
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        Some(path.to_owned())
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }

    fn is_link(&self, _: &Path) -> bool {
        false
    }
}

/// A script is read within bounds, means the same when its words are quoted, and is covered by nothing
/// when no rule is there.
fn scripts(input: &[u8]) -> Result<(), String> {
    let script = text(input);
    for fish in [false, true] {
        let Ok(commands) = split(&script, fish) else {
            continue;
        };
        let size: usize = commands.iter().flatten().map(|word| word.text.len()).sum();
        hold!(
            commands.len() <= MAX_COMMANDS,
            "{} commands",
            commands.len()
        );
        hold!(size <= script.len(), "{size} bytes out of {}", script.len());
        hold!(
            commands.iter().all(|words| !words.is_empty()),
            "an empty command"
        );
        let quoted = commands.iter().map(|words| {
            let words = words
                .iter()
                .map(|word| format!("'{}'", word.text.replace('\'', "'\\''")));
            words.collect::<Vec<_>>().join(" ")
        });
        let quoted = quoted.collect::<Vec<_>>().join(";");
        if let Ok(again) = split(&quoted, false) {
            let texts = |commands: &[Vec<Word>]| -> Vec<Vec<String>> {
                let words =
                    |words: &Vec<Word>| words.iter().map(|word| word.text.clone()).collect();
                commands.iter().map(words).collect()
            };
            hold!(
                texts(&again) == texts(&commands),
                "not the same when quoted: {quoted}"
            );
        }
    }
    let rule = Entry::new("*");
    for shell in ["sh", "bash", "fish", "zsh"] {
        let argv = [shell.to_owned(), "-c".to_owned(), script.clone()];
        let none = SafeBins {
            names: Vec::new(),
            ..SafeBins::default()
        };
        let context = Context {
            cwd: Path::new("/w"),
            home: None,
            programs: &Everywhere,
            skills: &[],
            safe_bins: &none,
            line: &BoundLine::default(),
            variables: &[],
        };
        let listed = |allowlist| {
            let policy = Effective {
                allowlist,
                ..Effective::default()
            };
            let found = assess(&argv, &policy, &context);
            (found.satisfied(), found.miss().map(ToString::to_string))
        };
        let (satisfied, miss) = listed(Vec::new());
        hold!(!satisfied && miss.is_some(), "covered without a rule");
        let (satisfied, miss) = listed(vec![&rule]);
        hold!(satisfied != miss.is_some(), "{satisfied}, but {miss:?}");
    }
    Ok(())
}
