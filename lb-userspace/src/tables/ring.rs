//! A ring in memory: a byte for each slot, as long as that names its backends. A cluster has a ring for each Service, of a
//! thousand slots and more, and of few backends.

use std::sync::Arc;

use super::BackendId;

/// A service's ring: slot to backend. Empty: no backend. Clones share it.
#[derive(Clone, Debug)]
pub struct Ring(Arc<Slots>);

#[derive(Debug)]
enum Slots {
    /// Each slot is an index into the ids, of which there are at most 256.
    Narrow(Box<[BackendId]>, Box<[u8]>),
    /// The ids themselves.
    Wide(Box<[BackendId]>),
}

/// As many ids as a byte can name.
const NARROW: usize = 1 << u8::BITS;

impl Ring {
    /// How many slots it has.
    pub fn len(&self) -> usize {
        match &*self.0 {
            Slots::Narrow(_, slots) => slots.len(),
            Slots::Wide(slots) => slots.len(),
        }
    }

    /// Whether it has no slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The backend of each slot.
    pub fn iter(&self) -> impl Iterator<Item = BackendId> + Clone + '_ {
        let (ids, narrow, wide): (&[_], &[_], &[_]) = match &*self.0 {
            Slots::Narrow(ids, slots) => (ids, slots, &[]),
            Slots::Wide(slots) => (&[], &[], slots),
        };
        // One of the two is empty.
        narrow.iter().map(|&slot| ids[usize::from(slot)]).chain(wide.iter().copied())
    }

    /// Whether it is the very same.
    #[cfg(test)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The backends of its slots, each at least once.
    pub fn backends(&self) -> &[BackendId] {
        match &*self.0 {
            Slots::Narrow(ids, _) => ids,
            Slots::Wide(slots) => slots,
        }
    }
}

impl FromIterator<BackendId> for Ring {
    fn from_iter<T: IntoIterator<Item = BackendId>>(slots: T) -> Self {
        let slots: Box<[_]> = slots.into_iter().collect();
        Self(Arc::new(narrow(&slots).unwrap_or(Slots::Wide(slots))))
    }
}

/// `None`: too many backends.
fn narrow(slots: &[BackendId]) -> Option<Slots> {
    // Neighbours of the same id are frequent in no ring, but ids are few: a list of them stays short.
    let mut ids = Vec::new();
    for &id in slots {
        if let Err(place) = ids.binary_search(&id) {
            if ids.len() == NARROW {
                return None;
            }
            ids.insert(place, id);
        }
    }
    // The place is below `NARROW`, as is the length.
    let slots = slots.iter().map(|id| ids.binary_search(id).unwrap_or_default() as u8).collect();
    Some(Slots::Narrow(ids.into(), slots))
}

impl Default for Ring {
    fn default() -> Self {
        Self::from_iter([])
    }
}

impl<const N: usize> From<[BackendId; N]> for Ring {
    fn from(slots: [BackendId; N]) -> Self {
        Self::from_iter(slots)
    }
}

impl From<Vec<BackendId>> for Ring {
    fn from(slots: Vec<BackendId>) -> Self {
        Self::from_iter(slots)
    }
}

impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        // Most are the very same; and what is made of the same slots has the same form.
        Arc::ptr_eq(&self.0, &other.0)
            || match (&*self.0, &*other.0) {
                (Slots::Narrow(ids, slots), Slots::Narrow(others, theirs)) => ids == others && slots == theirs,
                (Slots::Wide(slots), Slots::Wide(theirs)) => slots == theirs,
                (Slots::Narrow(..), Slots::Wide(_)) | (Slots::Wide(_), Slots::Narrow(..)) => false,
            }
    }
}

impl Eq for Ring {}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(ids: &[u32]) -> Ring {
        ids.iter().map(|&id| BackendId(id)).collect()
    }

    proptest! {
        #[test]
        fn it_gives_back_what_it_is_made_of(ids in vec(1..400_u32, 0..2_000)) {
            let ring = of(&ids);
            prop_assert_eq!(ring.iter().map(|id| id.0).collect::<Vec<_>>(), ids.clone());
            prop_assert_eq!(ring.len(), ids.len());
            prop_assert_eq!(ring.is_empty(), ids.is_empty());
            let named = |id: &u32| ring.backends().contains(&BackendId(*id));
            prop_assert!(ids.iter().all(named));
            prop_assert!(ring.backends().iter().all(|id| ids.contains(&id.0)));
        }

        #[test]
        fn equal_are_those_of_equal_slots(left in vec(1..4_u32, 0..6), right in vec(1..4_u32, 0..6)) {
            prop_assert_eq!(of(&left) == of(&right), left == right);
        }
    }

    #[test]
    fn a_byte_for_each_slot_while_there_are_256_backends() {
        let narrow = |backends| matches!(*of(&(1..=backends).collect::<Vec<_>>()).0, Slots::Narrow(..));
        assert!(narrow(1) && narrow(256));
        assert!(!narrow(257));
    }
}
