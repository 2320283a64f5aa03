//! Exit codes that scripts rely on.

use std::process::ExitCode;

use thiserror::Error;

/// A task that ends with a code of sysexits.
#[derive(Debug, Error)]
pub(crate) enum Exit {
    /// Something that is needed is not there and cannot be had (EX_UNAVAILABLE).
    #[error("{0}")]
    Unavailable(String),
    /// Root is needed (EX_NOPERM).
    #[error("{0}")]
    NoPermission(String),
    /// The task ran and its checks failed; what failed is already printed.
    #[error("{0}")]
    Failed(String),
}

/// Prints the error and gives the exit code that belongs to it.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(match error.downcast_ref() {
        Some(Exit::Unavailable(_)) => 69,
        Some(Exit::NoPermission(_)) => 77,
        Some(Exit::Failed(_)) | None => 1,
    })
}
