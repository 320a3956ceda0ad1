//! Package runners and script runtimes with sub-commands: which argument is the program or script they
//! start (node-host specification, section 3.9).
//!
//! Pure functions over an argv. An option that is not known may take a value, load code or change the
//! directory: then the answer is "unclear", which nobody may bind.

use super::wrapper::base_name;

/// What a package runner starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The argv is no package runner, or one that starts nothing the command line names.
    None,
    /// The command starts at this index.
    Command(usize),
    /// Options are in the way.
    Unclear,
}

struct Options {
    flags: &'static [&'static str],
    values: &'static [&'static str],
}

const NPM_EXEC: Options = Options {
    flags: &[
        "-y",
        "--yes",
        "--no",
        "--no-install",
        "-q",
        "--quiet",
        "-s",
        "--silent",
        "--offline",
        "--prefer-offline",
        "--prefer-online",
        "--ignore-existing",
    ],
    values: &["-p", "--package", "--cache", "--loglevel"],
};

const BUNX: Options = Options {
    flags: &["--bun", "--no-install", "--silent", "--verbose"],
    values: &["-p", "--package"],
};

const PNPM_EXEC: Options = Options {
    flags: &["-s", "--silent", "--no-bail"],
    values: &[],
};

const PNPM_DLX: Options = Options {
    flags: &["-s", "--silent"],
    values: &["--package"],
};

/// `bun` before or after `run`.
const BUN: Options = Options {
    flags: &[
        "-b",
        "--bun",
        "--hot",
        "--watch",
        "--smol",
        "--silent",
        "--no-install",
        "--prefer-offline",
        "--no-clear-screen",
        "--no-deprecation",
        "--inspect",
        "--inspect-brk",
        "--inspect-wait",
    ],
    values: &[],
};

/// `deno run`; permissions (`--allow-…`, `--deny-…`) beside these.
const DENO_RUN: Options = Options {
    flags: &[
        "-A",
        "-E",
        "-N",
        "-R",
        "-S",
        "-W",
        "-q",
        "--quiet",
        "-r",
        "--reload",
        "--cached-only",
        "--check",
        "--frozen",
        "--no-check",
        "--no-lock",
        "--no-npm",
        "--no-prompt",
        "--no-remote",
        "--watch",
    ],
    values: &[],
};

/// Sub-commands of `bun` that read no script the command line names.
const BUN_COMMANDS: &[&str] = &[
    "add", "audit", "build", "create", "info", "init", "install", "link", "outdated", "patch",
    "pm", "publish", "remove", "test", "unlink", "update", "upgrade", "why",
];

/// Sub-commands of `deno` that run no script.
const DENO_COMMANDS: &[&str] = &[
    "add",
    "cache",
    "check",
    "clean",
    "completions",
    "doc",
    "fmt",
    "info",
    "init",
    "install",
    "lint",
    "outdated",
    "remove",
    "types",
    "uninstall",
    "upgrade",
];

/// The step over a package runner.
pub fn step(argv: &[String]) -> Step {
    let Some(program) = argv.first() else {
        return Step::None;
    };
    let second = argv.get(1).map_or("", String::as_str);
    match (base_name(program).as_str(), second) {
        ("npx", _) => NPM_EXEC.command(argv, 1, &[]),
        ("bunx", _) => BUNX.command(argv, 1, &[]),
        ("bun", "x") => BUNX.command(argv, 2, &[]),
        ("npm", "exec" | "x") => NPM_EXEC.command(argv, 2, &[]),
        ("pnpm", "exec") => PNPM_EXEC.command(argv, 2, &[]),
        ("pnpm", "dlx") => PNPM_DLX.command(argv, 2, &[]),
        ("pnpm", "node") => Step::Command(1),
        // Options in front of the sub-command: some take a value, some change the directory.
        ("npm" | "pnpm", option) if option.starts_with('-') => {
            let starts = ["exec", "x", "dlx", "node"];
            if argv.iter().any(|word| starts.contains(&word.as_str())) {
                Step::Unclear
            } else {
                Step::None
            }
        }
        ("yarn", "exec" | "dlx" | "node") => Step::Unclear,
        _ => Step::None,
    }
}

/// What a runtime reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// No script that the command line names.
    None,
    /// The argument at this index, if it is a file.
    At(usize),
    /// It cannot be told.
    Unclear,
}

/// The script of an argv whose program is `bun`.
pub fn bun_script(argv: &[String]) -> Script {
    let at = match BUN.command(argv, 1, &[]) {
        Step::Command(at) => at,
        Step::None => return Script::None,
        Step::Unclear => return Script::Unclear,
    };
    match argv[at].as_str() {
        "run" => match BUN.command(argv, at + 1, &[]) {
            Step::Command(at) => Script::At(at),
            Step::None => Script::None,
            Step::Unclear => Script::Unclear,
        },
        name if BUN_COMMANDS.contains(&name) => Script::None,
        name if is_path_like(name) => Script::At(at),
        // A script of the package's own list, or a command this list does not know.
        _ => Script::Unclear,
    }
}

/// The script of an argv whose program is `deno`.
pub fn deno_script(argv: &[String]) -> Script {
    match argv.get(1).map(String::as_str) {
        None | Some("--version" | "-V" | "--help" | "-h") => Script::None,
        Some("run") => match DENO_RUN.command(argv, 2, &["--allow-", "--deny-", "--unstable"]) {
            Step::Command(at) => Script::At(at),
            Step::None => Script::None,
            Step::Unclear => Script::Unclear,
        },
        Some(name) if DENO_COMMANDS.contains(&name) => Script::None,
        Some(_) => Script::Unclear,
    }
}

impl Options {
    /// The first word behind the options; `families` are starts of further flags.
    fn command(&self, argv: &[String], mut index: usize, families: &[&str]) -> Step {
        while let Some(token) = argv.get(index) {
            let name = token
                .split_once('=')
                .map_or(token.as_str(), |(name, _)| name);
            if token == "--" {
                index += 1;
                break;
            } else if !token.starts_with('-') {
                break;
            } else if self.values.contains(&token.as_str()) {
                index += 2;
            } else if self.flags.contains(&name)
                || (name.len() < token.len() && self.values.contains(&name))
                || families.iter().any(|family| token.starts_with(family))
            {
                index += 1;
            } else {
                return Step::Unclear;
            }
        }
        if index < argv.len() {
            Step::Command(index)
        } else {
            Step::None
        }
    }
}

fn is_path_like(name: &str) -> bool {
    const EXTENSIONS: &[&str] = &["cjs", "cts", "js", "jsx", "mjs", "mts", "ts", "tsx"];
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    name.contains('/')
        || name.starts_with('.')
        || extension.is_some_and(|e| EXTENSIONS.contains(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn package_runners_are_stepped_over() {
        let cases = [
            ("npx tsx s.ts", Step::Command(1)),
            ("npx -y --package=tsx -p x -- tsx s.ts", Step::Command(6)),
            ("npx -c tsx", Step::Unclear),
            ("npx --call=tsx", Step::Unclear),
            ("npx --bogus tsx", Step::Unclear),
            ("bunx --bun tsx s.ts", Step::Command(2)),
            ("bun x tsx s.ts", Step::Command(2)),
            ("npm exec --yes -- tsx s.ts", Step::Command(4)),
            ("npm x tsx", Step::Command(2)),
            ("npm install", Step::None),
            ("npm --prefix x exec tsx", Step::Unclear),
            ("npm --version", Step::None),
            ("pnpm exec tsx", Step::Command(2)),
            ("pnpm exec -c tsx", Step::Unclear),
            ("pnpm exec --shell-mode tsx", Step::Unclear),
            ("pnpm -r exec tsx", Step::Unclear),
            ("pnpm dlx --package tsx tsx s.ts", Step::Command(4)),
            ("pnpm node s.js", Step::Command(1)),
            ("pnpm install", Step::None),
            ("yarn dlx tsx", Step::Unclear),
            ("yarn build", Step::None),
            ("npx", Step::None),
            ("ls", Step::None),
        ];
        for (line, expected) in cases {
            assert_eq!(step(&argv(line)), expected, "{line}");
        }
    }

    #[test]
    fn runtimes_name_their_script() {
        let cases = [
            ("bun s.ts", Script::At(1)),
            ("bun --hot ./s", Script::At(2)),
            ("bun run --watch s.ts", Script::At(3)),
            ("bun run", Script::None),
            ("bun install", Script::None),
            ("bun -e x", Script::Unclear),
            ("bun --preload x s.ts", Script::Unclear),
            ("bun run --preload x s.ts", Script::Unclear),
            ("bun dev", Script::Unclear),
            ("deno run -A --allow-net=x s.ts", Script::At(4)),
            ("deno run --import-map x s.ts", Script::Unclear),
            ("deno run --no-check=remote s.ts", Script::At(3)),
            ("deno eval x", Script::Unclear),
            ("deno s.ts", Script::Unclear),
            ("deno fmt", Script::None),
            ("deno --version", Script::None),
        ];
        for (line, expected) in cases {
            let argv = argv(line);
            let found = if argv[0] == "bun" {
                bun_script(&argv)
            } else {
                deno_script(&argv)
            };
            assert_eq!(found, expected, "{line}");
        }
    }
}
