//! Ethernet and up to two 802.1Q tags.

use crate::drop_reason::DropReason;
use crate::packet::Packet;

/// A hardware address as three 16-bit words, raw.
pub type Mac = [u16; 3];

/// Bytes of an Ethernet header without tags.
pub const HEADER: usize = 14;
/// 802.1Q customer tag.
const TAG_8021Q: u16 = 0x8100;
/// 802.1ad service tag.
const TAG_8021AD: u16 = 0x88a8;

/// Where the network header begins and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// EtherType behind the tags, host order.
    pub ether_type: u16,
    /// Offset of the network header.
    pub network: usize,
}

impl Ethernet {
    /// For a packet that begins with its network header, of this EtherType.
    #[inline(always)]
    pub const fn none(ether_type: u16) -> Self {
        Self { ether_type, network: 0 }
    }

    /// Reads the header; tags stay in place and are only stepped over.
    #[inline(always)]
    pub fn parse<P: Packet>(packet: &P) -> Result<Self, DropReason> {
        let [ether_type] = packet.halves::<1>(HEADER - 2).ok_or(DropReason::TruncatedEthernet)?;
        let mut ether_type = u16::from_be(ether_type);
        let mut network = HEADER;
        if is_tag(ether_type) {
            ether_type = behind_tag(packet, network)?;
            network += 4;
            if is_tag(ether_type) {
                ether_type = behind_tag(packet, network)?;
                network += 4;
            }
        }
        Ok(Self { ether_type, network })
    }
}

/// To whom a frame is addressed, and who sent it: the first words of the frame as they stand there. Three words, since
/// each takes a place on the kernel's small stack.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses([u32; 3]);

impl Addresses {
    /// From the two addresses.
    #[inline(always)]
    pub const fn new(destination: Mac, source: Mac) -> Self {
        let ([a, b, c], [d, e, f]) = (destination, source);
        Self([pair(a, b), pair(c, d), pair(e, f)])
    }

    /// Those of a frame. They are read where they are needed, and not kept with the rest of the header.
    #[inline(always)]
    pub fn of<P: Packet>(packet: &P) -> Option<Self> {
        packet.words(0).map(Self)
    }

    /// To whom.
    #[inline(always)]
    pub const fn destination(self) -> Mac {
        let ((a, b), (c, _)) = (halves(self.0[0]), halves(self.0[1]));
        [a, b, c]
    }

    /// From whom.
    #[inline(always)]
    pub const fn source(self) -> Mac {
        let ((_, d), (e, f)) = (halves(self.0[1]), halves(self.0[2]));
        [d, e, f]
    }

    /// The way back.
    #[inline(always)]
    pub const fn reversed(self) -> Self {
        Self::new(self.source(), self.destination())
    }

    /// Gives a frame these addresses.
    #[inline(always)]
    pub fn write<P: Packet>(self, packet: &mut P) -> Option<()> {
        packet.set_words(0, self.0)
    }
}

/// Two halves as the word that they make in memory.
#[inline(always)]
const fn pair(first: u16, second: u16) -> u32 {
    let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

#[inline(always)]
const fn halves(word: u32) -> (u16, u16) {
    let [a, b, c, d] = word.to_ne_bytes();
    (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]))
}

/// EtherType of a tag, host order.
#[inline(always)]
pub const fn is_tag(ether_type: u16) -> bool {
    ether_type == TAG_8021Q || ether_type == TAG_8021AD
}

#[inline(always)]
fn behind_tag<P: Packet>(packet: &P, offset: usize) -> Result<u16, DropReason> {
    let [_, ether_type] = packet.halves::<2>(offset).ok_or(DropReason::TruncatedEthernet)?;
    Ok(u16::from_be(ether_type))
}
