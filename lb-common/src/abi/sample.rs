//! Samples of packets.

/// What stands before the bytes of a sampled packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleHead {
    /// When, on the monotonic clock, in nanoseconds.
    pub time: u64,
    /// Index of the device that the packet came in by; at tc egress, of the one that it leaves by.
    pub device: u32,
    /// Which program saw it: [`hook`].
    pub hook: u32,
    /// Number of the [`crate::drop_reason::DropReason`]; 0 if it is forwarded.
    pub reason: u32,
    /// Bytes of the whole frame.
    pub length: u32,
    /// Bytes of it that follow.
    pub captured: u32,
    /// Id of the service that it counts for; 0 if it is dropped.
    pub service: u32,
    /// Id of the backend; 0 for the front.
    pub backend: u32,
    /// Not used; 0.
    pub reserved: u32,
}

/// Which program saw a sampled packet.
pub mod hook {
    /// XDP.
    pub const XDP: u32 = 1;
    /// tc ingress.
    pub const TC_INGRESS: u32 = 2;
    /// tc egress.
    pub const TC_EGRESS: u32 = 3;
    /// tc ingress: an ICMP error about a flow that another node may know. It is for the agent, and no sample.
    pub const SHARED: u32 = 4;
}

/// What a program leaves for the sampler, and where that puts the sample together.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SampleNote {
    /// What is known of the packet.
    pub head: SampleHead,
    /// Its beginning.
    pub bytes: [u8; crate::limits::SNAP_MAX as usize],
    /// What the program returns.
    pub action: u32,
    /// Not used; 0.
    pub reserved: u32,
}

/// How many samples of a kind a CPU has taken.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleBudget {
    /// In this tick.
    pub tick: u32,
    /// So many.
    pub taken: u32,
    /// Samples for which the ring buffer had no room, ever.
    pub lost: u64,
}

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<SampleHead>() == 40 && size_of::<SampleBudget>() == 16);
    assert!(size_of::<SampleNote>() == 48 + crate::limits::SNAP_MAX as usize);
};
