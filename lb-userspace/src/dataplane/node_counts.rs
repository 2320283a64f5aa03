//! How many backends packets of DSR are carried to on each node: told by whoever writes the maps, so that nobody has to walk
//! them to know.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The counts, shared between the store that writes and those who ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeCounts(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl NodeCounts {
    /// Begins with what the maps hold.
    pub(crate) fn new(counts: BTreeMap<IpAddr, usize>) -> Self {
        Self(Arc::new(Mutex::new(counts)))
    }

    /// A backend is on another node than before, came, or went.
    pub(crate) fn moved(&self, from: Option<IpAddr>, to: Option<IpAddr>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(from) = from {
            let left = counts.get(&from).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                counts.remove(&from)
            } else {
                counts.insert(from, left)
            };
        }
        if let Some(to) = to {
            *counts.entry(to).or_default() += 1;
        }
    }

    /// As it is now.
    pub(crate) fn get(&self) -> BTreeMap<IpAddr, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_counts_as_long_as_it_has_backends() {
        let [one, two] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let counts = NodeCounts::new(BTreeMap::from([(one, 1)]));
        let read = counts.clone();
        counts.moved(None, Some(one));
        counts.moved(Some(one), Some(two));
        assert_eq!(read.get(), BTreeMap::from([(one, 1), (two, 1)]));
        counts.moved(Some(one), Some(one));
        counts.moved(Some(two), None);
        assert_eq!(read.get(), BTreeMap::from([(one, 1)]));
    }
}
