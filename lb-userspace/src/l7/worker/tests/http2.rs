//! A client, or a server, of HTTP/2 that writes frames as it likes (RFC 9113 section 4.1).

use std::io::{Read, Write};

use super::harness::*;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) struct Http2 {
    client: Client,
}

pub(super) struct Received {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// Three digits in Huffman's code of RFC 7541 appendix B: 0 to 2 have five bits, the others six.
fn digits(code: &[u8]) -> u16 {
    let bits: Vec<u16> = code.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1))).collect();
    let value = |at: usize, count: usize| bits[at..at + count].iter().fold(0, |value, bit| 2 * value + bit);
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let short = value(at, 5);
        let (digit, count) = if short < 3 { (short, 5) } else { (value(at, 6) - 22, 6) };
        (at, number) = (at + count, 10 * number + digit);
    }
    number
}

fn status_of(block: &[u8]) -> u16 {
    let indexed = [(0x88, 200), (0x89, 204), (0x8a, 206), (0x8b, 304), (0x8c, 400), (0x8d, 404), (0x8e, 500)];
    let first = block.first().copied().expect("a field");
    match indexed.into_iter().find(|(index, _)| *index == first) {
        Some((_, status)) => status,
        None => digits(&block[2..]),
    }
}

impl Http2 {
    /// With these settings of its own.
    pub(super) fn connect(front: &Front, settings: &[u8]) -> Self {
        let mut client = front.connect();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut client = Http2 { client };
        client.frame(SETTINGS, 0, 0, settings);
        client
    }

    /// The server's end of a connection.
    pub(super) fn accept(mut client: Client) -> Option<Self> {
        let mut preface = [0; 24];
        client.stream.read_exact(&mut preface).ok()?;
        let mut server = Http2 { client };
        // Streams, and then the connection, may have a megabyte on their way: nothing is said of what was read.
        server.frame(SETTINGS, 0, 0, &[0, 4, 0, 16, 0, 0]);
        server.frame(WINDOW_UPDATE, 0, 0, &[0, 16, 0, 0]);
        Some(server)
    }

    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        assert!(self.try_frame(kind, flags, stream, payload), "the front reads");
    }

    /// False: the other side has closed.
    pub(super) fn try_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.client.stream.get_mut().write_all(&frame).is_ok()
    }

    /// So many empty frames at once, so that the front finds them in one piece.
    pub(super) fn empty_frames(&mut self, kind: u8, flags: u8, stream: u32, count: usize) {
        let [a, b, c, d] = stream.to_be_bytes();
        let frames = [0, 0, 0, kind, flags, a, b, c, d].repeat(count);
        self.client.stream.get_mut().write_all(&frames).expect("the front reads");
    }

    /// The head of a request for `/` at host `a`, in fields of the static table (RFC 7541 appendix A).
    pub(super) fn request(&mut self, stream: u32, method: &str, kind: u8, flags: u8) {
        assert!(self.try_head(stream, method, kind, flags), "the front reads");
    }

    /// A whole request.
    pub(super) fn try_request(&mut self, stream: u32) -> bool {
        self.try_head(stream, "GET", HEADERS, END_HEADERS | END_STREAM)
    }

    fn try_head(&mut self, stream: u32, method: &str, kind: u8, flags: u8) -> bool {
        // `:method` with a value of its own, `:scheme` http, `:path` /, `:authority` a.
        let mut block = vec![0x02, method.len() as u8];
        block.extend(method.as_bytes());
        block.extend([0x86, 0x84, 0x01, 1, b'a']);
        self.try_frame(kind, flags, stream, &block)
    }

    /// A head of these fields, none of which is compressed; each is shorter than 127 bytes (RFC 7541 section 6.2.2).
    pub(super) fn try_fields(&mut self, stream: u32, fields: &[(&str, &str)], flags: u8) -> bool {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                block.push(text.len() as u8);
                block.extend(text.as_bytes());
            }
        }
        self.try_frame(HEADERS, flags, stream, &block)
    }

    /// The status of an answer; `None`: the stream or the connection was ended instead.
    pub(super) fn outcome(&mut self, stream: u32) -> Option<u16> {
        loop {
            let next = self.next()?;
            match next.kind {
                HEADERS if next.stream == stream => return Some(status_of(&next.payload)),
                RST_STREAM if next.stream == stream => return None,
                GOAWAY => return None,
                _ => {}
            }
        }
    }

    /// `None`: the other side has closed.
    pub(super) fn next(&mut self) -> Option<Received> {
        let mut head = [0; 9];
        self.client.stream.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.client.stream.read_exact(&mut payload).ok()?;
        Some(Received { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// The next frame, if it is of this kind and stream.
    pub(super) fn next_of(&mut self, kind: u8, stream: u32) -> Option<Vec<u8>> {
        let next = self.next().expect("another frame in time");
        (next.kind == kind && next.stream == stream).then_some(next.payload)
    }

    /// The status of an answer: the front writes it as one of the static table, or as a literal of three digits.
    pub(super) fn status(&mut self, stream: u32) -> u16 {
        let block = loop {
            if let Some(block) = self.next_of(HEADERS, stream) {
                break block;
            }
        };
        status_of(&block)
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.client.is_at_end()
    }

    pub(super) fn read_to_end(&mut self) {
        let _ = self.client.stream.read_to_end(&mut Vec::new());
    }
}
