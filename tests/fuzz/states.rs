//! Files of the state directory as somebody or something else left them: whatever they hold, they are read or refused,
//! what is not understood is kept, and no file that cannot be read is overwritten.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use openclaw::exec;
use openclaw::identity::{DeviceId, Token};
use openclaw::pairing::{Part, State, clock_step, expire, next_expiry, switch::Switch};
use openclaw::store::{AuditLog, DeviceAuth, NodeFile, StateDir};
use serde_json::{Value, json};

/// Whether it is a file that some part can be read from.
pub fn accepts(input: &[u8]) -> bool {
    let document = serde_json::from_slice::<Value>(input);
    document.is_ok_and(|document| {
        Part::ALL.iter().any(|part| {
            let mut state = State::default();
            let read = state.read(*part, document.clone());
            read.is_ok() && state.unreadable(*part).is_empty()
        })
    })
}

/// Every kind of file in turn.
pub fn check(input: &[u8]) -> Result<(), String> {
    if let Ok(document) = serde_json::from_slice::<Value>(input) {
        for part in Part::ALL {
            pairing(part, &document).map_err(|why| format!("{part:?}: {why}"))?;
        }
    }
    policy(input).map_err(|why| format!("exec-approvals.json: {why}"))?;
    // Files cost a hundred times as much: every eighth input must do.
    let sum = input.iter().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    });
    if sum % 8 == 0 { files(input) } else { Ok(()) }
}

/// A pairing file: what is written again holds all that was there, and all operations on it end.
fn pairing(part: Part, document: &Value) -> Result<(), String> {
    let mut state = State::default();
    if state.read(part, document.clone()).is_err() {
        return Ok(());
    }
    let text = state.render(part).map_err(|error| error.to_string())?;
    let written: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut again = State::default();
    again
        .read(part, written.clone())
        .map_err(|error| format!("{error} in {text}"))?;
    if again != state {
        return Err(format!("not the same when read again: {text}"));
    }
    if part != Part::Switch {
        kept(document, &written)?;
        for (key, _) in state.unreadable(part) {
            if document.get(&key) != written.get(&key) {
                return Err(format!("{key:?} is not understood, and changed: {text}"));
            }
        }
    }
    for now in [0, 1_800_000_000_000, u64::MAX] {
        let _ = (next_expiry(&state), Switch::of(&state, true).standing(now));
        for step in [i64::MIN, -1, i64::MAX] {
            let mut moved = state.clone();
            clock_step::follow(&mut moved, step);
            expire(&mut moved, now);
            moved.render(part).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// No entry and no member of one is missing; `null` says as much as nothing.
fn kept(document: &Value, written: &Value) -> Result<(), String> {
    for (key, entry) in document.as_object().into_iter().flatten() {
        let Some(now) = written.get(key) else {
            return Err(format!("the entry {key:?} is gone"));
        };
        for (name, value) in entry.as_object().into_iter().flatten() {
            let says_nothing = value.is_null() || *value == json!(false) || *value == json!([]);
            if now.get(name).is_none() && !says_nothing {
                return Err(format!("{name:?} of {key:?} is gone"));
            }
        }
    }
    Ok(())
}

fn policy(input: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    let mut document = match exec::Document::parse(text) {
        Ok(document) => document,
        Err(error) if error.to_string().is_empty() => {
            return Err("refused without a word".to_owned());
        }
        Err(_) => return Ok(()),
    };
    let again = |document: &exec::Document| -> Result<(), String> {
        let text = document.render().map_err(|error| error.to_string())?;
        let read = exec::Document::parse(&text).map_err(|error| format!("{error} in {text}"))?;
        let rendered = read.render().map_err(|error| error.to_string())?;
        (rendered == text)
            .then_some(())
            .ok_or_else(|| format!("not the same when read again: {text}"))
    };
    again(&document)?;
    document.settle();
    document.allow("main", "/bin/true", 1);
    again(&document)
}

/// A state directory of this process, used again for every input.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let shared = Path::new("/dev/shm");
    let base = match shared.is_dir() {
        true => shared.to_owned(),
        false => std::env::temp_dir(),
    };
    let place = base.join(format!("openclaw-fuzz-{}", std::process::id()));
    fs::create_dir_all(place.join("identity")).unwrap();
    place
});

/// Takes the directory away at the end of a campaign.
pub fn tidy() {
    let _ = fs::remove_dir_all(&*PLACE);
}

/// Files that are read and written beside each other.
fn files(input: &[u8]) -> Result<(), String> {
    fs::create_dir_all(PLACE.join("identity")).map_err(|error| error.to_string())?;
    let dir = StateDir::open(&PLACE).map_err(|error| error.to_string())?;
    let (me, url) = (DeviceId::from("me"), "ws://127.0.0.1:18789");
    let _ = fs::remove_file(dir.node_file());
    fs::write(dir.device_auth(), input).map_err(|error| error.to_string())?;
    if let Ok(mut auth) = DeviceAuth::load(&dir, &me) {
        let _ = auth.token(url, "node", true);
        auth.store(url, "operator", &Token::from("fresh"), &[], 7)
            .map_err(|error| error.to_string())?;
        let stored = DeviceAuth::load(&dir, &me).ok();
        let stored = stored.and_then(|auth| auth.token(url, "operator", false));
        if stored.is_none_or(|stored| stored.token != Token::from("fresh")) {
            return Err("device-auth.json: a stored token is not found".to_owned());
        }
        is_kept("device-auth.json", &dir.device_auth(), input)?;
    }
    fs::write(dir.node_file(), input).map_err(|error| error.to_string())?;
    if let Ok(mut file) = NodeFile::load(&dir) {
        file.node_id = Some("n".to_owned());
        file.save(&dir).map_err(|error| error.to_string())?;
        is_kept("node.json", &dir.node_file(), input)?;
    }
    trail(&dir.audit_log(), input)
}

/// What was no object stands beside it, word for word; of an object every member that says something is there.
fn is_kept(name: &str, path: &Path, input: &[u8]) -> Result<(), String> {
    let mut aside = None;
    for entry in fs::read_dir(path.parent().unwrap_or(path))
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry.file_name().to_string_lossy().contains(".rejected.") {
            aside = fs::read(entry.path()).ok();
            let _ = fs::remove_file(entry.path());
        }
    }
    match aside {
        Some(aside) if aside == input => Ok(()),
        Some(_) => Err(format!("{name}: what was set aside changed")),
        None => {
            let before = serde_json::from_slice::<Value>(input).unwrap_or_default();
            let after = fs::read(path).unwrap_or_default();
            let after = serde_json::from_slice::<Value>(&after).unwrap_or_default();
            let known = [
                "version",
                "nodeId",
                "token",
                "displayName",
                "gateway",
                "tokens",
                "gateways",
            ];
            for (member, value) in before.as_object().into_iter().flatten() {
                if !known.contains(&member.as_str()) && after.get(member) != Some(value) {
                    return Err(format!("{name}: {member:?} is gone"));
                }
            }
            before
                .is_object()
                .then_some(())
                .ok_or_else(|| format!("{name}: overwritten"))
        }
    }
}

/// A trail is only ever longer.
fn trail(path: &Path, input: &[u8]) -> Result<(), String> {
    let _ = fs::remove_file(path);
    fs::write(path, input).map_err(|error| error.to_string())?;
    let log = AuditLog::new(path.to_owned());
    log.newest(5).map_err(|error| error.to_string())?;
    log.append(7, &json!({"action": "last"}))
        .map_err(|error| format!("audit.jsonl: {error}"))?;
    let after = fs::read(path).map_err(|error| error.to_string())?;
    if !after.starts_with(input) {
        return Err("audit.jsonl: a line was changed".to_owned());
    }
    let last = log.newest(1).map_err(|error| error.to_string())?;
    match last.first().map(|line| line["action"] == "last") {
        Some(true) => Ok(()),
        _ => Err(format!(
            "audit.jsonl: the new line is not the last: {last:?}"
        )),
    }
}
