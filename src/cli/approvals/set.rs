//! `approvals set`: a whole policy from a file or from stdin.

use std::io::Read;
use std::path::Path;

use crate::cli::answer::Answer;
use crate::cli::approvals::pattern::{Fault, examine};
use crate::cli::approvals::place::Place;
use crate::cli::approvals::view;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::config::source::{decode, parse};
use crate::exec::Document;
use crate::store::{Clock, SystemClock};

/// Bytes of a policy that are read at most.
const MAX_BYTES: u64 = 1024 * 1024;

/// `approvals set`. The text is read and understood before anybody is asked to take it.
///
/// # Errors
/// Neither or both of `--file` and `--stdin`, a text that is no policy (with line and column), as [`Place::open`]
/// and [`Place::set`].
pub fn set(invocation: &Invocation) -> Result<Answer, CliError> {
    let document = policy(&given(invocation)?)?;
    let mut place = Place::open(invocation)?;
    let snapshot = place.set(document, invocation.text("base-hash"))?;
    Ok(view::written(
        &place,
        snapshot,
        SystemClock.now_ms(),
        invocation.style(),
    ))
}

fn given(invocation: &Invocation) -> Result<Vec<u8>, CliError> {
    match (invocation.text("file"), invocation.has("stdin")) {
        (Some(_), true) => Err(CliError::rule("Use either --file or --stdin (not both).")),
        (None, false) => Err(CliError::rule("Provide --file or --stdin.")),
        (Some(path), false) => from_file(Path::new(path)),
        (None, true) => limited(std::io::stdin().lock()),
    }
}

fn from_file(path: &Path) -> Result<Vec<u8>, CliError> {
    let file = std::fs::File::open(path).map_err(|fault| CliError::unopened(path, &fault))?;
    limited(file)
}

fn limited(source: impl Read) -> Result<Vec<u8>, CliError> {
    let failed = |text: String| CliError::failed("USAGE", text);
    let mut bytes = Vec::new();
    let mut source = source.take(MAX_BYTES + 1);
    source
        .read_to_end(&mut bytes)
        .map_err(|fault| failed(format!("cannot read the policy: {fault}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed(format!(
            "the policy is larger than {MAX_BYTES} bytes"
        )));
    }
    Ok(bytes)
}

/// The policy of a JSON5 text; what is unknown is refused, with line and column.
fn policy(bytes: &[u8]) -> Result<Document, CliError> {
    let failed =
        |why: String| CliError::failed("USAGE", format!("Failed to parse approvals JSON: {why}"));
    let text = decode(bytes).map_err(|issue| failed(issue.message))?;
    let value = parse(text).map_err(|issue| failed(issue.message))?;
    match Document::from_value(value) {
        Ok(document) => useless_rule(&document).map_or(Ok(document), |why| Err(failed(why))),
        Err(fault) => Err(failed(placed(text).unwrap_or_else(|| fault.to_string()))),
    }
}

/// The first rule that can cover no command, and why: `allowlist add` would not take it either.
fn useless_rule(document: &Document) -> Option<String> {
    let agents = document.agents.0.iter();
    let mut rules = agents.flat_map(|(agent, policy)| {
        let rules = policy.allowlist.iter().enumerate();
        rules.map(move |(index, rule)| (agent, index, rule))
    });
    rules.find_map(|(agent, index, rule)| match examine(&rule.pattern) {
        Ok(_) => None,
        // An approval made it, and the text it stands in was read from a policy.
        Err(Fault::Fingerprint) if rule.is_durable() => None,
        Err(fault) => Some(format!(
            "agents.{agent}.allowlist[{index}]: no command would fit: {fault}"
        )),
    })
}

/// What is wrong with a text that is JSON5 and no policy, where the parser says the place.
fn placed(text: &str) -> Option<String> {
    let fault = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => Document::parse(text).err()?.to_string(),
        Err(_) => json5::from_str::<Document>(text).err()?.to_string(),
    };
    // Of nested places the first is the one meant.
    const PLACE: &str = " at line ";
    let first = fault.find(PLACE)? + PLACE.len();
    let end = fault[first..]
        .find(PLACE)
        .map_or(fault.len(), |at| first + at);
    Some(fault[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_policy_is_refused_with_its_place() {
        for (text, parts) in [
            (
                "{ version: 1, // so\n defaults: { security: 'open' } }",
                &["`open`", "line 2"][..],
            ),
            (
                "{\"version\":1,\n\"agents\":{\"*\":{\"allowlst\":[]}}}",
                &["agents.*", "`allowlst`", "line 2"],
            ),
            (
                "{ version: 1,\n\n agents: { main: { allowlist: [ { patern: '/x' } ] } } }",
                &["agents.main", "allowlist[0]", "`patern`", "line 3"],
            ),
            ("{ version: 2 }", &["version must be 1, found 2", "line 1"]),
            ("{ version: 1,", &["JSON5 parse failed", "1:"]),
            ("[1, null, {}, {}]", &["expected object, received array"]),
            (
                "{ version: 1, agents: { '*': { allowlist: ['/usr/bin/id', 'bin/tool'] } } }",
                &[
                    "agents.*.allowlist[1]: no command would fit",
                    "/path/to/bin/tool",
                ],
            ),
            (
                "{ version: 1, agents: { main: { allowlist: ['=command:27de7c1b9fae1985'] } } }",
                &[
                    "agents.main.allowlist[0]",
                    "approvals resolve <id> allow-always",
                ],
            ),
            ("\u{0}", &["JSON5 parse failed"]),
        ] {
            let fault = policy(text.as_bytes()).unwrap_err().to_string();
            assert!(
                fault.starts_with("Failed to parse approvals JSON: "),
                "{fault}"
            );
            for part in parts {
                assert!(fault.contains(part), "{text}: {fault}");
            }
            assert!(fault.matches(" at line ").count() <= 1, "{fault}");
        }
        let found = policy(
            b"{ version: 1, agents: { '*': { allowlist: ['/usr/bin/uname', \
                     {pattern: '=command:27de7c1b9fae1985', source: 'allow-always'}] } } }",
        )
        .unwrap();
        assert_eq!(
            found.agents.find("*").unwrap().allowlist[0].pattern,
            "/usr/bin/uname"
        );
    }
}
