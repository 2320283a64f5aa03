//! The directory source: every manifest under a path, read once or watched.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc::Sender;

use super::{Objects, SourceEvent};

mod files;
mod scan;
mod tree;
mod watch;

use tree::Tree;

/// Why a directory cannot be a source at all.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The path cannot be read.
    #[error("cannot read {path}: {source}; expected a directory of manifests, or one manifest")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Reads everything under a path (or one file) once.
pub fn read(path: &Path) -> Result<Objects, DirError> {
    let mut tree = Tree::new(path);
    let mut objects = Objects::new(1);
    for event in tree.first_picture()? {
        objects.handle(0, event);
    }
    Ok(objects)
}

/// The manifests under a path, or the one that it names, sorted.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, DirError> {
    let listing = scan::scan(path).map_err(|source| DirError::Unreadable { path: path.to_owned(), source })?;
    Ok(listing.files.into_iter().collect())
}

/// Delivers everything under a path, then every change, until nobody listens any more. `index` is the number of this
/// source among all sources.
pub async fn run(path: PathBuf, index: usize, events: Sender<(usize, SourceEvent)>) -> Result<(), DirError> {
    let mut watch = watch::Watch::new(&path);
    let (mut tree, first) = off_thread(Tree::new(&path), Tree::first_picture).await;
    let mut news = first?;
    loop {
        for event in news {
            if events.send((index, event)).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            () = watch.changed() => {}
            () = events.closed() => return Ok(()),
        }
        (tree, news) = off_thread(tree, Tree::changes).await;
    }
}

/// Reads files where it does not hold up the runtime.
async fn off_thread<T: Send + 'static>(mut tree: Tree, read: fn(&mut Tree) -> T) -> (Tree, T) {
    let reading = tokio::task::spawn_blocking(move || {
        let result = read(&mut tree);
        (tree, result)
    });
    match reading.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
