//! Any bytes as what a client sends to the front: where one request ends and the next begins must not depend on how the
//! bytes arrive, and what passes must read the same to the parser behind the guard.

use lb_userspace::l7::guard::{Framer, Step};
use lb_userspace::l7::path::{CanonicalPath, Reading};

pub(crate) fn run(data: &[u8]) {
    let (&cut, stream) = data.split_first().unwrap_or((&0, &[]));
    let whole = through(stream, usize::MAX);
    for size in [1, usize::from(cut).max(2)] {
        assert_eq!(through(stream, size), whole, "in pieces of {size} bytes");
    }
    read_again(&whole.0);
    if let Ok(text) = std::str::from_utf8(stream) {
        path(text);
    }
}

/// The parser behind the guard takes every head that passes, and finds the next one where the guard did: everything that
/// passes is a sequence of requests of which at most the last is not complete.
fn read_again(passed: &[u8]) {
    let mut rest = passed;
    while !rest.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        let head = match request.parse(rest) {
            Ok(httparse::Status::Complete(head)) => head,
            other => panic!("a head passed that is none: {other:?}"),
        };
        let value = |name: &str| request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        let chunked = value("transfer-encoding").is_some();
        let length = value("content-length").map(|header| std::str::from_utf8(header.value).map(str::parse::<usize>));
        rest = &rest[head..];
        match length {
            _ if chunked => rest = behind_chunks(rest),
            Some(Ok(Ok(length))) => rest = &rest[length.min(rest.len())..],
            Some(other) => panic!("a length passed that is none: {other:?}"),
            None => {}
        }
    }
}

/// What follows a chunked body.
fn behind_chunks(mut rest: &[u8]) -> &[u8] {
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(rest) else {
            return &[]; // the body is not complete: what is malformed in it ends the connection
        };
        rest = &rest[line..];
        if size == 0 {
            break;
        }
        let Some(next) = usize::try_from(size).ok().and_then(|size| rest.get(size..)?.strip_prefix(b"\r\n")) else {
            return &[];
        };
        rest = next;
    }
    loop {
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return &[] };
        rest = &rest[end + 2..];
        if end == 0 {
            return rest;
        }
    }
}

/// What of a stream passes if it arrives in pieces of that size, and the status if it is refused.
fn through(stream: &[u8], size: usize) -> (Vec<u8>, Option<u16>) {
    let mut framer = Framer::default();
    let (mut buffer, mut passed) = (Vec::new(), Vec::new());
    for piece in stream.chunks(size.max(1).min(stream.len().max(1))) {
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() {
            match framer.step(&buffer) {
                Ok(Step::Release(count)) => {
                    assert!((1..=buffer.len()).contains(&count), "{count} of {} bytes are released", buffer.len());
                    passed.extend(buffer.drain(..count));
                }
                Ok(Step::Skip(count)) => {
                    assert!((1..=buffer.len()).contains(&count), "{count} of {} bytes are skipped", buffer.len());
                    buffer.drain(..count);
                }
                Ok(Step::More) => break,
                Err(refusal) => {
                    assert!((400..500).contains(&refusal.status));
                    return (passed, Some(refusal.status));
                }
            }
        }
    }
    (passed, None)
}

/// A path in canonical form is in canonical form, and no reading of it leads above the root.
fn path(raw: &str) {
    let Ok(canonical) = CanonicalPath::new(raw) else { return };
    let again = CanonicalPath::new(&canonical.text).expect("a canonical path is a path");
    assert_eq!(again, canonical, "canonical forms are their own");
    assert!(canonical.text.is_ascii() && !canonical.text.contains(['\\', ' ', '?', '#']));
    for reading in Reading::all() {
        let read = reading.read(&canonical.text);
        assert!(read.starts_with('/'), "{reading:?} of {}: {read}", canonical.text);
        assert!(!read.split('/').any(|segment| segment == ".." || segment == "."), "{reading:?}: {read}");
        if !canonical.ambiguous {
            assert_eq!(read, *canonical.text, "{reading:?} of what is called unambiguous");
        }
    }
}
