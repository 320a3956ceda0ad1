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
        ("npx|thing", "cannot"),
        ("bun|s.py", "cannot"),
        ("busybox|sh|s.sh", "cannot"),
        ("busybox|ls", "cannot"),
        ("sh|-c|echo hi", "none"),
        ("sh|-c|./s.sh", "cannot"),
        ("sh|-c|data", "cannot"),
        ("sh|-c|python3 s.py", "cannot"),
        ("sh|-c|sh s.sh", "cannot"),
        ("sh|-c|. s.sh", "cannot"),
        ("sh|-c|echo $(date)", "cannot"),
        ("sh|-c|A=1 ls", "cannot"),
        ("sh|-c|sudo ls", "cannot"),
        ("sh|-c|echo|x", "cannot"),
        ("sh|s.sh|-c|x", "cannot"),
    ];
    for (line, expected) in cases {
        let argv: Vec<String> = line.split('|').map(str::to_owned).collect();
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
