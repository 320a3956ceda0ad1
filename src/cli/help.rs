//! Help texts, rendered from the command table: stable, uncoloured, no I/O.

use crate::cli::command::{Command, Flag, Takes};

/// The help of the last command of `path`, whose first element is the root.
pub fn render(path: &[&'static Command]) -> String {
    let (Some(root), Some(command)) = (path.first(), path.last()) else {
        return String::new();
    };
    let mut out = format!("Usage: {}\n\n{}.\n", usage(path), command.summary);
    if !command.details.is_empty() {
        out += &format!("\n{}\n", command.details);
    }
    if !command.arguments.is_empty() {
        let rows = command
            .arguments
            .iter()
            .map(|argument| (argument.usage(), argument.help.to_owned()));
        out += &section("Arguments", rows.collect());
    }
    if !command.children.is_empty() {
        let rows = command.children.iter().map(|child| {
            let mut left = child.name.to_owned();
            for argument in child.arguments {
                left += &format!(" {}", argument.usage());
            }
            (left, child.summary.to_owned())
        });
        out += &section("Commands", rows.collect());
    }
    out += &section("Options", options(command, std::ptr::eq(*root, *command)));
    if !command.scopes.is_empty() {
        out += &format!("\nScopes asked for: {}\n", command.scopes);
    }
    out
}

/// `openclaw nodes approve [options] <requestId>`.
fn usage(path: &[&'static Command]) -> String {
    let words: Vec<&str> = path.iter().map(|command| command.name).collect();
    let mut line = words.join(" ");
    line += " [options]";
    if let Some(command) = path.last() {
        if !command.children.is_empty() {
            line += " [command]";
        }
        for argument in command.arguments {
            line += &format!(" {}", argument.usage());
        }
    }
    line
}

fn options(command: &Command, root: bool) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = command
        .own_flags()
        .filter(|flag| !flag.hidden)
        .map(|flag| (option_usage(flag), option_help(flag)))
        .collect();
    if root {
        rows.push(("-V, --version".to_owned(), "Print the version".to_owned()));
    }
    rows.push(("-h, --help".to_owned(), "Show this help".to_owned()));
    rows
}

fn option_usage(flag: &Flag) -> String {
    match flag.short {
        Some(letter) => format!("-{letter}, {}", flag.usage()),
        None => flag.usage(),
    }
}

/// The help of an option with what counts about its value: the words it may be, its default, what stands in for it.
pub(crate) fn option_help(flag: &Flag) -> String {
    let mut notes = Vec::new();
    if let Takes::Choice(_, words) = flag.takes {
        notes.push(format!("one of: {}", words.join(", ")));
    }
    if let Some(default) = flag.default {
        notes.push(format!("default: {default}"));
    }
    if let Some(name) = flag.environment {
        notes.push(format!("env: {name}"));
    }
    if let Some(alias) = flag.alias {
        notes.push(format!("alias: --{alias}"));
    }
    if flag.required {
        notes.push("required".to_owned());
    }
    if notes.is_empty() {
        flag.help.to_owned()
    } else {
        format!("{} ({})", flag.help, notes.join("; "))
    }
}

/// A titled list with the right-hand sides aligned.
fn section(title: &str, rows: Vec<(String, String)>) -> String {
    let widest = rows
        .iter()
        .map(|(left, _)| left.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = format!("\n{title}:\n");
    for (left, right) in rows {
        out += format!("  {left:<widest$}  {right}").trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::time::minutes;
    use crate::cli::table::ROOT;
    use crate::pairing::invitation::bootstrap::TTL_MS;

    fn help(words: &[&str]) -> String {
        let mut path: Vec<&'static Command> = vec![&ROOT];
        for word in words {
            path.push(path.last().unwrap().child(word).unwrap());
        }
        render(&path)
    }

    #[test]
    fn one_command() {
        let expected = "\
Usage: openclaw nodes approve [options] [requestId]

Approve a pending request.

With --silent-ssh the id may be left out when one request is marked silent. The login asks nothing and \
accepts no new host key; when it does not work, the request and the command that approves it are shown, \
and the exit code is 1.

Arguments:
  [requestId]  Request id, or a unique prefix of at least 8 characters

Options:
  --url <ws-url>              Gateway WebSocket URL; needs --token or --password (env: OPENCLAW_GATEWAY_URL)
  --token <token>             Gateway token (env: OPENCLAW_GATEWAY_TOKEN)
  --password <password>       Gateway password (env: OPENCLAW_GATEWAY_PASSWORD)
  --tls-fingerprint <sha256>  Trust exactly the certificate with this fingerprint; needs wss://
  --ssh <user@host[:port]>    Reach the gateway on that host through an SSH login
  --json                      Print one JSON document on stdout
  --timeout <ms>              Budget for connect, handshake and answer (default: 10000)
  --digest <hex>              Approve only if the request still has this digest (from pending --json)
  --silent-ssh <user@host>    Approve a request marked silent once this SSH login reaches the gateway's own user
  -h, --help                  Show this help

Scopes asked for: operator.pairing and what the node's commands require
";
        assert_eq!(help(&["nodes", "approve"]), expected);
    }

    #[test]
    fn groups_list_their_commands() {
        let root = help(&[]);
        for line in [
            "Usage: openclaw [options] [command]",
            "  nodes       Approve, inspect and use nodes",
            "  --no-color           No ANSI colour (env: NO_COLOR)",
            "  -V, --version        Print the version",
        ] {
            assert!(root.lines().any(|found| found == line), "{line}\n{root}");
        }
        let gateway = help(&["gateway"]);
        for line in [
            "Usage: openclaw gateway [options] [command]",
            "  call <method>  Call one method of the gateway",
        ] {
            assert!(
                gateway.lines().any(|found| found == line),
                "{line}\n{gateway}"
            );
        }
        assert!(
            !gateway.contains("raw-stream"),
            "hidden options stay hidden"
        );
    }

    #[test]
    fn the_life_of_a_setup_code_is_the_one_it_has() {
        let life = minutes(TTL_MS);
        assert!(help(&["qr"]).contains(&format!("within {life}")), "{life}");
    }
}
