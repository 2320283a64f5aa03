//! What an interface's driver says of itself: what XDP can do there (generic netlink family `netdev`, since 6.3), and whether
//! VLAN tags are taken off on reception (ethtool).
#![expect(unsafe_code, reason = "ethtool is an ioctl with a pointer in its argument")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rtnetlink::sys::protocols::NETLINK_GENERIC;
use rtnetlink::sys::{Socket, SocketAddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// `GENL_ID_CTRL` and `CTRL_CMD_GETFAMILY`, include/uapi/linux/genetlink.h.
const CONTROL: (u16, u8) = (16, 3);
/// `CTRL_ATTR_FAMILY_ID` and `CTRL_ATTR_FAMILY_NAME`.
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `NETDEV_CMD_DEV_GET`, include/uapi/linux/netdev.h.
const DEVICE_GET: u8 = 1;
/// `NETDEV_A_DEV_IFINDEX` and `NETDEV_A_DEV_XDP_FEATURES`.
const DEVICE_INDEX: u16 = 1;
const DEVICE_XDP_FEATURES: u16 = 3;
/// `NLMSG_ERROR`, and the sizes of `struct nlmsghdr` and `struct genlmsghdr`.
const ERROR: u16 = 2;
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// `SIOCETHTOOL`, include/uapi/linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// `ETHTOOL_GFLAGS` and `ETH_FLAG_RXVLAN`, include/uapi/linux/ethtool.h.
const GET_FLAGS: u32 = 0x25;
const TAKES_TAGS_OFF: u32 = 1 << 8;

/// Asks drivers. Who does not answer has said nothing: no question here may keep the agent from starting.
pub(crate) struct Drivers {
    netdev: Option<(Socket, u16)>,
    ioctls: Option<OwnedFd>,
}

impl Drivers {
    /// Opens the sockets, in the calling thread's network namespace.
    pub(crate) fn connect() -> Self {
        let flags = SocketFlags::CLOEXEC;
        Self { netdev: netdev().ok(), ioctls: socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).ok() }
    }

    /// The bits `NETDEV_XDP_ACT_*` of an interface; `None` before 6.3.
    pub(crate) fn xdp_features(&self, index: u32) -> Option<u64> {
        let (socket, family) = self.netdev.as_ref()?;
        let question = attribute(DEVICE_INDEX, &index.to_ne_bytes());
        let answer = ask(socket, (*family, DEVICE_GET), &question).ok()?;
        let features = find(&answer, DEVICE_XDP_FEATURES)?.first_chunk::<8>()?;
        Some(u64::from_ne_bytes(*features))
    }

    /// Whether the interface takes 802.1Q tags off before anybody sees the frame.
    pub(crate) fn strips_tags(&self, name: &str) -> bool {
        let flags = self.ioctls.as_ref().and_then(|socket| ethtool_flags(socket, name).ok());
        flags.is_some_and(|flags| flags & TAKES_TAGS_OFF != 0)
    }
}

/// A connection to generic netlink, and the number that the family `netdev` has there.
fn netdev() -> io::Result<(Socket, u16)> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let answer = ask(&socket, CONTROL, &attribute(FAMILY_NAME, b"netdev\0"))?;
    let id = find(&answer, FAMILY_ID).and_then(|value| value.first_chunk::<2>().copied());
    let id = id.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok((socket, u16::from_ne_bytes(id)))
}

/// One question, one answer: the attributes of the answer.
fn ask(socket: &Socket, (family, command): (u16, u8), attributes: &[u8]) -> io::Result<Vec<u8>> {
    /// `NLM_F_REQUEST`.
    const REQUEST: u16 = 1;
    let length = (HEADER + GENERIC_HEADER + attributes.len()) as u32;
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]); // sequence number and port: one question at a time
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let kind = answer.get(4..6).and_then(|bytes| bytes.first_chunk::<2>().copied()).map(u16::from_ne_bytes);
    match (kind, answer.get(HEADER..HEADER + 4).and_then(|bytes| bytes.first_chunk::<4>().copied())) {
        (Some(ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(code))),
        (Some(_), Some(_)) => Ok(answer[HEADER + GENERIC_HEADER..].to_vec()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// An attribute, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((value.len() as u16 + 4).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of a kind.
fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some(&[a, b, c, d]) = attributes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// `struct ifreq` with a pointer in its union, and what that points at.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: *mut Value,
    rest: [u64; 2],
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

fn ethtool_flags(socket: &OwnedFd, interface: &str) -> io::Result<u32> {
    let mut value = Value { command: GET_FLAGS, data: 0 };
    let mut request = Request { name: [0; libc::IFNAMSIZ], value: &raw mut value, rest: [0; 2] };
    let name = interface.as_bytes();
    let place = request.name.get_mut(..name.len()).filter(|_| name.len() < libc::IFNAMSIZ);
    place.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(name);
    // SAFETY: the request has the size and layout of `struct ifreq`, the name ends with a zero, and the pointer in it leads
    // to a `struct ethtool_value` that outlives the call; the command writes that and nothing else.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_padded_ones() {
        let list = [attribute(FAMILY_NAME, b"netdev\0"), attribute(FAMILY_ID, &37_u16.to_ne_bytes())].concat();
        assert_eq!(find(&list, FAMILY_ID), Some(&37_u16.to_ne_bytes()[..]));
        assert_eq!(find(&list, FAMILY_NAME), Some(&b"netdev\0"[..]));
        assert_eq!(find(&list, 9), None);
        assert_eq!(find(&list[..9], FAMILY_ID), None, "cut off");
        assert_eq!(find(&[0, 0, 1, 0], 1), None, "a length that is none");
    }
}
