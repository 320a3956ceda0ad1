//! Every finding in its exact words.

use serde_json::json;

use super::*;

const INNER: Kind = Kind::Object(&[required("id", NAME), optional("n", COUNT)]);
const SCHEMA: Kind = Kind::Object(&[
    required("type", Kind::Constant("req")),
    required("client", INNER),
    optional("mode", Kind::OneOf(&["a", "b"])),
    optional("timeoutMs", Kind::Integer { min: 1, max: 10 }),
    optional("ids", Kind::List { of: &NAME, min: 1 }),
    optional("flags", Kind::Map(&Kind::Boolean)),
    optional("any", Kind::Any),
    optional("open", Kind::Open(&[optional("text", TEXT)])),
]);

fn list(value: Value) -> String {
    check(&value, &SCHEMA).err().unwrap_or_default()
}

#[test]
fn each_finding_has_its_exact_text() {
    let good = json!({"type":"req","client":{"id":"x"}});
    let with = |name: &str, value: Value| {
        let mut value_of = good.clone();
        value_of[name] = value;
        list(value_of)
    };
    assert_eq!(list(good.clone()), "");
    let whole = [
        (json!(null), "must be object"),
        (json!([]), "must be object"),
        (json!("x"), "must be object"),
        (
            json!({"type":"req"}),
            "must have required property 'client'",
        ),
        (
            json!({"zzz":1,"type":"x"}),
            "must have required property 'client'; at root: unexpected property 'zzz'; \
             at /type: must be equal to constant",
        ),
    ];
    for (value, text) in whole {
        assert_eq!(list(value), text);
    }
    let single = [
        (
            "client",
            json!({}),
            "at /client: must have required property 'id'",
        ),
        (
            "client",
            json!({"id":"x","x":1}),
            "at /client: unexpected property 'x'",
        ),
        ("client", json!({"id":1}), "at /client/id: must be string"),
        (
            "client",
            json!({"id":""}),
            "at /client/id: must NOT have fewer than 1 characters",
        ),
        ("client", json!(1), "at /client: must be object"),
        (
            "client",
            json!({"id":"x","n":-1}),
            "at /client/n: must be >= 0",
        ),
        (
            "client",
            json!({"id":"x","n":1.5}),
            "at /client/n: must be integer",
        ),
        (
            "client",
            json!({"id":"x","n":"1"}),
            "at /client/n: must be integer",
        ),
        ("client", json!({"id":"x","n":2.0}), ""),
        (
            "client",
            json!({"id":"x","n":null}),
            "at /client/n: must be integer",
        ),
        (
            "mode",
            json!("c"),
            "at /mode: must be equal to one of the allowed values",
        ),
        (
            "mode",
            json!(1),
            "at /mode: must be equal to one of the allowed values",
        ),
        ("timeoutMs", json!(0), "at /timeoutMs: must be >= 1"),
        ("timeoutMs", json!(11), "at /timeoutMs: must be <= 10"),
        ("timeoutMs", json!(u64::MAX), "at /timeoutMs: must be <= 10"),
        (
            "ids",
            json!([]),
            "at /ids: must NOT have fewer than 1 items",
        ),
        ("ids", json!({}), "at /ids: must be array"),
        (
            "ids",
            json!(["a", ""]),
            "at /ids/1: must NOT have fewer than 1 characters",
        ),
        (
            "flags",
            json!({"a":true,"b/~":1}),
            "at /flags/b~1~0: must be boolean",
        ),
        ("flags", json!(true), "at /flags: must be object"),
        ("any", json!(null), ""),
        ("open", json!({"x":1,"text":"t"}), ""),
        (
            "open",
            json!({"x":1,"text":1}),
            "at /open/text: must be string",
        ),
    ];
    for (name, value, text) in single {
        assert_eq!(with(name, value.clone()), text, "{name} {value}");
    }
}

#[test]
fn the_list_is_bounded() {
    let map: Map<String, Value> = (0..10_000)
        .map(|n| (format!("{n}{}", "é".repeat(500)), Value::Null))
        .collect();
    let text = list(Value::Object(map));
    assert!(
        text.len() < MAX_LIST_BYTES + MAX_ITEM_BYTES + 64,
        "{}",
        text.len()
    );
    assert!(
        text.starts_with("must have required property 'type'; must have"),
        "{text}"
    );
    assert!(text.ends_with(" more"), "{text}");
}

#[test]
fn params_name_their_method_and_may_be_absent() {
    const KIND: Kind = Kind::Object(&[optional("n", COUNT)]);
    for params in [None, Some(Value::Null), Some(json!({}))] {
        assert!(parse_params("x.y", params, &KIND).is_ok());
    }
    let text = |params| {
        parse_params("x.y", Some(params), &KIND)
            .unwrap_err()
            .message
    };
    assert_eq!(text(json!([])), "invalid x.y params: must be object");
    assert_eq!(
        text(json!({"n":true})),
        "invalid x.y params: at /n: must be integer"
    );
}

#[test]
fn fields_come_out_typed() {
    let value = json!({"t":"x","l":["a"],"b":true,"n":3.0,"o":{"t":"y"},"v":[1]});
    let mut fields = Fields::parse(value, &Kind::Open(&[])).unwrap();
    assert_eq!(fields.text("t").as_deref(), Some("x"));
    assert_eq!(fields.text("t"), None);
    assert_eq!(fields.texts("l"), Some(vec!["a".to_owned()]));
    assert_eq!(fields.boolean("b"), Some(true));
    assert_eq!(fields.count("n"), Some(3));
    assert_eq!(fields.object("o").unwrap().required_text("t"), "y");
    assert_eq!(fields.value("v"), Some(json!([1])));
    assert_eq!(fields.required_text("absent"), "");
}

#[test]
fn bounds_are_told_like_every_other_finding() {
    const SHORT: Kind = Kind::Bounded { of: &NAME, max: 3 };
    const FEW: Kind = Kind::Bounded {
        of: &Kind::List { of: &SHORT, min: 0 },
        max: 2,
    };
    for (value, kind, expected) in [
        (json!("abc"), &SHORT, ""),
        (json!("日本語"), &SHORT, ""),
        (
            json!("abcd"),
            &SHORT,
            "must NOT have more than 3 characters",
        ),
        (json!(""), &SHORT, "must NOT have fewer than 1 characters"),
        (json!(1), &SHORT, "must be string"),
        (json!(["a", "b"]), &FEW, ""),
        (
            json!(["a", "b", "c"]),
            &FEW,
            "must NOT have more than 2 items",
        ),
        (
            json!(["abcd"]),
            &FEW,
            "at /0: must NOT have more than 3 characters",
        ),
        (json!("a"), &FEW, "must be array"),
    ] {
        assert_eq!(
            check(&value, kind).err().unwrap_or_default(),
            expected,
            "{value}"
        );
    }
}
