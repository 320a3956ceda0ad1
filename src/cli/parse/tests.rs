use super::*;
use crate::cli::answer::Answer;
use crate::cli::command::Argument;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;

fn nothing(_: &Invocation) -> Result<Answer, CliError> {
    Ok(Answer::silent())
}

static TABLE: Command = Command::group(
    "prog",
    "Test",
    &[
        Command::group(
            "nodes",
            "Nodes",
            &[
                Command::leaf("list", "List", nothing).flags(&[&[
                    Flag::switch("json", "JSON").short('j'),
                    Flag::valued("timeout", Takes::Milliseconds, "Budget").default("10"),
                ]]),
                Command::leaf("describe", "Describe", nothing).flags(&[&[
                    Flag::text("node", "idOrName", "Node").required(),
                    Flag::switch("json", "JSON"),
                ]]),
                Command::leaf("approve", "Approve", nothing)
                    .arguments(&[Argument::required("requestId", "Request")]),
                Command::leaf("check", "Check", nothing)
                    .arguments(&[Argument::required("command", "Command").many()]),
            ],
        ),
        Command::group(
            "gateway",
            "Gateway",
            &[Command::leaf("call", "Call", nothing)
                .arguments(&[Argument::required("method", "Method")])
                .flags(&[&[Flag::text("scope", "scope", "Scopes").many()]])],
        )
        .handler(nothing)
        .flags(&[&[
            Flag::valued("port", Takes::Port, "Port"),
            Flag::valued("bind", Takes::Choice("mode", &["lan", "auto"]), "Bind"),
        ]]),
    ],
)
.flags(&[&[
    Flag::switch("no-color", "No colour"),
    Flag::text("profile", "name", "Profile"),
]]);

/// The outcome in one line: what runs with what, or the text of the refusal.
fn outcome(line: &str) -> String {
    let words = line.split_whitespace().map(|word| word.replace("''", ""));
    match parse(&TABLE, words.map(OsString::from)) {
        Ok(Parsed::Help(path)) => format!("help {}", names_of(&path)),
        Ok(Parsed::Version) => "version".to_owned(),
        Ok(Parsed::Run(typed)) => {
            let mut text = format!("run {}", names_of(&typed.path));
            for option in &typed.options {
                let mark = if option.global { "global " } else { "" };
                text += &format!(" [{mark}{}={}]", option.flag.long, option.value);
            }
            for argument in &typed.arguments {
                text += &format!(" {argument}");
            }
            text
        }
        Err(usage) => usage.to_string(),
    }
}

fn names_of(path: &[&Command]) -> String {
    let names: Vec<&str> = path.iter().skip(1).map(|command| command.name).collect();
    names.join("/")
}

#[test]
fn command_lines() {
    for (line, expected) in [
        ("", "help "),
        ("-h", "help "),
        ("--help", "help "),
        ("-V", "version"),
        ("--version", "version"),
        ("help", "help "),
        ("help nodes list", "help nodes/list"),
        ("nodes help", "help nodes"),
        ("nodes approve help", "run nodes/approve help"),
        ("nodes", "help nodes"),
        ("nodes list --help", "help nodes/list"),
        ("nodes describe -h", "help nodes/describe"),
        ("nodes list", "run nodes/list"),
        ("nodes list --json", "run nodes/list [json=]"),
        ("nodes list -j", "run nodes/list [json=]"),
        ("nodes --json list", "run nodes/list [json=]"),
        ("nodes list --timeout 5", "run nodes/list [timeout=5]"),
        ("nodes list --timeout=5", "run nodes/list [timeout=5]"),
        ("nodes --timeout 5 list", "run nodes/list [timeout=5]"),
        ("--no-color nodes list", "run nodes/list [global no-color=]"),
        ("nodes list --no-color", "run nodes/list [global no-color=]"),
        (
            "--profile x nodes list",
            "run nodes/list [global profile=x]",
        ),
        (
            "nodes describe --node=--odd",
            "run nodes/describe [node=--odd]",
        ),
        (
            "nodes describe --node -abc",
            "run nodes/describe [node=-abc]",
        ),
        ("nodes approve -- --id", "run nodes/approve --id"),
        ("nodes check -- uname -a", "run nodes/check uname -a"),
        (
            "nodes check uname -s -a",
            "error: unknown option '-s'\n(To make it part of the command, put -- in front: prog nodes check -- uname -s)",
        ),
        ("nodes check -a", "error: unknown option '-a'"),
        ("gateway", "run gateway"),
        ("gateway --port 1", "run gateway [port=1]"),
        ("gateway call x", "run gateway/call x"),
        (
            "gateway call --scope a b --scope c",
            "error: missing required argument 'method'",
        ),
        (
            "gateway call x --scope a b --scope=c",
            "run gateway/call [scope=a] [scope=b] [scope=c] x",
        ),
        ("bogus", "error: unknown command 'bogus'"),
        (
            "node",
            "error: unknown command 'node'\n(Did you mean nodes?)",
        ),
        (
            "nodes lst",
            "error: unknown command 'lst'\n(Did you mean list?)",
        ),
        (
            "gateway cal x",
            "error: unknown command 'cal'\n(Did you mean call?)",
        ),
        ("nodes list --bogus", "error: unknown option '--bogus'"),
        (
            "nodes list --jsn",
            "error: unknown option '--jsn'\n(Did you mean --json?)",
        ),
        ("nodes list -V", "error: unknown option '-V'"),
        ("nodes list -x", "error: unknown option '-x'"),
        ("nodes --node x list", "error: unknown option '--node'"),
        (
            "nodes list --json=1",
            "error: option '--json' does not take a value",
        ),
        (
            "nodes list extra",
            "error: too many arguments for 'list'. Expected 0 arguments but got 1.",
        ),
        (
            "nodes approve",
            "error: missing required argument 'requestId'\n(openclaw nodes pending lists what waits)",
        ),
        (
            "nodes describe",
            "error: required option '--node <idOrName>' not specified",
        ),
        (
            "nodes describe --node",
            "error: option '--node <idOrName>' argument missing",
        ),
        (
            "nodes describe --node --json",
            "error: option '--node <idOrName>' argument missing",
        ),
        ("nodes describe --node ''", "error: --node required"),
        ("nodes describe --node=", "error: --node required"),
        (
            "nodes list --timeout abc",
            "error: option '--timeout <ms>' argument 'abc' is invalid. Expected whole milliseconds above 0.",
        ),
        (
            "nodes list --timeout 0",
            "error: option '--timeout <ms>' argument '0' is invalid. Expected whole milliseconds above 0.",
        ),
        (
            "gateway --port abc",
            "Invalid port: --port takes a number from 1 to 65535",
        ),
        (
            "gateway --port 0",
            "Invalid port: --port takes a number from 1 to 65535",
        ),
        (
            "gateway --port 65536",
            "Invalid port: --port takes a number from 1 to 65535",
        ),
        (
            "gateway --bind 0.0.0.0",
            "Invalid --bind (use \"lan\" or \"auto\")",
        ),
    ] {
        assert_eq!(outcome(line), expected, "{line}");
    }
}

#[cfg(unix)]
#[test]
fn bytes_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let words = ["nodes".into(), OsString::from_vec(vec![0xff, 0xfe])];
    assert_eq!(parse(&TABLE, words).unwrap_err(), Usage::NotText);
}

#[test]
fn a_key_that_starts_with_a_dash_is_an_argument_and_no_option() {
    let key = "-N3m5yJ0m5q7bH0dQm2b1l9v1xk4vFZzC9n2mVw8e0Q";
    let words = ["nodes", "approve", key].map(OsString::from);
    let Ok(Parsed::Run(typed)) = parse(&TABLE, words) else {
        unreachable!("it is a command")
    };
    assert_eq!(typed.arguments, [key]);
    for wrong in ["-N", "-Nabc"] {
        let words = ["nodes", "approve", wrong].map(OsString::from);
        assert!(parse(&TABLE, words).is_err(), "{wrong}");
    }
}
