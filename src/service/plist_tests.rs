use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;
use crate::service::definition::Scope;
use crate::service::name::Kind;
use crate::service::testing::{HOME, NAME, define};

/// The list as a parser that is not ours understands it; `None` where there is no such parser.
fn parsed(document: &str) -> Option<Value> {
    let script = "import plistlib, json, sys; json.dump(plistlib.loads(sys.stdin.buffer.read()), sys.stdout)";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(document.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "not a property list:\n{document}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_plist_is_what_the_specification_lists_in_the_eyes_of_another_parser() {
    let variables = [
        ("OPENCLAW_GATEWAY_TOKEN", "a-secret"),
        ("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1"),
    ];
    for (kind, label, umask) in [
        (Kind::Node, "ai.openclaw.node", 63),
        (Kind::Gateway, "ai.openclaw.gateway", 63),
    ] {
        let definition = define(kind, Scope::User(None), &variables, true);
        let document = render(&definition).unwrap();
        assert!(!document.contains("a-secret"), "{document}");
        let Some(found) = parsed(&document) else {
            // Said aloud: cargo shows it with --nocapture, `make service` fails without python3.
            eprintln!("SKIPPED: python3 is missing, so nobody but us has parsed the plist");
            return;
        };
        assert_eq!(found["Label"], label);
        assert_eq!(
            (&found["RunAtLoad"], &found["KeepAlive"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(
            (&found["ThrottleInterval"], &found["Umask"]),
            (&json!(1), &json!(umask))
        );
        assert_eq!(found["ProgramArguments"], json!(definition.argv().unwrap()));
        let word = kind.word();
        assert_eq!(
            found["StandardOutPath"],
            format!("{HOME}/.openclaw/logs/{word}.log")
        );
        assert_eq!(
            found["StandardErrorPath"],
            format!("{HOME}/.openclaw/logs/{word}.err.log")
        );
        let environment = &found["EnvironmentVariables"];
        assert_eq!(environment["HOME"], HOME);
        assert_eq!(environment["OPENCLAW_ALLOW_INSECURE_PRIVATE_WS"], "1");
        assert_eq!(environment["OPENCLAW_SERVICE_KIND"], word);
        let temporary = match kind {
            Kind::Node => format!("{HOME}/.openclaw/tmp"),
            Kind::Gateway => "/tmp".to_owned(),
        };
        assert_eq!(environment["TMPDIR"], temporary);
    }
}

#[test]
fn what_was_written_is_read_back() {
    let definition = define(Kind::Node, Scope::User(None), &[], true);
    let found = read(&render(&definition).unwrap());
    assert_eq!(found.arguments, definition.argv().unwrap());
    assert_eq!(found.arguments.last().map(String::as_str), Some(NAME));
    assert_eq!(found.environment, definition.environment);
    assert_eq!(read("<plist/>"), Installed::default());
}
