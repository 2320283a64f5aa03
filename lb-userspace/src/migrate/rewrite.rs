//! Old forms of objects to those of today.

use super::metallb::{self, Known, Outcome};
use super::text_of;
use crate::source::yaml::{Node, Value};

/// Told of each object that was rewritten: what it is, the version it had and has, and what else changed.
type Tell<'a> = dyn FnMut(String, String, &'static str, Vec<String>) + 'a;

const NETWORKING: &str = "networking.k8s.io/v1";
const DISCOVERY: &str = "discovery.k8s.io/v1";
/// The label in which v1beta1 has what is `nodeName` since, and that of `zone`.
const TOPOLOGY: [(&str, &str); 2] = [("kubernetes.io/hostname", "nodeName"), ("topology.kubernetes.io/zone", "zone")];

/// Rewrites a document, or the items of a list, where they are old.
pub(super) fn document(node: &mut Node, known: &Known, tell: &mut Tell<'_>) {
    let text = |node: &Node, key: &str| node.get(key).and_then(text_of).unwrap_or_default().to_owned();
    let (version, kind) = (text(node, "apiVersion"), text(node, "kind"));
    if kind == "List" {
        if let Some(Value::Sequence(items)) = value_mut(node, "items") {
            items.iter_mut().for_each(|item| document(item, known, tell));
            items.retain(|item| item.value != Value::Null);
        }
        return;
    }
    let object = object(node, &kind);
    if version.starts_with(metallb::GROUP) {
        return of_metallb(node, known, (object, version), tell);
    }
    let mut notes = Vec::new();
    let to = match (version.as_str(), kind.as_str()) {
        ("extensions/v1beta1" | "networking.k8s.io/v1beta1", "Ingress") => {
            ingress(node, &mut notes);
            NETWORKING
        }
        ("networking.k8s.io/v1beta1", "IngressClass") => NETWORKING,
        ("discovery.k8s.io/v1beta1", "EndpointSlice") => {
            endpoint_slice(node, &mut notes);
            DISCOVERY
        }
        _ => return,
    };
    if let Some(value) = value_mut(node, "apiVersion") {
        *value = Value::String(to.into());
    }
    tell(object, version, to, notes);
}

/// `Kind namespace/name`.
fn object(node: &Node, kind: &str) -> String {
    let metadata = |key| node.get("metadata").and_then(|metadata| metadata.get(key)).and_then(text_of);
    let namespace = metadata("namespace").filter(|namespace| !namespace.is_empty());
    format!("{kind} {}/{}", namespace.unwrap_or("default"), metadata("name").unwrap_or_default())
}

/// What is part of another document now is nothing here.
fn of_metallb(node: &mut Node, known: &Known, (object, version): (String, String), tell: &mut Tell<'_>) {
    match known.rewrite(node) {
        Outcome::Rewritten(ours, notes) => {
            *node = ours;
            tell(object, version, metallb::OURS, notes);
        }
        Outcome::Absorbed(notes) => {
            node.value = Value::Null;
            tell(object, version, "part of an Announcement", notes);
        }
        Outcome::Untouched => {}
    }
}

/// v1 names `backend` `defaultBackend`, wants a `pathType`, and has Services in backends by name and port.
fn ingress(node: &mut Node, notes: &mut Vec<String>) {
    let has_class = node.get("metadata").and_then(|metadata| metadata.get("annotations"));
    if has_class.is_some_and(|annotations| annotations.get("kubernetes.io/ingress.class").is_some()) {
        notes.push(
            "the annotation kubernetes.io/ingress.class stays: spec.ingressClassName needs an IngressClass".into(),
        );
    }
    let Some(Value::Mapping(spec)) = value_mut(node, "spec") else { return };
    for (key, value) in spec.iter_mut() {
        match &**key {
            "backend" | "defaultBackend" => {
                *key = "defaultBackend".into();
                backend(value);
            }
            "rules" => rules(value, notes),
            _ => {}
        }
    }
}

fn rules(rules: &mut Node, notes: &mut Vec<String>) {
    let Value::Sequence(rules) = &mut rules.value else { return };
    let mut added = 0;
    for rule in rules {
        let Some(Value::Mapping(http)) = value_mut(rule, "http") else { continue };
        let Some((_, Node { value: Value::Sequence(paths), .. })) = http.iter_mut().find(|(key, _)| &**key == "paths")
        else {
            continue;
        };
        for path in paths {
            let line = path.line;
            if let Some(value) = node_mut(path, "backend") {
                backend(value);
            }
            if let Value::Mapping(entries) = &mut path.value
                && !entries.iter().any(|(key, _)| &**key == "pathType")
            {
                let kind = Node { line, value: Value::String("ImplementationSpecific".into()) };
                let place = entries.iter().position(|(key, _)| &**key == "path").map_or(0, |at| at + 1);
                entries.insert(place, ("pathType".into(), kind));
                added += 1;
            }
        }
    }
    if added > 0 {
        notes.push(format!("pathType ImplementationSpecific, as without one before, added to {added} of its paths"));
    }
}

fn backend(node: &mut Node) {
    let line = node.line;
    let Value::Mapping(entries) = &mut node.value else { return };
    let mut take = |key: &str| {
        let at = entries.iter().position(|(name, _)| &**name == key)?;
        Some(entries.remove(at).1)
    };
    let (name, port) = (take("serviceName"), take("servicePort"));
    if name.is_none() && port.is_none() {
        return;
    }
    let mapping = |entries| Node { line, value: Value::Mapping(entries) };
    let port = port.map(|port| {
        // A string of digits counted as a number.
        let number = match &port.value {
            Value::String(text) => text.parse().ok(),
            Value::Integer(number) => Some(*number),
            _ => None,
        };
        match number {
            Some(number) => ("number".into(), Node { line: port.line, value: Value::Integer(number) }),
            None => ("name".into(), port),
        }
    });
    let mut service = Vec::new();
    service.extend(name.map(|name| ("name".into(), name)));
    service.extend(port.map(|port| ("port".into(), mapping(vec![port]))));
    entries.push(("service".into(), mapping(service)));
}

/// v1 has node and zone as fields, and no `topology`.
fn endpoint_slice(node: &mut Node, notes: &mut Vec<String>) {
    let Some(Value::Sequence(endpoints)) = value_mut(node, "endpoints") else { return };
    let mut lost = false;
    for endpoint in endpoints {
        let Value::Mapping(entries) = &mut endpoint.value else { continue };
        let Some(at) = entries.iter().position(|(key, _)| &**key == "topology") else { continue };
        let topology = entries.remove(at).1;
        for (label, field) in TOPOLOGY {
            let known = entries.iter().any(|(key, _)| &**key == field);
            if let Some(value) = topology.get(label).filter(|_| !known) {
                entries.push((field.into(), value.clone()));
            }
        }
        let Value::Mapping(labels) = &topology.value else { continue };
        lost |= labels.iter().any(|(label, _)| TOPOLOGY.iter().all(|(known, _)| *known != &**label));
    }
    if lost {
        notes.push("labels of topology other than host name and zone are left out".into());
    }
}

fn node_mut<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    match &mut node.value {
        Value::Mapping(entries) => entries.iter_mut().find(|(name, _)| &**name == key).map(|(_, node)| node),
        _ => None,
    }
}

fn value_mut<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Value> {
    node_mut(node, key).map(|node| &mut node.value)
}
