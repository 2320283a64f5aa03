//! Under which version a server has a kind.

use kube::core::{ApiResource, GroupVersion, GroupVersionKind};

use super::Api;
use crate::source::{Kind, parse};

impl Api {
    /// The newest version of a kind that we read and the server has; `None`: it has none.
    pub async fn discover(&self, kind: Kind) -> kube::Result<Option<ApiResource>> {
        for version in parse::versions(kind) {
            let client = self.client();
            let listed = match version.contains('/') {
                true => client.list_api_group_resources(version).await,
                false => client.list_core_api_resources(version).await,
            };
            match listed {
                Ok(list) if list.resources.iter().any(|found| found.name == plural(kind)) => {
                    return Ok(version.parse().ok().map(|version| resource(kind, version)));
                }
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn resource(kind: Kind, version: GroupVersion) -> ApiResource {
    let GroupVersion { group, version, .. } = version;
    let kind_of = GroupVersionKind { group, version, kind: kind.as_str().to_owned() };
    ApiResource::from_gvk_with_plural(&kind_of, plural(kind))
}

/// The name of a kind in URLs.
pub(super) fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::Endpoints => "endpoints",
        Kind::Pod => "pods",
        Kind::Node => "nodes",
        Kind::Ingress => "ingresses",
        Kind::IngressClass => "ingressclasses",
        Kind::Secret => "secrets",
        Kind::ConfigMap => "configmaps",
        Kind::Namespace => "namespaces",
        Kind::AddressPool => "addresspools",
        Kind::Announcement => "announcements",
        Kind::HostPolicy => "hostpolicies",
    }
}
