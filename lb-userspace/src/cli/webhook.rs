//! Flags of `weir webhook`.

use std::path::PathBuf;

use clap::Args;

use super::ManifestArgs;

/// Below the help.
pub(super) const WEBHOOK_EXAMPLES: &str = "\
Examples:
  weir webhook --tls-cert tls.crt --tls-key tls.key                  warn of what weir check would say
  weir webhook --tls-cert tls.crt --tls-key tls.key --deny error     refuse what has an error

It parses each object that the API server shows it, and answers. It asks nobody, holds no
credentials, and knows no other object: what an Ingress lacks elsewhere, the agents tell.
Exit codes: 0 ended by a signal, 64 wrong usage, 65 certificate or key cannot be used, 69 cannot listen.";

/// Flags of `weir webhook`.
#[derive(Debug, Args)]
pub struct WebhookArgs {
    /// Where the API server asks, by HTTPS: POST /validate; GET /healthz
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:9443")]
    pub listen: String,
    /// Its certificate, with those between it and the authority, in PEM; read anew when the file changes
    #[arg(long, value_name = "FILE")]
    pub tls_cert: PathBuf,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: PathBuf,
    /// Refuse objects with a Problem of this severity or a worse one, error or warning [default: refuse none, warn]
    #[arg(long, value_name = "SEVERITY")]
    pub deny: Option<String>,
    /// Form of the log on stderr: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: String,
    /// What the manifests mean.
    #[command(flatten)]
    pub manifests: ManifestArgs,
}
