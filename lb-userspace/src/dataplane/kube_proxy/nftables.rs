//! Chains and tables of nf_tables, by netlink (include/uapi/linux/netfilter/nf_tables.h): the iptables of today is kept there.

use std::collections::BTreeSet;
use std::io;

use rtnetlink::sys::{self, Socket};

use super::{Family, Rules, SIGNS, TABLE};

/// `NETLINK_NETFILTER`.
const NETFILTER: isize = 12;
/// `NFNL_SUBSYS_NFTABLES`, the upper byte of a message's type.
const NFTABLES: u16 = 10 << 8;
const GET_CHAIN: u16 = NFTABLES | 4;
const GET_TABLE: u16 = NFTABLES | 1;
const DELETE_TABLE: u16 = NFTABLES | 2;
/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`: changes come in batches.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// Names the subsystem, in network byte order.
const BATCH: [u8; GENERAL] = [0, 0, 0, (NFTABLES >> 8) as u8];
/// `NFTA_TABLE_NAME` and `NFTA_CHAIN_TABLE`.
const TABLE_NAME: u16 = 1;
/// `NFTA_CHAIN_NAME`.
const CHAIN_NAME: u16 = 3;
/// Flags and types of every netlink message (include/uapi/linux/netlink.h).
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource.
const GENERAL: usize = 4;

impl Family {
    /// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
    const fn number(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }

    fn of(number: u8) -> Option<Self> {
        Self::BOTH.into_iter().find(|family| family.number() == number)
    }
}

/// What kube-proxy has in nf_tables.
pub(super) fn rules() -> io::Result<Vec<Rules>> {
    let connection = Connection::open()?;
    let mut found = BTreeSet::new();
    connection.list(GET_CHAIN, |family, attributes| {
        if attributes.text(CHAIN_NAME).is_some_and(|name| SIGNS.contains(&name))
            && attributes.text(TABLE_NAME) != Some(TABLE)
        {
            found.insert(Rules::Iptables(family));
        }
    })?;
    connection.list(GET_TABLE, |family, attributes| {
        if attributes.text(TABLE_NAME) == Some(TABLE) {
            found.insert(Rules::Nftables(family));
        }
    })?;
    Ok(found.into_iter().collect())
}

/// Removes the table of kube-proxy's mode `nftables`, with all that is in it.
pub(super) fn delete_table(family: Family) -> io::Result<()> {
    change_table(DELETE_TABLE, ACK, family)
}

fn change_table(kind: u16, flags: u16, family: Family) -> io::Result<()> {
    let connection = Connection::open()?;
    let name = attribute(TABLE_NAME, &[TABLE.as_bytes(), &[0]].concat());
    let batch = [
        message(BATCH_BEGIN, 0, BATCH, &[]),
        message(kind, flags, [family.number(), 0, 0, 0], &name),
        message(BATCH_END, 0, BATCH, &[]),
    ];
    connection.socket.send(&batch.concat(), 0)?;
    while connection.answers(|_, _| {})? {}
    Ok(())
}

struct Connection {
    socket: Socket,
}

impl Connection {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&sys::SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    fn list(&self, kind: u16, mut each: impl FnMut(Family, Attributes<'_>)) -> io::Result<()> {
        self.socket.send(&message(kind, DUMP, [0; GENERAL], &[]), 0)?;
        while self.answers(&mut each)? {}
        Ok(())
    }

    /// Reads one datagram of answers; false if it held the end.
    fn answers(&self, mut each: impl FnMut(Family, Attributes<'_>)) -> io::Result<bool> {
        let (datagram, _) = self.socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((length, kind)) = header(rest) {
            let Some(body) = rest.get(HEADER..length) else { break };
            match kind {
                DONE => return Ok(false),
                ERROR => return errno(body).map(|()| false),
                _ => {
                    let family = body.first().copied().and_then(Family::of);
                    if let (Some(family), Some(attributes)) = (family, body.get(GENERAL..)) {
                        each(family, Attributes(attributes));
                    }
                }
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Ok(true)
    }
}

fn message(kind: u16, flags: u16, general: [u8; GENERAL], attributes: &[u8]) -> Vec<u8> {
    let length = (HEADER + GENERAL + attributes.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(general);
    bytes.extend(attributes);
    bytes
}

/// `struct nlattr`: length without padding, type, value.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
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

struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The text of an attribute, without its final zero.
    fn text(&self, wanted: u16) -> Option<&'a str> {
        let mut rest = self.0;
        loop {
            let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
            let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
            let value = rest.get(4..length)?;
            if kind == wanted {
                return std::str::from_utf8(value).ok().map(|text| text.trim_end_matches('\0'));
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }
}

/// Makes the table, as kube-proxy does it.
#[cfg(test)]
pub(in crate::dataplane) fn create_table(family: Family) -> io::Result<()> {
    const NEW_TABLE: u16 = NFTABLES;
    const CREATE: u16 = 0x400;
    change_table(NEW_TABLE, ACK | CREATE, family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_others_and_cut_short_ones_are_absent() {
        let bytes = [attribute(7, b"abcde"), attribute(CHAIN_NAME, b"KUBE-SERVICES\0")].concat();
        assert_eq!(Attributes(&bytes).text(CHAIN_NAME), Some("KUBE-SERVICES"));
        assert_eq!(Attributes(&bytes).text(TABLE_NAME), None);
        for end in 0..bytes.len() {
            let found = Attributes(&bytes[..end]).text(CHAIN_NAME);
            assert!(found.is_none_or(|name| name == "KUBE-SERVICES"), "{found:?}");
        }
    }

    #[test]
    fn a_message_has_the_length_that_it_says() {
        let bytes = message(GET_CHAIN, DUMP, [2, 0, 0, 0], &attribute(TABLE_NAME, b"nat\0"));
        assert_eq!(header(&bytes), Some((bytes.len(), GET_CHAIN)));
        assert_eq!(header(&bytes[..3]), None);
    }
}
