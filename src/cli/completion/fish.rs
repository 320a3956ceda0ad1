//! The completion script of fish: one line for each command and option, under the condition of where it stands.

use crate::cli::command::{Command, Flag, Offers};
use crate::cli::completion::{HEAD, config_keys};
use crate::cli::walk::{Place, forms, places, switches_here, valued_forms};

/// The script.
pub fn script(root: &'static Command) -> String {
    let places = places(root);
    let mut out = format!("# fish completion of openclaw. {HEAD}\n\n");
    out += &position(&places);
    out += "\ncomplete -c openclaw -f\n\n# commands and arguments\n";
    for place in &places {
        out += &words(place);
    }
    out += "\n# options\n";
    out += &options(&places);
    out
}

/// The function that says at which command the line is, and the condition over it.
fn position(places: &[Place]) -> String {
    let valued = valued_forms(places).join(" ");
    let switches = switches_here(places).join("' '");
    let mut known = String::new();
    for place in places {
        let Some(parent) = place.parent() else {
            continue;
        };
        let parent = parent.words(" ");
        let names = [Some(place.command().name), place.command().alias];
        let patterns: Vec<String> = names
            .into_iter()
            .flatten()
            .map(|name| format!("'{parent} {name}'"))
            .collect();
        known += &format!(
            "                    case {}\n                        set path '{}'\n",
            patterns.join(" "),
            place.words(" ")
        );
    }
    format!(
        "function __openclaw_path
    set -l path openclaw
    set -l words (commandline -opc)
    set -l value 0
    for word in $words[2..-1]
        if test $value = 1
            set value 0
            continue
        end
        switch $word
            case '--*=*'
            case {valued}
                contains -- \"$path $word\" '{switches}'
                or set value 1
            case '-*'
            case '*'
                switch \"$path $word\"
{known}                end
        end
    end
    echo $path
end

function __openclaw_at
    contains -- (__openclaw_path) $argv
end
"
    )
}

/// What can be typed at a command besides options.
fn words(place: &Place) -> String {
    let start = format!("complete -c openclaw -n {}", condition(&[place.words(" ")]));
    let mut out = String::new();
    for child in place.command().children {
        out += &format!("{start} -a {} -d '{}'\n", child.name, quoted(child.summary));
    }
    for argument in place.command().arguments {
        let offered = match argument.offers {
            Offers::Commands => "'(__fish_complete_command)'".to_owned(),
            Offers::ConfigKeys => format!("'{}'", config_keys().join(" ")),
            Offers::Files => "'(__fish_complete_path)'".to_owned(),
            Offers::Nothing => continue,
            Offers::Words(words) => format!("'{}'", words.join(" ")),
        };
        out += &format!("{start} -a {offered}\n");
    }
    out
}

/// One line for each option, for all the commands that have it with the same help.
fn options(places: &[Place]) -> String {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for place in places {
        for flag in place.options() {
            let row = format!("{} -d '{}'", option(flag), quoted(flag.help));
            match rows.iter_mut().find(|(known, _)| *known == row) {
                Some((_, at)) => at.push(place.words(" ")),
                None => rows.push((row, vec![place.words(" ")])),
            }
        }
    }
    let line = |(row, at): (String, Vec<String>)| match at.len() == places.len() {
        true => format!("complete -c openclaw{row}\n"),
        false => format!("complete -c openclaw -n {}{row}\n", condition(&at)),
    };
    rows.into_iter().map(line).collect()
}

/// The condition of being at one of these commands.
fn condition(at: &[String]) -> String {
    format!("'__openclaw_at \"{}\"'", at.join("\" \""))
}

fn option(flag: &Flag) -> String {
    let mut out = String::new();
    for form in forms(flag) {
        out += &match form.strip_prefix("--") {
            Some(long) => format!(" -l {long}"),
            None => format!(" -s {}", form.trim_start_matches('-')),
        };
    }
    if flag.placeholder().is_some() {
        out += &match flag.offers() {
            Offers::Files => " -r -F".to_owned(),
            Offers::Words(words) => format!(" -x -a '{}'", words.join(" ")),
            Offers::Commands | Offers::ConfigKeys | Offers::Nothing => " -x".to_owned(),
        };
    }
    out
}

/// Text between single quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
