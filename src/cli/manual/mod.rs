//! The manual pages, made from the command table and the table of configuration keys: `openclaw(1)`, one page for each
//! command group, and `openclaw.json(5)`. Committed below `contrib/man`.

use std::collections::BTreeMap;

use crate::cli::command::{Command, Flag};
use crate::cli::help::option_help;
use crate::cli::manual::roff::Page;
use crate::cli::version;
use crate::cli::walk::{Place, forms, places};

pub mod roff;
pub mod settings;

/// The day these texts belong to; it changes with the version.
const DATE: &str = "2026-11-30";

/// The first line of every page's source.
const COMMENT: &str = "Made from the command table; do not edit.";

/// How many commands of a page share an option before it stands there once.
const COMMON: usize = 3;

/// Every page with its file name, in the order of their names.
pub fn pages(root: &'static Command) -> Vec<(String, String)> {
    let places = places(root);
    let groups: Vec<&Place> = places
        .iter()
        .filter(|place| place.depth() == 1 && !place.command().children.is_empty())
        .collect();
    let names: Vec<String> = groups.iter().map(|group| group.words("-")).collect();
    let mut pages = vec![
        ("openclaw.1".to_owned(), program(&places, &names)),
        ("openclaw.json.5".to_owned(), settings::page()),
    ];
    for group in groups {
        let page = group_page(group, &places, &names);
        pages.push((format!("{}.1", group.words("-")), page));
    }
    pages.sort();
    pages
}

fn begin(name: &str, section: u8, what: &str) -> Page {
    let mut page = Page::new(COMMENT, name, section, DATE, &version().to_lowercase());
    page.name(name, what);
    page
}

/// `openclaw(1)`: the way into the others, and the commands that are no groups.
fn program(places: &[Place], groups: &[String]) -> String {
    let Some((root, below)) = places.split_first() else {
        return String::new();
    };
    let mut page = begin("openclaw", 1, &lower(root.command().summary));
    page.section("Synopsis");
    page.usage("openclaw", " [options] <command> [arguments]");
    page.section("Description");
    page.text(
        "A WebSocket gateway that decides which machines may join, the command line that runs it, and the headless node \
         host that executes commands on other machines.",
    );
    page.section("Commands");
    for place in below.iter().filter(|place| place.depth() == 1) {
        let command = place.command();
        let meaning = match command.children.is_empty() {
            true => format!("{}; see below.", command.summary),
            false => format!("{}; see {}(1).", command.summary, place.words("-")),
        };
        page.tagged(command.name, "", &meaning);
    }
    let own: Vec<&Place> = below
        .iter()
        .filter(|place| place.depth() == 1 && place.command().children.is_empty())
        .collect();
    let common = common(&own);
    for place in &own {
        command(&mut page, place, &common);
    }
    page.section("Options");
    page.text("These stand anywhere on the line.");
    for flag in root.options() {
        option(&mut page, flag);
    }
    common_options(&mut page, &common);
    let shown: Vec<&Place> = [root].into_iter().chain(own).collect();
    environment(&mut page, &shown);
    files(&mut page);
    exit_status(&mut page);
    page.section("Examples");
    page.text("A gateway, and a node that asks to join it:");
    page.example(&[
        "openclaw config set gateway.mode local",
        "openclaw gateway install",
        "openclaw node join --install",
        "openclaw nodes pending",
        "openclaw nodes approve <requestId>",
    ]);
    let others = groups.iter().map(|name| (name.as_str(), 1));
    page.see_also(others.chain([("openclaw.json", 5)]));
    page.finish()
}

/// The page of one group, with everything below it.
fn group_page(group: &Place, places: &[Place], groups: &[String]) -> String {
    let name = group.words("-");
    let row = group.command();
    let mut page = begin(&name, 1, &lower(row.summary));
    page.section("Synopsis");
    page.usage(&group.words(" "), " <command> [options] [arguments]");
    page.section("Description");
    page.text(&format!("{}.", row.summary));
    if let Some(alias) = row.alias {
        page.text(&format!("The group is also called {alias}."));
    }
    details(&mut page, row);
    if row.own_flags().next().is_some() {
        page.section("Options");
        for flag in row.own_flags().filter(|flag| !flag.hidden) {
            option(&mut page, flag);
        }
    }
    let below: Vec<&Place> = places
        .iter()
        .filter(|place| place.group() == row.name && place.command().children.is_empty())
        .collect();
    let common = common(&below);
    page.section("Commands");
    for place in &below {
        command(&mut page, place, &common);
    }
    common_options(&mut page, &common);
    let shown: Vec<&Place> = [group].into_iter().chain(below).collect();
    environment(&mut page, &shown);
    exit_status(&mut page);
    let others = groups.iter().filter(|other| **other != name);
    let others = others.map(|name| (name.as_str(), 1));
    page.see_also(others.chain([("openclaw", 1), ("openclaw.json", 5)]));
    page.finish()
}

/// One command: how it is typed, what it does, and the options that not all have.
fn command(page: &mut Page, place: &Place, common: &[&'static Flag]) {
    let row = place.command();
    page.subsection(&place.words(" "));
    let mut rest = " [options]".to_owned();
    for argument in row.arguments {
        rest += &format!(" {}", argument.usage());
    }
    page.usage(&place.words(" "), &rest);
    page.paragraph(&format!("{}.", row.summary));
    details(page, row);
    for argument in row.arguments {
        page.tagged("", &argument.usage(), &format!("{}.", argument.help));
    }
    let (shared, own): (Vec<&Flag>, Vec<&Flag>) = row
        .own_flags()
        .filter(|flag| !flag.hidden)
        .partition(|flag| common.iter().any(|known| same(known, flag)));
    for flag in own {
        option(page, flag);
    }
    if !shared.is_empty() {
        let names: Vec<String> = shared
            .iter()
            .map(|flag| format!("--{}", flag.long))
            .collect();
        page.paragraph(&format!("Common options: {}.", names.join(", ")));
    }
    if !row.scopes.is_empty() {
        page.paragraph(&format!("Scopes asked for: {}.", row.scopes));
    }
}

fn details(page: &mut Page, row: &Command) {
    for paragraph in row.details.split('\n').filter(|text| !text.is_empty()) {
        page.paragraph(paragraph);
    }
}

fn option(page: &mut Page, flag: &Flag) {
    let value = flag.placeholder().map(|placeholder| match flag.many {
        true => format!(" <{placeholder}>..."),
        false => format!(" <{placeholder}>"),
    });
    let value = value.unwrap_or_default();
    page.tagged(
        &forms(flag).join(", "),
        &value,
        &format!("{}.", option_help(flag)),
    );
}

fn common_options(page: &mut Page, common: &[&'static Flag]) {
    if !common.is_empty() {
        page.section("Common options");
        for flag in common {
            option(page, flag);
        }
    }
}

/// The options that several of the commands share, word for word.
fn common(places: &[&Place]) -> Vec<&'static Flag> {
    let all = || places.iter().flat_map(|place| place.command().own_flags());
    let mut found: Vec<&'static Flag> = Vec::new();
    for flag in all().filter(|flag| !flag.hidden) {
        let known = found.iter().any(|known| same(known, flag));
        if !known && all().filter(|other| same(flag, other)).count() >= COMMON {
            found.push(flag);
        }
    }
    found
}

fn same(one: &Flag, other: &Flag) -> bool {
    (one.long, one.takes, one.help, one.default, one.required)
        == (
            other.long,
            other.takes,
            other.help,
            other.default,
            other.required,
        )
}

/// The variables that stand in for options.
fn environment(page: &mut Page, places: &[&Place]) {
    let mut variables: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let flags = places.iter().flat_map(|place| place.command().own_flags());
    for flag in flags.filter(|flag| !flag.hidden) {
        if let Some(name) = flag.environment {
            let options = variables.entry(name).or_default();
            let option = format!("--{}", flag.long);
            if !options.contains(&option) {
                options.push(option);
            }
        }
    }
    if !variables.is_empty() {
        page.section("Environment");
        for (name, options) in variables {
            page.tagged(
                name,
                "",
                &format!("Stands in for {}.", options.join(" and ")),
            );
        }
    }
}

fn files(page: &mut Page) {
    page.section("Files");
    for (path, meaning) in [
        (
            "~/.openclaw/openclaw.json",
            "The configuration; see openclaw.json(5).",
        ),
        (
            "~/.openclaw/devices/, ~/.openclaw/nodes/",
            "The gateway's pairings: paired.json and pending.json in both.",
        ),
        (
            "~/.openclaw/identity/",
            "This machine's device key and the tokens it was given.",
        ),
        (
            "~/.openclaw/node.json, ~/.openclaw/exec-approvals.json",
            "The gateway this node host belongs to, and what it may run.",
        ),
        (
            "~/.openclaw/audit.jsonl, ~/.openclaw/node-audit.jsonl",
            "Decisions of the gateway and runs of the node host.",
        ),
        (
            "/tmp/openclaw/openclaw-<date>.log",
            "The log of the gateway; \"openclaw gateway status\" names the file.",
        ),
    ] {
        page.tagged(path, "", meaning);
    }
    page.paragraph(
        "OPENCLAW_STATE_DIR and --profile name another directory than ~/.openclaw. \
         OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1 permits plaintext ws:// to private addresses, where others can read along.",
    );
}

fn exit_status(page: &mut Page) {
    page.section("Exit status");
    for (code, meaning) in [
        (
            "0",
            "Success; a gateway or node host that was asked to stop.",
        ),
        (
            "1",
            "Failure; with --json, one document on standard output says why.",
        ),
        ("78", "The configuration refuses the start of a gateway."),
        ("130, 143", "Ended by SIGINT or SIGTERM while waiting."),
    ] {
        page.tagged(code, "", meaning);
    }
}

/// A summary as the NAME section has it: without a capital, unless it is a name.
fn lower(summary: &str) -> String {
    let mut letters = summary.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::ROOT;

    #[test]
    fn every_command_and_option_stands_on_its_page() {
        let pages: BTreeMap<String, String> = pages(&ROOT).into_iter().collect();
        for place in places(&ROOT) {
            let page = match pages.get(&format!("openclaw-{}.1", place.group())) {
                Some(page) => page,
                None => &pages["openclaw.1"],
            };
            let roff = |text: &str| text.replace('-', "\\-");
            let heading = format!(".SS {}\n", roff(&place.words(" ")));
            let leaf = place.command().children.is_empty();
            assert!(!leaf || page.contains(&heading), "{heading}");
            for flag in place.command().own_flags().filter(|flag| !flag.hidden) {
                let option = roff(&format!("--{}", flag.long));
                assert!(page.contains(&option), "{} {option}", place.words(" "));
            }
        }
        assert!(pages.values().all(|page| !page.contains("raw\\-stream")));
    }

    #[test]
    fn what_many_commands_share_stands_once() {
        let pages: BTreeMap<String, String> = pages(&ROOT).into_iter().collect();
        let page = &pages["openclaw-nodes.1"];
        assert_eq!(
            page.matches(".TP\n\\fB\\-\\-tls\\-fingerprint\\fR").count(),
            1
        );
        assert!(page.contains("Common options: \\-\\-url"), "{page}");
    }
}
