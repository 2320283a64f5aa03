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
    /// To whom the frame is addressed.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// EtherType behind the tags, host order.
    pub ether_type: u16,
    /// Offset of the network header.
    pub network: usize,
}

impl Ethernet {
    /// Reads the header; tags stay in place and are only stepped over.
    #[inline(always)]
    pub fn parse<P: Packet>(packet: &P) -> Result<Self, DropReason> {
        let words = packet.halves::<7>(0).ok_or(DropReason::TruncatedEthernet)?;
        let mut ether_type = u16::from_be(words[6]);
        let mut network = HEADER;
        if is_tag(ether_type) {
            ether_type = behind_tag(packet, network)?;
            network += 4;
            if is_tag(ether_type) {
                ether_type = behind_tag(packet, network)?;
                network += 4;
            }
        }
        let (destination, source) = ([words[0], words[1], words[2]], [words[3], words[4], words[5]]);
        Ok(Self { destination, source, ether_type, network })
    }
}

/// Gives the frame new hardware addresses.
#[inline(always)]
pub fn set_addresses<P: Packet>(packet: &mut P, destination: Mac, source: Mac) -> Option<()> {
    let ([a, b, c], [d, e, f]) = (destination, source);
    packet.set_halves(0, [a, b, c, d, e, f])
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
