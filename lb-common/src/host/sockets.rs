//! What is remembered of sockets, on the host.

use core::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use crate::abi::socket::{SocketChoice, SocketKey, SocketPeer, socket_setting};
use crate::be::Be16;
use crate::ip::Ip;
use crate::socket::Sockets;

/// Whom sockets mean, by socket and backend.
type Peers<A> = HashMap<SocketKey<A>, SocketPeer<A>>;

/// The maps of sockets of one family.
pub struct SocketMaps<F: Ip> {
    /// The next random numbers; the last one stays.
    pub random: RefCell<std::vec::Vec<u32>>,
    /// Settings.
    pub settings: [u64; socket_setting::COUNT as usize],
    /// Where pods reach the front.
    pub front_address: Option<F::Addr>,
    /// Choices of unconnected sockets.
    pub choices: RefCell<HashMap<SocketKey<F::Addr>, SocketChoice>>,
    /// Whom sockets mean.
    pub peers: RefCell<Peers<F::Addr>>,
    /// Ports of backends.
    pub ports: RefCell<HashSet<u16>>,
    /// How often the peers were looked at.
    pub looks: Cell<usize>,
}

impl<F: Ip> Default for SocketMaps<F> {
    fn default() -> Self {
        Self {
            random: RefCell::default(),
            settings: [0; socket_setting::COUNT as usize],
            front_address: None,
            choices: RefCell::default(),
            peers: RefCell::default(),
            ports: RefCell::default(),
            looks: Cell::new(0),
        }
    }
}

impl<F: Ip> Sockets<F> for SocketMaps<F> {
    fn random(&self) -> u32 {
        let mut numbers = self.random.borrow_mut();
        if numbers.len() > 1 { numbers.remove(0) } else { numbers.first().copied().unwrap_or(0) }
    }

    fn socket_setting(&self, index: u32) -> u64 {
        self.settings[index as usize]
    }

    fn front_address(&self) -> Option<F::Addr> {
        self.front_address
    }

    fn choice(&self, key: &SocketKey<F::Addr>) -> Option<SocketChoice> {
        self.choices.borrow().get(key).copied()
    }

    fn put_choice(&self, key: &SocketKey<F::Addr>, choice: &SocketChoice) {
        self.choices.borrow_mut().insert(*key, *choice);
    }

    fn peer(&self, key: &SocketKey<F::Addr>) -> Option<SocketPeer<F::Addr>> {
        self.looks.set(self.looks.get() + 1);
        self.peers.borrow().get(key).copied()
    }

    fn put_peer(&self, key: &SocketKey<F::Addr>, peer: &SocketPeer<F::Addr>) {
        self.peers.borrow_mut().insert(*key, *peer);
    }

    fn is_backend_port(&self, port: Be16) -> bool {
        self.ports.borrow().contains(&port.host())
    }

    fn note_backend_port(&self, port: Be16) {
        self.ports.borrow_mut().insert(port.host());
    }
}
