//! The reset that a host sends to a segment for a port on which nobody listens (RFC 9293, section 3.10.7.1).

use crate::abi::{Stat, protocol};
use crate::csum::fold;
use crate::ethernet::{Addresses, Ethernet};
use crate::ip::{Ip, IpInfo};
use crate::lookup::Lookup;
use crate::packet::Packet;
use crate::transport::tcp_flag;
use crate::verdict::{Verdict, is_unserved, refused};

use super::partial::{Left, left, pseudo_header};
use super::refuse::{refuse, told_to, unreachable};

/// Bytes of a TCP header without options.
const HEADER: usize = 20;
/// No TCP header begins behind this offset: 22 bytes of Ethernet with two tags, 40 of IPv6, and 512 of extension headers are
/// the most that is parsed.
const FARTHEST: usize = 0x3ff;

/// Tells the sender of a packet that the pipeline refused why: what [`reset`] and [`refuse`] do, which in the kernel are
/// programs of their own.
pub fn tell<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, frame: &Ethernet, lookup: &L, why: u32) -> Verdict {
    if is_unserved(why) { reset(packet, frame, lookup, why) } else { refuse(packet, frame, lookup, why) }
}

/// Turns a packet that nobody is there for, and that has been counted, into the reset that answers it, or, if it is not TCP, into
/// an ICMP error. Unlike these resets have no limit: none is larger than what it answers.
#[inline(always)]
pub fn reset<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, frame: &Ethernet, lookup: &L, why: u32) -> Verdict {
    let dropped = Verdict::Drop(refused(why).0);
    let Ok(ip) = F::parse(packet, frame.network) else { return dropped };
    if ip.protocol != protocol::TCP {
        return unreachable(packet, frame, lookup, why);
    }
    let Some(addresses) = told_to::<F, P, L>(packet, &ip, lookup, true) else {
        return dropped;
    };
    let left = match lookup.resolves() {
        true => {
            let transport = frame.network + ip.header_length;
            left(packet, transport, (ip.source, ip.destination), ip.protocol, ip.total_length - ip.header_length)
        }
        false => Left::AsIs, // XDP sees what came over a wire
    };
    if answer::<F, P>(packet, frame, &ip, addresses, left).is_none() {
        return dropped;
    }
    lookup.count(Stat::Refused);
    Verdict::Answer
}

/// Makes the reset, with the Ethernet header and its tags as they are but for the addresses.
/// `None`, and the packet perhaps changed, if it is a reset itself or its header contradicts itself; or if its checksum is to be
/// completed by somebody who looks for it behind options that the reset has not.
#[inline(always)]
fn answer<F: Ip, P: Packet>(
    packet: &mut P,
    frame: &Ethernet,
    ip: &IpInfo<F::Addr>,
    addresses: Addresses,
    left: Left,
) -> Option<()> {
    if left != Left::AsIs && ip.header_length != F::ICMP.ip_header {
        return None;
    }
    // forgotten, so that it is added to the start of the packet once: else LLVM adds its parts in one order where the bounds
    // are checked and in another where the words are read, which the verifiers of 5.10 and 6.1 do not take for one place
    let offset = packet.forget((frame.network + ip.header_length) as u64) as usize & FARTHEST;
    let [ports, sequence, acknowledged, control, _] = packet.words::<5>(offset)?;
    let [data_offset, flags, ..] = control.to_ne_bytes();
    let header = usize::from(data_offset >> 4) * 4;
    if flags & tcp_flag::RST != 0 || ip.header_length + header > ip.total_length {
        return None;
    }
    let taken = (ip.total_length - ip.header_length - header) as u32
        + u32::from(flags & tcp_flag::SYN != 0)
        + u32::from(flags & tcp_flag::FIN != 0);
    let (sequence, acknowledged, answer) = if flags & tcp_flag::ACK != 0 {
        (acknowledged, 0, tcp_flag::RST)
    } else {
        (0, u32::from_be(sequence).wrapping_add(taken).to_be(), tcp_flag::RST | tcp_flag::ACK)
    };
    let words = [
        ports.rotate_left(16), // the two halves change places
        sequence,
        acknowledged,
        u32::from_ne_bytes([(HEADER as u8 / 4) << 4, answer, 0, 0]),
        0,
    ];
    let network = frame.network;
    packet.reframe(network + F::ICMP.ip_header + HEADER, 0)?;
    addresses.write(packet)?;
    F::write_header(packet, network, ip.destination, ip.source, (protocol::TCP, HEADER))?;
    let transport = network + F::ICMP.ip_header;
    packet.set_words(transport, words)?;
    let pseudo = pseudo_header(ip.destination, ip.source, HEADER as u32, protocol::TCP);
    if left != Left::AsIs {
        return packet.set_halves(transport + 16, [fold(pseudo)]); // the rest is added where the packet leaves
    }
    let header: u64 = u64::from(words[0]) + u64::from(words[1]) + u64::from(words[2]) + u64::from(words[3]);
    packet.set_halves(transport + 16, [!fold(header + pseudo)])
}
