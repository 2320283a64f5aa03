//! Random tables and a history of packets through the host's pipeline, for one family or the other. After each packet:
//! what is not forwarded is not touched, what is forwarded is right for a receiver ([`rules`]), no two flows get each
//! other's replies, and each reply reaches the client whose flow it is ([`owners`]).

mod owners;
mod rules;
mod tables;

use arbitrary::{Result, Unstructured};
use lb_common::abi::setting;
use lb_common::addr::{V4, V6};
use lb_common::ethernet::Ethernet;
use lb_common::host::{Bytes, Maps};
use lb_common::pipeline;
use lb_common::verdict::Verdict;

use crate::packets::{self, Draft, PORTS, Place, Side};
use crate::wire::{Datagram, SCTP, TCP, UDP};
use owners::{Owners, Tuple};

/// Most steps of one history.
const STEPS: usize = 100;

pub(crate) fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    // the end of the input ends the history
    let _ = match u.arbitrary::<bool>() {
        Ok(true) => history::<V6>(&mut u),
        Ok(false) => history::<V4>(&mut u),
        Err(error) => Err(error),
    };
}

fn history<F: Side>(u: &mut Unstructured<'_>) -> Result<()> {
    let mut world = World { maps: tables::random::<F>(u)?, owners: Owners::default() };
    for _ in 0..STEPS {
        match u.int_in_range(0..=15)? {
            0 => world.pass_time(*u.choose(&[0, 1, 2, 3, 4, 11, 32, 75, 130, 300, 8_000])?),
            1 => tables::change_backend(&mut world.maps, u)?,
            2 => tables::change_ring(&mut world.maps, u)?,
            3 => world.maps.resolves = u.arbitrary()?,
            4..=6 => world.reply(u)?,
            7 => world.error(u)?,
            8 => world.anything(u)?,
            9 => world.tunnelled(u)?,
            _ => world.packet(u)?,
        }
    }
    Ok(())
}

/// Where a packet meets the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    Ingress,
    Egress,
}

/// The tables, and what is known of the flows from watching the wire.
struct World<F: Side> {
    maps: Maps<F>,
    owners: Owners,
}

impl<F: Side> World<F> {
    fn pass_time(&mut self, ticks: u32) {
        self.maps.now.set(self.maps.now.get() + ticks);
    }

    /// A packet of a client, and sometimes the answer at once.
    fn packet(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let source =
            (address::<F>(u, &[Place::Client, Place::Client, Place::LocalPod, Place::Node, Place::Vip])?, port(u)?);
        let destination = (address::<F>(u, &[Place::Vip, Place::Vip, Place::Node])?, port(u)?);
        let protocol = *u.choose(&[TCP, TCP, UDP, SCTP, 47])?;
        let frame = Draft::between(source, destination, protocol).vary(u)?.bytes();
        self.arrives(frame, u)
    }

    /// The same as another node sends it on, or as somebody else has wrapped it up.
    fn tunnelled(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let source = (address::<F>(u, &[Place::Client, Place::LocalPod])?, port(u)?);
        let destination = (address::<F>(u, &[Place::Vip, Place::Vip, Place::LocalPod])?, port(u)?);
        let inner = Draft::between(source, destination, *u.choose(&[TCP, TCP, UDP, SCTP, 47])?).vary(u)?;
        let (from, to) = (F::place(Place::Node, u.int_in_range(1..=4)?), address::<F>(u, &[Place::Node])?);
        let again = u.arbitrary()?;
        self.arrives(Draft { again, ..Draft::tunnel(from, to, inner.datagram()) }.bytes(), u)
    }

    fn arrives(&mut self, frame: Vec<u8>, u: &mut Unstructured<'_>) -> Result<()> {
        let frame = packets::damage(u, frame)?;
        let answer = u.arbitrary()?;
        let sent = self.pass_through(Hook::Ingress, &frame);
        if let Some(tuple) = sent.filter(|_| answer) {
            self.answer(&tuple);
        }
        Ok(())
    }

    /// The backend's reply to a packet that has just been forwarded has to reach its client.
    fn answer(&mut self, tuple: &Tuple) {
        let Some(owner) = self.owners.of(tuple) else { return };
        let (hook, client) = (owner.hook(), owner.client);
        let frame = Draft::between(tuple.destination, tuple.source, tuple.protocol).bytes();
        let (verdict, after) = self.judged(hook, &frame);
        match (hook, verdict) {
            (Hook::Egress, Verdict::Deliver) | (Hook::Ingress, Verdict::Transmit(_)) => {
                let seen = Datagram::of_frame(&after).and_then(|seen| Tuple::of(&seen));
                assert_eq!(seen, Some(client.turned()), "the way back does not undo the way there");
            }
            (Hook::Ingress, Verdict::HandOver(_)) => {} // no neighbour yet: the companion does the same
            (Hook::Ingress, Verdict::Refuse(_)) => {}
            (_, other) => panic!("the reply {tuple:?} of a packet just sent is {other:?}"),
        }
    }

    /// A reply of a backend that may have been waiting for long.
    fn reply(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some((tuple, hook)) = self.owners.any(u)? else { return self.packet(u) };
        let draft = Draft::between(tuple.destination, tuple.source, tuple.protocol).vary(u)?;
        let frame = packets::damage(u, draft.bytes())?;
        self.pass_through(hook, &frame);
        Ok(())
    }

    /// What a router says of a packet that this node may have sent to another one.
    fn about_tunnel(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let source = (address::<F>(u, &[Place::Client])?, port(u)?);
        let inner = Draft::between(source, (address::<F>(u, &[Place::Vip])?, port(u)?), *u.choose(&[TCP, UDP])?);
        let (own, other) = (F::place(Place::Node, tables::OWN), F::place(Place::Node, *u.choose(&tables::PEERS)?));
        let outer = Draft::tunnel(own, other, inner.vary(u)?.datagram());
        let (kind, length) = (if own.is_ipv4() { (3, 4) } else { (2, 0) }, u.int_in_range(20..=160)?);
        let router = address::<F>(u, &[Place::RemotePod, Place::Client])?;
        let frame = packets::damage(u, packets::error(router, own, kind, &outer.datagram(), length).bytes())?;
        let _ = self.judged(Hook::Ingress, &frame); // it panics by itself
        Ok(())
    }

    /// An ICMP error about a packet of a flow in either direction, or about anything; or an echo request.
    fn error(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if u.ratio(1, 4)? {
            return self.about_tunnel(u);
        }
        let from = address::<F>(u, &[Place::Client, Place::LocalPod, Place::RemotePod, Place::Node])?;
        let about = match self.owners.any(u)? {
            Some((tuple, _)) if u.arbitrary()? => tuple,
            Some((tuple, _)) => self.owners.of(&tuple).map_or(tuple, |owner| owner.client.turned()),
            None => Tuple { source: (from, 8), destination: (from, 9), protocol: UDP },
        };
        let quoted = Draft::between(about.source, about.destination, about.protocol).vary(u)?;
        let kind = *u.choose(&[(3, 4), (3, 1), (11, 0), (12, 0), (2, 0), (1, 4), (4, 0), (8, 0), (128, 0), (0, 0)])?;
        let length = u.int_in_range(0..=120)?;
        let echo = matches!(kind.0, 8 | 128);
        let to = if echo { F::place(Place::Vip, u.int_in_range(1..=3)?) } else { about.source.0 };
        let mut draft = packets::error(from, to, kind, &quoted.datagram(), length);
        draft.ttl = *u.choose(&[64, 64, 64, 1])?;
        let frame = packets::damage(u, draft.bytes())?;
        let hook = if u.arbitrary()? { Hook::Egress } else { Hook::Ingress };
        let _ = self.judged(hook, &frame); // it panics by itself
        Ok(())
    }

    /// Bytes as they stand in the input.
    fn anything(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let length = u.int_in_range(0..=90)?;
        let frame = u.bytes(length.min(u.len()))?.to_vec();
        let hook = if u.arbitrary()? { Hook::Egress } else { Hook::Ingress };
        self.pass_through(hook, &frame);
        Ok(())
    }

    /// Runs a packet, judges what became of it, and writes down whose tuple it used. Gives that tuple, if it was a whole
    /// packet from a client to a backend.
    fn pass_through(&mut self, hook: Hook, frame: &[u8]) -> Option<Tuple> {
        let (verdict, after) = self.judged(hook, frame);
        let inside = rules::opened(frame, &after);
        let before = Datagram::of_frame(inside.as_deref().unwrap_or(frame))?;
        self.note_end(hook, &before);
        let Some(client) = Tuple::of(&before) else {
            // a first fragment begins flows as whole packets do
            self.note_unsent(hook, Tuple::of_first(&before)?);
            return None;
        };
        if !matches!(verdict, Verdict::Deliver | Verdict::Transmit(_)) {
            self.note_unsent(hook, client);
            return None;
        }
        let wire = Tuple::of(&Datagram::of_frame(&after)?)?;
        match self.owners.of(&client.turned()) {
            // it was the reply to what somebody sent: nobody else may get it
            Some(owner) if is_reply::<F>(hook, &self.maps, &client) => {
                assert_eq!(wire, owner.client.turned(), "a reply went to somebody else's client");
                None
            }
            _ if hook == Hook::Egress => panic!("a packet was turned back that answers nothing: {client:?}"),
            _ => {
                let local = matches!(verdict, Verdict::Deliver);
                self.owners.sends(client, wire, local, self.maps.now.get());
                Some(wire)
            }
        }
    }

    /// A packet that was handed over, or whose way ended late, may have taken a tuple all the same. One that was dropped
    /// before its flow was looked at did not: then the lease is as old as the table says.
    fn note_unsent(&mut self, hook: Hook, client: Tuple) {
        if hook == Hook::Ingress
            && let Some((wire, local, last_used)) = tables::held_by(&self.maps, &client)
        {
            self.owners.sends(client, wire, local, last_used);
        }
    }

    /// A client that begins anew ends its old flow, even where its packet goes no further: then it holds no tuple.
    fn note_end(&mut self, hook: Hook, seen: &Datagram<'_>) {
        if hook == Hook::Ingress
            && let Some(client) = Tuple::of_first(seen)
            && tables::held_by(&self.maps, &client).is_none()
        {
            self.owners.gives_up(&client);
        }
    }

    fn judged(&mut self, hook: Hook, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let mut packet = Bytes(frame.to_vec());
        let drops = self.drops();
        let verdict = through(hook, &mut packet, &self.maps);
        rules::judge(hook, frame, &packet.0, verdict);
        if let Verdict::Refuse(why) = verdict {
            self.tell(&packet.0, why);
        }
        let counted = self.drops() - drops;
        let expected = match verdict {
            Verdict::Drop(_) | Verdict::Refuse(_) => 1..=1,
            // A packet that fits into no tunnel is dropped, and its sender told at once; an echo is only answered.
            Verdict::Answer => 0..=1,
            _ => 0..=0,
        };
        assert!(expected.contains(&counted), "{verdict:?} and the counters of drops differ: {counted}");
        (verdict, packet.0)
    }

    /// What the sender of a refused packet is told.
    fn tell(&self, frame: &[u8], why: u32) {
        let mut packet = Bytes(frame.to_vec());
        let header = Ethernet::parse(&packet).expect("refused behind this header");
        if pipeline::tell::<F, _, _>(&mut packet, &header, &self.maps, why) == Verdict::Answer {
            rules::told(frame, &packet.0);
        }
    }

    fn drops(&self) -> u64 {
        self.maps.drops.borrow().iter().map(|counters| counters.packets).sum()
    }
}

/// At ingress a packet to a port of the range for source NAT, or any of SCTP, is looked up as a reply first.
fn is_reply<F: Side>(hook: Hook, maps: &Maps<F>, tuple: &Tuple) -> bool {
    let range = maps.settings[setting::SNAT_PORTS as usize] >> 32;
    let (first, last) = ((range >> 16) as u16, range as u16);
    hook == Hook::Egress || tuple.protocol == SCTP || (first..=last).contains(&tuple.destination.1)
}

fn through<F: Side>(hook: Hook, packet: &mut Bytes, maps: &Maps<F>) -> Verdict {
    match hook {
        Hook::Ingress => pipeline::ingress::<F, _, _>(packet, maps),
        Hook::Egress => pipeline::egress::<F, _, _>(packet, maps),
    }
}

fn address<F: Side>(u: &mut Unstructured<'_>, places: &[Place]) -> Result<std::net::IpAddr> {
    Ok(F::place(*u.choose(places)?, u.int_in_range(1..=3)?))
}

fn port(u: &mut Unstructured<'_>) -> Result<u16> {
    Ok(*u.choose(PORTS)?)
}
