//! The shape of one row of the command table: a command, its arguments and its options.
//!
//! A row is plain constant data. The parser, the help texts and everything generated later (completions, manual
//! pages) read the same rows; nothing here does I/O or knows a particular command.

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;

/// What runs a command: takes the parsed invocation, returns the one answer to print.
pub type Handler = fn(&Invocation) -> Result<Answer, CliError>;

/// One command or command group.
#[derive(Debug)]
pub struct Command {
    /// The word that is typed.
    pub name: &'static str,
    /// A second word for the same command.
    pub alias: Option<&'static str>,
    /// One line for the listing of the parent, no full stop.
    pub summary: &'static str,
    /// Further paragraphs of the command's own help; may be empty.
    pub details: &'static str,
    /// Positional arguments in order.
    pub arguments: &'static [Argument],
    /// Option groups; shared groups come first.
    pub flags: &'static [&'static [Flag]],
    /// Operator scopes the command asks for when it connects, for the help text.
    pub scopes: &'static str,
    /// Subcommands.
    pub children: &'static [Command],
    /// What runs it; a group without one prints its help.
    pub handler: Option<Handler>,
    /// What precedes the message of a failure instead of `<path> failed: `.
    pub failure: Option<&'static str>,
    /// It works on the files of a gateway of this machine, whatever gateway is meant otherwise; what does the same
    /// from elsewhere may follow.
    pub gateway_host: Option<&'static str>,
}

/// One positional argument.
#[derive(Debug)]
pub struct Argument {
    /// Name as shown in help and errors.
    pub name: &'static str,
    /// Whether leaving it out is an error.
    pub required: bool,
    /// Whether it takes all remaining words.
    pub many: bool,
    /// What a shell may offer for it.
    pub offers: Offers,
    /// One line of help.
    pub help: &'static str,
}

/// What a shell may offer for a word that is still to be typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    /// Another command line: programs first.
    Commands,
    /// The keys of the configuration.
    ConfigKeys,
    /// Names of files.
    Files,
    /// Nothing: only the gateway or the person knows it.
    Nothing,
    /// These words.
    Words(&'static [&'static str]),
}

/// What an option takes as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// One of a closed list of words.
    Choice(&'static str, &'static [&'static str]),
    /// Whole milliseconds above zero.
    Milliseconds,
    /// No value: present or not.
    Nothing,
    /// A TCP port from 1 to 65535.
    Port,
    /// Any text, under this placeholder.
    Text(&'static str),
}

/// One option.
#[derive(Debug)]
pub struct Flag {
    /// Long name without dashes.
    pub long: &'static str,
    /// One-letter form.
    pub short: Option<char>,
    /// A second long name.
    pub alias: Option<&'static str>,
    /// What value it takes.
    pub takes: Takes,
    /// What counts when it is not given, for the help text and for typed reads.
    pub default: Option<&'static str>,
    /// Environment variable that stands in for it, for the help text.
    pub environment: Option<&'static str>,
    /// Whether leaving it out is an error.
    pub required: bool,
    /// Whether it may be repeated and take several words at once.
    pub many: bool,
    /// Accepted but not shown in help.
    pub hidden: bool,
    /// One line of help.
    pub help: &'static str,
}

impl Command {
    /// A group of commands.
    pub const fn group(
        name: &'static str,
        summary: &'static str,
        children: &'static [Command],
    ) -> Command {
        Command {
            name,
            alias: None,
            summary,
            details: "",
            arguments: &[],
            flags: &[],
            scopes: "",
            children,
            handler: None,
            failure: None,
            gateway_host: None,
        }
    }

    /// A command that does something.
    pub const fn leaf(name: &'static str, summary: &'static str, handler: Handler) -> Command {
        let mut command = Command::group(name, summary, &[]);
        command.handler = Some(handler);
        command
    }

    /// The same row with option groups.
    pub const fn flags(mut self, flags: &'static [&'static [Flag]]) -> Command {
        self.flags = flags;
        self
    }

    /// The same row with positional arguments.
    pub const fn arguments(mut self, arguments: &'static [Argument]) -> Command {
        self.arguments = arguments;
        self
    }

    /// The same row with the scopes it asks for.
    pub const fn scopes(mut self, scopes: &'static str) -> Command {
        self.scopes = scopes;
        self
    }

    /// The same row with further help paragraphs.
    pub const fn details(mut self, details: &'static str) -> Command {
        self.details = details;
        self
    }

    /// The same row with a second name.
    pub const fn alias(mut self, alias: &'static str) -> Command {
        self.alias = Some(alias);
        self
    }

    /// The same row with its own words before a failure's message.
    pub const fn failure(mut self, prefix: &'static str) -> Command {
        self.failure = Some(prefix);
        self
    }

    /// The same row for a command that works on the gateway's host alone; `elsewhere`: what to do from other
    /// machines, a sentence or nothing.
    pub const fn on_gateway_host(mut self, elsewhere: &'static str) -> Command {
        self.gateway_host = Some(elsewhere);
        self
    }

    /// The same row, runnable even though it has subcommands.
    pub const fn handler(mut self, handler: Handler) -> Command {
        self.handler = Some(handler);
        self
    }

    /// All options of this command itself.
    pub fn own_flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().flat_map(|group| group.iter())
    }

    /// The subcommand of that name or alias.
    pub fn child(&self, word: &str) -> Option<&'static Command> {
        self.children
            .iter()
            .find(|child| child.name == word || child.alias == Some(word))
    }
}

impl Argument {
    /// An argument that must be given.
    pub const fn required(name: &'static str, help: &'static str) -> Argument {
        Argument {
            name,
            required: true,
            many: false,
            offers: Offers::Nothing,
            help,
        }
    }

    /// An argument that may be left out.
    pub const fn optional(name: &'static str, help: &'static str) -> Argument {
        Argument {
            name,
            required: false,
            many: false,
            offers: Offers::Nothing,
            help,
        }
    }

    /// The same argument, taking all remaining words.
    pub const fn many(mut self) -> Argument {
        self.many = true;
        self
    }

    /// The same argument, for which a shell may offer something.
    pub const fn offers(mut self, offers: Offers) -> Argument {
        self.offers = offers;
        self
    }

    /// `<name>` or `[name]`, with dots when it takes several words.
    pub fn usage(&self) -> String {
        let dots = if self.many { "..." } else { "" };
        if self.required {
            format!("<{}{dots}>", self.name)
        } else {
            format!("[{}{dots}]", self.name)
        }
    }
}

impl Flag {
    /// An option without a value.
    pub const fn switch(long: &'static str, help: &'static str) -> Flag {
        Flag {
            long,
            short: None,
            alias: None,
            takes: Takes::Nothing,
            default: None,
            environment: None,
            required: false,
            many: false,
            hidden: false,
            help,
        }
    }

    /// An option with a text value.
    pub const fn text(long: &'static str, placeholder: &'static str, help: &'static str) -> Flag {
        Flag::valued(long, Takes::Text(placeholder), help)
    }

    /// An option with a value of any kind.
    pub const fn valued(long: &'static str, takes: Takes, help: &'static str) -> Flag {
        let mut flag = Flag::switch(long, help);
        flag.takes = takes;
        flag
    }

    /// The same option with a one-letter form.
    pub const fn short(mut self, letter: char) -> Flag {
        self.short = Some(letter);
        self
    }

    /// The same option with a second long name.
    pub const fn alias(mut self, long: &'static str) -> Flag {
        self.alias = Some(long);
        self
    }

    /// The same option with a default.
    pub const fn default(mut self, text: &'static str) -> Flag {
        self.default = Some(text);
        self
    }

    /// The same option with the environment variable that stands in for it.
    pub const fn environment(mut self, name: &'static str) -> Flag {
        self.environment = Some(name);
        self
    }

    /// The same option, not to be left out.
    pub const fn required(mut self) -> Flag {
        self.required = true;
        self
    }

    /// The same option, repeatable and with several values at once.
    pub const fn many(mut self) -> Flag {
        self.many = true;
        self
    }

    /// The same option, accepted without being shown.
    pub const fn hidden(mut self) -> Flag {
        self.hidden = true;
        self
    }

    /// `--node <idOrNameOrIp>`, as help and errors show it.
    pub fn usage(&self) -> String {
        match self.placeholder() {
            Some(placeholder) if self.many => format!("--{} <{placeholder}...>", self.long),
            Some(placeholder) => format!("--{} <{placeholder}>", self.long),
            None => format!("--{}", self.long),
        }
    }

    /// What a shell may offer as its value.
    pub fn offers(&self) -> Offers {
        match self.takes {
            Takes::Choice(_, words) => Offers::Words(words),
            Takes::Text("file" | "path") => Offers::Files,
            _ => Offers::Nothing,
        }
    }

    /// What stands for the value in help, `None` for a switch.
    pub fn placeholder(&self) -> Option<&'static str> {
        match self.takes {
            Takes::Choice(placeholder, _) | Takes::Text(placeholder) => Some(placeholder),
            Takes::Milliseconds => Some("ms"),
            Takes::Port => Some("port"),
            Takes::Nothing => None,
        }
    }
}
