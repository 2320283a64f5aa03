//! Ids of requests: 128 bits that nobody else has, in the form of nginx's `$request_id`.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use hyper::header::{HeaderName, HeaderValue};

pub(in crate::l7) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const DIGITS: &[u8; 16] = b"0123456789abcdef";

thread_local! {
    /// Two keyed hashes, and what they are taken of: each thread counts for itself.
    static STATE: (RandomState, RandomState, Cell<u64>) = (RandomState::new(), RandomState::new(), Cell::new(0));
}

/// The header's name, in every spelling that CGI-like interfaces take for it.
pub(super) fn is_name(name: &HeaderName) -> bool {
    *name == X_REQUEST_ID || (name.as_str().contains('_') && name.as_str().replace('_', "-") == X_REQUEST_ID.as_str())
}

/// An id of 32 hexadecimal digits.
pub(super) fn fresh() -> HeaderValue {
    let (high, low) = STATE.with(|(one, other, count)| {
        count.set(count.get().wrapping_add(1));
        (one.hash_one(count.get()), other.hash_one(count.get()))
    });
    let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    // Digits are always valid in a header.
    HeaderValue::from_bytes(&digits).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| fresh()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32 && id.as_bytes().iter().all(u8::is_ascii_hexdigit)));
    }
}
