//! Protocol numbers of IP that are balanced.

/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// SCTP.
pub const SCTP: u8 = 132;

/// Flows of this protocol are balanced.
#[inline(always)]
pub const fn is_balanced(number: u8) -> bool {
    matches!(number, TCP | UDP | SCTP)
}
