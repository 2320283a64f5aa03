//! What a route asks of TLS.

use serde::{Deserialize, Serialize};

use super::Template;

/// Plain requests that are sent to HTTPS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Secure {
    /// Which ones.
    pub redirect: SecureRedirect,
    /// A slash at the end of the path stays.
    pub keeps_slash: bool,
    /// The host's connections over TLS go to the backend as they are.
    pub passthrough: bool,
    /// Suites of TLS 1.2 that the host offers, by the names of OpenSSL; empty: those of the front.
    pub ciphers: Vec<String>,
    /// Whether the front's order of suites counts; `None`: as for other hosts.
    pub server_order: Option<bool>,
}

impl Secure {
    /// What it does beyond what happens anyway.
    pub fn label(&self) -> Option<String> {
        let redirect = match self.redirect {
            SecureRedirect::Never => Some("no-ssl-redirect"),
            SecureRedirect::Always => Some("force-ssl-redirect"),
            SecureRedirect::Listed => None,
        };
        let passthrough = self.passthrough.then_some("ssl-passthrough");
        passthrough.or(redirect).map(str::to_owned)
    }
}

/// Which plain requests are sent to HTTPS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecureRedirect {
    /// None.
    Never,
    /// Those for hosts that an Ingress lists under `spec.tls`.
    #[default]
    Listed,
    /// All.
    Always,
}

/// The certificate that a client has to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// Who has to have signed it: key in [`crate::model::Tls::authorities`].
    pub authorities: String,
    /// So many authorities may stand between it and one of those.
    pub depth: u8,
    /// What happens without a good one.
    pub verify: Verify,
    /// Where clients without a good one are sent.
    pub error_page: Option<Template>,
    /// The backend gets it in a header.
    pub pass: bool,
    /// A regular expression that its subject has to match.
    pub subject: Option<String>,
}

/// What happens without a good certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verify {
    /// The request is refused.
    #[default]
    Required,
    /// It is refused if there is one that is not good.
    Optional,
    /// It is not refused, whoever has signed the certificate.
    OptionalNoCa,
}
