//! Prefixes of annotations, and reading one.

use crate::source::kinds::Ingress;

/// Prefix of the dialect of ingress-nginx.
pub(super) const NGINX: &str = "nginx.ingress.kubernetes.io/";
/// Prefix of our own.
pub(super) const WEIR: &str = "weir.io/";

/// The values of all annotations that are read.
pub(super) fn values(ingress: &Ingress) -> impl Iterator<Item = &str> {
    let read = |(name, _): &(&String, &String)| name.starts_with(NGINX) || name.starts_with(WEIR);
    ingress.metadata.annotations.iter().filter(read).map(|(_, value)| value.as_str())
}

/// The value of an annotation of the dialect.
pub(super) fn nginx<'a>(ingress: &'a Ingress, name: &str) -> Option<&'a str> {
    ingress.metadata.annotations.get(&format!("{NGINX}{name}")).map(String::as_str)
}
