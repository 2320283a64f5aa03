//! What one program tells the next about their packet.

use super::FlowKey;
use crate::addr::{Addr4, Addr6};

/// What one program says of its packet to the next one that the packet goes on in, on the same CPU. Besides saving work, it
/// hides from the verifier in how many ways the headers can be read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note<A> {
    /// The flow.
    pub key: FlowKey<A>,
    /// The source of its packets towards the backend; all zeroes while it is not known.
    pub snat: A,
    /// The port beside it, host order.
    pub snat_port: u32,
    /// 1 if the backend is on this node.
    pub local: u32,
    /// The hash by which a backend is chosen: the flow's, or its client's.
    pub hash: u32,
    /// A [`crate::dsr::Arrival`] as a number.
    pub arrival: u32,
    /// The backend with which a flow is to begin.
    pub chosen: u32,
    /// The service.
    pub service: u32,
    /// Bytes of the IP header.
    pub header_length: u32,
    /// Bytes of the IP packet.
    pub total_length: u32,
    /// Time to live.
    pub ttl: u32,
    /// Flags of TCP.
    pub tcp_flags: u32,
    /// 1 if it has no transport header of the flow: a later fragment, or an ICMP error about the flow.
    pub later: u32,
    /// How an ICMP error came out of a tunnel: a [`crate::dsr::Arrival`] as a number; 0 if it did not.
    pub error: u32,
    /// Bits of [`super::frontend_flag`] of the frontend.
    pub flags: u32,
    /// The hash of the flow that `arrival` is said of: what is left from a packet of another flow says nothing.
    pub flow: u32,
}

/// What one CPU has to do with packets whose sender is told that they were dropped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// When all ICMP errors that were sent are made up for, on the clock of [`crate::lookup::Lookup::clock`]: how far this
    /// is ahead limits their rate.
    pub paid_until: u64,
    /// From the program that refuses a packet to the one that tells its sender: the argument of
    /// [`crate::verdict::Verdict::Refuse`].
    pub why: u32,
    /// Not used; 0.
    pub reserved: u32,
}

/// Metadata in front of a packet that XDP leaves to the tc companion (8 bytes, `data_meta`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handover {
    /// [`HANDOVER_MAGIC`] plus a [`Task`].
    pub task: u32,
    /// With [`Task::SendOn`] the hash of the packet's flow; else 0.
    pub flow: u32,
}

impl Handover {
    /// The task; `None` if these are no bytes of ours.
    #[inline(always)]
    pub const fn task(&self) -> Option<Task> {
        match self.task.wrapping_sub(HANDOVER_MAGIC) {
            0 => Some(Task::Done),
            1 => Some(Task::Front),
            2 => Some(Task::Forward),
            3 => Some(Task::SendOn),
            _ => None,
        }
    }
}

/// Tells our metadata from that of others.
pub const HANDOVER_MAGIC: u32 = 0x7765_6900;

/// What the companion is to do with a packet that carries [`Handover`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing: XDP is done with it.
    Done = 0,
    /// Mark it for the front.
    Front = 1,
    /// Forward it with the kernel's help (neighbour unresolved, a device that XDP cannot send to, or a tag in it).
    Forward = 2,
    /// The same with a packet that another node sent here in a tunnel, which XDP has taken it out of. Who gets it next has to
    /// know, or nodes whose rings disagree would send it to and fro.
    SendOn = 3,
}

/// IPv4 instance.
pub type Note4 = Note<Addr4>;
/// IPv6 instance.
pub type Note6 = Note<Addr6>;

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<Note4>() == 76 && size_of::<Note6>() == 112);
    assert!(size_of::<Refusals>() == 16 && size_of::<Handover>() == 8);
};
