//! The network namespaces of this machine: those of its processes, and those that have a name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` and container runtimes hang namespaces.
const NAMED: &str = "/run/netns";

/// Opens each namespace once. A process that ends meanwhile is passed over.
pub(crate) fn all() -> Vec<File> {
    let processes = entries(Path::new("/proc")).filter(|path| is_process(path)).map(|path| path.join("ns/net"));
    let mut found = BTreeMap::new();
    for path in processes.chain(entries(Path::new(NAMED))) {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let identity = (metadata.dev(), metadata.ino());
        if !found.contains_key(&identity) {
            found.extend(File::open(path).ok().map(|file| (identity, file)));
        }
    }
    found.into_values().collect()
}

/// Does something in each namespace, on a thread of its own. A namespace that cannot be entered is passed over.
pub(crate) fn in_each(namespaces: &[File], work: impl Fn() -> io::Result<()> + Sync) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for namespace in namespaces {
                let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
                if let Err(error) = entered.map_err(io::Error::from).and_then(|()| work()) {
                    tracing::debug!(%error, "a network namespace is passed over");
                }
            }
        });
    });
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn is_process(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_is_among_them_once() {
        let own = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
        let found = all().iter().filter(|file| file.metadata().is_ok_and(|found| found.ino() == own)).count();
        assert_eq!(found, 1);
    }
}
