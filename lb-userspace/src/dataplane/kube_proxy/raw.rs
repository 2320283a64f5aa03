//! Netlink messages as they are on the wire (include/uapi/linux/netlink.h), for what no library speaks.

use std::io;

use rtnetlink::sys::{self, Socket};

/// Flags and types of every message.
const REQUEST: u16 = 1;
pub(super) const ACK: u16 = 4;
pub(super) const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;

/// A socket of one protocol.
pub(super) struct Connection {
    socket: Socket,
}

impl Connection {
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&sys::SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Sends messages, and gives the bodies of all answers until the last one has come. An error is one of the kernel's.
    pub(super) fn ask(&self, messages: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.socket.send(messages, 0)?;
        while answers(&self.socket.recv_from_full()?.0, &mut each)? {}
        Ok(())
    }
}

/// Reads one datagram of answers; false if it held the end.
fn answers(datagram: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    let mut rest = datagram;
    while let Some((length, kind)) = header(rest) {
        let Some(body) = rest.get(HEADER..length) else { break };
        match kind {
            DONE => return Ok(false),
            ERROR => return errno(body).map(|()| false),
            _ => each(body),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(true)
}

/// A message; `general` is the head that its protocol has.
pub(super) fn message(kind: u16, flags: u16, general: &[u8], attributes: &[u8]) -> Vec<u8> {
    let length = (HEADER + general.len() + attributes.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(general);
    bytes.extend(attributes);
    bytes
}

/// `struct nlattr`: length without padding, type, value.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute that holds others.
pub(super) fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &attributes.concat())
}

/// A text with its final zero.
pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

/// Length and type of a message.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    (length >= HEADER).then_some((length, kind))
}

/// An error message says 0 for success, else the negative number.
fn errno(message: &[u8]) -> io::Result<()> {
    match message.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(-number)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The attributes behind the head of a message, or in another attribute.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of an attribute.
    pub(super) fn value(self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
            let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
            let value = rest.get(4..length)?;
            if kind & !NESTED == wanted {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }

    /// A text, without its final zero.
    pub(super) fn text(self, wanted: u16) -> Option<&'a str> {
        let value = self.value(wanted)?;
        std::str::from_utf8(value).ok().map(|text| text.trim_end_matches('\0'))
    }

    /// A number of two bytes, as it stands there.
    pub(super) fn short(self, wanted: u16) -> Option<[u8; 2]> {
        self.value(wanted)?.first_chunk().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_others_and_cut_short_ones_are_absent() {
        let bytes = [attribute(7, b"abcde"), text(3, "KUBE-SERVICES")].concat();
        assert_eq!(Attributes(&bytes).text(3), Some("KUBE-SERVICES"));
        assert_eq!(Attributes(&bytes).text(1), None);
        for end in 0..bytes.len() {
            let found = Attributes(&bytes[..end]).text(3);
            assert!(found.is_none_or(|name| name == "KUBE-SERVICES"), "{found:?}");
        }
        let outer = nested(1, &[attribute(4, &[1, 2])]);
        let inner = Attributes(&outer).value(1).map(Attributes);
        assert_eq!(inner.and_then(|inner| inner.short(4)), Some([1, 2]));
    }

    #[test]
    fn a_message_has_the_length_that_it_says_and_an_answer_ends_by_its_error() {
        let bytes = message(20, DUMP, &[2, 0, 0, 0], &text(1, "nat"));
        assert_eq!(header(&bytes), Some((bytes.len(), 20)));
        assert_eq!(header(&bytes[..3]), None);
        let mut bodies = 0;
        let refused = message(ERROR, 0, &(-1_i32).to_ne_bytes(), &[]);
        let error = answers(&[bytes.clone(), refused].concat(), &mut |_| bodies += 1).expect_err("EPERM");
        assert_eq!((bodies, error.raw_os_error()), (1, Some(1)));
        assert!(answers(&bytes, &mut |_| ()).is_ok_and(|more| more));
    }
}
