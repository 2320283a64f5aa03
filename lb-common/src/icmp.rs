//! ICMP: errors that quote a flow follow it to its client or backend, and a VIP answers echo requests.
//!
//! What is neither is left to the kernel. An error neither begins a flow nor keeps one alive.

use crate::abi::{BackendEntry, FlowEntry, FlowKey, ReplyEntry, Stat, Task, backend_flag, flow_flag, frontend_flag};
use crate::addr::Address;
use crate::csum::Delta;
use crate::drop_reason::DropReason;
use crate::dsr;
use crate::ethernet::{self, Addresses, Ethernet};
use crate::hash::flow_hash;
use crate::ip::{Ip, IpInfo, address_delta};
use crate::lookup::{Lookup, Table};
use crate::packet::Packet;
use crate::pipeline::{find_frontend, next_hop, pick, to_client, turn_round};
use crate::policy::client_hash;
use crate::rewrite::Translation;
use crate::snat;
use crate::verdict::Verdict;

mod partial;
mod quote;
mod refuse;
mod reset;

pub(crate) use partial::{Left, left};
use quote::Quote;
pub use refuse::refuse;
pub(crate) use refuse::{may_send, told_to};
pub(crate) use reset::{TCP_HEADER, Turned, turn};
pub use reset::{reset, tell};

/// Bytes of the ICMP header; in errors the quote follows it.
const HEADER: usize = 8;
/// Time to live of answers (RFC 1700).
const ANSWER_TTL: u8 = 64;

/// ICMP that came in by an external interface.
#[inline(always)]
pub(crate) fn ingress<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: &Ethernet,
    ip: &IpInfo<F::Addr>,
    lookup: &L,
) -> Verdict {
    let shared = lookup.resolves() && is_shared(lookup);
    let kind = kind(packet, frame, ip);
    if kind == Some(F::ICMP.echo_request) {
        return answer(packet, frame, ip, lookup);
    }
    if F::Addr::WORDS > 1 && !lookup.resolves() {
        // Behind the headers of a quote, XDP's program would be 841,000 instructions to the verifier, and the companion's is
        // 31,000. What is not ours the companion passes.
        let is_error = kind.is_some_and(|kind| F::ICMP.is_error(kind));
        return if is_error { Verdict::HandOver(Task::Forward) } else { Verdict::Pass };
    }
    error(packet, frame, ip, lookup, if shared { Elsewhere::Told } else { Elsewhere::Tell })
}

/// Another node sent the packet here in a tunnel, since it does not know the flow. The note says so once.
#[inline(always)]
fn is_shared<F: Ip, L: Lookup<F>>(lookup: &L) -> bool {
    let Some(mut note) = lookup.note() else { return false };
    let shared = note.error != 0;
    note.error = 0;
    shared
}

/// What becomes of an error about a flow that this node does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// It goes to the node that knows it, or to all.
    Tell,
    /// It came from another node, and goes to none.
    Told,
    /// It is not for us: only backends of this node's own flows are behind the device.
    Leave,
}

/// An ICMP error that came in, about a packet that was sent on from here.
#[inline(always)]
pub(crate) fn error<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: &Ethernet,
    ip: &IpInfo<F::Addr>,
    lookup: &L,
    elsewhere: Elsewhere,
) -> Verdict {
    let Some(error) = Error::parse::<F, P>(packet, frame, ip) else { return Verdict::Pass };
    if error.quote.key.source != ip.destination {
        return Verdict::Pass; // an error goes to the source of what it is about (RFC 1122, section 3.2.2)
    }
    let flow = error.quote.reversed();
    let (view, local) = match receiver(packet, lookup, &error, &flow, elsewhere) {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    // as in the pipeline
    if elsewhere != Elsewhere::Leave && (local || lookup.resolves()) && !lookup.is_for_us(packet) {
        return Verdict::Pass;
    }
    error.send(packet, lookup, &view, local)
}

/// How an error about the packets of a flow, by the tuple that its client or its backend sends, is to look at its receiver,
/// and whether that is on this node; or what else becomes of it.
#[inline(always)]
fn receiver<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &P,
    lookup: &L,
    error: &Error<'_, F::Addr>,
    flow: &FlowKey<F::Addr>,
    elsewhere: Elsewhere,
) -> Result<(View<F::Addr>, bool), Verdict> {
    if snat::may_be_reply(lookup, flow.protocol as u8, flow.destination_port)
        && let Some(reply) = reply(lookup, flow)
        && reply.flags & flow_flag::LOCAL == 0
    {
        // a client on this node is the stack's
        return Ok((about_request(&reply), reply.flags & flow_flag::INSIDE != 0));
    }
    let (entry, backend) = match backend_of(lookup, flow) {
        Some(found) => found,
        None if elsewhere == Elsewhere::Leave => return Err(Verdict::Pass),
        None => backend_by_ring(packet, lookup, error.ip, flow, elsewhere == Elsewhere::Told)?,
    };
    Ok(error.about_reply(&entry, &backend))
}

/// The backend of a flow that only another node knows, as a flow that has no state here would get it, with the client's own
/// address. With DSR that backend's node knows it. Otherwise any node may, so all are asked; the backend is told besides, as
/// that needs no agent.
#[inline(always)]
fn backend_by_ring<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &P,
    lookup: &L,
    ip: &IpInfo<F::Addr>,
    flow: &FlowKey<F::Addr>,
    shared: bool,
) -> Result<Found<F::Addr>, Verdict> {
    let frontend = find_frontend(lookup, flow.destination, flow.destination_port, flow.protocol as u8);
    let Some(frontend) = frontend else { return Err(Verdict::Pass) };
    if !lookup.resolves() {
        return Err(Verdict::HandOver(Task::Forward)); // rare enough
    }
    let is_front = frontend.flags & frontend_flag::FRONT != 0;
    if shared {
        // the sockets of the node's own front find it by the quote
        return Err(if is_front { Verdict::Front } else { Verdict::Drop(DropReason::ErrorUnknown) });
    }
    if !lookup.is_for_us(packet) {
        return Err(Verdict::Pass);
    }
    if frontend.flags & frontend_flag::DSR != 0 {
        dsr::note_error(lookup, ip, flow, frontend);
        return Err(Verdict::Dsr(0));
    }
    // a node port is an address of one node, and no other node takes an error for it
    if lookup.is_vip(flow.destination) {
        lookup.count(Stat::ErrorsShared);
        lookup.share();
    }
    if is_front {
        return Err(Verdict::Front);
    }
    // where its own node has chosen otherwise than by a hash, this is a guess like any other
    let by_client = frontend.flags & frontend_flag::CHOOSES != 0;
    let hash = if by_client { client_hash(flow.source) } else { flow_hash(flow) };
    match pick(lookup, frontend.service, hash) {
        Some((_, backend)) => {
            lookup.count(Stat::ErrorsByRing);
            let (snat_address, snat_port) = (flow.source, flow.source_port);
            Ok((FlowEntry { snat_address, snat_port, flags: flow_flag::LOCAL, ..FlowEntry::default() }, backend))
        }
        None => Err(Verdict::Pass),
    }
}

/// ICMP that leaves by an external interface: errors of a pod, or of the node, about a packet that was translated for a
/// backend on this node. It is an answer where the client is on this node, too.
#[inline(always)]
pub(crate) fn egress<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: &Ethernet,
    ip: &IpInfo<F::Addr>,
    lookup: &L,
) -> Verdict {
    let Some(error) = Error::parse::<F, P>(packet, frame, ip) else { return Verdict::Pass };
    let Some(reply) = reply(lookup, &error.quote.reversed()) else { return Verdict::Pass };
    if reply.flags & flow_flag::LOCAL == 0 {
        return Verdict::Pass;
    }
    let mut view = about_request(&reply);
    // what the node says as a router, and not as a backend, it says under its own name: traceroute shows it
    if ip.source != error.quote.key.destination && lookup.uplink_address(lookup.ingress()) == Some(ip.source) {
        view.keeps_source = true;
    }
    match error.send(packet, lookup, &view, true) {
        Verdict::Deliver if reply.flags & flow_flag::INSIDE != 0 => turn_round(packet),
        verdict => verdict,
    }
}

/// Turns an echo request to a VIP into its reply. Frames for other stations are left alone, so that of several nodes on a
/// segment one answers.
#[inline(always)]
fn answer<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: &Ethernet,
    ip: &IpInfo<F::Addr>,
    lookup: &L,
) -> Verdict {
    let Some(addresses) = Addresses::of(packet) else { return Verdict::Pass };
    if !lookup.is_vip(ip.destination) || !lookup.is_for_us(packet) {
        return Verdict::Pass;
    }
    if !F::is_unicast(ip.source) || ip.source == ip.destination {
        return Verdict::Drop(DropReason::BadSource);
    }
    if !F::checksum_is_right(packet, frame.network, ip.header_length) {
        return Verdict::Drop(DropReason::BadIpChecksum);
    }
    lookup.count(Stat::EchoReplies);
    match make_answer::<F, P>(packet, frame, ip, addresses.reversed()) {
        Some(()) => Verdict::Answer,
        None => Verdict::Drop(DropReason::KernelRefused),
    }
}

#[inline(always)]
fn make_answer<F: Ip, P: Packet>(
    packet: &mut P,
    frame: &Ethernet,
    ip: &IpInfo<F::Addr>,
    addresses: Addresses,
) -> Option<()> {
    let message = frame.network + ip.header_length;
    let [request] = packet.halves::<1>(message)?;
    let [_, code] = request.to_ne_bytes();
    let reply = u16::from_ne_bytes([F::ICMP.echo_reply, code]);
    addresses.write(packet)?;
    F::rewrite(packet, frame.network, ip, ip.destination, ip.source, ANSWER_TTL)?;
    packet.set_halves(message, [reply])?;
    packet.update_transport_checksum(message + 2, Delta::NONE, Delta::NONE.half(request, reply), false)
}

/// The type, if the header is whole.
#[inline(always)]
fn kind<P: Packet, A>(packet: &P, frame: &Ethernet, ip: &IpInfo<A>) -> Option<u8> {
    let [first] = packet.halves::<1>(frame.network + ip.header_length)?;
    (ip.total_length >= ip.header_length + HEADER).then_some(first.to_ne_bytes()[0])
}

/// An ICMP error and the packet that it quotes.
struct Error<'a, A> {
    ip: &'a IpInfo<A>,
    network: usize,
    message: usize,
    quote: Quote<A>,
}

/// What an error is to look like at its receiver, the sender of what it quotes.
struct View<A> {
    quoted: Translation<A>,
    /// It stays from whom it is. Otherwise it comes from where the quoted packet was sent to.
    keeps_source: bool,
}

impl<'a, A: Address> Error<'a, A> {
    #[inline(always)]
    fn parse<F: Ip<Addr = A>, P: Packet>(packet: &P, frame: &Ethernet, ip: &'a IpInfo<A>) -> Option<Self> {
        if !F::ICMP.is_error(kind(packet, frame, ip)?) {
            return None;
        }
        let message = frame.network + ip.header_length;
        let quote = Quote::parse::<F, P>(packet, message + HEADER, frame.network + ip.total_length)?;
        Some(Self { ip, network: frame.network, message, quote })
    }

    /// An error about a packet to the client: to the backend whose reply it was. If the backend knows the client by its own
    /// address, the error keeps its source, too.
    #[inline(always)]
    fn about_reply(&self, entry: &FlowEntry<A>, backend: &BackendEntry<A>) -> (View<A>, bool) {
        let local = backend.flags & backend_flag::LOCAL != 0;
        let view = View {
            keeps_source: entry.flags & flow_flag::LOCAL != 0,
            quoted: Translation {
                source: backend.address,
                source_port: backend.port,
                destination: entry.snat_address,
                destination_port: entry.snat_port,
            },
        };
        (view, local)
    }

    /// Rewrites the error and sends it to its next hop, or leaves it to the stack if its receiver is `local`.
    #[inline(always)]
    fn send<F: Ip<Addr = A>, P: Packet, L: Lookup<F>>(
        &self,
        packet: &mut P,
        lookup: &L,
        view: &View<A>,
        local: bool,
    ) -> Verdict {
        if !F::checksum_is_right(packet, self.network, self.ip.header_length) {
            return Verdict::Drop(DropReason::BadIpChecksum);
        }
        let mut device = 0;
        if !local {
            let mut source = view.quoted.destination;
            if view.keeps_source && lookup.resolves() {
                // only the companion sends such on; the source is read anew, as below
                let Some((old, _)) = F::addresses(packet, self.network) else {
                    return Verdict::Drop(DropReason::KernelRefused);
                };
                source = old;
            }
            let way = (source, view.quoted.source);
            let tagged = self.network != ethernet::HEADER;
            device = match next_hop(packet, self.ip, tagged, lookup, way, lookup.clock()) {
                Ok(device) => device,
                Err(verdict) => return verdict,
            };
        }
        lookup.count(Stat::IcmpErrors);
        let ttl = if local { self.ip.ttl } else { self.ip.ttl - 1 };
        match self.rewrite::<F, P>(packet, view, ttl) {
            None => Verdict::Drop(DropReason::KernelRefused),
            // no device has the index 0; asked so, since LLVM would else not write it, and copy it all the same (`Verdict::Dsr`)
            Some(()) if device == 0 => Verdict::Deliver,
            Some(()) => Verdict::Transmit(device),
        }
    }

    #[inline(always)]
    fn rewrite<F: Ip<Addr = A>, P: Packet>(&self, packet: &mut P, view: &View<A>, ttl: u8) -> Option<()> {
        // read anew: the stack of a kernel program has no room for all addresses at once
        let (source, destination) = F::addresses(packet, self.network)?;
        let to = (if view.keeps_source { source } else { view.quoted.destination }, view.quoted.source);
        let mut addresses = Delta::NONE;
        if F::ICMP.covers_addresses {
            addresses = address_delta(addresses, source, to.0);
            addresses = address_delta(addresses, destination, to.1);
        }
        F::rewrite(packet, self.network, &self.ip.with(source, destination), to.0, to.1, ttl)?;
        let quoted = self.quote.translate::<F, P>(packet, &view.quoted)?;
        packet.update_transport_checksum(self.message + 2, addresses, quoted, false)
    }
}

/// An error about a packet to the backend, as the client is to see it: about its own packet, and from the VIP whoever sent
/// it, since the client knows none of the addresses behind it.
#[inline(always)]
fn about_request<A: Address>(reply: &ReplyEntry<A>) -> View<A> {
    let back = to_client(reply);
    View {
        keeps_source: false,
        quoted: Translation {
            source: back.destination,
            source_port: back.destination_port,
            destination: back.source,
            destination_port: back.source_port,
        },
    }
}

/// The reply entry of a tuple; a look that leaves no trace.
#[inline(always)]
fn reply<F: Ip, L: Lookup<F>>(lookup: &L, key: &FlowKey<F::Addr>) -> Option<ReplyEntry<F::Addr>> {
    if let Some(entry) = lookup.reply(Table::Proven, key) {
        return Some(*entry);
    }
    lookup.reply(Table::HalfOpen, key).map(|entry| *entry).filter(|entry| entry.flags & flow_flag::HOST == 0)
}

/// A flow and its backend.
type Found<A> = (FlowEntry<A>, BackendEntry<A>);

/// The flow of a tuple and its backend, if that is still there; a look that leaves no trace.
#[inline(always)]
fn backend_of<F: Ip, L: Lookup<F>>(lookup: &L, key: &FlowKey<F::Addr>) -> Option<Found<F::Addr>> {
    let entry = match lookup.flow(Table::Proven, key).map(|entry| *entry) {
        Some(entry) => entry,
        None => lookup.flow(Table::HalfOpen, key).map(|entry| *entry)?,
    };
    let backend = lookup.backend(entry.backend)?;
    (backend.generation == entry.generation && backend.protocol != 0).then_some((entry, backend))
}

#[cfg(test)]
mod tests;
