//! The list of networks from which everything is dropped: a file, read again when it changes.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};

/// More lines that are not networks are told by their number only.
const NAMED: usize = 8;
/// A longer file is not read: the maps take a million networks of each family.
const MOST_BYTES: u64 = 128 << 20;

/// The list as it was last read.
#[derive(Debug, Default)]
pub(super) struct DenyList {
    path: Option<PathBuf>,
    /// Which file it was, how long, and when it was written.
    seen: Option<Stamp>,
    /// `None` until it could be read.
    networks: Option<Arc<BTreeSet<IpNet>>>,
    problems: Vec<Problem>,
}

type Stamp = (u64, u64, u64, i64, i64);

impl DenyList {
    /// Reads the file for the first time; without one nobody is denied.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        let networks = path.is_none().then(Arc::default);
        let mut list = Self { path, networks, ..Self::default() };
        list.follow();
        list
    }

    /// Reads the file again if it is another one than before. True if something has changed. What cannot be read changes
    /// nothing: who was denied stays so.
    pub(super) fn follow(&mut self) -> bool {
        let Some(path) = self.path.clone() else { return false };
        let found = fs::metadata(&path).map(|metadata| stamp(&metadata));
        if let Ok(stamp) = &found
            && self.seen.as_ref() == Some(stamp)
        {
            return false;
        }
        let before = (self.networks.clone(), self.problems.clone());
        match found.and_then(|stamp| Ok((stamp, read(&path)?))) {
            Ok((stamp, text)) => {
                let (networks, problems) = parse(&text, &path);
                (self.seen, self.networks, self.problems) = (Some(stamp), Some(Arc::new(networks)), problems);
            }
            Err(error) => {
                (self.seen, self.problems) = (None, vec![unreadable(&path, &error)]);
            }
        }
        before != (self.networks.clone(), self.problems.clone())
    }

    /// Who is denied; `None` if that was never known.
    pub(super) fn networks(&self) -> Option<Arc<BTreeSet<IpNet>>> {
        self.networks.clone()
    }

    /// What is wrong with the file.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MOST_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MOST_BYTES >> 20)));
    }
    fs::read_to_string(path)
}

/// One network or address a line; what follows a `#` is for people.
fn parse(text: &str, path: &Path) -> (BTreeSet<IpNet>, Vec<Problem>) {
    let (mut networks, mut problems, mut more) = (BTreeSet::new(), Vec::new(), 0);
    for (number, line) in (1_u32..).zip(text.lines()) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        match network(entry) {
            Some(network) => drop(networks.insert(network)),
            None if problems.len() < NAMED => problems.push(invalid(entry, path, number)),
            None => more += 1,
        }
    }
    if more > 0 {
        let what = format!("{more} more lines of the list of denied networks are not networks");
        problems.push(Problem::error(code::DENIED_INVALID, &ObjectRef::default(), what).in_file(path, None));
    }
    (networks, problems)
}

fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(address).map(|network| network.trunc())
}

fn invalid(text: &str, path: &Path, line: u32) -> Problem {
    let what = "a line of the list of denied networks is not a network; nobody is denied by it";
    let problem = Problem::error(code::DENIED_INVALID, &ObjectRef::default(), what).at("--deny-list", text);
    problem.expected("a network or address, such as 192.0.2.0/24").in_file(path, Some(line))
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let what = format!("the list of denied networks cannot be read: {error}; those that were denied stay so");
    Problem::error(code::DENIED_UNREADABLE, &ObjectRef::default(), what).at("--deny-list", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_addresses_and_remarks_are_read_and_the_rest_is_told() {
        let text =
            "# who floods us\n192.0.2.0/24 # a net\n\n198.51.100.7\n10.1.2.3/8\n2001:db8::/32\nnonsense\n1.2.3.4/33\n";
        let (networks, problems) = parse(text, Path::new("/etc/weir/deny"));
        let expected = ["10.0.0.0/8", "192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32"];
        assert_eq!(networks, expected.iter().map(|text| text.parse().unwrap()).collect());
        let told: Vec<_> = problems.iter().map(|p| (p.code.as_str(), p.line, p.value.as_deref())).collect();
        let code = code::DENIED_INVALID;
        assert_eq!(told, [(code, Some(7), Some("nonsense")), (code, Some(8), Some("1.2.3.4/33"))]);
    }

    #[test]
    fn a_file_that_is_gone_changes_nobody() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "192.0.2.1\n").unwrap();
        let mut list = DenyList::new(Some(file.path().to_owned()));
        let held = list.networks();
        assert_eq!(held.as_ref().map(|networks| networks.len()), Some(1));
        assert!(!list.follow(), "nothing has changed");
        fs::write(file.path(), "192.0.2.1\n192.0.2.2\n").unwrap();
        assert!(list.follow());
        assert_eq!(list.networks().map(|networks| networks.len()), Some(2));
        drop(file);
        assert!(list.follow());
        assert_eq!(list.problems()[0].code, code::DENIED_UNREADABLE);
        assert_eq!(list.networks().map(|networks| networks.len()), Some(2));
        assert!(!list.follow(), "the same again is no change");
    }

    #[test]
    fn a_file_that_never_was_is_no_empty_one() {
        assert_eq!(DenyList::new(Some("/nonexistent/deny".into())).networks(), None);
        assert_eq!(DenyList::new(None).networks().map(|networks| networks.len()), Some(0));
    }
}
