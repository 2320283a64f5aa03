//! Where the messages of a connection begin and end, as a pure state machine over its bytes.

use super::chunked::Chunked;
use super::{Limits, Refusal, beyond, head, refuse};
use crate::l7::hits::Hit;

/// Longest head of a request.
pub const MAX_HEAD: usize = 64 * 1024;

/// The body that follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes are left.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
}

/// What to do with the bytes that were shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes are checked and may be passed on.
    Release(usize),
    /// So many bytes mean nothing and are thrown away.
    Skip(usize),
    /// More bytes are needed; show these again then.
    More,
}

/// Position in the stream of requests.
#[derive(Debug)]
pub struct Framer {
    body: Option<Body>,
    /// An empty line has come before the request.
    blank: bool,
    /// Bytes of the unfinished head that were looked at.
    scanned: usize,
    /// Where in it the line begins that was looked at last.
    line: usize,
    limits: head::Limits,
    head_size: usize,
    line_size: usize,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl Framer {
    /// Of a connection whose heads may be so long, and have so many headers.
    pub fn new(asked: &Limits) -> Self {
        let (head_size, line_size) = (asked.head_size.min(MAX_HEAD), asked.line_size);
        let limits = head::Limits { headers: asked.header_count, target: asked.target_size };
        Framer { body: None, blank: false, scanned: 0, line: 0, limits, head_size, line_size }
    }

    /// Between two messages, as far as was shown.
    pub fn at_head(&self) -> bool {
        self.body.is_none()
    }

    /// Looks at the bytes that were not released yet; never past the end of the current message.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        match &mut self.body {
            None => self.head(bytes),
            Some(Body::Length(left)) => {
                let count = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= count as u64;
                if *left == 0 {
                    self.body = None;
                }
                Ok(release(count))
            }
            Some(Body::Chunked(chunked)) => {
                let count = chunked.advance(bytes)?;
                if chunked.is_complete() {
                    self.body = None;
                }
                Ok(release(count))
            }
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        // An empty line before the request line is ignored (RFC 9112 section 2.2). More of them would keep a connection on
        // which nothing is ever asked for.
        match bytes {
            [b'\r', b'\n', ..] if self.blank => return Err(refuse(400, "there are empty lines before the request")),
            [b'\r', b'\n', ..] => {
                self.blank = true;
                return Ok(Step::Skip(2));
            }
            [b'\r'] | [] => return Ok(Step::More),
            _ => {}
        }
        let end = match self.plain_end(bytes) {
            Some(end) => end,
            None => match self.find_end(bytes)? {
                Some(end) => end,
                None => return Ok(Step::More),
            },
        };
        (self.scanned, self.line, self.blank) = (0, 0, false);
        self.body = match head::check(&bytes[..end], self.limits)? {
            Body::Length(0) => None,
            body => Some(body),
        };
        Ok(Step::Release(end))
    }

    /// The end of a head that came whole and has nothing odd in it, which is nearly every one: what `find_end` finds byte by
    /// byte, line by line. `None`: that one decides.
    fn plain_end(&self, bytes: &[u8]) -> Option<usize> {
        let bytes = bytes.get(..self.head_size.min(bytes.len())).filter(|_| self.scanned == 0)?;
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            let length = rest.iter().position(|&byte| byte == b'\n')?;
            let line = rest[..length].strip_suffix(b"\r")?;
            // Without a branch for each byte, so that many are looked at at a time.
            let odd = line.iter().fold(false, |odd, &byte| odd | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f));
            if odd || length > self.line_size {
                return None;
            }
            start += length + 1;
            if line.is_empty() && start > 2 {
                return Some(start);
            }
        }
    }

    /// Finds the end of the head and refuses on the way what httparse lets pass: a line that ends without CR, and
    /// control characters.
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        for position in self.scanned..bytes.len().min(self.head_size) {
            let byte = bytes[position];
            let after_cr = position > 0 && bytes[position - 1] == b'\r';
            match byte {
                b'\n' if after_cr => {
                    if bytes[..=position].ends_with(b"\r\n\r\n") {
                        return Ok(Some(position + 1));
                    }
                    self.line = position + 1;
                }
                b'\n' => return Err(refuse(400, "a line ends with LF without CR")),
                _ if after_cr => return Err(refuse(400, "a CR is not followed by LF")),
                b'\t' | b'\r' | 0x20..=0x7e | 0x80.. => {}
                _ => return Err(refuse(400, "the request head has a control character")),
            }
            if (position + 1).saturating_sub(self.line) > self.line_size {
                return Err(match self.line {
                    0 => beyond(Hit::UriLength, 414, "the request line is too long"),
                    _ => beyond(Hit::HeaderSize, 431, "a header is too long"),
                });
            }
        }
        if bytes.len() >= self.head_size {
            return Err(beyond(Hit::HeaderSize, 431, "the request head is too long"));
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

fn release(count: usize) -> Step {
    if count == 0 { Step::More } else { Step::Release(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes out if the stream arrives cut at these places.
    fn run(stream: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<usize>, Option<Refusal>) {
        let (mut framer, mut pending, mut out, mut heads) = (Framer::default(), Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for &cut in cuts.iter().chain([&stream.len()]) {
            pending.extend_from_slice(&stream[start..cut.max(start)]);
            start = start.max(cut);
            loop {
                let at_head = framer.at_head();
                match framer.step(&pending) {
                    Err(refusal) => return (out, heads, Some(refusal)),
                    Ok(Step::More) => break,
                    Ok(Step::Skip(count)) => drop(pending.drain(..count)),
                    Ok(Step::Release(count)) => {
                        if at_head {
                            heads.push(out.len());
                        }
                        out.extend(pending.drain(..count));
                    }
                }
            }
        }
        (out, heads, None)
    }

    const STREAMS: &[&str] = &[
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloGET",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGARBAGE\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];

    #[test]
    fn cut_at_every_byte_it_is_the_same() {
        for stream in STREAMS {
            let bytes = stream.as_bytes();
            let whole = run(bytes, &[]);
            for cut in 0..bytes.len() {
                assert_eq!(run(bytes, &[cut]), whole, "{stream:?} cut at {cut}");
            }
            let every: Vec<usize> = (0..bytes.len()).collect();
            assert_eq!(run(bytes, &every), whole, "{stream:?} byte by byte");
        }
    }

    #[test]
    fn both_ways_to_find_the_end_agree() {
        let (long, most) = ("x".repeat(100), "x".repeat(88));
        let more = [format!("GET /{long} HTTP/1.1\r\n\r\n"), format!("GET / HTTP/1.1\r\nA: {long}\r\n\r\n")];
        let fits = format!("GET / HTTP/1.1\r\nA: {most}\r\n\r\nrest");
        let streams =
            STREAMS.iter().copied().chain(more.iter().map(String::as_str)).chain([fits.as_str(), "A: b\r\n\r"]);
        for stream in streams {
            for (head_size, line_size) in [(MAX_HEAD, MAX_HEAD), (150, 92), (40, 92)] {
                let mut framer = Framer::new(&Limits { head_size, line_size, ..Limits::default() });
                let (plain, slow) = (framer.plain_end(stream.as_bytes()), framer.find_end(stream.as_bytes()));
                assert!(plain.is_none() || slow == Ok(plain), "{stream:?}: {plain:?} {slow:?}");
                let usual = matches!(slow, Ok(Some(_)));
                assert!(plain.is_some() || !usual, "{stream:?}: {plain:?} {slow:?}");
            }
        }
    }

    #[test]
    fn requests_are_told_apart() {
        let heads = |index: usize| run(STREAMS[index].as_bytes(), &[]).1.len();
        assert_eq!((heads(0), heads(1), heads(2), heads(3)), (1, 2, 2, 2));
        for stream in &STREAMS[4..] {
            let (_, _, refusal) = run(stream.as_bytes(), &[]);
            assert_eq!(refusal.map(|refusal| refusal.status), Some(400), "{stream:?}");
        }
    }

    #[test]
    fn long_heads_are_refused() {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(run(head.as_bytes(), &[100]).2.map(|refusal| refusal.status), Some(431));
        let line = "A".repeat(MAX_HEAD);
        assert_eq!(run(line.as_bytes(), &[]).2.map(|refusal| refusal.status), Some(431));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(stream in "(GET / HTTP/1.1\r\nHost: a\r\n|\r\n|POST /x HTTP/1.1\r\n|Host: b\r\n|Content-Length: [0-9]\r\n|Transfer-Encoding: chunked\r\n|[0-3]\r\n|abc|\n|\r){0,12}",
                              cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(run(bytes, &cuts), run(bytes, &[]));
        }
    }
}
