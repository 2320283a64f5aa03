//! What BIRD says on its control socket: lines that begin with a code of four digits, the last of an answer with a space behind
//! it (BIRD, nest/cli.c). Pure.

/// An answer, while it comes in.
#[derive(Debug, Default)]
pub struct Answer {
    received: Vec<u8>,
    /// Where the line begins that is not complete.
    read: usize,
    lines: Vec<(u16, String)>,
}

/// Longest answer. A line for each session is what is asked for.
const MAX_BYTES: usize = 256 << 10;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It has no end.
    #[error("an answer of more than {MAX_BYTES} bytes")]
    TooLong,
    /// Not what BIRD says.
    #[error("a line without a code of four digits")]
    NoCode,
}

impl Answer {
    /// Takes what came; the lines with their codes once all of them are there.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Vec<(u16, String)>>, AnswerError> {
        self.received.extend_from_slice(bytes);
        if self.received.len() > MAX_BYTES {
            return Err(AnswerError::TooLong);
        }
        while let Some(length) = self.received[self.read..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.received[self.read..self.read + length]).into_owned();
            self.read += length + 1;
            if self.line(&line)? {
                return Ok(Some(std::mem::take(&mut self.lines)));
            }
        }
        Ok(None)
    }

    /// True if it is the last one.
    fn line(&mut self, line: &str) -> Result<bool, AnswerError> {
        if let Some(text) = line.strip_prefix(' ') {
            let code = self.lines.last().ok_or(AnswerError::NoCode)?.0;
            self.lines.push((code, text.to_owned()));
            return Ok(false);
        }
        let (code, rest) = line.split_at_checked(4).ok_or(AnswerError::NoCode)?;
        let code = code.parse().map_err(|_| AnswerError::NoCode)?;
        let (text, is_last) = match rest.strip_prefix('-') {
            Some(text) => (text, false),
            None => (rest.trim_start(), true),
        };
        self.lines.push((code, text.to_owned()));
        Ok(is_last)
    }
}

/// Whether BIRD took its configuration; if not, why.
pub fn configured(lines: &[(u16, String)]) -> Result<(), String> {
    match lines.last() {
        // reconfigured; in progress; in progress, and this one next
        Some((3..=5, _)) => Ok(()),
        Some((_, text)) => Err(text.clone()),
        None => Err("nothing".to_owned()),
    }
}

/// A protocol, as `show protocols` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: String,
    /// It is up, and if it is a session, it is established.
    pub established: bool,
    /// What else is said of it.
    pub info: String,
}

/// The protocols of a list: name, kind, table, state, since when, and what else there is to say. Since when is one word, or a day
/// and a time.
pub fn protocols(lines: &[(u16, String)]) -> Vec<Protocol> {
    let row = |(code, text): &(u16, String)| {
        let mut words = text.split_whitespace();
        let (name, _, _) = (words.next()?, words.next()?, words.next()?);
        let is_up = words.next()? == "up";
        let info: Vec<_> = words.skip_while(|word| word.starts_with(|c: char| c.is_ascii_digit())).collect();
        let established = is_up && info.first() == Some(&"Established");
        (*code == 1002).then(|| Protocol { name: name.to_owned(), established, info: info.join(" ") })
    };
    lines.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u16, String)> {
        let mut answer = Answer::default();
        let (bytes, last) = text.as_bytes().split_at(text.len() - 1);
        for byte in bytes {
            assert_eq!(answer.take(&[*byte]), Ok(None), "{text}");
        }
        answer.take(last).expect("an answer").expect("all of it")
    }

    #[test]
    fn sessions_are_listed() {
        let listed = lines(
            "2002-Name       Proto      Table      State  Since         Info\n\
             1002-device1    Device     ---        up     18:07:37.857  \n\
             \x20weir_kernel4 Kernel     weir4      up     18:07:37.857  \n\
             \x20weir4_192_0_2_1     BGP        ---        up     2026-11-22 18:07  Established   \n\
             \x20weir4_192_0_2_2     BGP        ---        start  18:07:39.235  Active        Socket: Connection refused\n\
             0000 \n",
        );
        let found: Vec<_> = protocols(&listed).into_iter().map(|row| (row.name, row.established, row.info)).collect();
        let row = |name: &str, up, info: &str| (name.to_owned(), up, info.to_owned());
        let expected = [
            row("device1", false, ""),
            row("weir_kernel4", false, ""),
            row("weir4_192_0_2_1", true, "Established"),
            row("weir4_192_0_2_2", false, "Active Socket: Connection refused"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_configuration_is_taken_or_refused() {
        assert_eq!(configured(&lines("0002-Reading configuration from /x\n0003 Reconfigured\n")), Ok(()));
        assert_eq!(configured(&lines("0002-Reading\n0004 Reconfiguration in progress\n")), Ok(()));
        let refused = configured(&lines("0002-Reading\n8002 /x:3:5 syntax error\n"));
        assert_eq!(refused, Err("/x:3:5 syntax error".to_owned()));
    }

    #[test]
    fn answers_are_bounded() {
        assert_eq!(Answer::default().take(b"hello\n"), Err(AnswerError::NoCode));
        assert_eq!(Answer::default().take(b" x\n"), Err(AnswerError::NoCode));
        assert_eq!(Answer::default().take(&vec![b'1'; MAX_BYTES + 1]), Err(AnswerError::TooLong));
        assert_eq!(Answer::default().take("äöüß\n".as_bytes()), Err(AnswerError::NoCode));
    }
}
