//! An object as the API server sent it, trimmed while it is read.

use std::borrow::Cow;
use std::fmt;

use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope, ObjectMeta};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::source::yaml::{Node, Value};

/// Large, and of no use to us: who wrote which field, and the object as `kubectl apply` sent it.
const LEFT_OUT: [&str; 2] = ["managedFields", "kubectl.kubernetes.io/last-applied-configuration"];

/// An object as the API server sent it: what a watch needs to know of it, and all of it as a document, to be read as one
/// of a file is.
#[derive(Clone)]
pub(super) struct Received {
    metadata: ObjectMeta,
    pub(super) document: Node,
}

/// Its name: what a Secret holds must not come into a log.
impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.names();
        write!(f, "{namespace}/{name}")
    }
}

impl Received {
    fn new(document: Node) -> Self {
        let text = |field| match document.get("metadata")?.get(field).map(|node| &node.value) {
            Some(Value::String(text)) => Some(text.to_string()),
            _ => None,
        };
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Received { metadata, document }
    }

    /// Namespace and name; empty where there are none.
    pub(super) fn names(&self) -> (String, String) {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        (namespace.clone().unwrap_or_default(), name.clone().unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Received {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Trimmed::deserialize(deserializer).map(|trimmed| Received::new(trimmed.0))
    }
}

impl Resource for Received {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A document without lines. As everywhere in Kubernetes, `null` counts as absent.
struct Trimmed(Node);

impl<'de> Deserialize<'de> for Trimmed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Integer(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "no field that is read is that large")]
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Float(value))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
                Ok(Value::String(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut nodes = Vec::new();
                while let Some(Trimmed(node)) = items.next_element()? {
                    nodes.push(node);
                }
                Ok(Value::Sequence(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut nodes = Vec::new();
                while let Some(key) = entries.next_key::<Box<str>>()? {
                    if LEFT_OUT.contains(&&*key) {
                        entries.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let Trimmed(node) = entries.next_value()?;
                    if node.value != Value::Null {
                        nodes.push((key, node));
                    }
                }
                Ok(Value::Mapping(nodes))
            }
        }

        deserializer.deserialize_any(Any).map(|value| Trimmed(Node { line: 0, value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_no_use_is_not_kept_and_null_is_absent() {
        let text = r#"{"metadata": {"name": "a", "namespace": "b", "resourceVersion": "7", "managedFields": [{"x": 1}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "c": "d"}},
            "endpoints": null, "ports": [{"port": 80, "ratio": 0.5, "on": true}]}"#;
        let received: Received = serde_json::from_str(text).unwrap();
        assert_eq!(received.names(), ("b".to_owned(), "a".to_owned()));
        assert_eq!(received.meta().resource_version.as_deref(), Some("7"));
        let metadata = received.document.get("metadata").unwrap();
        assert!(metadata.get("managedFields").is_none() && received.document.get("endpoints").is_none());
        let Value::Mapping(annotations) = &metadata.get("annotations").unwrap().value else { panic!("no mapping") };
        assert_eq!(annotations.len(), 1);
        let Value::Sequence(ports) = &received.document.get("ports").unwrap().value else { panic!("no sequence") };
        assert_eq!(ports[0].get("port").unwrap().value, Value::Integer(80));
        assert_eq!(ports[0].get("ratio").unwrap().value, Value::Float(0.5));
    }
}
