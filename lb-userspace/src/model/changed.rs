//! What a step changed of a desired state.

use std::collections::{BTreeMap, BTreeSet};

use super::{ServiceKey, Target};

/// The parts of a [`DesiredState`](super::DesiredState) that may be others than before; all else is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// What balanced ports led to before, of those that lead elsewhere now.
    pub targets: BTreeMap<ServiceKey, Target>,
    /// Hosts that have other routes or another entry in TLS; `None`: any host.
    pub hosts: BTreeSet<Option<String>>,
    /// Secrets whose users, certificates or authorities come, go or are others.
    pub secrets: BTreeSet<String>,
    /// The settings of the front.
    pub front: bool,
}
