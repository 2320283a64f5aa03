//! Socket-level balancing: the address that a process names is replaced before there is a packet. The programs of the
//! cgroup hooks call this; its order of steps is that of the packet path, with what only a socket has: a cookie, a network
//! namespace, and an address that the process asks for again.

use crate::abi::socket::{SocketChoice, SocketKey, SocketPeer, peer_flag, socket_setting};
use crate::abi::{BackendEntry, FrontendEntry, FrontendKey, frontend_flag, protocol, setting};
use crate::addr::Address;
use crate::be::Be16;
use crate::ip::Ip;
use crate::lookup::Lookup;
use crate::pipeline::{from_inside, in_range, member, slot_in};
use crate::policy::{Client, Policies, select};

/// What is remembered of sockets, for one address family.
pub trait Sockets<F: Ip> {
    /// A random number.
    fn random(&self) -> u32;

    /// A word of the settings ([`socket_setting`]); 0 if it is not set.
    fn socket_setting(&self, index: u32) -> u64;

    /// The address of the node under which pods reach the front.
    fn front_address(&self) -> Option<F::Addr>;

    /// The choice of an unconnected socket for the address that it names.
    fn choice(&self, key: &SocketKey<F::Addr>) -> Option<SocketChoice>;

    /// Records it.
    fn put_choice(&self, key: &SocketKey<F::Addr>, choice: &SocketChoice);

    /// Whom a socket means by a backend.
    fn peer(&self, key: &SocketKey<F::Addr>) -> Option<SocketPeer<F::Addr>>;

    /// Records it.
    fn put_peer(&self, key: &SocketKey<F::Addr>, peer: &SocketPeer<F::Addr>);

    /// Some socket was led to a backend with this UDP port.
    fn is_backend_port(&self, port: Be16) -> bool;

    /// Records that.
    fn note_backend_port(&self, port: Be16);
}

/// What a program knows of the socket that calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its cookie.
    pub cookie: u64,
    /// IP protocol number.
    pub protocol: u8,
    /// Cookie of its network namespace.
    pub namespace: u64,
    /// It is bound to a loopback address: from there the kernel sends nothing to another host (`EINVAL`).
    pub bound_to_loopback: bool,
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<A> {
    /// Address.
    pub address: A,
    /// Port.
    pub port: Be16,
}

/// What becomes of the address that a process named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<A> {
    /// It stays.
    Keep,
    /// It is replaced.
    Replace(Place<A>),
    /// Nobody is there to answer: the call fails at once.
    Refuse,
}

/// A socket is connected: TCP, or UDP with a fixed peer.
#[inline(always)]
pub fn connect<F: Ip, L: Policies<F>, S: Sockets<F>>(
    lookup: &L,
    sockets: &S,
    caller: &Caller,
    named: &Place<F::Addr>,
) -> Outcome<F::Addr> {
    let Some(frontend) = frontend_of(lookup, sockets, caller, named) else { return Outcome::Keep };
    if frontend.flags & frontend_flag::FRONT != 0 {
        return to_front(lookup, sockets, caller, named, frontend);
    }
    let Some((id, backend)) = chosen(lookup, sockets, caller, frontend) else { return Outcome::Refuse };
    lookup.count_flow(frontend.service, id);
    let choice = SocketChoice { service: frontend.service, backend: id, generation: backend.generation };
    remember(sockets, caller, named, &choice, &place_of(&backend), peer_flag::CONNECTED);
    Outcome::Replace(place_of(&backend))
}

/// A datagram is sent to an address of its own. The socket keeps to one backend for each address that it names, as long as
/// that backend is there.
#[inline(always)]
pub fn send<F: Ip, L: Policies<F>, S: Sockets<F>>(
    lookup: &L,
    sockets: &S,
    caller: &Caller,
    named: &Place<F::Addr>,
) -> Outcome<F::Addr> {
    let Some(frontend) = frontend_of(lookup, sockets, caller, named) else { return Outcome::Keep };
    let key = key_of(caller, named);
    if let Some(choice) = sockets.choice(&key)
        && choice.service == frontend.service
        && let Some(backend) = living(lookup, &choice)
    {
        let place = place_of(&backend);
        // least recently used goes first, and it may have been this one's turn
        if sockets.peer(&key_of(caller, &place)).is_none() {
            remember(sockets, caller, named, &choice, &place, 0);
        }
        return Outcome::Replace(place);
    }
    let Some((id, backend)) = chosen(lookup, sockets, caller, frontend) else { return Outcome::Refuse };
    lookup.count_flow(frontend.service, id);
    let choice = SocketChoice { service: frontend.service, backend: id, generation: backend.generation };
    sockets.put_choice(&key, &choice);
    remember(sockets, caller, named, &choice, &place_of(&backend), 0);
    Outcome::Replace(place_of(&backend))
}

/// A backend for a socket: of a slot of the ring by chance, or as the service wants it to be chosen.
#[inline(always)]
fn chosen<F: Ip, L: Policies<F>, S: Sockets<F>>(
    lookup: &L,
    sockets: &S,
    caller: &Caller,
    frontend: FrontendEntry,
) -> Option<(u32, BackendEntry<F::Addr>)> {
    let chance = sockets.random();
    let id = if frontend.flags & frontend_flag::CHOOSES != 0 {
        select(lookup, frontend.service, &Client::within(caller.namespace), chance)
    } else {
        slot_in(lookup, &lookup.service(frontend.service)?, chance)
    };
    member(lookup, id)
}

/// Whom the process means by the address that its socket is connected to.
#[inline(always)]
pub fn peer_name<F: Ip, S: Sockets<F>>(sockets: &S, caller: &Caller, peer: &Place<F::Addr>) -> Option<Place<F::Addr>> {
    let peer = sockets.peer(&key_of(caller, peer))?;
    Some(Place { address: peer.address, port: peer.port })
}

/// Whom the process means by the source of a datagram. This runs for each datagram that any process of the machine
/// receives with its source, so the port alone settles most of them.
#[inline(always)]
pub fn received<F: Ip, S: Sockets<F>>(sockets: &S, caller: &Caller, source: &Place<F::Addr>) -> Option<Place<F::Addr>> {
    if !sockets.is_backend_port(source.port) {
        return None;
    }
    peer_name(sockets, caller, source)
}

/// The frontend at exactly this address, else the NodePort: on the node's addresses, and for the node's own processes on
/// loopback, where host ports answer, too. A pod's loopback is its own.
#[inline(always)]
fn frontend_of<F: Ip, L: Lookup<F>, S: Sockets<F>>(
    lookup: &L,
    sockets: &S,
    caller: &Caller,
    named: &Place<F::Addr>,
) -> Option<FrontendEntry> {
    if caller.protocol != protocol::TCP && caller.protocol != protocol::UDP {
        return None;
    }
    if named.address == F::Addr::ANY || caller.bound_to_loopback {
        return None; // what is bound to loopback reaches only loopback: who listens there answers, else it is refused
    }
    let loopback = is_loopback(named.address);
    if loopback && sockets.socket_setting(socket_setting::NAMESPACE) != caller.namespace {
        return None;
    }
    let key = FrontendKey {
        address: named.address,
        port: named.port,
        protocol: u16::from(caller.protocol),
        fill: Default::default(),
    };
    if let Some(frontend) = lookup.frontend(&key) {
        return Some(from_inside(lookup, key, frontend));
    }
    if !in_range(lookup.setting(setting::NODE_PORTS), named.port.host()) {
        return None;
    }
    let answered = if loopback {
        sockets.socket_setting(socket_setting::LOOPBACK) != 0
    } else {
        lookup.is_node_address(named.address)
    };
    if !answered {
        return None;
    }
    let key = FrontendKey { address: F::Addr::ANY, ..key };
    lookup.frontend(&key).map(|frontend| from_inside(lookup, key, frontend))
}

/// 127.0.0.0/8 (RFC 1122, section 3.2.1.3) or ::1 (RFC 4291, section 2.5.3).
#[inline(always)]
pub fn is_loopback<A: Address>(address: A) -> bool {
    let words = address.words();
    if A::WORDS == 1 {
        return words[0].to_ne_bytes()[0] == 127;
    }
    words[0] == 0 && words[1] == 0 && words[2] == 0 && words[3] == 1_u32.to_be()
}

/// To the front's listener, under an address of the node: a VIP is on no interface, so what the node's processes and pods
/// send to it would leave the node. The node's own addresses need nothing: sk_lookup takes what arrives there.
#[inline(always)]
fn to_front<F: Ip, L: Lookup<F>, S: Sockets<F>>(
    lookup: &L,
    sockets: &S,
    caller: &Caller,
    named: &Place<F::Addr>,
    frontend: FrontendEntry,
) -> Outcome<F::Addr> {
    if lookup.is_node_address(named.address) {
        return Outcome::Keep;
    }
    let ports = sockets.socket_setting(socket_setting::FRONT_PORTS);
    let shift = if frontend.flags & frontend_flag::FRONT_HTTP != 0 { 0 } else { 16 };
    let port = (ports >> shift) as u16;
    let Some(address) = sockets.front_address() else { return Outcome::Refuse };
    if port == 0 {
        return Outcome::Refuse;
    }
    let place = Place { address, port: Be16::new(port) };
    let choice = SocketChoice { service: frontend.service, backend: 0, generation: 0 };
    remember(sockets, caller, named, &choice, &place, peer_flag::CONNECTED);
    Outcome::Replace(place)
}

/// The kind of listener ([`frontend_flag`]) that a port of the front's is for, now or before the last change; 0 if it is
/// none of them.
#[inline(always)]
pub const fn front_kind(ports: u64, port: u16) -> u32 {
    if port == 0 {
        return 0;
    }
    if ports as u16 == port || (ports >> 32) as u16 == port {
        return frontend_flag::FRONT_HTTP;
    }
    if (ports >> 16) as u16 == port || (ports >> 48) as u16 == port {
        return frontend_flag::FRONT_HTTPS;
    }
    0
}

/// The backend of a choice, if it is still there.
#[inline(always)]
fn living<F: Ip, L: Lookup<F>>(lookup: &L, choice: &SocketChoice) -> Option<BackendEntry<F::Addr>> {
    let backend = lookup.backend(choice.backend)?;
    (backend.generation == choice.generation && backend.protocol != 0).then_some(backend)
}

/// Records whom the process means by the place where it is led.
#[inline(always)]
fn remember<F: Ip, S: Sockets<F>>(
    sockets: &S,
    caller: &Caller,
    named: &Place<F::Addr>,
    choice: &SocketChoice,
    place: &Place<F::Addr>,
    flags: u16,
) {
    let peer = SocketPeer {
        address: named.address,
        port: named.port,
        flags,
        service: choice.service,
        backend: choice.backend,
        generation: choice.generation,
    };
    sockets.put_peer(&key_of(caller, place), &peer);
    if caller.protocol == protocol::UDP && !sockets.is_backend_port(place.port) {
        sockets.note_backend_port(place.port);
    }
}

#[inline(always)]
fn key_of<A: Address>(caller: &Caller, place: &Place<A>) -> SocketKey<A> {
    SocketKey {
        cookie: [caller.cookie as u32, (caller.cookie >> 32) as u32],
        address: place.address,
        port: place.port,
        protocol: u16::from(caller.protocol),
        fill: A::Fill::default(),
    }
}

#[inline(always)]
fn place_of<A: Address>(backend: &BackendEntry<A>) -> Place<A> {
    Place { address: backend.address, port: backend.port }
}

#[cfg(test)]
mod tests;
