//! Runs the sources and starts those again that fail.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::facts::Facts;
use crate::config::{Config, SourceChoice};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::SourceEvent;
use crate::source::dir::{self, DirError};
use crate::source::kube::{self, Api, ApiError, Wanted};

/// An event of the source with that index.
pub(super) type Event = (usize, SourceEvent);

/// Events that wait for the main loop before sources have to.
const QUEUE: usize = 1024;
/// A directory may be mounted later.
const PAUSE: Duration = Duration::from_secs(2);

/// Whether all directories are there: a running agent waits for one that is mounted later, a dry run does not.
pub(super) fn readable(sources: &[SourceChoice]) -> Result<(), DirError> {
    for source in sources {
        if let SourceChoice::Dir(path) = source {
            std::fs::metadata(path).map_err(|source| DirError::Unreadable { path: path.clone(), source })?;
        }
    }
    Ok(())
}

/// The connection to the API server, if one is a source.
pub(super) async fn connect(sources: &[SourceChoice]) -> Result<Option<Api>, ApiError> {
    let kubeconfig = sources.iter().find_map(|source| match source {
        SourceChoice::Kube { kubeconfig } => Some(kubeconfig.as_deref()),
        SourceChoice::Dir(_) => None,
    });
    match kubeconfig {
        Some(kubeconfig) => Api::new(kubeconfig).await.map(Some),
        None => Ok(None),
    }
}

/// Starts every source.
pub(super) fn start(config: &Config, facts: &Facts, api: Option<&Api>) -> Receiver<Event> {
    let (sender, receiver) = channel(QUEUE);
    for (index, source) in config.sources.iter().enumerate() {
        match (source, api) {
            (SourceChoice::Dir(path), _) => {
                tokio::spawn(keep_running(path.clone(), index, sender.clone()));
            }
            (SourceChoice::Kube { .. }, Some(api)) => {
                tokio::spawn(kube::run(api.clone(), wanted(config, facts), index, sender.clone()));
            }
            (SourceChoice::Kube { .. }, None) => {}
        }
    }
    receiver
}

fn wanted(config: &Config, facts: &Facts) -> Wanted {
    let manifests = &config.manifests;
    let named = [&manifests.configmap, &manifests.tcp_services_configmap, &manifests.udp_services_configmap];
    Wanted {
        node_name: facts.name.clone(),
        pod_weights: config.pod_weights,
        config_maps: named.into_iter().flatten().cloned().collect(),
        secrets: manifests.default_ssl_certificate.iter().cloned().collect(),
    }
}

/// What a source held stays in force while it cannot be read; its Problem goes as soon as it is read again.
async fn keep_running(path: PathBuf, index: usize, events: Sender<Event>) {
    while let Err(error) = dir::run(path.clone(), index, events.clone()).await {
        let problem =
            Problem::error(code::FILE_UNREADABLE, &ObjectRef::default(), &error).at("--source", path.display());
        if events.send((index, SourceEvent::Problems(vec![problem]))).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_missing_source_is_named() {
        let there = tempfile::tempdir().unwrap();
        let missing = there.path().join("missing");
        let dir = |path: &Path| SourceChoice::Dir(path.to_owned());
        assert!(readable(&[dir(there.path()), SourceChoice::Kube { kubeconfig: None }]).is_ok());
        let message = readable(&[dir(there.path()), dir(&missing)]).unwrap_err().to_string();
        assert!(message.contains(&missing.display().to_string()), "{message}");
    }
}
