//! What an Ingress asks for beyond hosts, paths and backends: typed, checked, and free of text that anybody would
//! interpret. Travels to the front with the routes.

use serde::{Deserialize, Serialize};

use super::ServiceKey;

mod access;
mod auth;
mod backend;
mod balance;
mod breaker;
mod canary;
mod cors;
mod errors;
mod external;
mod headers;
mod health;
mod limits;
mod logs;
mod mirror;
mod proxying;
mod redirect;
mod retry;
mod secure;
mod template;

pub use access::Access;
pub use auth::BasicAuth;
pub use backend::{Backend, BackendTls, TlsUse};
pub use balance::{Affinity, Algorithm, Balance, HashBy, SameSite};
pub use breaker::Breaker;
pub use canary::{Canary, ServicePort};
pub use cors::{Cors, Origin};
pub use errors::ErrorPages;
pub use external::{ExternalAuth, KeepAlive};
pub use headers::{Headers, Replace};
pub use health::HealthCheck;
pub use limits::{GlobalLimit, RequestLimits};
pub use logs::Logs;
pub use mirror::Mirror;
pub use proxying::Proxying;
pub use redirect::Redirect;
pub use retry::Retry;
pub use secure::{ClientCertificate, Secure, SecureRedirect, Verify};
pub use template::{Template, TemplateError, Variable, Variables, variable_name};

/// The filters of a route. Those of one Ingress share an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Filters {
    /// All requests are answered with 503, and why: what was to protect the route cannot be understood.
    pub closed: Option<String>,
    /// All requests are sent elsewhere.
    pub redirect: Option<Redirect>,
    /// Where requests for `/` are sent.
    pub app_root: Option<String>,
    /// Plain requests that are sent to HTTPS; `None`: those for hosts that are listed under `spec.tls`.
    pub secure: Option<Box<Secure>>,
    /// The certificate that clients need.
    pub client: Option<Box<ClientCertificate>>,
    /// Which clients are served.
    pub access: Option<Box<Access>>,
    /// Who is served, by user and password.
    pub basic: Option<Box<BasicAuth>>,
    /// Who is served, as another service says.
    pub external: Option<Box<ExternalAuth>>,
    /// Pages in the place of errors.
    pub errors: Option<Box<ErrorPages>>,
    /// What pages of other origins may do.
    pub cors: Option<Box<Cors>>,
    /// Headers that are added or changed.
    pub headers: Option<Box<Headers>>,
    /// How much one client may ask for.
    pub limits: Option<Box<RequestLimits>>,
    /// What is logged of requests.
    pub logs: Logs,
    /// What pages of these routes ask for goes to them where it has no route of its own.
    pub asset_fallback: bool,
    /// Requests go to the Service's cluster IP instead of to its endpoints.
    pub service_upstream: bool,
    /// Times and sizes.
    pub proxying: Proxying,
    /// How an endpoint is chosen.
    pub balance: Option<Box<Balance>>,
    /// How much is asked of an endpoint at once.
    pub breaker: Option<Breaker>,
    /// What endpoints are asked, to find those that cannot serve.
    pub health: Option<Box<HealthCheck>>,
    /// When another endpoint is tried.
    pub retry: Option<Box<Retry>>,
    /// What is spoken to backends.
    pub backend: Option<Box<Backend>>,
    /// Copies of requests go elsewhere.
    pub mirror: Option<Box<Mirror>>,
    /// A part of the requests goes elsewhere.
    pub canary: Option<Box<Canary>>,
}

impl Filters {
    /// Services that are asked or stand in, beside the backend.
    pub fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        let external = self.external.iter().filter_map(|external| external.service.as_ref());
        external.chain(self.errors.iter().filter_map(|pages| pages.service.as_ref()))
    }

    /// One short text for each filter, as `weir routes` lists them.
    pub fn labels(&self) -> Vec<String> {
        let mut labels = Vec::new();
        labels.extend(self.closed.as_ref().map(|why| format!("closed: {why}")));
        labels.extend(self.redirect.as_ref().map(|redirect| format!("redirect {redirect}")));
        labels.extend(self.app_root.as_ref().map(|path| format!("app-root {path}")));
        labels.extend(self.secure.as_ref().and_then(|secure| secure.label()));
        labels.extend(self.client.as_ref().map(|client| format!("client-certificate {}", client.authorities)));
        labels.extend(self.access.as_ref().map(|_| "source-range".to_owned()));
        labels.extend(self.basic.as_ref().map(|basic| format!("basic-auth {}", basic.users)));
        labels.extend(self.external.as_ref().map(|external| format!("external-auth {}", external.url)));
        labels.extend(self.errors.as_ref().map(|_| "error-pages".to_owned()));
        labels.extend(self.headers.as_ref().map(|_| "headers".to_owned()));
        labels.extend(self.limits.as_ref().map(|_| "limits".to_owned()));
        labels.extend(self.proxying.labels());
        labels.extend(self.logs.no_access.then(|| "no-access-log".to_owned()));
        labels.extend(self.asset_fallback.then(|| "asset-fallback".to_owned()));
        labels.extend(self.service_upstream.then(|| "service-upstream".to_owned()));
        labels.extend(self.cors.as_ref().map(|_| "cors".to_owned()));
        labels.extend(self.balance.as_ref().map(|balance| balance.label()));
        labels.extend(self.breaker.as_ref().map(Breaker::label));
        labels.extend(self.health.as_ref().map(|check| check.label()));
        labels.extend(self.retry.as_ref().map(|_| "next-upstream".to_owned()));
        labels.extend(self.backend.as_ref().map(|backend| backend.label()));
        labels.extend(self.mirror.as_ref().map(|mirror| format!("mirror {}", mirror.target)));
        labels.extend(self.canary.as_ref().map(|canary| canary.label()));
        labels
    }
}
