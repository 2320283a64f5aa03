//! Numbers and addresses as text, written at once: a line has many of them, and a front many lines.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::Version;

/// In decimal digits.
pub(super) fn number(number: u64, out: &mut Vec<u8>) {
    padded(number, 1, out);
}

/// The same with zeros in front, to at least so many digits.
pub(super) fn padded(mut number: u64, least: usize, out: &mut Vec<u8>) {
    // The largest one has 20.
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while number > 0 || digits.len() - start < least.min(digits.len()) {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}

/// Seconds, rounded to milliseconds.
pub(super) fn seconds(time: Duration, out: &mut Vec<u8>) {
    let millis = (time.as_secs() * 1000).saturating_add((u64::from(time.subsec_nanos()) + 500_000) / 1_000_000);
    number(millis / 1000, out);
    out.push(b'.');
    padded(millis % 1000, 3, out);
}

/// An address.
pub(super) fn address(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        // Writing to a Vec does not fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        number(u64::from(octet), out);
    }
}

/// An address with its port.
pub(super) fn endpoint(endpoint: SocketAddr, out: &mut Vec<u8>) {
    let SocketAddr::V4(endpoint) = endpoint else {
        let _ = write!(out, "{endpoint}");
        return;
    };
    address(IpAddr::V4(*endpoint.ip()), out);
    out.push(b':');
    number(u64::from(endpoint.port()), out);
}

/// As request lines have it.
pub(super) fn version(version: Version, out: &mut Vec<u8>) {
    match version {
        Version::HTTP_11 => out.extend_from_slice(b"HTTP/1.1"),
        other => drop(write!(out, "{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn as_fmt_has_it() {
        for one in [0, 1, 9, 10, 99, 100, 65_535, u64::MAX] {
            assert_eq!(text(|out| number(one, out)), one.to_string());
            assert_eq!(text(|out| padded(one, 3, out)), format!("{one:03}"));
        }
        for one in ["0.0.0.0:0", "192.0.2.10:8080", "255.255.255.255:65535", "[2001:db8::1]:80", "[::ffff:10.0.0.1]:1"]
        {
            let parsed: SocketAddr = one.parse().expect(one);
            assert_eq!(text(|out| endpoint(parsed, out)), one);
            assert_eq!(text(|out| address(parsed.ip(), out)), parsed.ip().to_string());
        }
        for one in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
            assert_eq!(text(|out| version(one, out)), format!("{one:?}"));
        }
    }

    #[test]
    fn seconds_are_rounded() {
        for (micros, expected) in [
            (0, "0.000"),
            (499, "0.000"),
            (1500, "0.002"),
            (999_499, "0.999"),
            (999_500, "1.000"),
            (61_002_000, "61.002"),
        ] {
            assert_eq!(text(|out| seconds(Duration::from_micros(micros), out)), expected, "{micros}");
        }
    }
}
