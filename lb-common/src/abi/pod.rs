//! Which types are plain data for the kernel.

#![expect(unsafe_code, reason = "aya::Pod is an unsafe marker for plain data")]

use super::socket::{SocketKey, SocketPeer};
use super::*;
use crate::addr::{Addr6, Address};
use crate::be::Be32;

macro_rules! pod {
    ($($name:ty),+ $(,)?) => {
        // SAFETY: repr(C), integers only, no padding (asserted where they stand): every bit pattern is valid.
        $(unsafe impl aya::Pod for $name {})+
    };
}

pod!(Be32, Addr6, FrontendEntry, ServiceEntry, RingLine, FragmentEntry, DeviceEntry, Counters, DropCounters);
pod!(
    socket::SocketChoice,
    socket::PortLine,
    SampleHead,
    SampleBudget,
    Refusals,
    FormerRing,
    TrackedEntry,
    AffinityKey,
    AffinityEntry,
    LoadEntry,
    Note4,
    Note6,
    AnnouncedEntry,
);

macro_rules! pod_of_family {
    ($($name:ident),+) => {
        // SAFETY: as above; `Address` is sealed, and the sizes of its two instances are asserted.
        $(unsafe impl<A: Address> aya::Pod for $name<A> {})+
    };
}

pod_of_family!(
    AnnouncedKey,
    FrontendKey,
    BackendEntry,
    FlowKey,
    FlowEntry,
    ReplyEntry,
    FragmentKey,
    SocketKey,
    SocketPeer
);
