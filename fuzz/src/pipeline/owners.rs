//! Whose replies are whose, as told by the wire alone: the tuple under which a backend sees a flow belongs to the client
//! that last sent under it, and as long as that client may still be there nobody else gets it.

use std::collections::HashMap;
use std::net::IpAddr;

use arbitrary::{Result, Unstructured};

use super::Hook;
use crate::wire::Datagram;

/// Ticks for which a flow keeps its tuple in any case: half-open ones give way when they have been silent for longer.
const KEPT: u32 = 2;

/// The 5-tuple of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    pub(super) source: (IpAddr, u16),
    pub(super) destination: (IpAddr, u16),
    pub(super) protocol: u8,
}

impl Tuple {
    /// That of a whole packet.
    pub(super) fn of(seen: &Datagram<'_>) -> Option<Self> {
        Self::of_first(seen).filter(|_| seen.is_complete())
    }

    /// That of a whole packet or of a first fragment; later ones have none of their own.
    pub(super) fn of_first(seen: &Datagram<'_>) -> Option<Self> {
        let (source, destination) = seen.ports()?;
        Some(Self {
            source: (seen.source, source),
            destination: (seen.destination, destination),
            protocol: seen.protocol,
        })
    }

    /// That of packets the other way.
    pub(super) fn turned(&self) -> Self {
        Self { source: self.destination, destination: self.source, ..*self }
    }
}

/// Who sent under a tuple.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// The tuple of the client's own packets.
    pub(super) client: Tuple,
    at: u32,
    local: bool,
}

impl Owner {
    /// Where replies meet the node.
    pub(super) fn hook(&self) -> Hook {
        if self.local { Hook::Egress } else { Hook::Ingress }
    }
}

/// All flows that were seen.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_wire: HashMap<Tuple, Owner>,
    by_client: HashMap<Tuple, Tuple>,
    /// In the order of their coming, so that a choice among them means the same in every run.
    order: Vec<Tuple>,
}

impl Owners {
    /// Who last sent under a tuple.
    pub(super) fn of(&self, wire: &Tuple) -> Option<Owner> {
        self.by_wire.get(wire).copied()
    }

    /// Any tuple, and where its replies meet the node.
    pub(super) fn any(&self, u: &mut Unstructured<'_>) -> Result<Option<(Tuple, Hook)>> {
        if self.order.is_empty() {
            return Ok(None);
        }
        let wire = *u.choose(&self.order)?;
        Ok(self.of(&wire).map(|owner| (wire, owner.hook())))
    }

    /// A client holds no tuple any more.
    pub(super) fn gives_up(&mut self, client: &Tuple) {
        self.by_client.remove(client);
    }

    /// A client's packet left for a backend under a tuple.
    pub(super) fn sends(&mut self, client: Tuple, wire: Tuple, local: bool, now: u32) {
        if let Some(other) = self.by_wire.get(&wire).filter(|other| other.client != client) {
            let lives = self.by_client.get(&other.client) == Some(&wire) && now - other.at <= KEPT;
            assert!(!lives, "{client:?} and {:?} both send as {wire:?}", other.client);
        }
        if !self.by_wire.contains_key(&wire) {
            self.order.push(wire);
        }
        self.by_wire.insert(wire, Owner { client, at: now, local });
        self.by_client.insert(client, wire);
    }
}
