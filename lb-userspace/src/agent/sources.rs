//! Runs the sources and starts those again that fail.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::SourceEvent;
use crate::source::dir::{self, DirError};

/// An event of the source with that index.
pub(super) type Event = (usize, SourceEvent);

/// Events that wait for the main loop before sources have to.
const QUEUE: usize = 1024;
/// A directory may be mounted later.
const PAUSE: Duration = Duration::from_secs(2);

/// Whether all sources are there: a running agent waits for a directory that is mounted later, a dry run does not.
pub(super) fn readable(sources: &[PathBuf]) -> Result<(), DirError> {
    for path in sources {
        std::fs::metadata(path).map_err(|source| DirError::Unreadable { path: path.clone(), source })?;
    }
    Ok(())
}

/// Starts every source.
pub(super) fn start(sources: &[PathBuf]) -> Receiver<Event> {
    let (sender, receiver) = channel(QUEUE);
    for (index, path) in sources.iter().enumerate() {
        tokio::spawn(keep_running(path.clone(), index, sender.clone()));
    }
    receiver
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
    use super::*;

    #[test]
    fn a_missing_source_is_named() {
        let there = tempfile::tempdir().unwrap();
        let missing = there.path().join("missing");
        assert!(readable(&[there.path().to_owned()]).is_ok());
        let message = readable(&[there.path().to_owned(), missing.clone()]).unwrap_err().to_string();
        assert!(message.contains(&missing.display().to_string()), "{message}");
    }
}
