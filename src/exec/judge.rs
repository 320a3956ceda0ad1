//! What covers each program a command would start (node-host specification, sections 3.5 to 3.8).
//!
//! A segment is covered by a rule, as a safe filter, as a skill's program, or, when it is a shell,
//! by what its script runs. What a shell would run for certain is all that counts: a word it fills in, a
//! word of its own, or a shell or wrapper that is not the system's own is covered by nothing.

use std::path::{Component, Path, PathBuf};

use super::assessment::{Context, Cover, Segment};
use super::document::Entry;
use super::inline::inline_evaluation;
use super::lasting::starts_others;
use super::miss::Miss;
use super::pattern::Pattern;
use super::policy::Effective;
use super::safe_bins;
use super::script::{Word, split};
use super::shell::{self, Invocation};
use super::shell_words::SHELL_WORDS;
use super::which;
use super::wrapper::{NEVER_UNWRAPPED, Unwrapped, base_name, is_wrapper, unwrap};

/// Shells in shells that are looked into.
const MAX_DEPTH: usize = 3;

/// Where the system's own shells, wrappers and filters are.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/bin", "/usr/bin"];

/// The shell that would start a segment.
#[derive(Debug, Clone, Copy)]
pub struct Shell {
    /// A name may lead elsewhere than the search path says: start-up files of this shell or of one around it were
    /// read, or it has programs of its own.
    names_uncertain: bool,
    /// Shells around it, itself included.
    depth: usize,
}

/// Judges segments by one policy.
#[derive(Debug)]
pub struct Judge<'c, 'a> {
    /// Whose rules count.
    pub policy: &'c Effective<'a>,
    /// What the words mean here.
    pub context: &'c Context<'c>,
}

/// What a shell segment would run.
#[derive(Debug)]
pub enum Opened<'a> {
    /// The program or script at this path.
    Path(PathBuf),
    /// The commands of its script.
    Script(Vec<Segment<'a>>),
}

impl<'a> Judge<'_, 'a> {
    /// Judges one command; `shell` is what starts it, if any.
    pub fn segment(&self, words: &[Word], shell: Option<Shell>) -> Segment<'a> {
        let argv: Vec<String> = words.iter().map(|word| word.text.clone()).collect();
        let mut segment = Segment {
            argv: Vec::new(),
            path: None,
            blocked: false,
            cover: Err(Miss::Nul),
            inner: Vec::new(),
            inline_evaluation: None,
        };
        let unwrapped = unwrap(&argv);
        segment.blocked = unwrapped.blocked;
        segment.cover = self
            .starts_for_certain(words, &unwrapped, shell)
            .and_then(|()| self.cover(words, &unwrapped, shell, &mut segment));
        segment.inline_evaluation = inline_evaluation(words, &unwrapped, &segment);
        segment.argv = argv;
        segment
    }

    fn cover(
        &self,
        words: &[Word],
        unwrapped: &Unwrapped<'_>,
        shell: Option<Shell>,
        segment: &mut Segment<'a>,
    ) -> Result<Cover<'a>, Miss> {
        if !unwrapped.is_shell() {
            return self.program(words, unwrapped, shell, &mut segment.path);
        }
        match self.open(words, unwrapped, shell)? {
            Opened::Path(path) => {
                segment.path = Some(path.clone());
                self.rule(None, Some(&path))
                    .ok_or(Miss::NoRule { path, name: None })
            }
            Opened::Script(inner) => {
                segment.inner = inner;
                let missed = segment
                    .inner
                    .iter()
                    .find_map(|inner| inner.cover.as_ref().err());
                missed.map_or(Ok(Cover::Inner), |miss| Err(miss.clone()))
            }
        }
    }

    /// What a shell at the end of `unwrapped` would run; `around` is the shell that starts it, if any.
    pub fn open(
        &self,
        words: &[Word],
        unwrapped: &Unwrapped<'_>,
        around: Option<Shell>,
    ) -> Result<Opened<'a>, Miss> {
        let depth = around.map_or(0, |shell| shell.depth);
        let argv = unwrapped.effective;
        let typed = argv.first().map_or("", String::as_str);
        let name = base_name(typed);
        let unclear = || Miss::Shell(name.clone());
        if !shell::POSIX.contains(&name.as_str()) {
            return Err(unclear());
        }
        if depth == MAX_DEPTH {
            return Err(Miss::TooDeep);
        }
        if !unwrapped.multicall {
            self.system_program(typed)?;
        }
        let plain_until = |index: usize| {
            let word = words[..=unwrapped.offset + index]
                .iter()
                .find(|word| !word.plain);
            word.map_or(Ok(()), |word| Err(Miss::Expands(word.text.clone())))
        };
        let payload = unwrapped.payload().is_some();
        match shell::invocation(argv) {
            // What a multi-call binary would run is its own; executed alone it would be another file.
            Invocation::File(index) if !payload && !unwrapped.multicall => {
                plain_until(index)?;
                let script = &argv[index];
                let path = self.lexical(&self.context.cwd.join(script), script)?;
                if !self.context.programs.is_file(&path) {
                    return Err(Miss::NotFound(script.clone()));
                }
                Ok(Opened::Path(path))
            }
            Invocation::Inline { script, startup } => {
                plain_until(script)?;
                let names_uncertain = startup
                    || unwrapped.multicall
                    || around.is_some_and(|shell| shell.names_uncertain);
                if shell::is_carrier(&argv[script]) {
                    let carried = argv.get(script + 1).ok_or_else(unclear)?;
                    plain_until(script + 1)?;
                    let certain = !names_uncertain || carried.contains('/');
                    let hidden = SHELL_WORDS.contains(&carried.as_str()) || !is_plain_path(carried);
                    let inner = unwrap(&argv[script + 1..]);
                    if !certain || hidden || inner.wrappers > 0 || inner.blocked || inner.is_shell()
                    {
                        return Err(unclear());
                    }
                    return self.locate(carried).map(Opened::Path);
                }
                let commands = split(&argv[script], name == "fish").map_err(Miss::Script)?;
                let shell = Shell {
                    names_uncertain,
                    depth: depth + 1,
                };
                let judged = commands
                    .iter()
                    .map(|words| self.segment(words, Some(shell)));
                Ok(Opened::Script(judged.collect()))
            }
            Invocation::File(_) | Invocation::Unclear => Err(unclear()),
        }
    }

    /// Nothing that is not the system's own stands between whoever starts the command and its program,
    /// and the words up to there are what they seem.
    pub fn starts_for_certain(
        &self,
        words: &[Word],
        unwrapped: &Unwrapped<'_>,
        shell: Option<Shell>,
    ) -> Result<(), Miss> {
        if let (Some(_), Some(word)) = (shell, words.first()) {
            command_word(word)?;
        }
        let effective = unwrapped.effective.first().map_or("", String::as_str);
        let name = base_name(effective);
        if unwrapped.blocked || NEVER_UNWRAPPED.contains(&name.as_str()) {
            let wrapper = match unwrapped.environment_modified {
                true => "env".to_owned(),
                false => name,
            };
            return Err(Miss::Blocked(wrapper));
        }
        if shell.is_none() && unwrapped.payload().is_none() {
            // The wrappers are dropped; the program behind them is executed itself.
            return Ok(());
        }
        // What a shell fills in could be a wrapper's command, or stand in front of it.
        let until = match is_wrapper(&name) {
            true => words.len(),
            false if unwrapped.wrappers > 0 || unwrapped.is_shell() => unwrapped.offset + 1,
            false => return Ok(()),
        };
        if let Some(word) = words[..until].iter().find(|word| !word.plain) {
            return Err(Miss::Expands(word.text.clone()));
        }
        let known = shell::POSIX.contains(&name.as_str());
        let shell_itself = known.then_some(unwrapped.offset);
        for index in unwrapped.launchers.iter().copied().chain(shell_itself) {
            let typed = words[index].text.as_str();
            if shell.is_some_and(|shell| shell.names_uncertain) && !typed.contains('/') {
                return Err(Miss::Blocked(typed.to_owned()));
            }
            let applet = unwrapped.multicall && Some(index) == shell_itself;
            if !applet {
                self.system_program(typed)?;
            }
        }
        Ok(())
    }

    fn program(
        &self,
        words: &[Word],
        unwrapped: &Unwrapped<'_>,
        shell: Option<Shell>,
        found: &mut Option<PathBuf>,
    ) -> Result<Cover<'a>, Miss> {
        let argv = unwrapped.effective;
        let typed = argv.first().map_or("", String::as_str);
        let bare = !typed.contains(['/', '\\', '~']);
        if !bare && shell.is_some() && !typed.contains('/') {
            // A shell looks it up by its name, whatever it looks like to a rule.
            return Err(Miss::Expands(typed.to_owned()));
        }
        let certain = !bare || !shell.is_some_and(|shell| shell.names_uncertain);
        let name = bare.then_some(typed).filter(|name| !name.is_empty());
        let path = match self.locate(typed) {
            Ok(path) => path,
            Err(Miss::NotFound(program)) => {
                let path = (!bare).then(|| self.context.cwd.join(typed));
                let path = path.and_then(|path| self.lexical(&path, typed).ok());
                let everything = self.rule(None, path.as_deref());
                return everything.ok_or(Miss::NotFound(program));
            }
            Err(miss) => return Err(miss),
        };
        *found = Some(path.clone());
        if let Some(cover) = self.rule(name, Some(&path).filter(|_| certain).map(PathBuf::as_path))
        {
            return Ok(cover);
        }
        let words = &words[unwrapped.offset..];
        if certain
            && self.is_trusted(&path)
            && safe_bins::passes(self.context.safe_bins, &path, words)
        {
            return Ok(Cover::SafeBin);
        }
        let skill = |(skill, at): &(String, PathBuf)| Some(skill.as_str()) == name && *at == path;
        if certain
            && self.context.skills.iter().any(skill)
            && !starts_others(&path, self.context.programs)
        {
            return Ok(Cover::Skill);
        }
        Err(Miss::NoRule {
            path,
            name: name.filter(|_| !certain).map(str::to_owned),
        })
    }

    /// The first rule that covers a program by the name it was typed with or by its path; the rule for
    /// everything covers what was not found as well.
    fn rule(&self, name: Option<&str>, path: Option<&Path>) -> Option<Cover<'a>> {
        let rules = self.policy.allowlist.iter().enumerate();
        let mut covering = rules.filter(|(_, entry)| {
            let pattern = Pattern::read(&entry.pattern, self.context.home);
            pattern == Pattern::Everything
                || name.is_some_and(|name| pattern.covers_name(name))
                || path.is_some_and(|path| pattern.covers_path(path))
        });
        let (index, entry): (usize, &&'a Entry) = covering.next()?;
        Some(Cover::Rule { entry, index })
    }

    /// Where a typed program is, without `.` and `..`.
    fn locate(&self, typed: &str) -> Result<PathBuf, Miss> {
        let found = self.context.programs.resolve(typed, self.context.cwd);
        let path = found.map_err(|_| Miss::NotFound(typed.to_owned()))?;
        self.lexical(&path, typed)
    }

    /// The path without `.` and `..`, where taking them off as text means the same as following them.
    fn lexical(&self, path: &Path, typed: &str) -> Result<PathBuf, Miss> {
        let mut clean = PathBuf::new();
        for component in path.components() {
            if component == Component::ParentDir {
                if self.context.programs.is_link(&clean) {
                    return Err(Miss::ParentDirectory(typed.to_owned()));
                }
                clean.pop();
            } else {
                clean.push(component);
            }
        }
        Ok(which::normalize(&clean))
    }

    /// A shell or wrapper is what it is called only in a directory that is trusted.
    pub fn system_program(&self, typed: &str) -> Result<(), Miss> {
        let path = self.locate(typed).ok();
        let exact = shell::file_name(typed) == base_name(typed);
        if exact && path.as_deref().is_some_and(|path| self.is_trusted(path)) {
            return Ok(());
        }
        Err(Miss::Untrusted {
            typed: typed.to_owned(),
            path,
        })
    }

    fn is_trusted(&self, path: &Path) -> bool {
        let mut trusted = self.context.safe_bins.trusted(self.context.home);
        path.parent().is_some_and(|directory| {
            SYSTEM_DIRECTORIES
                .iter()
                .any(|system| directory == Path::new(system))
                || trusted.any(|trusted| trusted == directory)
        })
    }
}

/// The first word of a script's command is a program's name or path and nothing else.
fn command_word(word: &Word) -> Result<(), Miss> {
    let text = word.text.as_str();
    if SHELL_WORDS.contains(&text) {
        return Err(Miss::Builtin(text.to_owned()));
    }
    if text.contains('=') {
        return Err(Miss::Assignment(text.to_owned()));
    }
    let special =
        text.starts_with(['~', '-', '+', '%']) || text.contains(['$', '*', '?', '[', '{', '`']);
    if !word.plain || special || !text.is_ascii() || text.contains(char::is_control) {
        return Err(Miss::Expands(text.to_owned()));
    }
    Ok(())
}

fn is_plain_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+@,:-".contains(c);
    !text.starts_with('-') && text.chars().all(plain)
}

#[cfg(test)]
#[path = "judge_properties.rs"]
mod properties;
