//! How the agents of a network know of each other: each says twice a second to all stations that it lives, in a frame of its own
//! kind, which no router passes on. So what is heard is exactly what matters: that a node can be heard where its addresses are.
//!
//! A frame says nothing that a station of the network could not say with ARP itself, so it is not signed; names that are none of the
//! cluster's nodes change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For local experiments (IEEE 802, EtherType 88-B5).
pub const ETHER_TYPE: u16 = 0x88b5;
/// How often each agent says that it lives.
pub const EVERY: Duration = Duration::from_millis(500);
/// Who was not heard for so long is gone; and an agent that begins listens for so long before it takes anything.
pub const SILENCE: Duration = Duration::from_secs(2);

const MAGIC: [u8; 5] = *b"weir\x01";
const READY: u8 = 1;
const LEAVING: u8 = 2;
const BROADCAST: [u8; 6] = [0xff; 6];
const SHORTEST: usize = 60;
const HEADER: usize = 14;

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name of its node; at most 253 bytes.
    pub node: String,
    /// What it does with the addresses that are its own.
    pub stage: Stage,
}

/// What an agent does with the addresses that are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It begins and only listens, or goes on with what an earlier agent of its node has announced.
    Begins,
    /// It announces them.
    Announces,
    /// It is about to end, and leaves them to the others.
    Leaves,
}

impl Hello {
    /// As a frame from the device with this hardware address.
    pub fn frame(&self, mac: [u8; 6]) -> Vec<u8> {
        let name = &self.node.as_bytes()[..self.node.len().min(253)];
        let mut frame = [&BROADCAST[..], &mac, &ETHER_TYPE.to_be_bytes(), &MAGIC].concat();
        let flags = match self.stage {
            Stage::Begins => 0,
            Stage::Announces => READY,
            Stage::Leaves => LEAVING,
        };
        frame.extend([flags, name.len() as u8]);
        frame.extend(name);
        frame.resize(frame.len().max(SHORTEST), 0);
        frame
    }

    /// Out of a frame; `None` if it is none.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let rest = frame.get(HEADER..)?.strip_prefix(&MAGIC)?;
        let (&[flags, length], rest) = rest.split_first_chunk::<2>()?;
        let name = std::str::from_utf8(rest.get(..usize::from(length))?).ok().filter(|name| !name.is_empty())?;
        let stage = match flags & (READY | LEAVING) {
            0 => Stage::Begins,
            READY => Stage::Announces,
            _ => Stage::Leaves,
        };
        Some(Self { node: name.to_owned(), stage })
    }
}

/// The other agents that were heard.
#[derive(Debug, Default)]
pub struct Peers {
    heard: BTreeMap<Arc<str>, Instant>,
}

impl Peers {
    /// Takes what one said. Who begins again within the silence that is allowed has never been away.
    pub fn hear(&mut self, hello: &Hello, now: Instant) {
        let node = hello.node.as_str();
        let is_known = self.alive(now).contains(node);
        match hello.stage {
            Stage::Announces => drop(self.heard.insert(node.into(), now)),
            Stage::Begins if is_known => drop(self.heard.insert(node.into(), now)),
            Stage::Begins => {}
            Stage::Leaves => drop(self.heard.remove(node)),
        }
    }

    /// For so long nobody could be heard: that was our silence, and not theirs.
    pub fn wait(&mut self, time: Duration) {
        self.heard.values_mut().for_each(|heard| *heard += time);
    }

    /// Those that announce what is theirs.
    pub fn alive(&mut self, now: Instant) -> BTreeSet<Arc<str>> {
        self.heard.retain(|_, heard| now.saturating_duration_since(*heard) < SILENCE);
        self.heard.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn hello(node: &str, stage: Stage) -> Hello {
        Hello { node: node.to_owned(), stage }
    }

    #[test]
    fn what_is_said_is_understood_and_nothing_else_is() {
        let long = "long".repeat(60);
        for one in [hello("a", Stage::Announces), hello(&long, Stage::Leaves), hello("b", Stage::Begins)] {
            let frame = one.frame([2; 6]);
            assert!(frame.len() >= SHORTEST);
            assert_eq!(Hello::read(&frame), Some(one));
            assert_eq!(Hello::read(&frame[..20]), None);
        }
        let mut other = hello("a", Stage::Announces).frame([2; 6]);
        other[14] = b'x';
        assert_eq!(Hello::read(&other), None);
        assert_eq!(Hello::read(&hello("", Stage::Announces).frame([2; 6])), None);
    }

    #[test]
    fn who_is_silent_or_says_so_is_gone() {
        let (mut peers, start) = (Peers::default(), clock::now());
        let names = |peers: &mut Peers, at| peers.alive(at).iter().map(|name| name.to_string()).collect::<Vec<_>>();
        peers.hear(&hello("a", Stage::Announces), start);
        peers.hear(&hello("b", Stage::Announces), start + EVERY);
        peers.hear(&hello("c", Stage::Begins), start);
        assert_eq!(names(&mut peers, start + EVERY), ["a", "b"], "c has nothing yet");
        assert_eq!(names(&mut peers, start + SILENCE), ["b"]);
        peers.hear(&hello("b", Stage::Begins), start + SILENCE);
        assert_eq!(names(&mut peers, start + SILENCE + EVERY), ["b"], "it was not away for long");
        peers.wait(SILENCE);
        assert_eq!(names(&mut peers, start + SILENCE + SILENCE + EVERY), ["b"], "nobody was heard meanwhile");
        peers.hear(&hello("b", Stage::Leaves), start + SILENCE + EVERY);
        peers.hear(&hello("b", Stage::Begins), start + SILENCE + EVERY);
        assert_eq!(names(&mut peers, start + SILENCE + EVERY), [""; 0]);
    }
}
