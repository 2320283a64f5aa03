//! The connection to an API server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::OnceCell;

use super::reach::Reach;
use crate::telemetry;

/// Lists as a part of watches are on by default since Kubernetes 1.32. A server from 1.27 on that has them switched off
/// refuses; an older one would silently not do it.
const STREAMING_LISTS: (u32, u32) = (1, 32);

/// Why there is no connection to be had at all.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The file of `--kubeconfig`.
    #[error("--kubeconfig {file}: {why}; expected a kubeconfig file whose current context names a server and a login")]
    Kubeconfig {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// Not in a pod with a ServiceAccount.
    #[error("--source kube: {why}; outside of a cluster, --kubeconfig FILE names the server and the login")]
    InCluster {
        /// What is missing.
        why: String,
    },
    /// Certificates or keys that cannot be used.
    #[error("--source kube: {why}")]
    Client {
        /// What is wrong.
        why: String,
    },
}

/// A connection to an API server. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    client: Client,
    namespace: Arc<str>,
    reach: Reach,
    version: Arc<OnceCell<(u32, u32)>>,
    refused_streaming: Arc<AtomicBool>,
}

impl Api {
    /// From a kubeconfig file, or as a pod of the cluster. Connects to nothing yet.
    pub async fn new(kubeconfig: Option<&Path>) -> Result<Self, ApiError> {
        let config = match kubeconfig {
            Some(file) => from_file(file).await?,
            None => Config::incluster().map_err(|error| ApiError::InCluster { why: telemetry::chain(&error) })?,
        };
        let namespace = Arc::from(config.default_namespace.as_str());
        let builder = ClientBuilder::try_from(config);
        let builder = builder.map_err(|error| ApiError::Client { why: telemetry::chain(&error) })?;
        let reach = Reach::default();
        Ok(Self::with(builder.with_layer(&reach).build(), namespace, reach))
    }

    /// Over any service that answers requests as an API server does.
    #[cfg(test)]
    pub(super) fn over<S, B>(service: S) -> Self
    where
        S: tower::Service<hyper::Request<kube::client::Body>, Response = hyper::Response<B>> + Send + 'static,
        S::Error: Into<tower::BoxError>,
        S::Future: Send + 'static,
        B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<tower::BoxError>,
    {
        let reach = Reach::default();
        let observed = tower::Layer::layer(&reach, service);
        Self::with(Client::new(observed, "default"), Arc::from("default"), reach)
    }

    fn with(client: Client, namespace: Arc<str>, reach: Reach) -> Self {
        Api { client, namespace, reach, version: Arc::default(), refused_streaming: Arc::default() }
    }

    /// For requests.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The namespace of our own objects: that of the pod, or of the kubeconfig's context.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether reads are answered.
    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Whether the server can send lists as a part of watches.
    pub(super) async fn streams_lists(&self) -> bool {
        if self.refused_streaming.load(Ordering::Relaxed) {
            return false;
        }
        let ask = || async { self.client.apiserver_version().await.map(|info| numbers(&info.major, &info.minor)) };
        self.version.get_or_try_init(ask).await.is_ok_and(|version| *version >= STREAMING_LISTS)
    }

    /// The server has said that it cannot.
    pub(super) fn never_stream_lists(&self) {
        self.refused_streaming.store(true, Ordering::Relaxed);
    }
}

async fn from_file(file: &Path) -> Result<Config, ApiError> {
    let wrong =
        |error: &dyn std::error::Error| ApiError::Kubeconfig { file: file.display().to_string(), why: chain(error) };
    let kubeconfig = Kubeconfig::read_from(file).map_err(|error| wrong(&error))?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| wrong(&error))
}

fn chain(error: &dyn std::error::Error) -> String {
    telemetry::chain(error)
}

/// Some clouds append to the minor version, such as `32+`.
fn numbers(major: &str, minor: &str) -> (u32, u32) {
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    (number(major), number(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_whatever_is_appended() {
        assert_eq!(numbers("1", "32+"), (1, 32));
        assert_eq!(numbers("", "x"), (0, 0));
        assert!(numbers("1", "20") < STREAMING_LISTS && numbers("2", "0") > STREAMING_LISTS);
    }

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_used_is_named() {
        let error = Api::new(Some(Path::new("/nowhere/config"))).await.err().unwrap().to_string();
        assert!(error.contains("/nowhere/config"), "{error}");
    }
}
