//! Chunked bodies (RFC 9112 section 7.1), followed byte by byte: where they end, and whether everyone agrees on that.

use super::{Refusal, refuse};

/// Longest chunk extension; nobody uses them but those who attack with them.
const MAX_EXTENSION: usize = 256;
/// Longest trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// Position in a chunked body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    /// Size of the chunk, then bytes of it that are left.
    size: u64,
    /// Digits, extension bytes or trailer bytes so far.
    length: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Chunked {
    /// The body is complete.
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// Goes on over these bytes; returns how many belong to the body.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut position = 0;
        while position < bytes.len() && !self.is_complete() {
            if self.state == State::Data {
                let available = bytes.len() - position;
                let step = usize::try_from(self.size).map_or(available, |size| size.min(available));
                position += step;
                self.size -= step as u64;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
            } else {
                match self.step(bytes[position]) {
                    Ok(state) => self.state = state,
                    // What is good is passed on whether the bad byte is here already or not; it fails again next time.
                    Err(_) if position > 0 => return Ok(position),
                    Err(refusal) => return Err(refusal),
                }
                position += 1;
            }
        }
        Ok(position)
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size, _) if byte.is_ascii_hexdigit() => self.digit(byte),
            (State::Size, b';') if self.length > 0 => self.enter(State::Extension),
            (State::Size, b'\r') if self.length > 0 => self.enter(State::SizeLf),
            (State::Extension, b'\r') => self.enter(State::SizeLf),
            (State::Extension, b'\t' | 0x20..=0x7e) => self.count(State::Extension, MAX_EXTENSION),
            (State::SizeLf, b'\n') => self.enter(if self.size == 0 { State::TrailerStart } else { State::Data }),
            (State::DataCr, b'\r') => self.enter(State::DataLf),
            (State::DataLf, b'\n') => self.enter(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                self.count(State::TrailerName, MAX_TRAILERS)
            }
            (State::TrailerName, b':') => self.count(State::TrailerValue, MAX_TRAILERS),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => self.count(State::TrailerValue, MAX_TRAILERS),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::End),
            _ => Err(refuse(400, "the chunked body is malformed")),
        }
    }

    fn enter(&mut self, state: State) -> Result<State, Refusal> {
        self.length = 0;
        Ok(state)
    }

    fn count(&mut self, state: State, limit: usize) -> Result<State, Refusal> {
        self.length += 1;
        if self.length > limit { Err(refuse(400, "a chunk extension or trailer is too long")) } else { Ok(state) }
    }

    fn digit(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = char::from(byte).to_digit(16).unwrap_or(0);
        if self.length == 0 {
            self.size = 0;
        }
        self.length += 1;
        // Sixteen digits would overflow what others parse into a signed number.
        if self.length > 15 {
            return Err(refuse(400, "a chunk size is too large"));
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(State::Size)
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        feed(&mut Chunked::default(), bytes)
    }

    fn feed(chunked: &mut Chunked, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut length = 0;
        while length < bytes.len() && !chunked.is_complete() {
            length += chunked.advance(&bytes[length..])?;
        }
        Ok((length, chunked.is_complete()))
    }

    #[test]
    fn complete_bodies() {
        for (body, length) in [
            ("0\r\n\r\n", 5),
            ("5\r\nhello\r\n0\r\n\r\nGET", 15),
            ("000A;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\nC: d\r\n\r\nX", 41),
        ] {
            assert_eq!(whole(body.as_bytes()), Ok((length, true)), "{body:?}");
        }
    }

    #[test]
    fn incomplete_bodies() {
        for body in ["", "5", "5\r\nhell", "5\r\nhello\r\n", "0\r\n", "0\r\nA: b\r\n"] {
            assert_eq!(whole(body.as_bytes()), Ok((body.len(), false)), "{body:?}");
        }
    }

    #[test]
    fn malformed_bodies() {
        let long = format!("1;{}\r\n", "x".repeat(300));
        for body in [
            "\r\n",
            ";x\r\n",
            "x\r\n",
            "5 \r\n",
            " 5\r\n",
            "+5\r\n",
            "0x5\r\n",
            "5\nhello",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "1\r\na\rb",
            "0\r\n\n",
            "0\r\n A: b\r\n",
            "0\r\nA: b\n",
            "0\r\na\r\n\r\n",
            "0\r\n: a\r\n\r\n",
            "0\r\na : b\r\n\r\n",
            "1;\0\r\n",
            "1;a\nb\r\n",
            "fffffffffffffffff\r\n",
            &long,
        ] {
            assert!(whole(body.as_bytes()).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(chunks in prop::collection::vec("[a-z]{1,40}", 0..5), rest in "[a-z0-9\r\n;]{0,20}", cut in any::<prop::sample::Index>()) {
            let mut body: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
            body.push_str(&rest);
            let bytes = body.as_bytes();
            let cut = cut.index(bytes.len() + 1);
            let mut chunked = Chunked::default();
            let split = feed(&mut chunked, &bytes[..cut]).and_then(|(first, complete)| {
                if complete { return Ok((first, true)); }
                feed(&mut chunked, &bytes[cut..]).map(|(second, complete)| (first + second, complete))
            });
            prop_assert_eq!(split, whole(bytes));
        }
    }
}
