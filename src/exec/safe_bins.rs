//! Filters that may run without a rule: which, with which arguments (node-host specification, section
//! 3.8, "Safe bins").
//!
//! A filter reads what it is piped and nothing else: an argument that could name a file, or an option
//! whose meaning is not known here, makes it an ordinary program.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use super::script::Word;
use super::which;

/// Permission bits by which others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// The settings of `tools.exec` about such filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafeBins {
    /// `safeBins`: names that count.
    pub names: Vec<String>,
    /// `safeBinProfiles`: arguments of filters by name; in front of the built-in ones.
    pub profiles: Vec<(String, Profile)>,
    /// `safeBinTrustedDirs`: directories besides `/bin` and `/usr/bin` whose filters, shells and wrappers
    /// are what they are called; absolute or below `~`.
    pub trusted_directories: Vec<PathBuf>,
}

/// Which arguments a filter may have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// Operands at least.
    pub min_positional: usize,
    /// Operands at most; absent: any number.
    pub max_positional: Option<usize>,
    /// Options that take a value, `-n` or `--lines`.
    pub allowed_value_flags: Vec<String>,
    /// Options that name a file or a program.
    pub denied_flags: Vec<String>,
}

/// Filters that count when nothing is configured.
const DEFAULT_NAMES: [&str; 6] = ["cut", "uniq", "head", "tail", "tr", "wc"];

/// Programs that no setting makes a safe filter: they run what their arguments say.
const NEVER: [&str; 6] = ["awk", "gawk", "gsed", "mawk", "nawk", "sed"];

/// What a jq program must not say: it would read the environment or files.
const JQ_DENIED: [&str; 6] = [
    "ENV",
    "env",
    "import",
    "include",
    "input_filename",
    "modulemeta",
];

/// Name, operands at least and at most, options with a value, denied options.
type Row = (&'static str, usize, usize, &'static str, &'static str);

/// Built-in profiles. `--group` of uniq is not among the options with a value: it takes one only behind
/// `=`, and a word after it would be a file.
const BUILT_IN: [Row; 9] = [
    (
        "cut",
        0,
        0,
        "-b -c -f -d --bytes --characters --fields --delimiter --output-delimiter",
        "",
    ),
    (
        "uniq",
        0,
        0,
        "-f -s -w --skip-fields --skip-chars --check-chars",
        "",
    ),
    ("head", 0, 0, "-n -c --lines --bytes", ""),
    (
        "tail",
        0,
        0,
        "-n -c --lines --bytes --sleep-interval --max-unchanged-stats --pid",
        "",
    ),
    ("tr", 1, 2, "", ""),
    ("wc", 0, 0, "", "--files0-from"),
    (
        "sort",
        0,
        0,
        "-k -t -S --key --field-separator --buffer-size --parallel --batch-size",
        "-o -T --output --compress-program --files0-from --random-source --temporary-directory",
    ),
    (
        "grep",
        0,
        0,
        "-e -m -A -B -C -D --regexp --max-count --after-context --before-context --context --devices \
         --binary-files --exclude --include --label",
        "-f -d -r -R --file --exclude-from --recursive --dereference-recursive --directories",
    ),
    (
        "jq",
        0,
        1,
        "--arg --argjson --argstr",
        "-f -L --argfile --rawfile --slurpfile --from-file --library-path",
    ),
];

impl Default for SafeBins {
    fn default() -> Self {
        Self {
            names: DEFAULT_NAMES.map(str::to_owned).to_vec(),
            profiles: Vec::new(),
            trusted_directories: Vec::new(),
        }
    }
}

impl SafeBins {
    /// Reads the sections that hold `tools.exec`, the agent's own first. Each setting is taken from the
    /// first section that has it; one that is not what it should be counts as empty.
    pub fn read(sections: &[&Value]) -> Self {
        let setting = |name: &str| {
            let values = sections
                .iter()
                .filter_map(|section| section.pointer("/tools/exec")?.get(name));
            values.into_iter().next()
        };
        let names = |name: &str| -> Option<Vec<String>> {
            let list = setting(name)?;
            let names = list
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            Some(names.map(|name| name.trim().to_owned()).collect())
        };
        let profiles = setting("safeBinProfiles").and_then(Value::as_object);
        let profiles = profiles
            .into_iter()
            .flatten()
            .filter_map(|(name, profile)| {
                let profile = Profile::deserialize(profile).ok()?;
                Some((name.trim().to_owned(), profile))
            });
        let directories = names("safeBinTrustedDirs").unwrap_or_default();
        Self {
            names: names("safeBins").unwrap_or_else(|| Self::default().names),
            profiles: profiles.collect(),
            trusted_directories: directories
                .into_iter()
                .map(PathBuf::from)
                .filter(|directory| directory.is_absolute() || directory.starts_with("~"))
                .collect(),
        }
    }

    /// `safeBinTrustedDirs` as paths to compare with.
    pub fn trusted(&self, home: Option<&Path>) -> impl Iterator<Item = PathBuf> {
        let expanded = move |path: &PathBuf| which::expand_home(&path.to_string_lossy(), home);
        let directories = self.trusted_directories.iter();
        directories.map(move |path| which::normalize(&expanded(path)))
    }

    fn profile(&self, name: &str) -> Option<Profile> {
        let configured = self.profiles.iter().find(|(known, _)| known == name);
        if let Some((_, profile)) = configured {
            return Some(profile.clone());
        }
        let (_, min, max, values, denied) = BUILT_IN.into_iter().find(|row| row.0 == name)?;
        let list = |flags: &str| flags.split_whitespace().map(str::to_owned).collect();
        Some(Profile {
            min_positional: min,
            max_positional: Some(max),
            allowed_value_flags: list(values),
            denied_flags: list(denied),
        })
    }
}

/// Which trusted directories were told to be none, so that each is told once.
#[derive(Debug, Default)]
pub struct Misgivings(Mutex<BTreeSet<PathBuf>>);

impl Misgivings {
    /// Warns of trusted directories in which others could replace a program (section 3.8).
    pub fn tell(&self, settings: &SafeBins, home: Option<&Path>) {
        for directory in self.news(settings, home) {
            let shown = directory.display();
            log::warn!(
                "tools.exec.safeBinTrustedDirs trusts {shown}, where others may replace programs: chmod go-w {shown}"
            );
        }
    }

    fn news(&self, settings: &SafeBins, home: Option<&Path>) -> Vec<PathBuf> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |directory: &PathBuf| {
            let mode = directory.metadata().map(|found| found.permissions().mode());
            mode.is_ok_and(|mode| mode & OTHERS_WRITE != 0)
        };
        let found = settings.trusted(home).filter(open);
        found
            .filter(|directory| told.insert(directory.clone()))
            .collect()
    }
}

/// True when the program at this path, in a trusted directory, may run with these words, itself first.
pub fn passes(settings: &SafeBins, path: &Path, words: &[Word]) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let listed = settings.names.iter().any(|listed| listed == name) && !NEVER.contains(&name);
    let Some(profile) = settings.profile(name).filter(|_| listed) else {
        return false;
    };
    let arguments = words.get(1..).unwrap_or_default();
    // To jq a `$` is a variable of its own program.
    let filled_in = |word: &Word| name != "jq" && word.text.contains(['$', '`']);
    if arguments.iter().any(|word| !word.plain || filled_in(word)) {
        return false;
    }
    let arguments: Vec<&str> = arguments.iter().map(|word| word.text.as_str()).collect();
    profile.operands(&arguments).is_some_and(|operands| {
        let enough = profile.min_positional <= operands.len();
        let few = profile
            .max_positional
            .is_none_or(|max| operands.len() <= max);
        let harmless = name != "jq" || operands.iter().all(|program| is_harmless_jq(program));
        enough && few && harmless
    })
}

fn is_harmless_jq(program: &str) -> bool {
    let words = program.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    !program.contains("$__") && words.into_iter().all(|word| !JQ_DENIED.contains(&word))
}

impl Profile {
    /// The operands, or `None` when an option or a value is not among those allowed.
    fn operands<'w>(&self, arguments: &[&'w str]) -> Option<Vec<&'w str>> {
        let mut operands = Vec::new();
        let mut words = arguments.iter().copied();
        let takes_value = |flag: &str| self.allowed_value_flags.iter().any(|known| known == flag);
        while let Some(word) = words.next() {
            if word == "--" {
                operands.extend(words.by_ref());
            } else if word == "-" {
                // The standard input, which is what a filter reads.
            } else if word.starts_with("--") {
                let (flag, value) = match word.split_once('=') {
                    Some((flag, value)) => (flag, Some(value)),
                    None => (word, None),
                };
                if !takes_value(flag) || self.denied_flags.iter().any(|denied| denied == flag) {
                    return None;
                }
                Some(value.or_else(|| words.next())?).filter(|value| is_no_file(value))?;
            } else if let Some(cluster) = word.strip_prefix('-') {
                // Only a value option in front is certain: what a letter before it takes is not known.
                let letter = cluster.chars().next()?;
                let flag = format!("-{letter}");
                if !takes_value(&flag) || self.denied_flags.contains(&flag) {
                    return None;
                }
                let joined = &cluster[letter.len_utf8()..];
                let value = match joined.is_empty() {
                    true => words.next()?,
                    false => joined,
                };
                Some(value).filter(|value| is_no_file(value))?;
            } else {
                operands.push(word);
            }
        }
        operands
            .iter()
            .all(|operand| is_no_file(operand))
            .then_some(operands)
    }
}

/// A value or operand that names no file for certain and that no shell makes several of.
fn is_no_file(text: &str) -> bool {
    let drive =
        text.len() > 1 && text.as_bytes()[1] == b':' && text.as_bytes()[0].is_ascii_alphabetic();
    let path = ["/", "./", "../", "~"]
        .iter()
        .any(|start| text.starts_with(start));
    !drive && !path && text != ".." && !text.contains(['*', '?', '[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::testing::TempDir;

    #[test]
    fn filters_pass_with_arguments_that_name_no_file() {
        let every = SafeBins {
            names: BUILT_IN.iter().map(|row| row.0.to_owned()).collect(),
            ..SafeBins::default()
        };
        for (line, passes) in [
            ("head|-n|1", true),
            ("head|-n1", true),
            ("head|--lines=3", true),
            ("head|--lines|3", true),
            ("head|--li|3", false),
            ("head|-q|-n|1", false),
            ("head|-qn1", false),
            ("head|-n", false),
            ("head", true),
            ("head|-", true),
            ("head|/etc/passwd", false),
            ("head|secret", false),
            ("head|--|secret", false),
            ("head|-n|/etc/passwd", false),
            ("head|-5", false),
            ("tail|-1", false),
            ("tail|+1", false),
            ("wc", true),
            ("wc|-l", false),
            ("wc|--files0-from=x", false),
            ("cut|-d:|-f1", true),
            ("cut|-d|:|-f|1", true),
            ("cut|-f1|secret", false),
            ("uniq|-f|1", true),
            ("uniq|--group|secret", false),
            ("tr|a-z|A-Z", true),
            ("tr|a|b|c", false),
            ("tr", false),
            ("tr|-d|a", false),
            ("tr|[a-z]|x", false),
            ("sort|-k|2", true),
            ("sort|-o|x", false),
            ("sort|-k1|-ox", false),
            ("sort|--compress-program=sh", false),
            ("grep|-e|x", true),
            ("grep|-e|x|secret", false),
            ("grep|-f|x", false),
            ("grep|-e|x|--binary|secret", false),
            ("jq|.a", true),
            ("jq|.a|secret", false),
            ("jq|env.HOME", false),
            ("jq|$ENV.HOME", false),
            ("jq|import \"x\" as $x; $x", false),
            ("jq|--arg|a|.b", true),
            ("jq|-f|x", false),
            ("awk|x", false),
            ("cat", false),
        ] {
            let words: Vec<Word> = line.split('|').map(Word::literal).collect();
            let path = Path::new("/usr/bin").join(&words[0].text);
            assert_eq!(super::passes(&every, &path, &words), passes, "{line}");
        }
    }

    #[test]
    fn settings_come_from_the_agent_first() {
        let agent = serde_json::json!({"tools": {"exec": {"safeBins": [" mytool ", 3, "awk"]}}});
        let global = serde_json::json!({"tools": {"exec": {
            "safeBins": ["wc"],
            "safeBinProfiles": {"mytool": {"maxPositional": 0, "allowedValueFlags": ["-x"]}, "bad": 1},
            "safeBinTrustedDirs": ["/opt/bin", "relative", "~/bin"],
        }}});
        let read = SafeBins::read(&[&agent, &global]);
        assert_eq!(read.names, ["mytool", "awk"]);
        let trusted: Vec<PathBuf> = read.trusted(Some(Path::new("/home/a"))).collect();
        assert_eq!(trusted, ["/opt/bin", "/home/a/bin"].map(PathBuf::from));
        for (line, passes) in [
            ("mytool|-x|1", true),
            ("mytool|y", false),
            ("awk|-x", false),
            ("wc", false),
        ] {
            let words: Vec<Word> = line.split('|').map(Word::literal).collect();
            let path = Path::new("/opt/bin").join(&words[0].text);
            assert_eq!(super::passes(&read, &path, &words), passes, "{line}");
        }
        assert_eq!(SafeBins::read(&[]), SafeBins::default());
    }

    #[test]
    fn a_trusted_directory_that_others_may_write_is_told_once() {
        let dir = TempDir::new();
        let at = |name: &str, mode| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (own, group, world) = (at("own", 0o755), at("group", 0o775), at("world", 0o757));
        let settings = SafeBins {
            trusted_directories: vec![own, group.clone(), "~/world".into(), "/none".into()],
            ..SafeBins::default()
        };
        let misgivings = Misgivings::default();
        let home = Some(dir.path());
        assert_eq!(misgivings.news(&settings, home), [group, world]);
        assert!(misgivings.news(&settings, home).is_empty());
    }
}
