use std::path::Path;

use proptest::prelude::*;

use super::recognise::KINDS;
use super::*;

fn parsed(text: &str) -> Parsed {
    parse(&Arc::from(Path::new("file.yaml")), text.as_bytes())
}

fn codes(parsed: &Parsed) -> Vec<(&str, Option<u32>)> {
    parsed.problems.iter().map(|problem| (problem.code.as_str(), problem.line)).collect()
}

fn names(parsed: &Parsed) -> Vec<String> {
    parsed.objects.iter().map(|object| object.key().reference().to_string()).collect()
}

#[test]
fn every_kind_under_each_of_its_versions() {
    for kind in KINDS {
        for version in versions(kind) {
            let text = format!("{{apiVersion: {version}, kind: {}, metadata: {{name: x}}}}", kind.as_str());
            let parsed = parsed(&text);
            let place = if kind.is_namespaced() { "default/x" } else { "x" };
            assert_eq!(names(&parsed), [format!("{} {place}", kind.as_str())], "{version}");
            assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        }
    }
}

#[test]
fn lists_are_unpacked_and_typed_lists_lend_their_kind() {
    let list = parsed(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a}}\n\
         - {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Service, metadata: {name: b}}]}\n---\n\
         apiVersion: v1\nkind: ServiceList\nitems:\n- {metadata: {name: c, namespace: n}}\n",
    );
    assert_eq!(names(&list), ["Service default/a", "Service default/b", "Service n/c"]);
    assert!(list.problems.is_empty(), "{:?}", list.problems);
}

#[test]
fn nested_lists_are_bounded() {
    let mut text = "{apiVersion: v1, kind: Service, metadata: {name: a}}".to_owned();
    for _ in 0..8 {
        text = format!("{{apiVersion: v1, kind: List, items: [{text}]}}");
    }
    assert_eq!(codes(&parsed(&text)), [(code::FIELD_INVALID, Some(1))]);
}

#[test]
fn a_broken_document_costs_only_itself() {
    let parsed = parsed(
        "apiVersion: v1\nkind: Service\nmetadata: {name: good}\n---\njust: text\n---\napiVersion: v1\nkind: Service\n\
         metadata:\n  name: UPPER\n---\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec:\n  ports: 80\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: last, namespace: Not/OK}\n",
    );
    assert_eq!(names(&parsed), ["Service default/good"]);
    let expected = [
        (code::KIND_MISSING, Some(5)),
        (code::NAME_INVALID, Some(10)),
        (code::FIELD_INVALID, Some(16)),
        (code::NAME_INVALID, Some(20)),
    ];
    assert_eq!(codes(&parsed), expected);
    assert_eq!(parsed.problems[2].field.as_deref(), Some("spec.ports"));
    assert_eq!(parsed.problems[2].object, ObjectRef::new("Service", "default", "bad"));
    assert!(parsed.problems[2].message.contains("80"), "{}", parsed.problems[2].message);
}

#[test]
fn what_is_not_utf8_is_said_with_its_line() {
    let parsed = parse(&Arc::from(Path::new("file.yaml")), b"a: 1\nb: \xff\n");
    assert_eq!(codes(&parsed), [(code::YAML_INVALID, Some(2))]);
}

#[test]
fn the_values_of_secrets_are_not_kept() {
    let parsed =
        parsed("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {key: c2VjcmV0}\nstringData: {k: open}\n");
    let shown = format!("{:?}", parsed.objects);
    assert!(shown.contains("Secret") && !shown.contains("c2VjcmV0") && !shown.contains("open"), "{shown}");
}

#[test]
fn control_characters_do_not_reach_messages() {
    let parsed = parsed("apiVersion: v1\nkind: Service\nmetadata: {name: \"a\\e[31m\\nb\"}\n");
    assert_eq!(codes(&parsed), [(code::NAME_INVALID, Some(3))]);
    assert!(!parsed.problems[0].message.contains(char::is_control), "{:?}", parsed.problems[0].message);
}

/// Whatever the bytes, the answer is objects and problems, and what cannot be read is never silent.
fn holds(bytes: &[u8]) -> Result<(), TestCaseError> {
    let parsed = parse(&Arc::from(Path::new("file.yaml")), bytes);
    for problem in &parsed.problems {
        prop_assert!(problem.file.is_some() && problem.line.is_some(), "{:?}", problem);
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        holds(&bytes)?;
    }

    #[test]
    fn damaged_manifests(position in 0..2_000_usize, byte in any::<u8>(), cut in 0..2_000_usize) {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/seeds/02-ingress-paths-rewrite.yaml");
        let mut bytes = std::fs::read(seeds).expect("the seeds are there");
        let length = bytes.len();
        bytes[position % length] = byte;
        holds(&bytes)?;
        bytes.truncate(cut % length);
        holds(&bytes)?;
    }
}
