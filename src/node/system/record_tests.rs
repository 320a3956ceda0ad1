use serde_json::{Value, json};

use super::super::params::CommandParams;
use crate::exec::{AgentPolicy, Entry, HostPolicy, Source};
use crate::node::environment::Variables;
use crate::node::machine::Machine;
use crate::node::system::{approvals_get, run};
use crate::node::testing::{TempDir, machine, policy};

fn approve(machine: &Machine, mut params: Value) {
    params["approvalDecision"] = "allow-always".into();
    let reply = run(machine, &params);
    assert!(reply.result.is_ok(), "{:?}", reply.result);
}

fn rules(machine: &Machine, agent: &str) -> Vec<(String, Option<Source>)> {
    let document = machine.approvals.load().document.unwrap();
    let agent: AgentPolicy = document.agents.find(agent).cloned().unwrap_or_default();
    let rules = agent.allowlist.into_iter();
    rules.map(|rule| (rule.pattern, rule.source)).collect()
}

fn lasting(pattern: &str) -> (String, Option<Source>) {
    (pattern.to_owned(), Some(Source::AllowAlways))
}

#[test]
fn an_approval_that_sticks_lets_the_program_run_again_unasked() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    let uname = json!({"command": ["uname", "-s"]});
    assert!(run(&machine, &uname).result.is_err());
    approve(&machine, json!({"command": ["uname", "-a"]}));
    approve(&machine, json!({"command": ["uname"], "agentId": "ops"}));
    assert_eq!(rules(&machine, "main"), [lasting("/usr/bin/uname")]);
    assert_eq!(rules(&machine, "ops"), [lasting("/usr/bin/uname")]);
    assert!(run(&machine, &uname).result.is_ok());
}

#[test]
fn an_approval_of_one_time_leaves_no_rule() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    let params = json!({"command": ["uname"], "approvalDecision": "allow-once"});
    assert!(run(&machine, &params).result.is_ok());
    assert!(
        run(&machine, &json!({"command": ["uname"], "approved": true}))
            .result
            .is_ok()
    );
    assert!(rules(&machine, "main").is_empty());
}

#[test]
fn what_runs_other_programs_sticks_as_its_line_alone() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    let find = |depth: &str| json!({"command": ["find", ".", "-maxdepth", depth]});
    approve(&machine, find("0"));
    let rules = rules(&machine, "main");
    assert_eq!(rules.len(), 1);
    assert!(rules[0].0.starts_with("=command:"), "{rules:?}");
    assert!(run(&machine, &find("0")).result.is_ok());
    assert!(run(&machine, &find("1")).result.is_err());
}

/// A line that was approved for good is one program, directory, script content and environment.
#[test]
fn a_line_that_sticks_is_bound_to_directory_script_and_environment() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    for name in ["a", "b"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("s.sh"), "echo good").unwrap();
    }
    let script = |name: &str, env: Value| json!({"command": ["sh", "s.sh"], "cwd": dir.path().join(name), "env": env});
    // The rule names the line and no path: a script file of one's own may change.
    let text = Entry::fingerprint("sh s.sh");
    let line = super::super::judged::bound_line(
        &machine,
        &CommandParams::parse(&script("a", json!({}))).unwrap(),
        &Variables::new(),
    );
    let rule = line.pattern().unwrap();
    for (pattern, runs) in [(rule.as_str(), true), (text.as_str(), false)] {
        let file = json!({"version": 1, "agents": {"main": {"allowlist": [
            {"pattern": pattern, "source": "allow-always"}]}}});
        policy(&dir, &file.to_string());
        let found = run(&machine, &script("a", json!({}))).result;
        assert_eq!(found.is_ok(), runs, "{pattern}: {found:?}");
        assert!(run(&machine, &script("b", json!({}))).result.is_err());
        let changed = script("a", json!({"LANG": "C"}));
        assert!(run(&machine, &changed).result.is_err());
    }
    policy(
        &dir,
        &json!({"version": 1, "agents": {"main": {"allowlist": [
            {"pattern": rule, "source": "allow-always"}]}}})
        .to_string(),
    );
    std::fs::write(dir.path().join("a/s.sh"), "echo evil").unwrap();
    assert!(run(&machine, &script("a", json!({}))).result.is_err());
}

#[test]
fn an_approval_with_variables_sticks_as_its_line_with_them() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    let with = |env: Value| json!({"command": ["uname"], "env": env});
    approve(&machine, with(json!({"A": "1"})));
    let rules = rules(&machine, "main");
    assert_eq!(rules.len(), 1);
    assert!(rules[0].0.starts_with("=command:"), "{rules:?}");
    assert!(run(&machine, &with(json!({"A": "1"}))).result.is_ok());
    for other in [json!({"A": "2"}), json!({"A": "1", "B": "1"}), json!({})] {
        assert!(run(&machine, &with(other)).result.is_err());
    }
}

/// What an interpreter of any kind would run, found in words, options, inner scripts and the directory.
#[test]
fn a_line_that_sticks_is_bound_to_what_its_interpreter_reads() {
    for (words, file) in [
        (&["expect", "s.exp"][..], "s.exp"),
        (&["nice", "expect", "-f", "s.exp"], "s.exp"),
        (&["sh", "-c", "expect s.exp"], "s.exp"),
        (&["make"], "Makefile"),
        (&["make", "-Csub"], "sub/Makefile"),
        (&["sh", "-c", "cd sub && make all"], "sub/Makefile"),
        (&["make", "--file=x.mk"], "x.mk"),
    ] {
        let dir = TempDir::new();
        let mut machine = machine(&dir);
        let programs = dir.path().join("bin");
        std::fs::create_dir(&programs).unwrap();
        machine.path = format!("{}:/usr/bin:/bin", programs.display());
        for name in ["expect", "make"] {
            std::fs::copy("/usr/bin/true", programs.join(name)).unwrap();
        }
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join(file), "good").unwrap();
        std::fs::write(dir.path().join("data"), "1").unwrap();
        let line = json!({"command": words, "cwd": dir.path()});
        approve(&machine, line.clone());
        std::fs::write(dir.path().join("data"), "2").unwrap();
        assert!(run(&machine, &line).result.is_ok(), "{words:?}");
        std::fs::write(dir.path().join(file), "evil").unwrap();
        assert!(run(&machine, &line).result.is_err(), "{words:?}");
    }
}

#[test]
fn under_strict_inline_evaluation_an_evaluated_text_never_sticks() {
    let dir = TempDir::new();
    let mut machine = machine(&dir);
    machine.host_policy = Box::new(|_| {
        Ok(HostPolicy {
            strict_inline_eval: true,
            ..HostPolicy::default()
        })
    });
    approve(
        &machine,
        json!({"command": ["find", ".", "-maxdepth", "0", "-exec", "true", ";"]}),
    );
    assert!(rules(&machine, "main").is_empty());
}

#[test]
fn no_run_makes_rules_for_every_agent() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    approve(&machine, json!({"command": ["uname"], "agentId": "*"}));
    assert!(rules(&machine, "*").is_empty());
}

#[test]
fn the_use_of_an_agents_rule_is_told_and_leaves_the_hash_alone() {
    let dir = TempDir::new();
    policy(
        &dir,
        r#"{"version":1,"agents":{"*":{"allowlist":["uname"]},"main":{"allowlist":["echo"]}}}"#,
    );
    let machine = machine(&dir);
    let hash = approvals_get(&machine).unwrap()["hash"].clone();
    for command in [json!(["echo", "a b"]), json!(["uname"])] {
        assert!(run(&machine, &json!({"command": command})).result.is_ok());
    }
    let seen = approvals_get(&machine).unwrap();
    assert_eq!(seen["hash"], hash);
    let rule = |agent: &str| seen["file"]["agents"][agent]["allowlist"][0].clone();
    assert!(rule("main")["lastUsedAt"].as_u64().unwrap() > 0);
    assert_eq!(rule("main")["lastUsedCommand"], "echo \"a b\"");
    assert_eq!(rule("main")["lastResolvedPath"], "/usr/bin/echo");
    assert!(rule("*").get("lastUsedAt").is_none());
}

#[test]
fn a_rule_that_an_approval_adds_is_one_line_of_the_trail() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    for _ in 0..2 {
        approve(&machine, json!({"command": ["uname"]}));
    }
    let text = std::fs::read_to_string(dir.path().join("node-audit.jsonl")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let edits: Vec<_> = lines
        .iter()
        .filter(|line| line["action"] == "policy.edited")
        .collect();
    assert_eq!(edits.len(), 1, "{text}");
    assert_eq!(
        edits[0]["changes"],
        json!(["agents.main.allowlist: + /usr/bin/uname (source allow-always)"])
    );
    assert_eq!(lines.len(), 3, "{text}");
}
