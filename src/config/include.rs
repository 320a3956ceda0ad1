//! `$include` at any object: other files merged in, never from outside the configuration directory.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::error::Issue;
use crate::config::path::join;
use crate::config::source;
use crate::protocol::nesting::MAX_NESTING;

/// The key that names the files.
const INCLUDE_KEY: &str = "$include";

/// How many files may include each other in a row.
const MAX_INCLUDE_LEVELS: usize = 10;

/// Resolves every `$include` of a document that was read from `file`. The name of every included file,
/// readable or not, is added to `sources`.
///
/// # Errors
/// Every file that is missing, outside, circular, too deep in the chain, not JSON5 or not an object.
pub fn resolve(
    document: Value,
    file: &Path,
    sources: &mut Vec<PathBuf>,
) -> Result<Value, Vec<Issue>> {
    // A linked file includes from where the link is, and may not leave that directory.
    let base = file.parent().unwrap_or(Path::new("/")).to_owned();
    let mut resolver = Resolver {
        directory: std::fs::canonicalize(&base).unwrap_or_else(|_| base.clone()),
        chain: vec![Link {
            file: std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()),
            base,
        }],
        issues: Vec::new(),
        sources,
    };
    let resolved = resolver.value(document, "");
    if resolver.issues.is_empty() && depth(&resolved) > MAX_NESTING {
        resolver.issues.push(Issue::root(format!(
            "included files nest deeper than {MAX_NESTING} levels"
        )));
    }
    if resolver.issues.is_empty() {
        Ok(resolved)
    } else {
        Err(resolver.issues)
    }
}

struct Resolver<'a> {
    /// Canonical; includes must stay inside.
    directory: PathBuf,
    /// Files being read, the outermost first.
    chain: Vec<Link>,
    issues: Vec<Issue>,
    /// Names of the included files.
    sources: &'a mut Vec<PathBuf>,
}

/// One file of the chain.
struct Link {
    /// Canonical, to see circles.
    file: PathBuf,
    /// What its own includes are relative to.
    base: PathBuf,
}

impl Resolver<'_> {
    fn value(&mut self, value: Value, path: &str) -> Value {
        match value {
            Value::Object(members) => self.object(members, path),
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| self.value(item, &join(path, &at.to_string())))
                .collect(),
            scalar => scalar,
        }
    }

    fn object(&mut self, mut members: Map<String, Value>, path: &str) -> Value {
        let includes = members.shift_remove(INCLUDE_KEY);
        let own: Map<_, _> = members
            .into_iter()
            .map(|(name, member)| {
                let member = self.value(member, &join(path, &name));
                (name, member)
            })
            .collect();
        let Some(includes) = includes else {
            return Value::Object(own);
        };
        let mut merged = None;
        for name in self.names(includes, path) {
            match self.file(&name, path) {
                Ok(included) => match &mut merged {
                    Some(merged) => merge(merged, included),
                    None => merged = Some(included),
                },
                Err(message) => self.issues.push(Issue::new(path, message)),
            }
        }
        let mut merged = merged.unwrap_or_else(|| Value::Object(Map::new()));
        if own.is_empty() {
            return merged;
        }
        if !merged.is_object() {
            let message = "keys beside $include need an included object";
            self.issues.push(Issue::new(path, message));
        }
        merge(&mut merged, Value::Object(own));
        merged
    }

    fn names(&mut self, includes: Value, path: &str) -> Vec<String> {
        let items = match includes {
            Value::Array(items) => items,
            single => vec![single],
        };
        let count = items.len();
        let names: Vec<String> = items
            .into_iter()
            .filter_map(|item| {
                item.as_str()
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
            })
            .collect();
        if names.len() < count {
            let path = join(path, INCLUDE_KEY);
            self.issues.push(Issue::new(
                &path,
                "Invalid input: expected a file name or a list of file names",
            ));
        }
        names
    }

    /// The resolved value of one included file; issues inside it are collected on the way.
    fn file(&mut self, name: &str, path: &str) -> Result<Value, String> {
        let base = self.chain.last().map_or(&self.directory, |link| &link.base);
        let named = base.join(name);
        let file = std::fs::canonicalize(&named);
        self.sources.push(named);
        let file = file.map_err(|cause| format!("cannot read included file {name:?}: {cause}"))?;
        if !file.starts_with(&self.directory) {
            return Err(format!(
                "included file {name:?} is outside the config directory"
            ));
        }
        if self.chain.iter().any(|link| link.file == file) {
            return Err(format!("circular include of {name:?}"));
        }
        if self.chain.len() > MAX_INCLUDE_LEVELS {
            return Err(format!(
                "includes nest deeper than {MAX_INCLUDE_LEVELS} levels at {name:?}"
            ));
        }
        let unreadable = |message: String| format!("included file {name:?}: {message}");
        let bytes = source::read(&file)
            .map_err(|fault| unreadable(fault.to_string()))?
            .ok_or_else(|| unreadable("file not found".to_owned()))?;
        let text = source::decode(&bytes).map_err(|issue| unreadable(issue.message))?;
        let included = source::parse_value(text).map_err(unreadable)?;
        let base = file.parent().unwrap_or(&self.directory).to_owned();
        self.chain.push(Link { file, base });
        let resolved = self.value(included, path);
        self.chain.pop();
        Ok(resolved)
    }
}

/// Objects merge member by member, lists are appended, everything else is replaced.
fn merge(target: &mut Value, addition: Value) {
    match (target, addition) {
        (Value::Object(members), Value::Object(additions)) => {
            for (name, addition) in additions {
                match members.get_mut(&name) {
                    Some(member) => merge(member, addition),
                    None => {
                        members.insert(name, addition);
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(additions)) => items.extend(additions),
        (target, addition) => *target = addition,
    }
}

/// Levels of objects and arrays; bounded because each file is measured before it is parsed.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::Home;
    use crate::config::word::{Bind, GatewayMode};

    #[test]
    fn includes_merge_and_stay_inside() {
        let home = Home::new("{$include: ['a.json', 'sub/b.json'], gateway: {port: 3}}");
        home.write(
            "a.json",
            "{gateway: {port: 1, bind: 'lan', nodes: {allowCommands: ['a']}}}",
        );
        home.write(
            "sub/b.json",
            "{gateway: {$include: './c.json', nodes: {allowCommands: ['b']}}}",
        );
        home.write("sub/c.json", "{port: 2, mode: 'local'}");
        let gateway = home.load().unwrap().config.gateway;
        assert_eq!(
            (gateway.port, gateway.bind, gateway.mode),
            (3, Bind::Lan, Some(GatewayMode::Local))
        );
        assert_eq!(gateway.nodes.allow_commands, ["a", "b"]);
    }

    #[test]
    fn a_list_may_be_a_file_and_a_link_includes_from_its_own_place() {
        let home = Home::new("");
        std::fs::create_dir(home.paths.home.join("dotfiles")).unwrap();
        let real = home.paths.home.join("dotfiles/real.json");
        std::fs::write(
            &real,
            "{gateway: {nodes: {allowCommands: {$include: 'list.json'}}}}",
        )
        .unwrap();
        std::fs::remove_file(&home.paths.config_file).unwrap();
        std::os::unix::fs::symlink(&real, &home.paths.config_file).unwrap();
        home.write("list.json", "['a', 'b']");
        let nodes = home.load().unwrap().config.gateway.nodes;
        assert_eq!(nodes.allow_commands, ["a", "b"]);
    }

    #[test]
    fn includes_that_cannot_be_are_issues() {
        let home = Home::new("{$include: 'a.json'}");
        std::fs::write(home.paths.home.join("outside.json"), "{}").unwrap();
        std::os::unix::fs::symlink(
            home.paths.home.join("outside.json"),
            home.paths.state_dir.join("link.json"),
        )
        .unwrap();
        let cases = [
            (
                "{$include: 'a.json'}",
                "<root>: circular include of \"a.json\"",
            ),
            (
                "{$include: '../outside.json'}",
                "<root>: included file \"../outside.json\" is outside the config directory",
            ),
            (
                "{$include: 'link.json'}",
                "<root>: included file \"link.json\" is outside the config directory",
            ),
            (
                "{gateway: {$include: 5}}",
                "gateway.$include: Invalid input: expected a file name or a list of file names",
            ),
            (
                "[]",
                "<root>: Invalid input: expected object, received array",
            ),
            (
                "{",
                "<root>: included file \"a.json\": JSON5 parse failed: EOF parsing object at 1:2",
            ),
        ];
        for (text, expected) in cases {
            home.write("a.json", text);
            assert_eq!(home.issues(), [expected]);
        }
        home.write(
            "a.json",
            "{$include: 'none.json', gateway: {$include: 'no.json'}}",
        );
        assert_eq!(home.issues().len(), 2, "both are reported");
        for level in 0..12 {
            home.write(
                &format!("l{level}.json"),
                &format!("{{$include: 'l{}.json'}}", level + 1),
            );
        }
        home.write("a.json", "{$include: 'l0.json'}");
        assert!(home.issues()[0].contains("deeper than 10 levels"));
        home.write(
            "b.json",
            &format!("{{a: {}1{}}}", "[".repeat(40), "]".repeat(40)),
        );
        home.write(
            "a.json",
            &format!(
                "{{agents: {}{{$include: 'b.json'}}{}}}",
                "[".repeat(40),
                "]".repeat(40)
            ),
        );
        assert_eq!(
            home.issues(),
            ["<root>: included files nest deeper than 64 levels"]
        );
    }
}
