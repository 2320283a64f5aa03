//! Which backends share a service's ring, and the rings themselves. A ring that is made of the same backends as before is
//! the same ring, not a new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use lb_common::maglev::{self, Member, Seed};

use crate::model::{Backend, BackendState, Protocol, TrafficPolicy};
use crate::tables::{BackendId, BackendKey, IpFamily, Ring};

/// The backends of one service and family that need an id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Those that take new flows, with their weights.
    pub(super) in_ring: BTreeMap<BackendKey, u16>,
    /// Those that only keep the flows they have.
    pub(super) draining: BTreeSet<BackendKey>,
}

impl Choice {
    /// All of them, in the order in which they get ids.
    pub(super) fn keys(&self) -> impl Iterator<Item = &BackendKey> {
        self.in_ring.keys().chain(&self.draining)
    }

    /// It is one of them.
    pub(super) fn contains(&self, key: &BackendKey) -> bool {
        self.in_ring.contains_key(key) || self.draining.contains(key)
    }
}

/// New flows go to the active backends, with the policy Local only to those on this node, with the policy Cluster only to
/// those that hints do not keep from this node. If there is none they go to the
/// terminating ones, which still serve (the rule of KEP-1669 for kube-proxy); never to unhealthy ones.
///
/// Flows that are there stay while their backend is named at all: connections are bound to it, and a pod that misses a
/// probe, or fails them while it ends, still has its sockets. Datagrams are bound to nothing, so they leave a backend that
/// does not serve at once (kube-proxy forgets such flows of UDP as well).
pub(super) fn choose(backends: &[Backend], family: IpFamily, policy: TrafficPolicy, protocol: Protocol) -> Choice {
    let in_state = |state| {
        let family = backends.iter().filter(move |backend| IpFamily::of(backend.address) == family);
        family.filter(move |backend| backend.state == state)
    };
    let key =
        |backend: &Backend| BackendKey { address: backend.address, port: backend.port, protocol, local: backend.local };
    let weighted = |state| {
        let near = in_state(state).filter(|backend| match policy {
            TrafficPolicy::Cluster => !backend.far,
            TrafficPolicy::Local => backend.local,
        });
        near.map(|backend| (key(backend), backend.weight)).collect::<BTreeMap<_, _>>()
    };
    let mut draining: BTreeSet<_> = match protocol {
        Protocol::Udp => BTreeSet::new(),
        Protocol::Tcp | Protocol::Sctp => in_state(BackendState::Unhealthy).map(key).collect(),
    };
    // hints change with every pod that comes or goes: flows stay where they are
    draining.extend(in_state(BackendState::Active).filter(|backend| backend.far).map(key));
    let active = weighted(BackendState::Active);
    if active.is_empty() {
        return Choice { in_ring: weighted(BackendState::Terminating), draining };
    }
    draining.extend(in_state(BackendState::Terminating).map(key));
    draining.retain(|backend| !active.contains_key(backend));
    Choice { in_ring: active, draining }
}

/// A backend in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RingMember {
    pub(super) key: BackendKey,
    pub(super) weight: u16,
    pub(super) id: BackendId,
}

/// Rings by what they are made of, members in the order of their keys; with how many services share each.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache(HashMap<Vec<RingMember>, (Ring, usize)>);

impl Cache {
    /// The ring of these members: from this cache or the one before, else made now.
    pub(super) fn ring(&mut self, before: &Cache, members: Vec<RingMember>) -> Ring {
        let found = || before.0.get(&members).map(|(ring, _)| ring.clone());
        if let Some((ring, uses)) = self.0.get_mut(&members) {
            *uses += 1;
            return ring.clone();
        }
        let ring = found().unwrap_or_else(|| build(&members));
        self.0.insert(members, (ring.clone(), 1));
        ring
    }

    /// The ring of other members than a service had before.
    pub(super) fn replace(&mut self, before: &[RingMember], now: Vec<RingMember>) -> Ring {
        let ring = self.ring(&Cache::default(), now);
        if let Some((_, uses)) = self.0.get_mut(before) {
            *uses -= 1;
            if *uses == 0 {
                self.0.remove(before);
            }
        }
        ring
    }
}

fn build(members: &[RingMember]) -> Ring {
    let mut slots = vec![0; maglev::length_for(members.iter().map(|member| member.weight)) as usize];
    let mut turns: Vec<_> =
        members.iter().map(|member| Member::new(seed(&member.key), member.weight, member.id.0)).collect();
    maglev::populate(&mut turns, &mut slots);
    slots.into_iter().map(BackendId).collect()
}

/// The seed does not say whether the backend is local: every node makes the same ring.
fn seed(key: &BackendKey) -> Seed {
    let address = match key.address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    Seed::new(address.octets(), key.port, key.protocol.number())
}
