//! Prefixes of annotations, and reading one.

use crate::source::kinds::Ingress;

/// Prefix of the dialect of ingress-nginx.
pub(super) const NGINX: &str = "nginx.ingress.kubernetes.io/";
/// Prefix of our own.
pub(super) const WEIR: &str = "weir.io/";

/// The value of an annotation of the dialect.
pub(super) fn nginx<'a>(ingress: &'a Ingress, name: &str) -> Option<&'a str> {
    ingress.metadata.annotations.get(&format!("{NGINX}{name}")).map(String::as_str)
}
