//! What the kernel can do, and what is lost where it cannot.

use aya::util::KernelVersion;
use serde::Serialize;

use super::report::{Feature, Note};
use super::sysctl::Sysctls;

/// The oldest kernel with all that is indispensable: `bpf_redirect_neigh` and sk_lookup (5.10), the coarse clock (5.11),
/// XDP with fragments and `bpf_xdp_get_buff_len` (5.18).
const FLOOR: (u8, u8) = (5, 18);

/// Release of the running kernel.
pub(crate) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether the running kernel is of this version or a later one.
pub(crate) fn is_at_least(major: u8, minor: u8) -> bool {
    KernelVersion::current().is_ok_and(|current| current >= KernelVersion::new(major, minor, 0))
}

/// Whether a program of the address hooks may choose the error of a refused call: `bpf_set_retval` there is of 6.1.
pub(crate) fn refuses_by_number() -> bool {
    is_at_least(6, 1)
}

/// What is looked for at start. XDP modes are not guessed: attaching tells.
pub(crate) fn features() -> Vec<Feature> {
    let sysctls = Sysctls::default();
    vec![
        Feature {
            name: "tcx",
            available: is_at_least(6, 6),
            without: "links of the tc programs (clsact filters take their place)",
        },
        Feature {
            name: "tcp_migrate_req",
            available: sysctls.number("net/ipv4/tcp_migrate_req").is_some(),
            without: "half-open connections of a listener that closes",
        },
        Feature {
            name: "JIT",
            available: sysctls.number("net/core/bpf_jit_enable") != Some(0),
            without: "speed: programs are interpreted",
        },
        Feature { name: "instruction counts", available: is_at_least(5, 16), without: "instruction counts in status" },
    ]
}

/// What an administrator should know about this kernel.
pub(crate) fn warnings() -> Vec<Note> {
    let mut notes = Vec::new();
    let (major, minor) = FLOOR;
    if !is_at_least(major, minor) {
        let message =
            format!("kernel {} is older than {major}.{minor}, the oldest that is supported", kernel_release());
        notes.push(Note::warning("kernel-too-old", message));
    }
    if Sysctls::default().number("net/core/bpf_jit_harden") == Some(2) {
        let message =
            "net.core.bpf_jit_harden is 2, which costs speed; 1 hardens unprivileged programs only".to_owned();
        notes.push(Note::warning("jit-hardened", message));
    }
    notes
}

/// How full the kernel's connection tracking is: pods of this node are reached through it, and a full table cuts off
/// the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conntrack {
    /// Entries in use.
    pub entries: u64,
    /// How many fit.
    pub capacity: u64,
}

/// Reads the fill of connection tracking; `None` where the kernel has none.
pub fn conntrack() -> Option<Conntrack> {
    let sysctls = Sysctls::default();
    Some(Conntrack {
        entries: sysctls.number("net/netfilter/nf_conntrack_count")?,
        capacity: sysctls.number("net/netfilter/nf_conntrack_max")?,
    })
}
