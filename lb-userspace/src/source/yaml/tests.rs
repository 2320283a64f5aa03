use proptest::prelude::*;
use serde::Deserialize;

use super::*;

fn one(text: &str) -> Node {
    let mut documents = parse(text).expect("valid YAML");
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

fn error(text: &str) -> YamlError {
    parse(text).expect_err("not valid")
}

/// What a document and its outline agree on.
fn line_of(document: &Node, field: &str) -> u32 {
    let line = document.line_of(field);
    assert_eq!(Outline::of(document).line_of(field), line, "{field}");
    line
}

fn string(text: &str) -> Value {
    Value::String(text.into())
}

#[test]
fn plain_scalars_follow_the_core_schema() {
    let cases = [
        ("", Value::Null),
        ("~", Value::Null),
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("False", Value::Bool(false)),
        ("yes", string("yes")),
        ("12", Value::Integer(12)),
        ("-3", Value::Integer(-3)),
        ("0x1f", Value::Integer(31)),
        ("0o17", Value::Integer(15)),
        ("1.5", Value::Float(1.5)),
        ("1e3", Value::Float(1000.0)),
        ("1.2.3.4", string("1.2.3.4")),
        ("10.0.0.0/8", string("10.0.0.0/8")),
        ("50m", string("50m")),
        (".inf", string(".inf")),
        ("-x", string("-x")),
        ("'12'", string("12")),
        ("\"true\"", string("true")),
        ("!!str 12", string("12")),
    ];
    for (text, value) in cases {
        let document = one(&format!("key: {text}\n"));
        assert_eq!(document.get("key").map(|node| &node.value), Some(&value), "{text}");
    }
}

#[test]
fn keys_are_what_was_written() {
    assert!(one("9000: a").get("9000").is_some());
    assert!(one("true: a").get("true").is_some());
    assert!(error("{[a]: b}").message.contains("key"));
    assert_eq!(error("a: 1\nb: 2\na: 3\n"), YamlError { line: 3, message: "the key \"a\" is given twice".to_owned() });
}

#[test]
fn lines_of_fields() {
    let document = one("spec:\n  ports:\n  - port: 80\n  - name: x\n    port: 81\n  weird.key/x: 1\n");
    assert_eq!(line_of(&document, "spec"), 1);
    assert_eq!(line_of(&document, "spec.ports"), 2);
    assert_eq!(line_of(&document, "spec.ports[1].port"), 5);
    assert_eq!(line_of(&document, "spec[weird.key/x]"), 6);
    assert_eq!(line_of(&document, "spec.ports[1].missing"), 4);
    assert_eq!(line_of(&document, "spec.ports[9]"), 2);
    assert_eq!(line_of(&one(&format!("{}a: {{b: 1}}", "\n".repeat(70_000))), "a.b"), 70_001);
    assert_eq!(line_of(&document, ""), 1);
}

#[test]
fn several_documents_and_json() {
    assert_eq!(parse("a: 1\n---\nb: 2\n...\n---\n# nothing\n").expect("valid").len(), 3);
    assert_eq!(parse("").expect("valid").len(), 0);
    let windows = one("a:\r\n  b: text\r\n  c: [1,\r\n    2]\r\n");
    assert_eq!(windows.get("a").and_then(|a| a.get("b")).map(|b| &b.value), Some(&string("text")));
    assert_eq!(line_of(&windows, "a.c[1]"), 4);
    let json = one("\u{feff}{\"a\":\t[1, {\"b\": \"\\u00e4\\/\"}],\n\t\"c\": null}");
    assert_eq!(line_of(&json, "c"), 2);
    assert_eq!(json.get("c").map(|node| &node.value), Some(&Value::Null));
}

#[test]
fn aliases_and_merge_keys() {
    let document = one("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nsame: *b\n");
    let more = document.get("more").expect("more");
    assert_eq!(more.get("x").map(|node| &node.value), Some(&Value::Integer(1)));
    assert_eq!(more.get("y").map(|node| &node.value), Some(&Value::Integer(3)));
    assert_eq!(document.get("same").map(|node| &node.value), document.get("base").map(|node| &node.value));
    assert!(error("a: &a [*a]").message.contains("alias"));
    assert!(error("a: *unknown").message.contains("unknown"));
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{below}]\n");
    }
    assert!(error(&text).message.contains("aliases expanded"));
}

#[test]
fn depth_is_bounded() {
    assert!(parse(&format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))).is_ok());
    let nested = |levels: usize| error(&format!("{}1{}", "[".repeat(levels), "]".repeat(levels))).message;
    assert!(nested(MAX_DEPTH + 1).contains("nested"), "{}", nested(MAX_DEPTH + 1));
    assert!(!nested(100_000).is_empty());
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Thing {
    count: i64,
    name: Option<String>,
    list: Vec<Part>,
    map: std::collections::BTreeMap<String, String>,
    flag: bool,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Part {
    needed: String,
}

#[test]
fn null_counts_as_absent() {
    assert_eq!(one("{count: null, name: ~, list: , map: , flag: null}").read(), Ok(Thing::default()));
}

#[test]
fn errors_name_field_line_value_and_what_would_be_right() {
    let cases = [
        ("count: many\n", "count", 1, Some("many"), Some("a whole number")),
        ("count: \"80\"\n", "count", 1, Some("\"80\""), Some("a whole number")),
        ("list:\n- needed: a\n- needed: 5\n", "list[1].needed", 3, Some("5"), Some("a string (put it in quotes)")),
        ("list:\n- needed: a\n-\n  other: 5\n", "list[1].needed", 4, None, None),
        ("list: {a: b}\n", "list", 1, Some("a mapping"), Some("a sequence")),
        ("map:\n  a.b/c: 1\n", "map[a.b/c]", 2, Some("1"), Some("a string (put it in quotes)")),
        ("flag: maybe\n", "flag", 1, Some("maybe"), Some("true or false")),
        ("- 1\n", "", 1, None, None),
    ];
    for (text, field, line, value, expected) in cases {
        let error = one(text).read::<Thing>().expect_err(text);
        assert_eq!((error.field.as_str(), error.line), (field, line), "{text}: {error}");
        if value.is_some() {
            assert_eq!((error.value.as_deref(), error.expected.as_deref()), (value, expected), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "[-a\\[\\]{}:,&*!|>'\"#%@?\t \n~<0.]{0,120}") {
        if let Ok(documents) = parse(&text) {
            for document in documents {
                let _ = document.read::<Thing>();
                let _ = line_of(&document, "a[0].b");
            }
        }
    }
}
