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
