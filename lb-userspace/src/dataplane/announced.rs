//! Addresses that neighbours are told of: the maps behind that, and frames of our own to the neighbours.
#![expect(unsafe_code, reason = "packet sockets have no safe name in the libraries at hand")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData};
use lb_common::abi::{AnnouncedEntry, AnnouncedKey, announced_flag, map, setting};
use lb_common::addr::{V4, V6};
use lb_common::neighbour::mac_of;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::{DataplaneError, map_io};
use super::family::MapFamily;
use super::maps::{Maps, walk};
use super::netlink::{Link, Netlink};
use super::{Dataplane, InterfaceMode, sys};

/// The longest frame that is read: what agents say to each other is shorter.
const LONGEST: usize = 256;
/// As much as can be in the maps at once.
const ALL: usize = usize::MAX;

/// A device whose neighbours can be told of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub name: String,
    /// Its index: frames of our own leave by it.
    pub index: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Indices of the devices that questions come in by: itself, and the ports of a bond.
    pub doors: Vec<u32>,
}

/// What neighbours are told of an address, by the device that they ask by.
pub type Wanted = BTreeMap<(u32, IpAddr), Told>;

/// What neighbours are told of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The hardware address.
    pub mac: [u8; 6],
    /// Nothing: it is only listened to who has it.
    pub silent: bool,
}

/// Another station that says that it has an address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rival {
    /// The address.
    pub address: IpAddr,
    /// Index of the device by which it was heard.
    pub device: u32,
    /// The hardware address of the station.
    pub mac: [u8; 6],
    /// When it was heard, on the clock of [`sys::monotonic_ns`].
    pub heard: u64,
}

impl Dataplane {
    /// The external interfaces with an Ethernet header.
    pub fn segments(&self) -> Result<Vec<Segment>, DataplaneError> {
        let links = Netlink::connect()?.links()?;
        let attached = self.report.interfaces.iter().filter(|interface| interface.mode != InterfaceMode::None);
        let attached: Vec<u32> = attached.map(|interface| interface.index).collect();
        let is_told = |link: &&Link| attached.contains(&link.index) && link.ethernet && link.mac != [0; 6];
        Ok(links.iter().filter(is_told).map(|link| segment(link, &links)).collect())
    }

    /// The maps of announced addresses.
    pub fn announced(&self) -> Result<Announced, DataplaneError> {
        Announced::open(&self.maps)
    }
}

/// XDP on a bond runs on its ports.
fn segment(link: &Link, links: &[Link]) -> Segment {
    let is_port = |other: &&Link| link.is("bond") && other.master == Some(link.index);
    let ports = links.iter().filter(is_port).map(|port| port.index);
    let doors = std::iter::once(link.index).chain(ports).collect();
    Segment { name: link.name.clone(), index: link.index, mac: link.mac, doors }
}

/// The maps of announced addresses.
pub struct Announced {
    v4: Side<V4>,
    v6: Side<V6>,
    settings: Array<MapData, u64>,
    known: Wanted,
}

impl Announced {
    fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        let (v4, v6) = (Side::open(maps, map::ANNOUNCED4)?, Side::open(maps, map::ANNOUNCED6)?);
        let mut known = Wanted::new();
        v4.load(&mut known)?;
        v6.load(&mut known)?;
        Ok(Self { v4, v6, settings: maps.array(map::SETTINGS)?, known })
    }

    /// Makes the maps say this. What fails is tried again with the next call.
    pub fn write(&mut self, wanted: &Wanted) -> Result<(), DataplaneError> {
        let gone: Vec<_> = self.known.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.v4.remove(key)?;
            self.v6.remove(key)?;
            self.known.remove(&key);
        }
        for (key, told) in wanted {
            if self.known.get(key) != Some(told) {
                self.v4.insert(*key, told)?;
                self.v6.insert(*key, told)?;
                self.known.insert(*key, *told);
            }
        }
        Ok(())
    }

    /// An agent of this node has said a moment ago that neighbours may be told.
    pub fn holds(&self) -> Result<bool, DataplaneError> {
        let until = self.settings.get(&setting::ANNOUNCED_UNTIL, 0).map_err(map_io);
        Ok(until.map_err(DataplaneError::map(map::SETTINGS))? > sys::monotonic_ns())
    }

    /// What the maps hold.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.known.keys().map(|(_, address)| *address).collect()
    }

    /// Lets neighbours be told for so long from now; without an end if it is `None`.
    pub fn hold(&mut self, time: Option<Duration>) -> Result<(), DataplaneError> {
        let end = |time: Duration| sys::monotonic_ns().saturating_add(time.as_nanos() as u64);
        let until = time.map_or(u64::MAX, end);
        let written = self.settings.set(setting::ANNOUNCED_UNTIL, until, 0).map_err(map_io);
        written.map_err(DataplaneError::map(map::SETTINGS))
    }

    /// Who was heard to have an address that is announced here.
    pub fn rivals(&self) -> Result<Vec<Rival>, DataplaneError> {
        let mut rivals = Vec::new();
        self.v4.rivals(&mut rivals)?;
        self.v6.rivals(&mut rivals)?;
        Ok(rivals)
    }
}

/// The map of one family.
struct Side<F: MapFamily> {
    name: &'static str,
    map: HashMap<MapData, AnnouncedKey<F::Addr>, AnnouncedEntry>,
    data: MapData,
}

impl<F: MapFamily> Side<F> {
    fn open(maps: &Maps, name: &'static str) -> Result<Self, DataplaneError> {
        Ok(Self { name, map: maps.hash(name)?, data: maps.data(name)? })
    }

    fn each(&self, mut visit: impl FnMut(&AnnouncedKey<F::Addr>, &AnnouncedEntry)) -> Result<(), DataplaneError> {
        let batch = |entries: &[(AnnouncedKey<F::Addr>, AnnouncedEntry)]| {
            entries.iter().for_each(|(key, entry)| visit(key, entry));
            Ok(())
        };
        walk(&self.data, None, ALL, batch).map(drop).map_err(DataplaneError::map(self.name))
    }

    fn load(&self, known: &mut Wanted) -> Result<(), DataplaneError> {
        self.each(|key, entry| {
            let silent = entry.flags & announced_flag::SILENT != 0;
            known.insert((key.device, F::ip(key.address)), Told { mac: bytes(entry.mac), silent });
        })
    }

    fn rivals(&self, rivals: &mut Vec<Rival>) -> Result<(), DataplaneError> {
        self.each(|key, entry| {
            if entry.heard != 0 {
                let [_, _, mac @ ..] = entry.rival.to_be_bytes();
                rivals.push(Rival { address: F::ip(key.address), device: key.device, mac, heard: entry.heard });
            }
        })
    }

    /// Nothing is done with an address of the other family.
    fn insert(&mut self, (device, address): (u32, IpAddr), told: &Told) -> Result<(), DataplaneError> {
        let Some(address) = F::address(address) else { return Ok(()) };
        let key = AnnouncedKey { address, device, fill: Default::default() };
        let flags = if told.silent { announced_flag::SILENT } else { 0 };
        // who was heard before is not forgotten when we fall silent for it
        let (heard, rival) = self.map.get(&key, 0).map_or((0, 0), |entry| (entry.heard, entry.rival));
        let entry = AnnouncedEntry { mac: mac_of(told.mac), flags, heard, rival };
        self.map.insert(key, entry, 0).map_err(map_io).map_err(DataplaneError::map(self.name))
    }

    fn remove(&mut self, (device, address): (u32, IpAddr)) -> Result<(), DataplaneError> {
        let Some(address) = F::address(address) else { return Ok(()) };
        match self.map.remove(&AnnouncedKey { address, device, fill: Default::default() }).map_err(map_io) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DataplaneError::map(self.name)(error)),
            _ => Ok(()),
        }
    }
}

fn bytes(mac: [u16; 3]) -> [u8; 6] {
    let ([a, b], [c, d], [e, f]) = (mac[0].to_ne_bytes(), mac[1].to_ne_bytes(), mac[2].to_ne_bytes());
    [a, b, c, d, e, f]
}

/// Whole frames to and from the neighbours.
pub struct FrameSocket {
    socket: AsyncFd<OwnedFd>,
}

impl FrameSocket {
    /// A socket that hears frames of this EtherType on all devices of the network namespace. Needs a tokio runtime, and the right
    /// to packet sockets (CAP_NET_RAW).
    pub fn open(ether_type: u16) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: socket(2) takes three integers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(ether_type.to_be())) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the descriptor is not given away: it is the socket's for as long as this lives.
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self { socket: registered? })
    }

    /// Sends a frame, with its Ethernet header, out of a device.
    pub fn send(&self, device: u32, frame: &[u8]) -> io::Result<()> {
        let to = link_address(device);
        let (from, length) = (frame.as_ptr().cast(), frame.len());
        // SAFETY: the frame and the address live through the call, and their lengths are theirs.
        let sent = unsafe {
            libc::sendto(self.raw(), from, length, 0, (&raw const to).cast(), size_of_val(&to) as libc::socklen_t)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits for a frame that came in; gives the device and what it holds.
    pub async fn receive(&self) -> io::Result<(u32, Vec<u8>)> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|_| self.try_receive()) {
                Ok(Ok(Some(received))) => return Ok(received),
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// `None` for a frame that was not for everybody, and for one of our own.
    fn try_receive(&self) -> io::Result<Option<(u32, Vec<u8>)>> {
        let mut buffer = [0_u8; LONGEST];
        let mut from = MaybeUninit::<libc::sockaddr_ll>::zeroed();
        let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        let (place, size) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: the kernel writes at most `size` bytes to the buffer and `length` bytes to the address.
        let received = unsafe { libc::recvfrom(self.raw(), place, size, 0, from.as_mut_ptr().cast(), &raw mut length) };
        let Ok(received) = usize::try_from(received) else { return Err(io::Error::last_os_error()) };
        // SAFETY: all zeroes is a valid address, and the kernel has written one over it.
        let from = unsafe { from.assume_init() };
        if from.sll_pkttype != libc::PACKET_BROADCAST {
            return Ok(None);
        }
        Ok(Some((from.sll_ifindex as u32, buffer[..received.min(LONGEST)].to_vec())))
    }

    fn raw(&self) -> libc::c_int {
        self.socket.get_ref().as_raw_fd()
    }
}

fn link_address(device: u32) -> libc::sockaddr_ll {
    // SAFETY: integers only: all zeroes is a valid address.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = device as i32;
    address
}
