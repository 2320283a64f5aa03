//! A file of packets in the format pcapng (draft-ietf-opsawg-pcapng), which tcpdump and Wireshark read: a section, an
//! interface block before the first packet of each interface, and each packet with a comment.

use std::io::{self, Write};

/// Types of blocks.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
/// Tells readers the byte order, which is little-endian here.
const MAGIC: u32 = 0x1a2b_3c4d;
/// Frames of Ethernet (LINKTYPE_ETHERNET).
const ETHERNET: u16 = 1;
/// Options.
const COMMENT: u16 = 1;
const NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
/// Times are in 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// A packet for the file.
pub(super) struct Frame<'a> {
    /// Name of the interface.
    pub(super) interface: &'a str,
    /// Nanoseconds since 1970.
    pub(super) time: u64,
    /// Bytes of the whole frame.
    pub(super) length: u32,
    /// Those that are there.
    pub(super) bytes: &'a [u8],
    /// What became of it.
    pub(super) comment: &'a str,
}

/// Writes packets as they come.
pub(super) struct Writer<W> {
    out: W,
    snap: u32,
    interfaces: Vec<String>,
}

impl<W: Write> Writer<W> {
    /// Begins a file; `snap`: most bytes of a packet.
    pub(super) fn new(mut out: W, snap: u32) -> io::Result<Self> {
        let mut body = MAGIC.to_le_bytes().to_vec();
        body.extend([1, 0, 0, 0]);
        body.extend(u64::MAX.to_le_bytes()); // the length of the section is not told
        out.write_all(&block(SECTION, &body))?;
        out.flush()?;
        Ok(Self { out, snap, interfaces: Vec::new() })
    }

    pub(super) fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let interface = self.interface(frame.interface)?;
        let mut body = interface.to_le_bytes().to_vec();
        body.extend(((frame.time >> 32) as u32).to_le_bytes());
        body.extend((frame.time as u32).to_le_bytes());
        body.extend((frame.bytes.len() as u32).to_le_bytes());
        body.extend(frame.length.to_le_bytes());
        body.extend(frame.bytes);
        pad(&mut body);
        option(&mut body, COMMENT, frame.comment.as_bytes());
        option(&mut body, 0, &[]);
        self.out.write_all(&block(PACKET, &body))
    }

    /// What was written reaches the file: it can be read while more comes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The number of an interface, which gets its block the first time.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        if let Some(known) = self.interfaces.iter().position(|known| known == name) {
            return Ok(known as u32);
        }
        let mut body = ETHERNET.to_le_bytes().to_vec();
        body.extend([0, 0]);
        body.extend(self.snap.to_le_bytes());
        option(&mut body, NAME, name.as_bytes());
        option(&mut body, TIME_RESOLUTION, &[NANOSECONDS]);
        option(&mut body, 0, &[]);
        self.out.write_all(&block(INTERFACE, &body))?;
        self.interfaces.push(name.to_owned());
        Ok(self.interfaces.len() as u32 - 1)
    }
}

/// Type and length, the body, the length again.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

fn option(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(kind.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// Everything in a block begins at a multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type and body of each block; both lengths agree.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let mut blocks = Vec::new();
        while !file.is_empty() {
            let length = word(&file[4..]) as usize;
            assert!(length.is_multiple_of(4) && word(&file[length - 4..]) as usize == length);
            blocks.push((word(file), file[8..length - 4].to_vec()));
            file = &file[length..];
        }
        blocks
    }

    #[test]
    fn an_interface_comes_before_its_first_packet() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, 64).unwrap();
        for interface in ["eth0", "eth1", "eth0"] {
            let time = (7 << 32) | 9;
            writer.write(&Frame { interface, time, length: 90, bytes: &[1, 2, 3, 4, 5], comment: "drop" }).unwrap();
        }
        let blocks = blocks(&file);
        let kinds: Vec<_> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, PACKET, INTERFACE, PACKET, PACKET]);
        let eth0 = [1, 0, 0, 0, 64, 0, 0, 0, 2, 0, 4, 0, b'e', b't', b'h', b'0', 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(blocks[1].1, eth0);
        let head = [1, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 90, 0, 0, 0];
        let rest = [1, 2, 3, 4, 5, 0, 0, 0, 1, 0, 4, 0, b'd', b'r', b'o', b'p', 0, 0, 0, 0];
        assert_eq!(blocks[4].1, [&head[..], &rest[..]].concat());
        assert_eq!(blocks[5].1[..4], [0; 4]);
    }
}
