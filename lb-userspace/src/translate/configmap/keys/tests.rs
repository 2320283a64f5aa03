use std::collections::BTreeSet;
use std::fmt::Write;

use super::*;
use crate::translate::ingress::dialect;

#[test]
fn every_key_stands_in_the_table_once() {
    let names: Vec<_> = all().map(|key| key.name).collect();
    let unique: BTreeSet<_> = names.iter().copied().collect();
    let twice: Vec<_> = unique.iter().filter(|name| names.iter().filter(|other| other == name).count() > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // Ours, and the old name that the seeds write.
    let others = [
        "client-max-body-size",
        "client-min-rate",
        "host-policy",
        "enable-zstd",
        "zstd-level",
        "zstd-min-length",
        "zstd-types",
        "generate-traceparent",
        "add-forwarded-header",
        "upstream-keepalive-timeout-non-idempotent",
        "client-header-count",
        "client-uri-size",
        "max-connections-per-client",
        "http2-max-resets",
        "http2-max-control-frames",
        "tls-handshake-timeout",
    ];
    assert!(others.iter().all(|other| unique.contains(other)));
    assert_eq!(unique.len() - others.len(), 192, "ingress-nginx 1.15 has 192");
}

#[test]
fn annotations_that_keys_stand_for_exist() {
    for key in all() {
        if let Support::Annotation(name) = key.support {
            assert!(dialect::find(name).is_some(), "{}: {name}", key.name);
        }
    }
}

/// `UPDATE_EXPECT=1` writes the table anew.
#[test]
fn the_table_in_the_docs_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configmap.md");
    let text = std::fs::read_to_string(path).expect("docs/configmap.md");
    let (before, _) = text.split_once("## Keys\n").expect("a heading");
    let updated = format!("{before}## Keys\n\n{}", rows());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &updated).expect("written");
    } else {
        assert_eq!(text, updated, "UPDATE_EXPECT=1 accepts this");
    }
}

fn rows() -> String {
    let mut keys: Vec<_> = all().collect();
    keys.sort_by_key(|key| key.name);
    let mut rows = "| key | value | default | does | here |\n|---|---|---|---|---|\n".to_owned();
    for Key { name, kind, default, meaning, difference, support } in keys {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let here = here(difference, *support);
        let _ = writeln!(rows, "| `{name}` | {kind} | {default} | {meaning} | {here} |");
    }
    rows
}

fn here(difference: &str, support: Support) -> String {
    match support {
        Support::Spans(_) => format!("Where weir is built with the feature `otlp`. {difference}").trim().to_owned(),
        Support::Applied(_) | Support::Guards(_) | Support::Headers(_) | Support::Own(_) => difference.to_owned(),
        Support::Refused { reason, instead } => format!("**Refused**: {reason}. Instead: {instead}."),
        Support::Moot(reason) => format!("Without effect: {reason}."),
        Support::Annotation(name) => {
            let found = dialect::find(name).map(|annotation| &annotation.support);
            let state = match found {
                Some(dialect::Support::Applied(_) | dialect::Support::Guards(_) | dialect::Support::Elsewhere) => {
                    format!("As annotation `{name}` of every Ingress that does not have it.")
                }
                _ => "**Refused**, as that annotation is.".to_owned(),
            };
            format!("{state} {difference}").trim().to_owned()
        }
    }
}
