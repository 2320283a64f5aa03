use std::collections::BTreeSet;
use std::fmt::Write;

use super::*;

#[test]
fn every_annotation_stands_in_the_table_once() {
    let names: Vec<_> = all().map(|(prefix, annotation)| format!("{prefix}{}", annotation.name)).collect();
    let unique: BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
    assert_eq!(names.iter().filter(|name| name.starts_with(NGINX)).count(), 138, "ingress-nginx 1.15 has 138");
}

fn rows(prefix: &str) -> String {
    let mut annotations: Vec<_> = all().filter(|(with, _)| *with == prefix).map(|(_, annotation)| annotation).collect();
    annotations.sort_by_key(|annotation| annotation.name);
    let mut rows = "| annotation | value | default | does | here |\n|---|---|---|---|---|\n".to_owned();
    for Annotation { name, kind, default, meaning, difference, support } in annotations {
        let here = match support {
            Support::Applied(_) | Support::Guards(_) | Support::Elsewhere => (*difference).to_owned(),
            Support::Refused { reason, instead } => format!("**Refused**: {reason}. Instead: {instead}."),
        };
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let _ = writeln!(rows, "| `{name}` | {kind} | {default} | {meaning} | {here} |");
    }
    rows
}

/// `UPDATE_EXPECT=1` writes the tables anew.
#[test]
fn the_tables_in_the_docs_are_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/annotations.md");
    let text = std::fs::read_to_string(path).expect("docs/annotations.md");
    let (before, _) = text.split_once("## `nginx.ingress.kubernetes.io/`\n").expect("a heading");
    let updated = format!(
        "{before}## `nginx.ingress.kubernetes.io/`\n\n{}\n## `weir.io/`\n\nOn Ingresses; those of Services are in [manifests.md](manifests.md).\n\n{}",
        rows(NGINX),
        rows(WEIR)
    );
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &updated).expect("written");
    } else {
        assert_eq!(text, updated, "UPDATE_EXPECT=1 accepts this");
    }
}
