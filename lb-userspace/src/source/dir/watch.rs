//! When to read a directory again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// An edit is a burst of events (truncate, write, rename): wait until it is over ...
const QUIET: Duration = Duration::from_millis(40);
/// ... which is soon where every file that was written has been closed or renamed: one tool writes several.
const CLOSED_QUIET: Duration = Duration::from_millis(5);
/// ... but not for ever.
const LONGEST_BURST: Duration = Duration::from_millis(250);
/// Changes that inotify does not see (behind links that lead out of the directory, on network file systems) are found
/// by looking.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The same where inotify refuses, for instance because the user has no watches left.
const LOOK_AGAIN_UNWATCHED: Duration = Duration::from_millis(500);

/// Watches a directory.
pub(super) struct Watch {
    root: PathBuf,
    /// Where `root` led when the watch was placed: a swap of a link on the way leaves watches on the old place.
    placed_on: Option<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    events: Receiver<()>,
    written: Arc<Mutex<Written>>,
}

/// Files that somebody has begun to write, and not closed.
type Written = HashSet<PathBuf>;

impl Watch {
    /// Begins to watch.
    pub(super) fn new(root: &Path) -> Self {
        // Events name absolute paths, and a parent directory to watch must have a name.
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let mut watch = Watch { root, placed_on: None, watcher: None, events: channel(1).1, written: Arc::default() };
        watch.place();
        watch
    }

    /// Waits until something may have changed. Loses nothing if it is dropped while waiting.
    pub(super) async fn changed(&mut self) {
        let patience = if self.watcher.is_some() { LOOK_AGAIN } else { LOOK_AGAIN_UNWATCHED };
        if self.watcher.is_none() {
            sleep(patience).await;
        } else if let Ok(Some(())) = timeout(patience, self.events.recv()).await {
            self.settle().await;
        }
        if self.watcher.is_none() || self.placed_on != self.root.canonicalize().ok() {
            self.place();
        }
    }

    async fn settle(&mut self) {
        let end = Instant::now() + LONGEST_BURST;
        while Instant::now() < end {
            let quiet = if lock(&self.written).is_empty() { CLOSED_QUIET } else { QUIET };
            let quiet = end.min(Instant::now() + quiet);
            if !matches!(timeout_at(quiet, self.events.recv()).await, Ok(Some(()))) {
                break;
            }
        }
        // What nobody closes for so long (links, a writer that keeps its file) is not waited for the next time.
        lock(&self.written).clear();
    }

    fn place(&mut self) {
        let (sender, events) = channel(1);
        // Events carry absolute paths, however the watch was asked for.
        let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        let written = Arc::clone(&self.written);
        let handler = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| concerns(&event, &root) && note(&event, &mut lock(&written))) {
                // A full channel already says that there is something to look at.
                let _ = sender.try_send(());
            }
        };
        let watcher = RecommendedWatcher::new(handler, Config::default()).and_then(|mut watcher| {
            watcher.watch(&self.root, RecursiveMode::Recursive)?;
            if let Some(parent) = self.root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                // Only for a swap of the directory itself; without it, that is found by looking.
                let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
            }
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::debug!(path = %self.root.display(), %error, "cannot watch; looking every half second instead");
        }
        self.placed_on = self.root.canonicalize().ok();
        self.watcher = watcher.ok();
        self.events = events;
    }
}

/// Notes which files are being written. Always true: each step of that is an event.
fn note(event: &notify::Event, written: &mut Written) -> bool {
    let begun = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)));
    for path in &event.paths {
        match begun {
            true => drop(written.insert(path.clone())),
            false => drop(written.remove(path)),
        }
    }
    true
}

fn lock(written: &Mutex<Written>) -> MutexGuard<'_, Written> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The event may mean that manifests changed: it is no mere reading (we read ourselves) and lies under the root, or says
/// that events were lost.
fn concerns(event: &notify::Event, root: &Path) -> bool {
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let reading = matches!(event.kind, EventKind::Access(_)) && event.kind != written;
    let inside = event.paths.is_empty() || event.paths.iter().any(|path| path.starts_with(root));
    !reading && inside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_relative_path_is_watched_and_not_only_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let here = std::env::current_dir().unwrap();
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = up.join(dir.path().strip_prefix("/").unwrap());
        let mut watch = Watch::new(&relative);
        assert!(watch.watcher.is_some(), "inotify refuses");
        std::fs::write(dir.path().join("a.yaml"), "").unwrap();
        timeout(LOOK_AGAIN / 2, watch.changed()).await.expect("told long before the next look");
    }
}
