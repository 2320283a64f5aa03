//! Checked settings of `weir webhook`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::flag::{self, Flags};
use super::{ConfigError, Manifests};
use crate::cli::WebhookArgs;
use crate::model::Severity;
use crate::telemetry::LogFormat;

/// Settings of `weir webhook`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookCommand {
    /// Where it listens.
    pub listen: SocketAddr,
    /// File with the certificate.
    pub certificate: PathBuf,
    /// File with its key.
    pub key: PathBuf,
    /// Objects with a Problem as bad as this are refused.
    pub deny: Option<Severity>,
    /// Form of the log.
    pub log_format: LogFormat,
    /// What objects mean.
    pub manifests: Manifests,
}

impl TryFrom<&WebhookArgs> for WebhookCommand {
    type Error = ConfigError;

    fn try_from(args: &WebhookArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let command = Self {
            listen: flags.one("--listen", &args.listen, flag::socket).unwrap_or(anywhere),
            certificate: args.tls_cert.clone(),
            key: args.tls_key.clone(),
            deny: flags.maybe("--deny", args.deny.as_deref(), severity),
            log_format: flags.one("--log-format", &args.log_format, flag::parsed).unwrap_or_default(),
            manifests: Manifests::read(&mut flags, &args.manifests),
        };
        flags.finish(command)
    }
}

fn severity(text: &str) -> Result<Severity, String> {
    let known = [Severity::Error, Severity::Warning];
    known.into_iter().find(|severity| severity.as_str() == text).ok_or_else(|| "error or warning".to_owned())
}
