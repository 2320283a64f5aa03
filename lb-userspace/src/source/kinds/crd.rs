//! The definitions of our own kinds for API servers, made from their types: `UPDATE_EXPECT=1` writes them anew.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{AddressPoolSpec, AddressPoolStatus, AnnouncementSpec, HostPolicySpec, OwnStatus};
use crate::source::rules::Rule;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// A column of `kubectl get`: name, type, where it stands, and whether only `-o wide` has it.
type Column = (&'static str, &'static str, &'static str, bool);

const VALID: Column = ("Valid", "string", r#".status.conditions[?(@.type=="Valid")].status"#, false);
const AGE: Column = ("Age", "date", ".metadata.creationTimestamp", false);

#[test]
fn the_definitions_of_our_own_kinds_are_those_of_their_types() {
    let definitions = [
        definition::<AddressPoolSpec, AddressPoolStatus>(
            ("AddressPool", "addresspools", "pool", "Addresses that Services of type LoadBalancer are given."),
            AddressPoolSpec::RULES,
            &[
                ("Addresses", "string", ".spec.addresses", false),
                ("Auto assign", "boolean", ".spec.autoAssign", true),
                ("Given", "integer", ".status.given", false),
                ("Free", "integer", ".status.free", false),
                ("Exhausted", "string", r#".status.conditions[?(@.type=="Exhausted")].status"#, false),
                VALID,
                AGE,
            ],
        ),
        definition::<AnnouncementSpec, OwnStatus>(
            ("Announcement", "announcements", "ann", "How the world learns where addresses of pools are."),
            AnnouncementSpec::RULES,
            &[
                ("Pools", "string", ".spec.pools", false),
                ("Interfaces", "string", ".spec.l2.interfaces", true),
                ("Peers", "string", ".spec.bgp.peers[*].address", false),
                VALID,
                AGE,
            ],
        ),
        definition::<HostPolicySpec, OwnStatus>(
            ("HostPolicy", "hostpolicies", "hpol", "Hosts that only some namespaces may claim."),
            HostPolicySpec::RULES,
            &[
                ("Hosts", "string", ".spec.hosts", false),
                ("Namespaces", "string", ".spec.namespaces", false),
                VALID,
                AGE,
            ],
        ),
    ];
    let yaml: String =
        definitions.iter().map(|definition| format!("---\n{}", crate::migrate::yaml(definition))).collect();
    let made = "made by `UPDATE_EXPECT=1 cargo test -p lb-userspace --lib definitions_of_our_own_kinds`";
    is_as_made("kubernetes/crds.yaml", &format!("# Our own kinds; {made}.\n{yaml}"));
    let chart = format!("{{{{- /* {made} */ -}}}}\n{{{{- if .Values.crds.install }}}}\n{yaml}{{{{- end }}}}\n");
    assert_eq!(yaml.matches("{{").count(), 0, "a template would take it for its own");
    is_as_made("chart/templates/crds.yaml", &chart);
}

fn is_as_made(file: &str, made: &str) {
    let path = format!("{DEPLOY}/{file}");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, made).expect("written");
    } else {
        assert_eq!(std::fs::read_to_string(path).expect(file), made, "UPDATE_EXPECT=1 accepts this");
    }
}

fn definition<Spec: JsonSchema, Status: JsonSchema>(
    (kind, plural, short, description): (&str, &str, &str, &str),
    rules: &[Rule<Spec>],
    columns: &[Column],
) -> Value {
    let mut spec = schema::<Spec>();
    let validations = rules.iter().map(|rule| json!({"rule": rule.cel, "message": rule.says}));
    spec["x-kubernetes-validations"] = validations.collect();
    let column = |(name, kind, path, wide): &Column| match wide {
        true => json!({"name": name, "type": kind, "jsonPath": path, "priority": 1}),
        false => json!({"name": name, "type": kind, "jsonPath": path}),
    };
    let whole = json!({
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {"spec": spec, "status": schema::<Status>()},
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.weir.io"),
            // Without it, removing the chart removes every pool.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": "weir.io",
            "scope": "Cluster",
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": kind.to_lowercase(),
                "shortNames": [short],
                "categories": ["weir"],
            },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns.iter().map(column).collect::<Vec<_>>(),
                "schema": {"openAPIV3Schema": whole},
            }],
        },
    })
}

/// The schema of a type, as API servers want it: all in one, one type for each field.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    let Value::Object(root) = &mut schema else { panic!("no object") };
    for key in ["$schema", "title", "components"] {
        root.remove(key);
    }
    structural(&mut schema);
    schema
}

/// Fields that may be absent are just that: `null` counts as absent. Numbers are checked by their range.
fn structural(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("nullable");
            fields.remove("default");
            if fields.get("format").is_some_and(|format| format.as_str().is_some_and(|text| text.contains("int"))) {
                fields.remove("format");
            }
            one_of_one(fields);
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            fields.values_mut().for_each(structural);
        }
        Value::Array(items) => items.iter_mut().for_each(structural),
        _ => {}
    }
}

/// An absent object is written as a choice between nothing and the object.
fn one_of_one(fields: &mut Map<String, Value>) {
    for key in ["anyOf", "allOf", "oneOf"] {
        let Some(Value::Array(choices)) = fields.get(key) else { continue };
        let chosen = choices.iter().find(|choice| choice.get("type").is_some_and(|kind| kind != "null")).cloned();
        let Some(Value::Object(chosen)) = chosen else { continue };
        fields.remove(key);
        for (name, value) in chosen {
            fields.entry(name).or_insert(value);
        }
    }
}
