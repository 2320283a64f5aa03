//! Sets of ports in the notation of `ip_local_reserved_ports`: `1,2,4-6`.

use std::fmt;
use std::str::FromStr;

/// A set of ports.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PortSet(Vec<bool>);

/// Text that is no list of ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected a port or a range of ports such as 15000-29999")]
pub(crate) struct PortSetError {
    found: String,
}

impl PortSet {
    /// The empty set.
    pub(crate) fn new() -> Self {
        Self(vec![false; 1 << 16])
    }

    /// All ports from `first` to `last`.
    pub(crate) fn range((first, last): (u16, u16)) -> Self {
        let mut set = Self::new();
        if let Some(ports) = set.0.get_mut(usize::from(first)..=usize::from(last)) {
            ports.fill(true);
        }
        set
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    /// Ports of either set.
    pub(crate) fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a || b)
    }

    /// Ports of this set that the other lacks.
    pub(crate) fn without(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && !b)
    }

    fn combine(&self, other: &Self, rule: impl Fn(bool, bool) -> bool) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(&a, &b)| rule(a, b)).collect())
    }
}

impl FromStr for PortSet {
    type Err = PortSetError;

    fn from_str(text: &str) -> Result<Self, PortSetError> {
        let mut set = Self::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let port = |text: &str| text.trim().parse::<u16>().map_err(|_| PortSetError { found: part.to_owned() });
            set = set.union(&Self::range((port(first)?, port(last)?)));
        }
        Ok(set)
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut port = 0;
        while port < self.0.len() {
            let length = self.0[port..].iter().take_while(|&&taken| taken).count();
            match length {
                0 => {}
                1 => write!(f, "{separator}{port}")?,
                _ => write!(f, "{separator}{port}-{}", port + length - 1)?,
            }
            if length > 0 {
                separator = ",";
            }
            port += length.max(1);
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> PortSet {
        text.parse().unwrap()
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(set("\n").to_string(), "");
        assert_eq!(set("8080,9148\n").to_string(), "8080,9148");
        assert_eq!(set("1,2-4,4-6,65535").to_string(), "1-6,65535");
    }

    #[test]
    fn adds_and_takes_out() {
        let (before, ours) = (set("8080,20000-20010"), PortSet::range((20_005, 20_020)));
        let added = ours.without(&before);
        let after = before.union(&ours);
        assert_eq!(added.to_string(), "20011-20020");
        assert_eq!(after.to_string(), "8080,20000-20020");
        assert_eq!(after.without(&added), before);
    }

    #[test]
    fn names_what_it_cannot_read() {
        let error = "80,http".parse::<PortSet>().unwrap_err();
        assert_eq!(error.to_string(), "found \"http\", expected a port or a range of ports such as 15000-29999");
        assert!("70000".parse::<PortSet>().is_err());
    }

    proptest! {
        #[test]
        fn text_and_set_are_the_same(ranges in proptest::collection::vec((any::<u16>(), any::<u16>()), 0..20)) {
            let all = ranges.iter().fold(PortSet::new(), |all, &range| all.union(&PortSet::range(range)));
            prop_assert_eq!(set(&all.to_string()), all);
        }
    }
}
