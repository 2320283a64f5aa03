//! Which manifests lie under a path.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::files::{entries, is_hidden, is_manifest, is_regular, unreadable};
use crate::model::Problem;

/// Deepest directory that is looked into.
const MAX_DEPTH: usize = 32;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Manifests.
    pub(super) files: BTreeSet<PathBuf>,
    /// Directories that could not be read: what lay in them before is still there as far as anybody knows.
    pub(super) unreadable: Vec<PathBuf>,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
    visited: HashSet<(u64, u64)>,
}

/// Walks a directory, or takes the one file that the path names. Symbolic links are followed, each directory once.
pub(super) fn scan(root: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    if is_regular(root)? {
        listing.files.insert(root.to_owned());
    } else {
        let found = entries(root)?;
        listing.enter(root)?;
        listing.take(found, 1);
    }
    Ok(listing)
}

impl Listing {
    /// Notes a directory; false if it has been walked already, under this or another name.
    fn enter(&mut self, directory: &Path) -> io::Result<bool> {
        let metadata = fs::metadata(directory)?;
        Ok(self.visited.insert((metadata.dev(), metadata.ino())))
    }

    fn take(&mut self, paths: Vec<PathBuf>, depth: usize) {
        for path in paths.into_iter().filter(|path| !is_hidden(path)) {
            if path.is_dir() {
                self.directory(path, depth);
            } else if is_manifest(&path) && is_regular(&path).unwrap_or(true) {
                self.files.insert(path);
            }
        }
    }

    fn directory(&mut self, path: PathBuf, depth: usize) {
        if depth >= MAX_DEPTH {
            let error = io::Error::other(format!("it lies deeper than {MAX_DEPTH} directories"));
            return self.problems.push(unreadable(&path, &error));
        }
        match self.enter(&path).and_then(|new| if new { entries(&path) } else { Ok(Vec::new()) }) {
            Ok(found) => self.take(found, depth + 1),
            Err(error) => {
                self.problems.push(unreadable(&path, &error));
                self.unreadable.push(path);
            }
        }
    }
}
