//! One command line as an approval that is to stick is bound to it: program, words, working directory,
//! environment overrides and the content of its script (node-host specification, section 3.10).
//!
//! OpenClaw's own rules of this kind know the words alone; they count where no script is read.

use std::path::{Path, PathBuf};

use super::document::Entry;
use super::lasting::interprets;
use super::operand;
use super::which;
use super::wrapper::unwrap;
use crate::identity::sha256_hex;
use crate::protocol::command_text::format_command;

/// Files that interpreters read from a directory unasked.
const PROJECT_FILES: &[&str] = &[
    ".justfile",
    "CMakeLists.txt",
    "GNUmakefile",
    "Justfile",
    "Makefile",
    "Rakefile",
    "SConstruct",
    "Taskfile.yml",
    "Vagrantfile",
    "build.gradle",
    "build.gradle.kts",
    "build.ninja",
    "build.sbt",
    "justfile",
    "makefile",
    "meson.build",
    "package.json",
    "pom.xml",
    "tox.ini",
];

/// Files that are looked for at most; a line that may name more is bound to nothing.
const MAX_LOOKS: usize = 4_096;

/// Files that are read for one line at most, each up to 16 MiB; a line of more is bound to nothing.
const MAX_READ: usize = 32;

/// What a command line is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoundLine {
    /// SHA-256 over everything it is bound to, in hex; `None` when that cannot be said for certain.
    digest: Option<String>,
    /// It reads a script, or may read one: the words alone do not say what it runs.
    reads_script: bool,
}

impl BoundLine {
    /// Looks at what a command would run now. `path`: the search path; `overrides`: names and values, sorted.
    pub fn look<'a>(
        argv: &[String],
        cwd: &Path,
        path: &str,
        home: Option<&Path>,
        overrides: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let unwrapped = unwrap(argv);
        let typed = argv.first().map_or("", String::as_str);
        let program = which::resolve(typed, cwd, path, home)
            .ok()
            .and_then(|program| program.canonicalize().ok());
        let unbound = Self {
            digest: None,
            reads_script: true,
        };
        let (Ok(script), Some(program), Ok(cwd)) =
            (operand::find(&unwrapped, cwd), program, cwd.canonicalize())
        else {
            return unbound;
        };
        let read = match &script {
            Some(_) => Some(Vec::new()),
            None => read_by_interpreters(argv, &program, &cwd),
        };
        let Some(read) = read else {
            return unbound;
        };
        let reads_script = script.is_some() || !read.is_empty();
        let mut bound = vec![
            program.display().to_string(),
            format_command(argv),
            cwd.display().to_string(),
            script
                .as_ref()
                .map_or_else(String::new, |script| script.sha256.clone()),
        ];
        bound.extend(read);
        bound.extend(overrides.map(|(name, value)| format!("{name}={value}")));
        Self {
            digest: Some(sha256_hex(bound.join("\0").as_bytes())),
            reads_script,
        }
    }

    /// The pattern of a rule for exactly this line.
    pub fn pattern(&self) -> Option<String> {
        self.digest.as_deref().map(Entry::line_pattern)
    }

    /// Whether a rule was made by an approval of exactly this line. `text`: its words, where they may be enough.
    pub fn is_trusted_by(&self, entry: &Entry, text: Option<&str>) -> bool {
        let bound = entry.is_durable() && self.pattern().as_deref() == Some(entry.pattern.trim());
        bound || (!self.reads_script && text.is_some_and(|text| entry.trusts_text(text)))
    }
}

/// Paths and sums of the files that interpreters on the line may run, where it is not known which of its words is
/// their script: all that its words name, and what is read unasked. `None` when that cannot be said.
fn read_by_interpreters(argv: &[String], program: &Path, cwd: &Path) -> Option<Vec<String>> {
    // Words of inner scripts count, and values that are joined to options.
    let separates = |letter: char| letter.is_whitespace() || ";|&<>(){}'\"`$=".contains(letter);
    let words = argv.iter().flat_map(|word| word.split(separates));
    let mut names: Vec<&str> = argv.iter().map(String::as_str).chain(words).collect();
    // A directory's name, as `..`, is no program's.
    let programs = names.iter().map(Path::new);
    let mut programs = programs.filter(|name| name.file_name().is_some());
    if !interprets(program) && !programs.any(interprets) {
        return Some(Vec::new());
    }
    let joined = names.iter().filter(|name| name.starts_with('-'));
    let joined: Vec<&str> = joined.filter_map(|name| name.get(2..)).collect();
    names.extend(joined);
    names.extend(PROJECT_FILES);
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !name.is_empty());
    if names.len() > MAX_LOOKS {
        return None;
    }
    let directories = names.iter().map(|name| cwd.join(name));
    let mut places: Vec<PathBuf> = directories.filter(|path| path.is_dir()).collect();
    places.push(cwd.to_owned());
    if places.len() * names.len() > MAX_LOOKS {
        return None;
    }
    let mut read = Vec::new();
    for path in places
        .iter()
        .flat_map(|place| names.iter().map(|name| place.join(name)))
    {
        // The program itself is bound by its path.
        if path.is_file() && path.canonicalize().is_ok_and(|path| path != program) {
            if read.len() == MAX_READ {
                return None;
            }
            let file = operand::bind(0, path.to_str()?, cwd).ok()?;
            read.push(format!("{}={}", file.path, file.sha256));
        }
    }
    Some(read)
}
