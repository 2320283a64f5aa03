//! Neighbours who ask who has an address that this node announces are told: ARP (RFC 826) and neighbour discovery
//! (RFC 4861). No interface has such an address, so the kernel answers nobody.
//!
//! Whoever says that he has it, and is another, is noted: two nodes that answer for one address is for the agents to end.

use crate::abi::{AnnouncedEntry, Stat, announced_flag, setting};
use crate::addr::{Addr4, Addr6, Address, Family, V4, V6};
use crate::be::Be32;
use crate::csum::Delta;
use crate::ethernet::{self, Addresses, Ethernet, Mac};
use crate::ip::{Ip, address_delta};
use crate::lookup::Lookup;
use crate::packet::Packet;
use crate::verdict::Verdict;

/// EtherType of ARP, host order.
pub const ARP: u16 = 0x0806;
/// Protocol number of ICMPv6.
const ICMPV6: u8 = 58;
/// Neighbour solicitation and advertisement (RFC 4861, sections 4.3 and 4.4).
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Options: the hardware address of the sender, and that of the target (section 4.6.1).
const SOURCE_OPTION: u8 = 1;
const TARGET_OPTION: u8 = 2;
/// Bytes of the message without options, and of the option with a hardware address.
const MESSAGE: usize = 24;
const OPTION: usize = 8;
/// Flags of an advertisement: asked for, and to replace what is known.
const SOLICITED: u32 = 0x4000_0000;
const OVERRIDE: u32 = 0x2000_0000;
/// All machines of a network, and their hardware address.
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// How the machines of a family ask for each other's hardware addresses.
pub trait Discovery: Ip {
    /// The packet belongs to that.
    fn is_asked<P: Packet>(packet: &P, frame: &Ethernet) -> bool;

    /// Turns a question for an address that is announced here into its answer. All else passes.
    fn answer<P: Packet, L: Lookup<Self>>(packet: &mut P, frame: &Ethernet, lookup: &L) -> Verdict;
}

impl Discovery for V4 {
    #[inline(always)]
    fn is_asked<P: Packet>(_packet: &P, frame: &Ethernet) -> bool {
        frame.ether_type == ARP
    }

    #[inline(always)]
    fn answer<P: Packet, L: Lookup<Self>>(packet: &mut P, frame: &Ethernet, lookup: &L) -> Verdict {
        if is_of_another_network::<V4, L>(frame, lookup) {
            return Verdict::Pass;
        }
        let Some(question) = Arp::parse(packet, frame.network) else { return Verdict::Pass };
        if let Some(mut own) = lookup.announced(question.sender) {
            note_rival::<V4, L>(&mut own, question.hardware, lookup);
            return Verdict::Pass;
        }
        let Some(mac) = told_of::<V4, L>(lookup, question.target) else { return Verdict::Pass };
        if !question.is_request || !is_heard_by::<P>(packet, mac) {
            return Verdict::Pass;
        }
        lookup.count(Stat::NeighboursTold);
        told(question.reply(packet, frame.network, mac))
    }
}

impl Discovery for V6 {
    #[inline(always)]
    fn is_asked<P: Packet>(packet: &P, frame: &Ethernet) -> bool {
        if frame.ether_type != V6::ETHER_TYPE {
            return false;
        }
        // a router would have lowered the hop limit (section 7.1)
        let (Some([ip]), Some([icmp])) =
            (packet.halves::<1>(frame.network + 6), packet.halves::<1>(frame.network + HEADER))
        else {
            return false;
        };
        let [kind, code] = icmp.to_ne_bytes();
        ip.to_ne_bytes() == [ICMPV6, 255] && (kind == SOLICITATION || kind == ADVERTISEMENT) && code == 0
    }

    #[inline(always)]
    fn answer<P: Packet, L: Lookup<Self>>(packet: &mut P, frame: &Ethernet, lookup: &L) -> Verdict {
        if is_of_another_network::<V6, L>(frame, lookup) {
            return Verdict::Pass;
        }
        let Some(message) = Message::parse(packet, frame.network) else { return Verdict::Pass };
        let Some(hardware) = Addresses::of(packet).map(Addresses::source) else { return Verdict::Pass };
        // an advertisement says who has its target, a question who has its source
        let said = if message.is_question { message.source } else { message.target };
        if let Some(mut own) = lookup.announced(said) {
            note_rival::<V6, L>(&mut own, hardware, lookup);
            return Verdict::Pass;
        }
        let Some(mac) = told_of::<V6, L>(lookup, message.target) else { return Verdict::Pass };
        if !message.is_answerable() || !is_heard_by::<P>(packet, mac) {
            return Verdict::Pass;
        }
        lookup.count(Stat::NeighboursTold);
        told(message.reply(packet, frame.network, mac))
    }
}

/// The frame has a tag, and VLAN devices stand on the device: those are other networks, with addresses of their own. The
/// companion of the VLAN device meets the packet without the tag.
#[inline(always)]
fn is_of_another_network<F: Ip, L: Lookup<F>>(frame: &Ethernet, lookup: &L) -> bool {
    (frame.network != ethernet::HEADER || lookup.is_tagged()) && lookup.carries_vlans(lookup.ingress())
}

/// What neighbours are told of an address now.
#[inline(always)]
fn told_of<F: Ip, L: Lookup<F>>(lookup: &L, address: F::Addr) -> Option<Mac> {
    let (mac, flags) = lookup.announced(address).map(|own| (own.mac, own.flags))?;
    let holds = || lookup.setting(setting::ANNOUNCED_UNTIL) > lookup.clock();
    (flags & announced_flag::SILENT == 0 && holds()).then_some(mac)
}

/// The frame is for everybody or for this station, and not for a neighbour's, seen because the switch flooded it.
#[inline(always)]
fn is_heard_by<P: Packet>(packet: &P, mac: Mac) -> bool {
    Addresses::of(packet).map(Addresses::destination).is_some_and(|to| is_group(to) || to == mac)
}

#[inline(always)]
fn is_group(mac: Mac) -> bool {
    mac[0].to_ne_bytes()[0] & 1 != 0
}

/// Another station says that it has an address of ours. One store each: the agent reads them while we write.
#[inline(always)]
fn note_rival<F: Ip, L: Lookup<F>>(own: &mut AnnouncedEntry, hardware: Mac, lookup: &L) {
    if own.mac == hardware || is_group(hardware) || hardware == [0; 3] {
        return;
    }
    own.rival = AnnouncedEntry::pack(hardware);
    own.heard = lookup.clock();
    lookup.count(Stat::Rivals);
}

#[inline(always)]
fn told(written: Option<()>) -> Verdict {
    match written {
        Some(()) => Verdict::Answer,
        None => Verdict::Pass,
    }
}

/// ARP for IPv4 over Ethernet.
struct Arp {
    is_request: bool,
    hardware: Mac,
    sender: Addr4,
    target: Addr4,
}

impl Arp {
    /// Of other kinds, and from stations that cannot be answered, there is none.
    #[inline(always)]
    fn parse<P: Packet>(packet: &P, network: usize) -> Option<Self> {
        let [medium, protocol, lengths, operation, a, b, c, sender_a, sender_b, _, _, _, target_a, target_b] =
            packet.halves::<14>(network)?;
        let is_ours = (u16::from_be(medium), u16::from_be(protocol)) == (1, V4::ETHER_TYPE);
        let hardware = [a, b, c];
        if !is_ours || u16::from_be(lengths) != 0x0604 || is_group(hardware) {
            return None;
        }
        let is_request = u16::from_be(operation) == 1;
        Some(Self { is_request, hardware, sender: word(sender_a, sender_b), target: word(target_a, target_b) })
    }

    #[inline(always)]
    fn reply<P: Packet>(&self, packet: &mut P, network: usize, mac: Mac) -> Option<()> {
        let ([a, b, c], [d, e, f]) = (mac, self.hardware);
        let ([own_a, own_b], [to_a, to_b]) = (halves(self.target), halves(self.sender));
        let operation = 2_u16.to_be();
        packet.set_halves(network + 6, [operation, a, b, c, own_a, own_b, d, e, f, to_a, to_b])?;
        Addresses::new(self.hardware, mac).write(packet)
    }
}

#[inline(always)]
fn word(first: u16, second: u16) -> Addr4 {
    let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
    Be32::from_bytes([a, b, c, d])
}

#[inline(always)]
fn halves(address: Addr4) -> [u16; 2] {
    let [a, b, c, d] = address.bytes();
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
}

/// Bytes of an IPv6 header.
const HEADER: usize = 40;

/// A solicitation or an advertisement.
struct Message {
    is_question: bool,
    source: Addr6,
    destination: Addr6,
    target: Addr6,
    /// Type and length of the first option; zero if there is none.
    option: [u8; 2],
    /// Bytes of the options.
    options: usize,
}

impl Message {
    #[inline(always)]
    fn parse<P: Packet>(packet: &P, network: usize) -> Option<Self> {
        let [length] = packet.halves::<1>(network + 4)?;
        let length = u16::from_be(length) as usize;
        let (source, destination) = V6::addresses(packet, network)?;
        let [icmp] = packet.halves::<1>(network + HEADER)?;
        let target = Addr6::from_raw(packet.longs::<2>(network + HEADER + 8)?);
        if length < MESSAGE {
            return None;
        }
        let option = match packet.halves::<1>(network + HEADER + MESSAGE) {
            Some([option]) if length >= MESSAGE + OPTION => option.to_ne_bytes(),
            _ => [0; 2],
        };
        let is_question = icmp.to_ne_bytes()[0] == SOLICITATION;
        Some(Self { is_question, source, destination, target, option, options: length - MESSAGE })
    }

    /// A question as RFC 4861, section 7.1.1, has it. With more than one option, and they stand in no order, it would have to be
    /// made longer or shorter: nobody sends that but secured discovery (RFC 3971), which would take no answer from us.
    #[inline(always)]
    fn is_answerable(&self) -> bool {
        let group = self.destination == solicited(self.target);
        let has_option = self.options == OPTION && self.option[1] == 1;
        let options_are_right = match self.source == Addr6::ANY {
            // is the address free (RFC 4862); perhaps with a nonce (RFC 7527), in whose place the answer stands
            true => group && (self.options == 0 || has_option && self.option[0] != SOURCE_OPTION),
            false => has_option && self.option[0] == SOURCE_OPTION || self.options == 0 && !group,
        };
        self.is_question && (group || self.destination == self.target) && options_are_right
    }

    /// The checksum changes with what changes: a question that arrived damaged stays so.
    #[inline(always)]
    fn reply<P: Packet>(&self, packet: &mut P, network: usize, mac: Mac) -> Option<()> {
        let message = network + HEADER;
        let (to, to_mac, flags) = match self.source == Addr6::ANY {
            true => (Addr6::from_bytes(ALL_NODES), mac_of(ALL_NODES_MAC), OVERRIDE),
            false => (self.source, Addresses::of(packet)?.source(), OVERRIDE | SOLICITED),
        };
        let ([kind, _], [reserved]) = (packet.halves::<2>(message)?, packet.words::<1>(message + 4)?);
        let (answer, flags) = (u16::from_ne_bytes([ADVERTISEMENT, 0]), flags.to_be());
        let mut rest = Delta::NONE.half(kind, answer).word(reserved, flags);
        packet.set_halves(message, [answer])?;
        packet.set_words(message + 4, [flags])?;
        if self.options != 0 {
            let [a, b, c] = mac;
            let old = packet.halves::<4>(message + MESSAGE)?;
            let new = [u16::from_ne_bytes([TARGET_OPTION, 1]), a, b, c];
            rest = rest.half(old[0], new[0]).half(old[1], new[1]).half(old[2], new[2]).half(old[3], new[3]);
            packet.set_halves(message + MESSAGE, new)?;
        }
        let addresses = address_delta(address_delta(Delta::NONE, self.source, self.target), self.destination, to);
        V6::set_addresses(packet, network, self.target, to)?;
        packet.update_transport_checksum(message + 2, addresses, rest, false)?;
        Addresses::new(to_mac, mac).write(packet)
    }
}

/// The group in which an address is asked for: ff02::1:ff00:0/104 and its last 24 bits (RFC 4291, section 2.7.1).
#[inline(always)]
fn solicited(target: Addr6) -> Addr6 {
    let bytes = target.bytes();
    Addr6::from_bytes([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, bytes[13], bytes[14], bytes[15]])
}

/// Raw words, as a packet holds them.
#[inline(always)]
pub const fn mac_of([a, b, c, d, e, f]: [u8; 6]) -> Mac {
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])]
}
