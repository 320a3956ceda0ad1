//! The completion script of zsh: one function per command over `_arguments`, with the help texts.

use crate::cli::command::{Argument, Command, Flag, Offers};
use crate::cli::completion::{HEAD, config_keys};
use crate::cli::walk::{Place, forms, places};

/// Autoloaded from `fpath` the file is the function's body; sourced, it only registers the function.
const END: &str = r#"
if [[ ${funcstack[1]} == _openclaw ]]; then
  _openclaw "$@"
else
  (( ${+functions[compdef]} )) || { autoload -Uz compinit && compinit; }
  compdef _openclaw openclaw
fi
"#;

/// The script.
pub fn script(root: &'static Command) -> String {
    let mut out = format!("#compdef openclaw\n# zsh completion of openclaw. {HEAD}\n");
    for place in places(root) {
        out += &function(&place);
    }
    out + END
}

fn function_name(place: &Place) -> String {
    format!("_{}", place.words("_"))
}

fn function(place: &Place) -> String {
    let command = place.command();
    let mut specs: Vec<String> = place.options().into_iter().flat_map(options).collect();
    if command.children.is_empty() {
        specs.extend(command.arguments.iter().map(argument));
    } else {
        specs.push("'1: :->command'".to_owned());
        specs.push("'*:: :->rest'".to_owned());
    }
    let mut out = format!("\n{}() {{\n", function_name(place));
    if command.children.is_empty() {
        return out
            + &format!(
                "  _arguments -s -S \\\n    {}\n}}\n",
                specs.join(" \\\n    ")
            );
    }
    out += "  local curcontext=\"$curcontext\" state line ret=1\n  typeset -A opt_args\n";
    out += &format!(
        "  _arguments -C \\\n    {} && ret=0\n",
        specs.join(" \\\n    ")
    );
    out += "  case $state in\n    command)\n      local -a commands=(\n";
    for child in command.children {
        let name = child.name;
        out += &format!("        '{name}:{}'\n", quoted(child.summary));
    }
    out += "      )\n      _describe -t commands command commands && ret=0\n      ;;\n    rest)\n      case $line[1] in\n";
    for child in command.children {
        let names: Vec<&str> = [Some(child.name), child.alias]
            .into_iter()
            .flatten()
            .collect();
        let below = format!("{}_{}", function_name(place), child.name);
        out += &format!("        {}) {below} && ret=0 ;;\n", names.join("|"));
    }
    out + "      esac\n      ;;\n  esac\n  return ret\n}\n"
}

/// One specification for each form of an option; they exclude each other unless it may be repeated.
fn options(flag: &Flag) -> Vec<String> {
    let forms = forms(flag);
    let before = match (flag.many, forms.len()) {
        (true, _) => "*".to_owned(),
        (false, 1) => String::new(),
        (false, _) => format!("({})", forms.join(" ")),
    };
    let value = |placeholder: &str| format!(":{placeholder}:{}", action(flag.offers()));
    let value = flag.placeholder().map(value).unwrap_or_default();
    let spec = |form: &String| {
        let sign = match (value.is_empty(), form.starts_with("--")) {
            (true, _) => "",
            (false, true) => "=",
            (false, false) => "+",
        };
        format!("'{before}{form}{sign}[{}]{value}'", escaped(flag.help))
    };
    forms.iter().map(spec).collect()
}

fn argument(argument: &Argument) -> String {
    if argument.offers == Offers::Commands {
        return format!(
            "'1:{}:_command_names -e' '*::argument:_normal'",
            argument.name
        );
    }
    let action = action(argument.offers);
    match (argument.many, argument.required) {
        (true, _) => format!("'*:{}:{action}'", argument.name),
        (false, true) => format!("':{}:{action}'", argument.name),
        (false, false) => format!("'::{}:{action}'", argument.name),
    }
}

fn action(offers: Offers) -> String {
    match offers {
        Offers::ConfigKeys => format!("({})", config_keys().join(" ")),
        Offers::Files => "_files".to_owned(),
        Offers::Commands | Offers::Nothing => " ".to_owned(),
        Offers::Words(words) => format!("({})", words.join(" ")),
    }
}

/// Text between the brackets of a specification.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in quoted(text).chars() {
        if matches!(letter, '[' | ']' | ':') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// Text between single quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "'\\''")
}
