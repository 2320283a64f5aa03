//! Ranges of addresses, and sets of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::model::IpFamily;

/// All addresses from one to another, both included, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    family: IpFamily,
    first: u128,
    last: u128,
}

/// The text is no address, network or range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not an address, nor two.
    #[error("this is no address, network or range of addresses")]
    Text,
    /// One of IPv4 and one of IPv6.
    #[error("the two ends are of different families")]
    Families,
    /// The last one comes before the first.
    #[error("the range ends before it begins")]
    Backwards,
}

impl FromStr for Range {
    type Err = RangeError;

    /// `192.0.2.1`, `192.0.2.0/28` (all of its addresses, whatever stands behind the prefix) or `192.0.2.1-192.0.2.9`.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let address = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| RangeError::Text);
        if text.contains('/') {
            let network: IpNet = text.trim().parse().map_err(|_| RangeError::Text)?;
            return Range::between(network.network(), network.broadcast());
        }
        match text.split_once('-') {
            Some((first, last)) => Range::between(address(first)?, address(last)?),
            None => address(text).and_then(|only| Range::between(only, only)),
        }
    }
}

impl Range {
    fn between(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        let ((family, first), (other, last)) = (number(first), number(last));
        if family != other {
            return Err(RangeError::Families);
        }
        if last < first { Err(RangeError::Backwards) } else { Ok(Range { family, first, last }) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => address(self.family, self.first).fmt(f),
            false => write!(f, "{}-{}", address(self.family, self.first), address(self.family, self.last)),
        }
    }
}

/// Addresses of one family: ranges in order that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// Those of a family among any ranges.
    pub fn of(family: IpFamily, ranges: &[Range]) -> Self {
        let mut ends: Vec<_> =
            ranges.iter().filter(|range| range.family == family).map(|range| (range.first, range.last)).collect();
        ends.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::new();
        for (first, last) in ends {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Ranges(merged)
    }

    /// Without those of others.
    #[must_use]
    pub fn without(&self, others: &Ranges) -> Self {
        let mut left = self.0.clone();
        for &(first, last) in &others.0 {
            let cut = left.into_iter().flat_map(|(begin, end)| {
                let before = (begin < first).then(|| (begin, end.min(first.wrapping_sub(1))));
                let behind = (end > last).then(|| (begin.max(last.wrapping_add(1)), end));
                let apart = end < first || begin > last;
                if apart { [Some((begin, end)), None] } else { [before, behind] }
            });
            left = cut.flatten().collect();
        }
        Ranges(left)
    }

    /// Their ends.
    pub fn iter(&self) -> impl Iterator<Item = (u128, u128)> {
        self.0.iter().copied()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many; the largest number there is for all of IPv6.
    pub fn len(&self) -> u128 {
        self.0.iter().fold(0, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
    }

    /// The address at a place, counted from 0.
    pub fn nth(&self, mut place: u128) -> Option<u128> {
        for (first, last) in &self.0 {
            if place <= last - first {
                return Some(first + place);
            }
            place -= (last - first).saturating_add(1);
        }
        None
    }

    /// Whether an address, as a number, is among them.
    pub fn contains(&self, number: u128) -> bool {
        self.0.iter().any(|(first, last)| (first..=last).contains(&&number))
    }

    /// Whether they have an address in common.
    pub fn overlap(&self, others: &Ranges) -> bool {
        let meets = |(first, last): &(u128, u128)| others.0.iter().any(|(begin, end)| begin <= last && first <= end);
        self.0.iter().any(meets)
    }
}

/// An address as its family and a number.
pub fn number(address: IpAddr) -> (IpFamily, u128) {
    match address {
        IpAddr::V4(address) => (IpFamily::V4, u128::from(address.to_bits())),
        IpAddr::V6(address) => (IpFamily::V6, address.to_bits()),
    }
}

/// The address of a number.
pub fn address(family: IpFamily, number: u128) -> IpAddr {
    match family {
        // Numbers of IPv4 come from addresses of IPv4.
        IpFamily::V4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpFamily::V6 => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(texts: &[&str]) -> Ranges {
        Ranges::of(IpFamily::V4, &texts.iter().map(|text| text.parse().expect("a range")).collect::<Vec<_>>())
    }

    #[test]
    fn texts() {
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.7/30", "192.0.2.4-192.0.2.7"),
            (" 192.0.2.1 - 192.0.2.9 ", "192.0.2.1-192.0.2.9"),
            ("2001:db8::/126", "2001:db8::-2001:db8::3"),
            ("2001:db8::1/128", "2001:db8::1"),
        ] {
            assert_eq!(text.parse::<Range>().map(|range| range.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for (text, error) in [
            ("", RangeError::Text),
            ("192.0.2.0/33", RangeError::Text),
            ("192.0.2.1-9", RangeError::Text),
            ("192.0.2.1-2001:db8::1", RangeError::Families),
            ("192.0.2.9-192.0.2.1", RangeError::Backwards),
        ] {
            assert_eq!(text.parse::<Range>(), Err(error), "{text}");
        }
    }

    #[test]
    fn sets_are_merged_counted_and_cut() {
        let set = v4(&["192.0.2.8/30", "192.0.2.0-192.0.2.9", "192.0.2.20", "192.0.2.12"]);
        assert_eq!(set, v4(&["192.0.2.0-192.0.2.12", "192.0.2.20"]));
        assert_eq!(set.len(), 14);
        let nth = |place| set.nth(place).map(|number| address(IpFamily::V4, number).to_string());
        assert_eq!(nth(12).as_deref(), Some("192.0.2.12"));
        assert_eq!(nth(13).as_deref(), Some("192.0.2.20"));
        assert_eq!(nth(14), None);
        let cut = set.without(&v4(&["192.0.2.0", "192.0.2.5-192.0.2.6", "192.0.2.12-192.0.2.30"]));
        assert_eq!(cut, v4(&["192.0.2.1-192.0.2.4", "192.0.2.7-192.0.2.11"]));
        assert!(cut.overlap(&v4(&["192.0.2.4-192.0.2.6"])) && !cut.overlap(&v4(&["192.0.2.5-192.0.2.6"])));
        assert!(set.without(&v4(&["0.0.0.0/0"])).is_empty());
        assert_eq!(Ranges::of(IpFamily::V6, &["::/0".parse().expect("all")]).len(), u128::MAX);
    }

    proptest::proptest! {
        #[test]
        fn a_cut_set_holds_what_only_the_first_held(
            whole in proptest::collection::vec((0u128..60, 0u128..60), 0..6),
            cut in proptest::collection::vec((0u128..60, 0u128..60), 0..6),
        ) {
            let set = |ends: &[(u128, u128)]| {
                let range = |(a, b): &(u128, u128)| Range { family: IpFamily::V6, first: *a.min(b), last: *a.max(b) };
                Ranges::of(IpFamily::V6, &ends.iter().map(range).collect::<Vec<_>>())
            };
            let (whole, cut) = (set(&whole), set(&cut));
            let left = whole.without(&cut);
            for number in 0..60 {
                assert_eq!(left.contains(number), whole.contains(number) && !cut.contains(number));
            }
            assert_eq!(left.len(), (0..60).filter(|number| left.contains(*number)).count() as u128);
        }
    }
}
