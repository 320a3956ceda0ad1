use super::*;
use crate::exec::testing::TempDir;

#[test]
fn operands() {
    let dir = TempDir::new();
    for name in ["s.sh", "s.py", "lib.rb", "data"] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    std::fs::create_dir(dir.path().join("package")).unwrap();
    let cases = [
        ("ls|-l", "none"),
        ("sh|s.sh", "1 s.sh"),
        ("bash|-e|-o|pipefail|s.sh|x", "4 s.sh"),
        ("bash|--|s.sh", "2 s.sh"),
        ("bash|--rcfile|data|s.sh", "cannot"),
        ("sh|-s", "none"),
        ("sh|gone.sh", "missing"),
        ("sh|package", "not a file"),
        ("python3|s.py|data", "1 s.py"),
        ("/usr/bin/python3.11|s.py", "1 s.py"),
        ("python3|-", "none"),
        ("python3|-u|s.py", "2 s.py"),
        ("python3|-m|s", "cannot"),
        ("python3|-c|print(1)", "cannot"),
        ("python3|-u|s.py|data", "cannot"),
        ("node|gone.js", "missing"),
        ("node|--require|./data|s.py", "cannot"),
        ("node|--require=./data|s.py", "cannot"),
        ("ruby3.1|-rlib|s.py", "cannot"),
        ("perl|-wMstrict|s.py", "cannot"),
        ("perl|-w|s.py", "2 s.py"),
        ("php|-d|auto_prepend_file=data|s.py", "cannot"),
        ("awk|{print}|data", "2 data"),
        ("sed|-fdata|s.py", "cannot"),
        ("nice|-n|3|sh|s.sh", "4 s.sh"),
        ("env|A=1|python3|s.py", "3 s.py"),
        ("env|-S|python3 s.py", "cannot"),
        ("sudo|ls", "none"),
        ("sudo|/usr/bin/python3|s.py", "cannot"),
        ("npx|thing", "none"),
        ("npx|-y|tsx|s.py", "3 s.py"),
        ("npx|./s.sh", "cannot"),
        ("npx|-c|thing", "cannot"),
        ("npx|sh|-c|thing", "cannot"),
        ("npm|exec|--|python3|s.py", "4 s.py"),
        ("pnpm|node|s.py", "2 s.py"),
        ("pnpm|exec|--shell-mode|x", "cannot"),
        ("npx|npx|npx|npx|tsx|s.py", "5 s.py"),
        ("npx|npx|npx|npx|npx|tsx|s.py", "cannot"),
        ("npx|nice|tsx|s.py", "3 s.py"),
        ("nice|npx|tsx|s.py", "3 s.py"),
        ("npm|install", "none"),
        ("bun|./s.py", "1 s.py"),
        ("bun|s.py", "cannot"),
        ("bun|gone.ts", "cannot"),
        ("bun|install", "none"),
        ("bun|-e|x", "cannot"),
        ("deno|run|-A|s.py", "3 s.py"),
        ("deno|run|https://x/y.ts", "cannot"),
        ("deno|eval|x", "cannot"),
        ("pwsh|-c|ls", "cannot"),
        ("busybox|sh|s.sh", "applet"),
        ("busybox|ls", "applet"),
        ("sh|-c|echo hi", "none"),
        ("sh|-c|./s.sh", "cannot"),
        ("sh|-c|data", "cannot"),
        ("sh|-c|python3 s.py", "cannot"),
        ("sh|-c|sh s.sh", "cannot"),
        ("sh|-c|. s.sh", "cannot"),
        ("sh|-c|echo $(date)", "none"),
        ("sh|-c|echo $(./s.sh)", "cannot"),
        ("sh|-c|echo \"$(sh s.sh)\"", "cannot"),
        (
            "sh|-lc|mkdir -p x && ls > out 2>&1 || true; echo $?",
            "none",
        ),
        ("sh|-c|for f in *.c; do wc -l \"$f\"; done", "none"),
        ("sh|-c|if [ -f data ]; then cat data; fi", "none"),
        ("sh|-c|ls & ./s.sh", "cannot"),
        ("sh|-c|ls\n./s.sh", "cannot"),
        ("sh|-c|cat data \\| sh", "cannot"),
        ("sh|-c|ls; data", "cannot"),
        ("sh|-c|cd package; data", "none"),
        ("sh|-c|cd package; ./data", "cannot"),
        ("sh|-c|X=./s.sh; $X", "cannot"),
        ("sh|-c|./*.sh", "cannot"),
        ("sh|-c|A=1 ls", "none"),
        ("sh|-c|PATH=. ls", "cannot"),
        ("sh|-c|export PATH=.; ls", "cannot"),
        ("sh|-c|export A=1; ls", "none"),
        ("sh|-c|LD_PRELOAD=./x ls", "cannot"),
        ("sh|-c|eval ls", "cannot"),
        ("sh|-c|f() { ls; }; f", "cannot"),
        ("sh|-c|ls <<X", "cannot"),
        ("sh|-c|sed s/a/b/", "cannot"),
        ("sh|-c|ls \\| sed s/a/b/ \\| awk '{print $1}'", "none"),
        ("sh|-c|ls \\| sed -f data", "cannot"),
        ("sh|-c|ls \\| sed p data", "cannot"),
        ("sh|-c|ls \\| python3 -", "cannot"),
        ("sh|-c|nice sudo sh", "cannot"),
        ("sh|-c|sudo ls", "cannot"),
        ("sh|-c|echo $1|x|y", "none"),
        ("sh|-c|\"$@\"|x|./s.sh", "cannot"),
        ("sh|s.sh|-c|x", "cannot"),
    ];
    for (line, expected) in cases {
        // `\|` is a pipe inside a word.
        let line = line.replace("\\|", "\u{1}");
        let words = line.split('|').map(|word| word.replace('\u{1}', "|"));
        let argv: Vec<String> = words.collect();
        let found = match find(&unwrap(&argv), dir.path()) {
            Ok(None) => "none".to_owned(),
            Ok(Some(operand)) => {
                let name = Path::new(&operand.path).strip_prefix(dir.path()).unwrap();
                assert_eq!(
                    operand.sha256,
                    sha256_hex(name.to_str().unwrap().as_bytes())
                );
                format!("{} {}", operand.index, name.display())
            }
            Err(BindFault::Applet) => "applet".to_owned(),
            Err(BindFault::CannotBind) => "cannot".to_owned(),
            Err(BindFault::Missing) => "missing".to_owned(),
            Err(BindFault::NotFile) => "not a file".to_owned(),
            Err(BindFault::Unstable) => "unstable".to_owned(),
        };
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn a_changed_script_is_noticed() {
    let dir = TempDir::new();
    let script = dir.path().join("s.sh");
    std::fs::write(&script, "echo 1").unwrap();
    let argv = vec!["sh".to_owned(), "s.sh".to_owned()];
    let operand = find(&unwrap(&argv), dir.path()).unwrap().unwrap();
    assert!(operand.is_unchanged(&argv, dir.path()));
    std::fs::write(&script, "echo 2").unwrap();
    assert!(!operand.is_unchanged(&argv, dir.path()));
    std::fs::remove_file(&script).unwrap();
    assert!(!operand.is_unchanged(&argv, dir.path()));
}
