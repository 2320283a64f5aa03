//! The reset that a host sends to a segment for a port on which nobody listens (RFC 9293, section 3.10.7.1).

use crate::abi::{Stat, protocol};
use crate::addr::Address;
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
pub(crate) const TCP_HEADER: usize = 20;
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
    let addresses = told_to::<F, P, L>(packet, &ip, lookup, true);
    let turned = addresses.and_then(|addresses| Turned::of::<F, P, L>(packet, frame, &ip, lookup, addresses));
    let Some(turned) = turned else {
        return dropped;
    };
    if answer::<F, P>(packet, frame, &ip, &turned).is_none() {
        return dropped;
    }
    lookup.count(Stat::Refused);
    Verdict::Answer
}

/// What an answer of our own to a segment keeps of it.
pub(crate) struct Turned<A> {
    network: usize,
    source: A,
    destination: A,
    addresses: Addresses,
    left: Left,
}

impl<A: Address> Turned<A> {
    /// `None` if the checksum is to be completed by somebody who looks for it behind options that the answer has not.
    #[inline(always)]
    pub(crate) fn of<F: Ip<Addr = A>, P: Packet, L: Lookup<F>>(
        packet: &P,
        frame: &Ethernet,
        ip: &IpInfo<A>,
        lookup: &L,
        addresses: Addresses,
    ) -> Option<Self> {
        let left = match lookup.resolves() {
            true => {
                let transport = frame.network + ip.header_length;
                left(packet, transport, (ip.source, ip.destination), ip.protocol, ip.total_length - ip.header_length)
            }
            false => Left::AsIs, // XDP sees what came over a wire
        };
        let fits = left == Left::AsIs || ip.header_length == F::ICMP.ip_header;
        let (source, destination) = (ip.source, ip.destination);
        fits.then_some(Self { network: frame.network, source, destination, addresses, left })
    }
}

/// Makes the reset. `None`, and the packet perhaps changed, if it is a reset itself or its header contradicts itself.
#[inline(always)]
fn answer<F: Ip, P: Packet>(
    packet: &mut P,
    frame: &Ethernet,
    ip: &IpInfo<F::Addr>,
    turned: &Turned<F::Addr>,
) -> Option<()> {
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
        u32::from_ne_bytes([(TCP_HEADER as u8 / 4) << 4, answer, 0, 0]),
        0,
    ];
    turn::<F, P, 5>(packet, turned, words)
}

/// Makes an answer of a segment: one with this TCP header, whose checksum is still 0, and the Ethernet header and its tags as they are
/// but for the addresses. `None`, and the packet perhaps changed, if the kernel refuses it.
#[inline(always)]
pub(crate) fn turn<F: Ip, P: Packet, const WORDS: usize>(
    packet: &mut P,
    turned: &Turned<F::Addr>,
    words: [u32; WORDS],
) -> Option<()> {
    let Turned { network, source, destination, addresses, left } = turned;
    let (network, length) = (*network, 4 * WORDS);
    packet.reframe(network + F::ICMP.ip_header + length, 0)?;
    addresses.write(packet)?;
    F::write_header(packet, network, *destination, *source, (protocol::TCP, length))?;
    let transport = network + F::ICMP.ip_header;
    packet.set_words(transport, words)?;
    let mut sum = pseudo_header(*destination, *source, length as u32, protocol::TCP);
    if *left != Left::AsIs {
        return packet.set_halves(transport + 16, [fold(sum)]); // the rest is added where the packet leaves
    }
    let mut at = 0;
    while at < WORDS {
        sum += u64::from(words[at]);
        at += 1;
    }
    packet.set_halves(transport + 16, [!fold(sum)])
}
