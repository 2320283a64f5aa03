//! The text of a file to objects.

use std::path::Path;
use std::sync::Arc;

use kube::core::TypeMeta;
use serde::de::DeserializeOwned;

use super::kinds::{Ingress, Metadata, Named};
use super::yaml::{self, FieldError, Node, Outline, Value};
use super::{Body, Kind, Object, Origin};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem, name};

mod recognise;

use recognise::{Recognised, recognise};

pub(super) use recognise::{KINDS, versions};

/// How deep lists may hold lists.
const MAX_LIST_DEPTH: usize = 4;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// Objects of kinds that are read.
    pub objects: Vec<Object>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// Reads the text of a file. Documents that are wrong cost themselves, not the others.
pub fn parse(file: &Arc<Path>, text: &[u8]) -> Parsed {
    let mut reader = FileReader { file, parsed: Parsed::default() };
    match decode(text) {
        Ok(documents) => documents.into_iter().for_each(|document| reader.document(document, 0)),
        Err(error) => reader.problem(
            Problem::error(code::YAML_INVALID, &ObjectRef::default(), format!("not valid YAML: {}", error.message)),
            Some(error.line),
        ),
    }
    reader.parsed
}

/// Reads one object that an API sent, as one of a file is read.
pub fn object(kind: Kind, types: &TypeMeta, document: &Node) -> Result<Body, Box<Problem>> {
    let problem = |(code, error)| Box::new(field_problem(code, &reference(kind, document), error));
    body(kind, types, document).map_err(problem)
}

fn decode(text: &[u8]) -> Result<Vec<Node>, yaml::YamlError> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = &text[..error.valid_up_to()];
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        yaml::YamlError {
            line: u32::try_from(lines + 1).unwrap_or(u32::MAX),
            message: "the text is not UTF-8".to_owned(),
        }
    })?;
    yaml::parse(text)
}

struct FileReader<'a> {
    file: &'a Arc<Path>,
    parsed: Parsed,
}

impl FileReader<'_> {
    fn document(&mut self, document: Node, depth: usize) {
        if document.value == Value::Null {
            return;
        }
        let types: TypeMeta = match document.read() {
            Ok(types) => types,
            Err(error) => return self.without_kind(&document, &error),
        };
        if types.kind.ends_with("List") && document.get("items").is_some() {
            return self.list(document, &types, depth);
        }
        match recognise(&types) {
            Recognised::Kind(kind) => self.object(kind, &types, document),
            Recognised::OtherVersion(kind) => self.other_version(kind, &types, &document),
            Recognised::Other => {
                let (kind, line) = (&types.kind, document.line);
                tracing::debug!(file = %self.file.display(), line, kind, "skipped: not a kind that is read");
            }
        }
    }

    fn list(&mut self, document: Node, types: &TypeMeta, depth: usize) {
        let line = document.line_of("items");
        let Value::Mapping(entries) = document.value else { return };
        let items = entries.into_iter().find(|(key, _)| &**key == "items").map(|(_, items)| items.value);
        if depth == MAX_LIST_DEPTH {
            let problem = Problem::error(code::FIELD_INVALID, &ObjectRef::default(), "lists are nested too deep");
            return self.problem(problem, Some(document.line));
        }
        match items {
            Some(Value::Sequence(items)) => {
                for item in items {
                    self.document(with_types_of_list(item, types), depth + 1);
                }
            }
            None | Some(Value::Null) => {}
            Some(_) => {
                let problem = Problem::error(code::FIELD_INVALID, &ObjectRef::default(), "the list has no items");
                self.problem(problem.at_field("items").expected("a sequence of objects"), Some(line));
            }
        }
    }

    fn object(&mut self, kind: Kind, types: &TypeMeta, document: Node) {
        match body(kind, types, &document) {
            Ok(body) => {
                let document = if kind == Kind::Secret { without_data(document) } else { document };
                let origin = Some(Arc::new(Origin { file: Arc::clone(self.file), lines: Outline::of(&document) }));
                self.parsed.objects.push(Object { body, origin });
            }
            Err((code, error)) => {
                let line = if error.line == 0 { document.line_of(&error.field) } else { error.line };
                self.problem(field_problem(code, &reference(kind, &document), error), Some(line));
            }
        }
    }

    fn other_version(&mut self, kind: Kind, types: &TypeMeta, document: &Node) {
        let problem = Problem::error(
            code::API_VERSION_UNKNOWN,
            &reference(kind, document),
            "this version of the kind is not known",
        );
        let problem = problem.at("apiVersion", &types.api_version).expected(versions(kind).join(" or "));
        self.problem(problem, Some(document.line_of("apiVersion")));
    }

    fn without_kind(&mut self, document: &Node, error: &FieldError) {
        let problem = Problem::error(code::KIND_MISSING, &ObjectRef::default(), "this is not a Kubernetes object");
        let line = if error.line == 0 { document.line } else { error.line };
        self.problem(problem.expected("apiVersion and kind"), Some(line));
    }

    fn problem(&mut self, problem: Problem, line: Option<u32>) {
        self.parsed.problems.push(problem.in_file(&**self.file, line));
    }
}

fn field_problem(code: &str, owner: &ObjectRef, error: FieldError) -> Problem {
    let problem = Problem::error(code, owner, error.message);
    let problem = match error.value {
        Some(value) => problem.at(error.field, value),
        None => problem.at_field(error.field),
    };
    match error.expected {
        Some(expected) => problem.expected(expected),
        None => problem,
    }
}

/// The items of a typed list such as `ServiceList` may leave out their kind.
fn with_types_of_list(mut item: Node, list: &TypeMeta) -> Node {
    let kind = list.kind.trim_end_matches("List");
    let line = item.line;
    if let Value::Mapping(entries) = &mut item.value {
        for (key, text) in [("apiVersion", list.api_version.as_str()), ("kind", kind)] {
            if !kind.is_empty() && !entries.iter().any(|(name, _)| &**name == key) {
                entries.push((key.into(), Node { line, value: Value::String(text.into()) }));
            }
        }
    }
    item
}

/// The values of a Secret are not kept for the sake of line numbers.
fn without_data(mut document: Node) -> Node {
    if let Value::Mapping(entries) = &mut document.value {
        entries.retain(|(key, _)| !matches!(&**key, "data" | "stringData"));
    }
    document
}

fn reference(kind: Kind, document: &Node) -> ObjectRef {
    let text = |field| match document.get("metadata").and_then(|metadata| metadata.get(field)).map(|node| &node.value) {
        Some(Value::String(text)) => text.to_string(),
        _ => String::new(),
    };
    let namespace = match text("namespace") {
        _ if !kind.is_namespaced() => String::new(),
        empty if empty.is_empty() => "default".to_owned(),
        namespace => namespace,
    };
    ObjectRef::new(kind.as_str(), &namespace, &text("name"))
}

type Refusal = (&'static str, FieldError);

fn body(kind: Kind, types: &TypeMeta, document: &Node) -> Result<Body, Refusal> {
    match kind {
        Kind::Service => read(kind, document).map(Body::Service),
        Kind::EndpointSlice => read(kind, document).map(Body::EndpointSlice),
        Kind::Endpoints => read(kind, document).map(Body::Endpoints),
        Kind::Pod => read(kind, document).map(Body::Pod),
        Kind::Node => read(kind, document).map(Body::Node),
        Kind::Ingress => read(kind, document).map(|mut ingress: Arc<Ingress>| {
            Arc::make_mut(&mut ingress).beta = types.api_version.ends_with("/v1beta1");
            Body::Ingress(ingress)
        }),
        Kind::IngressClass => read(kind, document).map(Body::IngressClass),
        Kind::Secret => read(kind, document).map(Body::Secret),
        Kind::ConfigMap => read(kind, document).map(Body::ConfigMap),
        Kind::Namespace => read(kind, document).map(Body::Namespace),
        Kind::AddressPool => read(kind, document).map(Body::AddressPool),
        Kind::Announcement => read(kind, document).map(Body::Announcement),
        Kind::HostPolicy => read(kind, document).map(Body::HostPolicy),
    }
}

fn read<T: DeserializeOwned + Named>(kind: Kind, document: &Node) -> Result<Arc<T>, Refusal> {
    let mut object: T = document.read().map_err(|error| (code::FIELD_INVALID, error))?;
    settle_names(kind, object.metadata_mut()).map_err(|error| (code::NAME_INVALID, error))?;
    Ok(Arc::new(object))
}

/// Fills in the default namespace and checks both names.
fn settle_names(kind: Kind, metadata: &mut Metadata) -> Result<(), FieldError> {
    if !kind.is_namespaced() {
        metadata.namespace.clear();
    } else if metadata.namespace.is_empty() {
        "default".clone_into(&mut metadata.namespace);
    }
    check_name("metadata.name", &metadata.name, name::is_subdomain)?;
    if kind.is_namespaced() {
        check_name("metadata.namespace", &metadata.namespace, name::is_label)?;
    }
    Ok(())
}

fn check_name(field: &str, text: &str, is_name: fn(&str) -> bool) -> Result<(), FieldError> {
    if is_name(text) {
        return Ok(());
    }
    let expected = "lower-case letters, digits and '-', beginning and ending with a letter or digit".to_owned();
    let message = if text.is_empty() { "the object has no name" } else { "this is not a name" }.to_owned();
    Err(FieldError {
        field: field.to_owned(),
        line: 0,
        value: Some(text.to_owned()),
        expected: Some(expected),
        message,
    })
}

#[cfg(test)]
mod tests;
