//! Values of the variables that templates name, read from a request.

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::basic;
use crate::l7::forward::Ends;
use crate::l7::path::CanonicalPath;
use crate::l7::proxy::host_of;
use crate::l7::rules::Rule;
use crate::l7::{cookies, host, parameters};
use crate::model::filters::{Variable, Variables};

/// A request as filters see it.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The rule that matches.
    pub rule: &'a Rule,
    /// Its head.
    pub head: &'a Parts,
    /// Who asks, and where.
    pub ends: &'a Ends,
}

impl Variables for Seen<'_> {
    fn append(&self, variable: &Variable, to: &mut String) {
        match variable {
            Variable::Scheme => to.push_str(self.ends.scheme()),
            Variable::Host => to.push_str(&host::normalise(host_of(self.head)).unwrap_or_default()),
            Variable::HttpHost | Variable::BestHttpHost => to.push_str(host_of(self.head)),
            Variable::RequestUri => to.push_str(self.request_uri()),
            Variable::EscapedRequestUri => parameters::escape(self.request_uri(), to),
            Variable::Uri => self.append_path(to),
            Variable::Args | Variable::QueryString => to.push_str(self.head.uri.query().unwrap_or_default()),
            Variable::IsArgs if self.head.uri.query().is_some() => to.push('?'),
            Variable::RemoteAddr | Variable::BinaryRemoteAddr => {
                to.push_str(&self.ends.client.ip().to_canonical().to_string());
            }
            Variable::RemotePort => to.push_str(&self.ends.client.port().to_string()),
            Variable::RequestMethod => to.push_str(self.head.method.as_str()),
            Variable::ServerPort => to.push_str(&self.ends.front.port().to_string()),
            Variable::ServerAddr => to.push_str(&self.ends.front.ip().to_canonical().to_string()),
            Variable::Namespace => to.push_str(split(&self.rule.entry.ingress).0),
            Variable::IngressName => to.push_str(split(&self.rule.entry.ingress).1),
            Variable::ServiceName => to.push_str(split(&self.rule.entry.service).1),
            Variable::ServicePort => to.push_str(&self.rule.entry.service_port),
            Variable::RequestId => self.append_header("x-request-id", to),
            Variable::Header(name) => self.append_header(name, to),
            Variable::Cookie(name) => self.append_cookie(name, to),
            Variable::Parameter(name) => {
                to.push_str(parameters::first(self.head.uri.query().unwrap_or_default(), name).unwrap_or_default());
            }
            Variable::RemoteUser => to.push_str(&basic::user(&self.head.headers).unwrap_or_default()),
            Variable::IsArgs => {}
        }
    }
}

impl Seen<'_> {
    /// A value for a header, unless it holds what no header can carry.
    pub(super) fn value(&self, variable: &Variable) -> Option<HeaderValue> {
        let mut text = String::new();
        self.append(variable, &mut text);
        HeaderValue::try_from(text).ok()
    }

    /// The client speaks TLS.
    pub(super) fn is_secure(&self) -> bool {
        let mut scheme = String::new();
        self.append(&Variable::Scheme, &mut scheme);
        scheme == "https"
    }

    pub(super) fn request_uri(&self) -> &str {
        self.head.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// A path that cannot be read has no route, and so no template that asks for it.
    fn append_path(&self, to: &mut String) {
        if let Ok(path) = CanonicalPath::new(self.head.uri.path()) {
            to.push_str(&path.text);
        }
    }

    fn append_header(&self, name: &str, to: &mut String) {
        let name = HeaderName::try_from(name).ok();
        let value = name.and_then(|name| self.head.headers.get(name)?.to_str().ok());
        to.push_str(value.unwrap_or_default());
    }

    fn append_cookie(&self, name: &str, to: &mut String) {
        to.push_str(cookies::find(&self.head.headers, name).unwrap_or_default());
    }
}

/// `namespace/name`.
fn split(qualified: &str) -> (&str, &str) {
    qualified.split_once('/').unwrap_or(("", qualified))
}
