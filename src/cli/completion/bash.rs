//! The completion script of bash: needs nothing but bash itself, from 3.2 on.

use std::collections::BTreeMap;

use crate::cli::command::{Command, Offers};
use crate::cli::completion::{HEAD, config_keys};
use crate::cli::walk::{Place, forms, places, switches_here, valued_forms};

/// Walks what was typed to the command it leads to, then offers what can follow there. `=` and `:` end a word of
/// bash, so a value may stand three words behind its option.
const WALK: &str = r#"
_openclaw() {
  local cur=${COMP_WORDS[COMP_CWORD]} path=openclaw option='' word='' arguments=0 i
  local REPLY='' kind=''
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ -n $option ]]; then
      [[ $word == = ]] || option=
      continue
    fi
    case $word in
      --) _openclaw_argument "$path" "$arguments"; [[ $kind == commands ]] && _openclaw_offer; return ;;
      -*) _openclaw_takes_value "$path $word" && option=$word ;;
      *)
        if [[ $arguments == 0 ]] && _openclaw_child "$path $word"; then path=$REPLY; else ((arguments++)); fi
        ;;
    esac
  done
  [[ $cur == = ]] && cur=
  if [[ -n $option ]]; then
    _openclaw_value "$path $option"
  elif [[ $cur == --*=* ]]; then
    return
  elif [[ $cur == -* ]]; then
    kind=words
    _openclaw_options "$path"
  elif _openclaw_commands "$path"; [[ -n $REPLY ]]; then
    kind=words
  else
    _openclaw_argument "$path" "$arguments"
  fi
  _openclaw_offer
}

_openclaw_offer() {
  local word
  case $kind in
    words) while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$REPLY" -- "$cur") ;;
    files)
      compopt -o filenames 2>/dev/null
      while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
      ;;
    commands) while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -c -- "$cur") ;;
  esac
}
"#;

/// The script.
pub fn script(root: &'static Command) -> String {
    let places = places(root);
    let mut out = format!("# bash completion of openclaw. {HEAD}\n{WALK}");
    out += &function("child", "REPLY", &children(&places));
    out += &function("commands", "REPLY", &commands(&places));
    out += &function("options", "REPLY", &options(&places));
    out += &takes_value(&places);
    out += &offers("value", "$1", value_patterns(&places));
    out += &offers("argument", "$1 $2", argument_patterns(&places));
    out += "\ncomplete -F _openclaw openclaw\n";
    out
}

/// A function that sets a variable by a word; status 1 and nothing for another word.
fn function(name: &str, variable: &str, rows: &[(String, String)]) -> String {
    let mut out = format!("\n_openclaw_{name}() {{\n  {variable}=\n  case $1 in\n");
    for (pattern, value) in rows {
        out += &format!("    {pattern}) {variable}='{value}' ;;\n");
    }
    out + "    *) return 1 ;;\n  esac\n}\n"
}

/// From a command and the word behind it to the command below, by name and by alias.
fn children(places: &[Place]) -> Vec<(String, String)> {
    let row = |place: &Place| {
        let parent = place.parent()?.words(" ");
        let alias = place.command().alias;
        let names = [Some(place.command().name), alias].into_iter().flatten();
        let patterns: Vec<String> = names.map(|name| format!("'{parent} {name}'")).collect();
        Some((patterns.join("|"), place.words(" ")))
    };
    places.iter().filter_map(row).collect()
}

/// Whether an option takes a value, by the command it stands at.
fn takes_value(places: &[Place]) -> String {
    let quoted = |words: Vec<String>| words.join("'|'");
    let valued = valued_forms(places).into_iter();
    let valued: Vec<String> = valued.map(|form| format!("*' {form}")).collect();
    format!(
        "\n_openclaw_takes_value() {{\n  case $1 in\n    '{}') return 1 ;;\n    {}') ;;\n    *) return 1 ;;\n  esac\n}}\n",
        quoted(switches_here(places)),
        valued.join("'|"),
    )
}

fn commands(places: &[Place]) -> Vec<(String, String)> {
    let groups = places
        .iter()
        .filter(|place| !place.command().children.is_empty());
    let row = |place: &Place| {
        let names = place.command().children.iter().map(|child| child.name);
        let names: Vec<&str> = names.collect();
        (format!("'{}'", place.words(" ")), names.join(" "))
    };
    groups.map(row).collect()
}

fn options(places: &[Place]) -> Vec<(String, String)> {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for place in places {
        let words: Vec<String> = place.options().into_iter().flat_map(forms).collect();
        let same = rows.entry(words.join(" ")).or_default();
        same.push(format!("'{}'", place.words(" ")));
    }
    let rows = rows.into_iter();
    rows.map(|(words, patterns)| (patterns.join("|"), words))
        .collect()
}

/// Patterns and what is offered where they match.
type Patterns = BTreeMap<String, Vec<String>>;

fn value_patterns(places: &[Place]) -> Patterns {
    let mut rows = Patterns::new();
    for place in places {
        for flag in place.options() {
            if let Some(action) = action(flag.offers()) {
                let patterns = forms(flag).into_iter();
                let patterns = patterns.map(|form| format!("'{} {form}'", place.words(" ")));
                rows.entry(action).or_default().extend(patterns);
            }
        }
    }
    rows
}

fn argument_patterns(places: &[Place]) -> Patterns {
    let mut rows = Patterns::new();
    for place in places {
        for (at, argument) in place.command().arguments.iter().enumerate() {
            if let Some(action) = action(argument.offers) {
                let place = place.words(" ");
                let pattern = match argument.many {
                    true => format!("'{place} '*"),
                    false => format!("'{place} {at}'"),
                };
                rows.entry(action).or_default().push(pattern);
            }
        }
    }
    rows
}

fn action(offers: Offers) -> Option<String> {
    Some(match offers {
        Offers::Commands => "kind=commands".to_owned(),
        Offers::ConfigKeys => format!("kind=words REPLY='{}'", config_keys().join(" ")),
        Offers::Files => "kind=files".to_owned(),
        Offers::Nothing => return None,
        Offers::Words(words) => format!("kind=words REPLY='{}'", words.join(" ")),
    })
}

fn offers(name: &str, subject: &str, rows: Patterns) -> String {
    let mut out = format!("\n_openclaw_{name}() {{\n  case \"{subject}\" in\n");
    for (action, patterns) in rows {
        out += &format!("    {}) {action} ;;\n", patterns.join("|"));
    }
    out + "  esac\n}\n"
}
