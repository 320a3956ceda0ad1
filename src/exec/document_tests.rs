use super::*;

#[test]
fn faults_name_line_and_column() {
    let cases = [
        (
            "{\"version\":1,\n \"agent\":{}}",
            "unknown field `agent`",
            "line 2 column 8",
        ),
        (
            "{\"version\":2}",
            "version must be 1, found 2",
            "line 1 column 13",
        ),
        ("{}", "missing field `version`", "line 1 column 2"),
        ("[]", "invalid type: sequence", ""),
        (
            "{\"version\":1,\"defaults\":[\"full\"]}",
            "invalid type: sequence",
            "line 1",
        ),
        (
            "{\"version\":1,\"agents\":{\"a\":[\"full\"]}}",
            "invalid type: sequence",
            "line 1",
        ),
        (
            "{\"version\":1,\"defaults\":{\"security\":\"fulll\"}}",
            "unknown variant `fulll`, expected one of `deny`, `allowlist`, `full`",
            "line 1 column 43",
        ),
        (
            "{\"version\":1,\"agents\":{\"*\":{\"allowlist\":[{\"patern\":\"x\"}]}}}",
            "unknown field `patern`",
            "line 1",
        ),
        (
            "{\"version\":1,\"agents\":{\"*\":{\"allowlist\":[7]}}}",
            "a rule",
            "line 1 column 42",
        ),
        (
            "{\"version\":1,\"agents\":{\"a\":{},\"a\":{}}}",
            "agent `a` stands twice",
            "line 1",
        ),
        (
            "{\"version\":1,\"defaults\":{\"ask\":\"never\"}}",
            "unknown variant `never`",
            "line 1",
        ),
        ("{\"version\":1", "EOF while parsing", "line 1 column 12"),
        (
            "{\"version\":1,\n\"version\":1}",
            "duplicate field `version`",
            "line 2 column 9",
        ),
        (
            "{\"version\":1,\"defaults\":{\"ask\":\"off\",\r\n\"ask\":\"off\"}}",
            "defaults: duplicate field `ask`",
            "line 2 column 5",
        ),
        (
            "{\"version\":1,\"agents\":{},\"agents\":{}}",
            "duplicate field `agents`",
            "line 1",
        ),
        (
            "{\"version\":1,\"agents\":{\"a\":{\n\"security\":null}}}",
            "agents.a: expected value",
            "line 2 column 12",
        ),
        (
            "{\"version\":1,\"agents\":{\"a\":{\"autoAllowSkills\":\"yes\"}}}",
            "agents.a: invalid type: string \"yes\", expected a boolean",
            "line 1",
        ),
        (
            "{\"version\":1,\"agents\":{\"a\":{\"allowlist\":[\"ls\",\n{\"pattern\":\"x\",\"source\":\"me\"}]}}}",
            "agents.a: allowlist[1]: unknown variant `me`, expected `allow-always`",
            "line 2 column 28",
        ),
        (
            "{\"version\":1,\"agents\":{\"a\":{\"allowlist\":[{\"id\":\"1\"}]}}}",
            "missing field `pattern`",
            "line 1",
        ),
        (
            "{\"version\":1,\"socket\":null}",
            "socket: invalid type: null",
            "line 1",
        ),
        (
            "{\"version\":1,\"socket\":{\"tokn\":\"\"}}",
            "socket: unknown field `tokn`",
            "line 1",
        ),
        (
            "{\"version\":1.0}",
            "invalid type: floating point",
            "line 1",
        ),
    ];
    for (text, said, place) in cases {
        let error = Document::parse(text).unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains(place),
            "{text}: {error}"
        );
    }
}

#[test]
fn normalizing_joins_the_former_main_agent_and_names_every_rule() {
    let text = r#"{"version":1,"socket":{"path":"/s","token":"t"},"agents":{
        "default":{"security":"full","ask":"off","allowlist":["GIT"," ",{"pattern":"ls","commandText":"ls"}]},
        "main":{"security":"deny","allowlist":[{"id":"1","pattern":"git","lastUsedAt":5}]}}}"#;
    let mut document = Document::parse(text).unwrap();
    let mut next = 0;
    document.normalize(|| {
        next += 1;
        format!("new-{next}")
    });
    let expected = r#"{"version":1,"socket":{"path":"/s","token":"t"},"defaults":{},"agents":{"main":{"security":"deny","ask":"off","allowlist":[{"id":"1","pattern":"git","lastUsedAt":5},{"id":"new-1","pattern":"ls"}]}}}"#;
    assert_eq!(serde_json::to_string(&document).unwrap(), expected);
    let again = Document::parse(&document.render().unwrap()).unwrap();
    assert_eq!(again, document);
}

#[test]
fn deep_nesting_is_refused_with_its_place() {
    let deep = format!("{{\"version\":1,\n\"agents\":{}", "[".repeat(100_000));
    let error = Document::parse(&deep).unwrap_err().to_string();
    assert!(error.contains("line 2 column"), "{error}");
}

#[test]
fn faults_of_a_value_name_the_member() {
    let value =
        serde_json::json!({"version": 1, "agents": {"a": {"allowlist": ["ls", {"patern": "x"}]}}});
    let error = Document::from_value(value).unwrap_err().to_string();
    assert!(
        error.starts_with("agents.a: allowlist[1]: unknown field `patern`"),
        "{error}"
    );
}

#[test]
fn an_approval_that_sticks_upgrades_the_rule_that_stands_there() {
    let text = r#"{"version":1,"agents":{"main":{"allowlist":["/bin/ls",{"pattern":"/bin/rg","argPattern":"x"}]}}}"#;
    let mut document = Document::parse(text).unwrap();
    let patterns = ["/bin/ls", "/bin/rg"].map(str::to_owned);
    assert!(document.trust("main", &patterns, 7));
    assert!(
        !document.trust("main", &patterns, 8),
        "nothing is left to change"
    );
    let rules = &document.agents.find("main").unwrap().allowlist;
    let seen: Vec<_> = rules
        .iter()
        .map(|rule| {
            (
                rule.pattern.as_str(),
                rule.arg_pattern.is_some(),
                rule.is_durable(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("/bin/ls", false, true),
            ("/bin/rg", true, false),
            ("/bin/rg", false, true)
        ]
    );
    assert!(document.trust("other", &patterns[..1], 9));
    assert_eq!(
        document.agents.find("other").unwrap().allowlist[0].last_used_at,
        Some(9.into())
    );
}

#[test]
fn a_command_text_is_trusted_by_its_fingerprint_or_as_former_versions_wrote_it() {
    let text = "sh -c \"echo $(date)\"";
    assert_eq!(Entry::fingerprint(text), "=command:27de7c1b9fae1985");
    let entry = |json: serde_json::Value| -> Entry { serde_json::from_value(json).unwrap() };
    let cases = [
        (
            serde_json::json!({"pattern": "=command:27de7c1b9fae1985", "source": "allow-always"}),
            true,
        ),
        (
            serde_json::json!({"pattern": "=command:27de7c1b9fae1985"}),
            false,
        ),
        (
            serde_json::json!({"pattern": "/bin/sh", "source": "allow-always", "commandText": format!(" {text} ")}),
            true,
        ),
        (
            serde_json::json!({"pattern": "/bin/sh", "commandText": text}),
            false,
        ),
        (
            serde_json::json!({"pattern": "/bin/sh", "source": "allow-always", "commandText": "sh"}),
            false,
        ),
    ];
    for (json, trusted) in cases {
        assert_eq!(entry(json.clone()).trusts_text(text), trusted, "{json}");
    }
}

#[test]
fn removing_the_last_rule_removes_an_agent_that_sets_nothing() {
    let text = r#"{"version":1,"agents":{"a":{"allowlist":["x","y"]},"b":{"ask":"off","allowlist":["x"]}}}"#;
    let mut document = Document::parse(text).unwrap();
    assert!(!document.disallow("a", "z") && !document.disallow("c", "x"));
    assert!(document.disallow("a", "x") && document.disallow("b", " x"));
    assert_eq!(document.agents.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert!(document.disallow("a", "y"));
    assert_eq!(document.agents.keys().collect::<Vec<_>>(), ["b"]);
}
