//! `--source`: where objects come from.

use std::fmt;
use std::path::{Path, PathBuf};

use super::flag::Flags;

/// The Kubernetes API, as the flag names it.
const KUBE: &str = "kube";

/// One source of objects. Its text is what `weir status` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceChoice {
    /// A directory of manifests, or one file.
    Dir(PathBuf),
    /// The Kubernetes API: of the cluster that the agent runs in, or of the current context of a kubeconfig file.
    Kube {
        /// The file.
        kubeconfig: Option<PathBuf>,
    },
}

impl SourceChoice {
    /// Whether it is the Kubernetes API.
    pub fn is_kube(&self) -> bool {
        matches!(self, SourceChoice::Kube { .. })
    }
}

impl fmt::Display for SourceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceChoice::Dir(path) => write!(f, "dir:{}", path.display()),
            SourceChoice::Kube { kubeconfig: Some(file) } => write!(f, "{KUBE}:{}", file.display()),
            SourceChoice::Kube { kubeconfig: None } => write!(f, "{KUBE}:in-cluster"),
        }
    }
}

/// Reads `--source` and `--kubeconfig`.
pub(super) fn read(flags: &mut Flags, given: &[String], kubeconfig: Option<&Path>) -> Vec<SourceChoice> {
    let choice = |text: &str| match text.split_once(':') {
        Some(("dir", path)) if !path.is_empty() => Ok(SourceChoice::Dir(path.into())),
        _ if text == KUBE => Ok(SourceChoice::Kube { kubeconfig: kubeconfig.map(Path::to_owned) }),
        _ => Err("dir:PATH, such as dir:/etc/weir/manifests, or kube".to_owned()),
    };
    let sources = flags.each("--source", given, choice);
    let clusters = sources.iter().filter(|source| source.is_kube()).count();
    if clusters > 1 {
        flags.mistake("--source", KUBE, "kube only once: an agent serves one cluster");
    }
    if let Some(file) = kubeconfig.filter(|_| clusters == 0) {
        flags.mistake("--kubeconfig", &file.display().to_string(), "--source kube beside it");
    }
    sources
}
