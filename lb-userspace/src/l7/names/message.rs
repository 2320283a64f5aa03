//! Messages of DNS (RFC 1035 section 4): questions for addresses, and answers to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Longest name, with its length bytes.
const MAX_NAME: usize = 255;
/// Names that point at parts of others, one after the other.
const MAX_JUMPS: usize = 16;
/// Aliases of aliases.
const MAX_ALIASES: usize = 8;

const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Kind {
    /// Addresses of IPv4.
    A = 1,
    /// Addresses of IPv6 (RFC 3596).
    Aaaa = 28,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Addresses and how long they hold; none: the name has none of this kind.
    Addresses(Vec<IpAddr>, Duration),
    /// There is no such name.
    NoName,
    /// It did not fit.
    CutOff,
    /// The server cannot answer.
    Failed,
}

/// A question; `None`: this is no name.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(32 + name.len());
    message.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question.
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let start = message.len();
    for label in name.trim_end_matches('.').split('.') {
        let good = !label.is_empty() && label.len() < 64 && label.bytes().all(|byte| byte.is_ascii_graphic());
        if !good {
            return None;
        }
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    if message.len() - start > MAX_NAME {
        return None;
    }
    message.extend_from_slice(&(kind as u16).to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(message)
}

/// Reads the answer to a question; `None`: it is none, or malformed.
pub(super) fn read(message: &[u8], question: &[u8], kind: Kind) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let (id, flags) = (reader.number()?, reader.number()?);
    let (questions, records) = (reader.number()?, reader.number()?);
    reader.skip(4)?;
    let asked = question.get(12..)?;
    let same = message.get(12..12 + asked.len())?.eq_ignore_ascii_case(asked);
    if id.to_be_bytes() != question.get(..2)? || flags & 0x8000 == 0 || questions != 1 || !same {
        return None;
    }
    let name = Reader { message, at: 12 }.name()?;
    reader.skip(asked.len())?;
    match flags & 0x000f {
        _ if flags & 0x0200 != 0 => Some(Answer::CutOff),
        0 => addresses(&mut reader, records, name, kind),
        3 => Some(Answer::NoName),
        _ => Some(Answer::Failed),
    }
}

struct Record {
    owner: String,
    kind: u16,
    seconds: u32,
    data: std::ops::Range<usize>,
}

fn addresses(reader: &mut Reader<'_>, count: u16, name: String, kind: Kind) -> Option<Answer> {
    let records: Vec<_> = (0..count).map(|_| reader.record()).collect::<Option<_>>()?;
    let mut owner = name;
    let mut seconds = u32::MAX;
    for _ in 0..MAX_ALIASES {
        let Some(alias) = records.iter().find(|one| one.kind == TYPE_CNAME && one.owner == owner) else { break };
        seconds = seconds.min(alias.seconds);
        owner = Reader { message: reader.message, at: alias.data.start }.name()?;
    }
    let mut found = Vec::new();
    for record in records.iter().filter(|one| one.kind == kind as u16 && one.owner == owner) {
        let data = reader.message.get(record.data.clone())?;
        found.push(match kind {
            Kind::A => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)),
            Kind::Aaaa => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)),
        });
        seconds = seconds.min(record.seconds);
    }
    Some(Answer::Addresses(found, Duration::from_secs(seconds.into())))
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.message.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|&at| at <= self.message.len())?;
        Some(())
    }

    /// A name in lower case; one may end in a pointer to an earlier one (section 4.1.4).
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut end = None;
        for _ in 0..MAX_JUMPS {
            loop {
                let length = usize::from(self.byte()?);
                if length >= 0xc0 {
                    let target = (length & 0x3f) << 8 | usize::from(self.byte()?);
                    end.get_or_insert(self.at);
                    self.at = target;
                    break;
                }
                if length == 0 {
                    self.at = end.unwrap_or(self.at);
                    return Some(name);
                }
                let label = self.message.get(self.at..self.at + length).filter(|_| length < 64)?;
                self.skip(length)?;
                name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                name.push('.');
                if name.len() > 2 * MAX_NAME {
                    return None;
                }
            }
        }
        None
    }

    fn record(&mut self) -> Option<Record> {
        let owner = self.name()?;
        let (kind, class) = (self.number()?, self.number()?);
        let seconds = u32::from(self.number()?) << 16 | u32::from(self.number()?);
        let length = usize::from(self.number()?);
        let start = self.at;
        self.skip(length)?;
        // What is of another class is nothing; a time with the topmost bit set is 0 (RFC 2181 section 8).
        let kind = if class == CLASS_IN { kind } else { 0 };
        let seconds = if seconds > i32::MAX as u32 { 0 } else { seconds };
        Some(Record { owner, kind, seconds, data: start..start + length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(question: &[u8], flags: [u8; 2], records: &[u8], count: u8) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2..4].copy_from_slice(&flags);
        message[7] = count;
        message.extend_from_slice(records);
        message
    }

    /// Owner by a pointer, type, class, time, data.
    fn record(pointer: u8, kind: u16, seconds: u32, data: &[u8]) -> Vec<u8> {
        let mut record = vec![0xc0, pointer];
        record.extend_from_slice(&kind.to_be_bytes());
        record.extend_from_slice(&1u16.to_be_bytes());
        record.extend_from_slice(&seconds.to_be_bytes());
        record.extend_from_slice(&(data.len() as u16).to_be_bytes());
        record.extend_from_slice(data);
        record
    }

    #[test]
    fn aliases_are_followed_and_the_shortest_time_counts() {
        let question = question(7, "a.example", Kind::A).expect("a name");
        let end = question.len() as u8;
        // "b" followed by "example" of the question, which begins at 14.
        let alias = record(12, TYPE_CNAME, 60, &[1, b'b', 0xc0, 14]);
        let target = end + 12;
        let mut records = alias.clone();
        records.extend(record(target, 1, 300, &[192, 0, 2, 1]));
        records.extend(record(12, 1, 1, &[192, 0, 2, 9]));
        let message = answer(&question, [0x81, 0x80], &records, 3);
        let expected = Answer::Addresses(vec![IpAddr::from([192, 0, 2, 1])], Duration::from_secs(60));
        assert_eq!(read(&message, &question, Kind::A), Some(expected));
    }

    #[test]
    fn what_is_no_answer() {
        let question = question(7, "a.example", Kind::A).expect("a name");
        assert_eq!(read(&answer(&question, [0x81, 0x83], &[], 0), &question, Kind::A), Some(Answer::NoName));
        assert_eq!(read(&answer(&question, [0x81, 0x82], &[], 0), &question, Kind::A), Some(Answer::Failed));
        assert_eq!(read(&answer(&question, [0x83, 0x80], &[], 0), &question, Kind::A), Some(Answer::CutOff));
        let other = super::question(8, "a.example", Kind::A).expect("a name");
        let elsewhere = super::question(7, "b.example", Kind::A).expect("a name");
        for wrong in [answer(&other, [0x81, 0x80], &[], 0), answer(&elsewhere, [0x81, 0x80], &[], 0), question.clone()]
        {
            assert_eq!(read(&wrong, &question, Kind::A), None);
        }
        assert_eq!(super::question(1, "a..b", Kind::A), None);
        assert_eq!(super::question(1, &"a".repeat(64), Kind::A), None);
        assert_eq!(super::question(1, &"a.".repeat(200), Kind::A), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), flags in any::<u8>(), count in any::<u8>()) {
            let question = question(7, "a.example", Kind::Aaaa).expect("a name");
            let _ = read(&bytes, &question, Kind::Aaaa);
            let _ = read(&answer(&question, [0x81, flags & 0xf0], &bytes, count), &question, Kind::Aaaa);
        }
    }
}
