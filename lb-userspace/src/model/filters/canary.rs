//! A part of the requests of a route that goes to another Service.

use serde::{Deserialize, Serialize};

use super::Balance;

/// Which requests go to the canary. The rules count in this order: header, cookie, weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Canary {
    /// `namespace/name` of the Ingress that asks for it.
    pub ingress: String,
    /// Where those requests go; `None`: its Service or port does not exist, and all stay with the route's own.
    pub to: Option<ServicePort>,
    /// The header that decides.
    pub header: Option<String>,
    /// The one value of the header that goes to the canary, instead of `always`.
    pub value: Option<String>,
    /// A regular expression for such values.
    pub pattern: Option<String>,
    /// The cookie that decides.
    pub cookie: Option<String>,
    /// So many go to the canary.
    pub weight: u32,
    /// Out of so many.
    pub total: u32,
    /// The cookie of the route's affinity keeps clients with the canary, or away from it.
    pub sticky: bool,
    /// How its endpoints are chosen.
    pub balance: Option<Box<Balance>>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its number.
    pub port: u16,
}

impl ServicePort {
    /// The name of its upstream in the route table.
    pub fn upstream(&self) -> String {
        let ServicePort { namespace, name, port } = self;
        format!("{namespace}/{name}:{port}")
    }
}

impl Canary {
    /// In a few words.
    pub fn label(&self) -> String {
        let mut rules = Vec::new();
        rules.extend(self.header.as_ref().map(|header| format!("header {header}")));
        rules.extend(self.cookie.as_ref().map(|cookie| format!("cookie {cookie}")));
        rules.push(format!("{} of {}", self.weight, self.total));
        let to = self.to.as_ref().map_or_else(|| "nowhere".to_owned(), ServicePort::upstream);
        format!("canary {} to {to}: {}", self.ingress, rules.join(", "))
    }
}
