//! What Services were given, for where no status remembers it: between a decision and the status that tells it, and for
//! Services of files, which have no status. The latter outlives the agent in a file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// The name of the file.
const FILE: &str = "addresses.json";

/// What Services were given, by `namespace/name`.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    given: BTreeMap<String, Vec<IpAddr>>,
    file: Option<PathBuf>,
    written: BTreeMap<String, Vec<IpAddr>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    given: BTreeMap<String, Vec<IpAddr>>,
}

impl Memory {
    /// What a file in this folder says; nothing where there is none, or none that can be read.
    pub fn read(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let stored = match fs::read(&file).map(|text| serde_json::from_slice::<Stored>(&text)) {
            Ok(Ok(stored)) => stored,
            Ok(Err(error)) => {
                tracing::warn!(file = %file.display(), %error, "cannot read which addresses were given");
                Stored::default()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "cannot read which addresses were given");
                Stored::default()
            }
        };
        Memory { given: stored.given.clone(), written: stored.given, file: Some(file) }
    }

    /// The same, without ever writing it.
    #[must_use]
    pub fn only_read(self) -> Self {
        Memory { file: None, ..self }
    }

    /// What a Service was given.
    pub(super) fn of(&self, namespace: &str, name: &str) -> &[IpAddr] {
        self.given.get(&key(namespace, name)).map_or(&[], Vec::as_slice)
    }

    /// All, by `namespace/name`.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &[IpAddr])> {
        self.given.iter().map(|(name, addresses)| (name.as_str(), addresses.as_slice()))
    }

    /// Keeps only what a test wants.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.given.retain(|name, _| keep(name));
    }

    /// Remembers; nothing given is nothing to remember.
    pub(super) fn remember(&mut self, namespace: &str, name: &str, given: Vec<IpAddr>) {
        match given.is_empty() {
            true => self.given.remove(&key(namespace, name)),
            false => self.given.insert(key(namespace, name), given),
        };
    }

    /// Writes those that a test wants, if they are others than were written before; a crash leaves the old or the new file.
    pub(super) fn write(&mut self, is_of_file: impl Fn(&str) -> bool) {
        let Some(file) = &self.file else { return };
        let given: BTreeMap<_, _> = self
            .given
            .iter()
            .filter(|(name, _)| is_of_file(name))
            .map(|(name, given)| (name.clone(), given.clone()))
            .collect();
        if given == self.written {
            return;
        }
        let new = file.with_extension("new");
        let text = serde_json::to_vec_pretty(&Stored { given: given.clone() }).map_err(io::Error::from);
        match text.and_then(|text| fs::write(&new, text)).and_then(|()| fs::rename(&new, file)) {
            Ok(()) => self.written = given,
            Err(error) => tracing::warn!(file = %file.display(), %error, "cannot write which addresses were given"),
        }
    }
}

/// `namespace/name`.
pub(super) fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}
