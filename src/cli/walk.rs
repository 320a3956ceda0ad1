//! A walk over the command table for what is generated from it: every command with the way to it, and what can be
//! typed there.

use crate::cli::command::{Command, Flag};

/// `--help`, which the parser knows without a row.
pub const HELP: Flag = Flag::switch("help", "Show this help").short('h');

/// `--version` of the program itself, which the parser knows without a row.
pub const VERSION: Flag = Flag::switch("version", "Print the version").short('V');

/// One command with the way to it.
#[derive(Debug, Clone)]
pub struct Place {
    /// From the root to the command itself; never empty.
    path: Vec<&'static Command>,
}

/// Every command under `root`, itself first, each before what is below it, in the order of the table.
pub fn places(root: &'static Command) -> Vec<Place> {
    let mut found = Vec::new();
    visit(Vec::new(), root, &mut found);
    found
}

fn visit(mut path: Vec<&'static Command>, command: &'static Command, found: &mut Vec<Place>) {
    path.push(command);
    found.push(Place { path: path.clone() });
    for child in command.children {
        visit(path.clone(), child, found);
    }
}

impl Place {
    /// The command.
    pub fn command(&self) -> &'static Command {
        match self.path.last() {
            Some(command) => command,
            None => &crate::cli::table::ROOT,
        }
    }

    /// The words that lead to it, joined by `by`: `openclaw nodes approve`.
    pub fn words(&self, by: &str) -> String {
        let names: Vec<&str> = self.path.iter().map(|command| command.name).collect();
        names.join(by)
    }

    /// The words of the command it is below; `None` for the root.
    pub fn parent(&self) -> Option<Place> {
        let (_, above) = self.path.split_last()?;
        (!above.is_empty()).then(|| Place {
            path: above.to_vec(),
        })
    }

    /// How many commands it is below.
    pub fn depth(&self) -> usize {
        self.path.len() - 1
    }

    /// The group of the root that it belongs to: `nodes` of `openclaw nodes approve`; empty for the root.
    pub fn group(&self) -> &'static str {
        self.path.get(1).map_or("", |command| command.name)
    }

    /// What can be typed here: its own options, then the program's that it does not have itself, then help.
    /// Hidden ones are left out.
    pub fn options(&self) -> Vec<&'static Flag> {
        let own = self.command().own_flags();
        let mut options: Vec<&'static Flag> = own.filter(|flag| !flag.hidden).collect();
        if let [root, _, ..] = self.path.as_slice() {
            for flag in root.own_flags().filter(|flag| !flag.hidden) {
                if options.iter().all(|known| known.long != flag.long) {
                    options.push(flag);
                }
            }
        } else {
            options.push(&VERSION);
        }
        options.push(&HELP);
        options
    }
}

/// The forms of an option: `-s`, `--shell`, and its second name.
pub fn forms(flag: &Flag) -> Vec<String> {
    let short = flag.short.map(|letter| format!("-{letter}"));
    let long = [Some(flag.long), flag.alias].into_iter().flatten();
    short
        .into_iter()
        .chain(long.map(|name| format!("--{name}")))
        .collect()
}

/// Every form of an option that takes a value, of any command, hidden ones too: what follows it is no command.
pub fn valued_forms(places: &[Place]) -> Vec<String> {
    let flags = places.iter().flat_map(|place| place.command().own_flags());
    let mut found: Vec<String> = flags
        .filter(|flag| flag.placeholder().is_some())
        .flat_map(forms)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The exceptions from [`valued_forms`]: a command and an option, joined by a blank, where that option is a switch
/// of this command and takes a value of another.
pub fn switches_here(places: &[Place]) -> Vec<String> {
    let valued = valued_forms(places);
    let of = |place: &Place| {
        let words = place.words(" ");
        let switches = place.command().own_flags();
        let switches = switches.filter(|flag| flag.placeholder().is_none());
        let forms = switches
            .flat_map(forms)
            .filter(|form| valued.contains(form));
        forms
            .map(|form| format!("{words} {form}"))
            .collect::<Vec<String>>()
    };
    places.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::ROOT;

    #[test]
    fn a_switch_that_takes_a_value_elsewhere_is_an_exception() {
        let places = places(&ROOT);
        assert!(valued_forms(&places).contains(&"--gateway".to_owned()));
        let switches = switches_here(&places);
        assert!(switches.contains(&"openclaw approvals get --gateway".to_owned()));
        assert!(
            switches
                .iter()
                .all(|it| !it.starts_with("openclaw node join"))
        );
    }

    #[test]
    fn every_command_is_reached_with_its_options() {
        let places = places(&ROOT);
        let keys = places
            .iter()
            .find(|place| place.words(" ") == "openclaw devices keys create");
        let keys = keys.unwrap();
        assert_eq!((keys.depth(), keys.group()), (3, "devices"));
        assert_eq!(keys.parent().unwrap().words(" "), "openclaw devices keys");
        let options: Vec<&str> = keys.options().iter().map(|flag| flag.long).collect();
        for name in ["ttl", "json", "profile", "help"] {
            assert!(options.contains(&name), "{name}");
        }
        assert!(!options.contains(&"version"));
        let hidden = places
            .iter()
            .flat_map(Place::options)
            .any(|flag| flag.hidden);
        assert!(!hidden);
    }
}
