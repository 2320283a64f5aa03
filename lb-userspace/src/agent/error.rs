//! Why an agent could not start or go on.

use std::io;

use crate::admin::BindError;
use crate::cli::Exit;
use crate::dataplane::store::StoreError;
use crate::dataplane::{DataplaneError, NetlinkError};
use crate::l7::supervisor::SupervisorError;
use crate::source::dir::DirError;
use crate::source::kube::ApiError;

/// Why an agent could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Threads, signals or the like.
    #[error("the system refuses what every process needs")]
    Runtime(#[source] io::Error),
    /// The admin API.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// Programs and maps.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// What the maps hold.
    #[error("cannot read what the maps hold")]
    Store(#[from] StoreError),
    /// Interfaces and addresses.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A source, where none is waited for.
    #[error(transparent)]
    Source(#[from] DirError),
    /// The API server of a cluster.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The layer 7 process.
    #[error("cannot start the front")]
    Front(#[from] SupervisorError),
}

impl AgentError {
    /// The exit code that says so.
    pub fn exit(&self) -> Exit {
        match self {
            AgentError::Dataplane(DataplaneError::Permission { .. }) => Exit::NoPermission,
            AgentError::Runtime(_) => Exit::Failed,
            _ => Exit::Unavailable,
        }
    }
}
