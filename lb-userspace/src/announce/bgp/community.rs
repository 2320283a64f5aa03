//! What is put on routes for the policies of routers.

use std::fmt;
use std::str::FromStr;

/// A mark on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Community {
    /// Of two numbers (RFC 1997).
    Standard(u16, u16),
    /// Of three large ones (RFC 8092).
    Large(u32, u32, u32),
}

/// Names that everybody uses (RFC 1997, RFC 3765, RFC 7999, RFC 8326).
const NAMES: [(&str, Community); 6] = [
    ("no-export", Community::Standard(65_535, 65_281)),
    ("no-advertise", Community::Standard(65_535, 65_282)),
    ("local-as", Community::Standard(65_535, 65_283)),
    ("no-peer", Community::Standard(65_535, 65_284)),
    ("graceful-shutdown", Community::Standard(65_535, 0)),
    ("blackhole", Community::Standard(65_535, 666)),
];

impl FromStr for Community {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, community)| *community);
        let read = || match text.strip_prefix("large:") {
            Some(rest) => {
                let mut numbers = rest.split(':').map(number::<u32>);
                let community = Self::Large(numbers.next()??, numbers.next()??, numbers.next()??);
                numbers.next().is_none().then_some(community)
            }
            None => {
                let (first, second) = text.split_once(':')?;
                Some(Self::Standard(number(first)?, number(second)?))
            }
        };
        named.or_else(read).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("two numbers such as 64512:100, large:64512:1:2, or one of {}", names.join(", "))
        })
    }
}

/// Digits and nothing else.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// As BIRD reads it.
impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(first, second) => write!(f, "({first}, {second})"),
            Self::Large(first, second, third) => write!(f, "({first}, {second}, {third})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities() {
        assert_eq!("64512:100".parse(), Ok(Community::Standard(64_512, 100)));
        assert_eq!("large:4200000000:1:2".parse(), Ok(Community::Large(4_200_000_000, 1, 2)));
        assert_eq!("no-export".parse(), Ok(Community::Standard(65_535, 65_281)));
        for wrong in ["", "1", "1:65536", "1:2:3", "large:1:2", "large:1:2:3:4", "+1:2", "1: 2", "no-such", "1:2)"] {
            assert!(wrong.parse::<Community>().is_err(), "{wrong}");
        }
    }
}
