//! The connection over TLS by which a request comes.

use std::rc::Rc;
use std::sync::Arc;

use super::{Session, Told};
use crate::l7::host::normalise;
use crate::l7::table::RouteTable;
use crate::l7::tls::{self, Presented};
use crate::model::TlsHost;
use crate::status::explain::{ExplainQuery, Scheme};

impl Told<'_> {
    /// What the front knows of the connection once it can read requests; `None`: it gets that far with none.
    pub(super) fn session(&mut self, query: &ExplainQuery, table: &RouteTable) -> Option<Session> {
        if query.target.scheme != Scheme::Https {
            return Some(None);
        }
        if table.tls.off {
            self.unserved("no-tls", "--https-port is 0: the front speaks plain HTTP only");
            return None;
        }
        // Clients name no addresses in a handshake (RFC 6066 section 3).
        let name = normalise(&query.target.host).filter(|_| query.target.address().is_none());
        let host = table.tls.of_host(name.as_deref().unwrap_or("*"));
        if table.settings.tls.reject_unknown && host.is_none() {
            self.unserved("no-tls", "no handshake for names that no Ingress has (ssl-reject-handshake)");
            return None;
        }
        if let Some(upstream) = host.and_then(|host| host.passthrough.as_deref()) {
            self.passed(upstream, table);
            return None;
        }
        let secret = host.and_then(|host| host.certificate.as_deref()).or(table.tls.default.as_deref());
        let detail =
            secret.map_or("the front's own certificate".to_owned(), |secret| format!("certificate of Secret {secret}"));
        self.step("tls", "ends here", detail);
        let client = host.and_then(|host| self.presented(host, table));
        Some(Some(Rc::new(tls::Session {
            server_name: name.map(|name| name.into_owned().into()),
            client,
            ..tls::Session::default()
        })))
    }

    /// Nobody shows a certificate here.
    fn presented(&mut self, host: &TlsHost, table: &RouteTable) -> Option<Presented> {
        let asked = host.client.clone()?;
        let authorities = Arc::clone(table.tls.authorities.get(&asked.authorities)?);
        self.step("tls", "asks for a certificate", "told is what becomes of a client without one");
        Some(Presented { asked, authorities, certificate: None })
    }

    fn unserved(&mut self, reason: &str, why: &str) {
        self.step("tls", "none", why);
        self.row.verdict = "reject".to_owned();
        self.row.reason = Some(reason.to_owned());
    }

    fn passed(&mut self, upstream: &str, table: &RouteTable) {
        self.step("tls", "passed through", "the connection goes to the backend as it is; no rule is looked at");
        match table.upstreams.get(upstream).filter(|endpoints| !endpoints.is_empty()) {
            Some(endpoints) => {
                self.step("endpoints", endpoints.len().to_string(), format!("of {upstream}"));
                self.forward(upstream, "to one of them in turn");
                self.only(endpoints);
            }
            None => self.unserved("no-endpoint", &format!("{upstream} has no endpoint; the connection is closed")),
        }
    }
}
