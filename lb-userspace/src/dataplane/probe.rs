//! What the kernel can do, and what is lost where it cannot.

use std::sync::OnceLock;

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use aya::util::KernelVersion;
use serde::Serialize;

use super::report::{Feature, Note};
use super::sys;
use super::sysctl::Sysctls;

/// The oldest kernel with all that is indispensable: sk_lookup (5.9) and `bpf_redirect_neigh` (5.10).
const FLOOR: (u8, u8) = (5, 10);

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
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| has_helper(ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_set_retval, (6, 1)))
}

/// Whether XDP can see packets of several buffers: `bpf_xdp_get_buff_len` came with them (5.18).
pub(crate) fn xdp_buffers() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| has_helper(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_get_buff_len, (5, 18)))
}

/// Whether sk_lookup tells by which device a packet came in (5.17). No helper came with it that could be asked for.
pub(crate) fn lookup_device() -> bool {
    is_at_least(5, 17)
}

/// Whether there is a clock that is cheaper to read and less fine (5.11).
pub(crate) fn coarse_clock() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| has_helper(ProgramType::Xdp, BpfHelper::BPF_FUNC_ktime_get_coarse_ns, (5, 11)))
}

/// Whether programs of a type may call a helper, as the verifier says: distributions carry much back to older kernels. Who may
/// not ask goes by the version that brought it.
fn has_helper(program: ProgramType, helper: BpfHelper, (major, minor): (u8, u8)) -> bool {
    is_helper_supported(program, helper).unwrap_or_else(|_| is_at_least(major, minor))
}

/// What is looked for at start. XDP modes are not guessed: attaching tells.
pub(crate) fn features() -> Vec<Feature> {
    let sysctls = Sysctls::default();
    vec![
        Feature {
            name: "tcx",
            since: Some("6.6"),
            available: is_at_least(6, 6),
            without: "links of the tc programs (clsact filters take their place)",
        },
        Feature {
            name: "XDP features of drivers",
            since: Some("6.3"),
            available: is_at_least(6, 3),
            without: "what drivers say of XDP: out of which devices XDP can send is taken for granted",
        },
        Feature {
            name: "errors of refused calls",
            since: Some("6.1"),
            available: refuses_by_number(),
            without: "ECONNREFUSED for calls to services without backends (EPERM takes its place)",
        },
        Feature {
            name: "XDP with packets of several buffers",
            since: Some("5.18"),
            available: xdp_buffers(),
            without: "XDP on links with jumbo frames (tc takes their packets), and samples of more than 256 bytes by XDP",
        },
        Feature {
            name: "devices in socket lookups",
            since: Some("5.17"),
            available: lookup_device(),
            without: "way of pods to VIPs of the front by socket-level balancing",
        },
        Feature {
            name: "managed neighbours",
            since: Some("5.16"),
            available: is_at_least(5, 16),
            without: "probing of next hops: one whose hardware address changes is noticed when the kernel next hears of it",
        },
        Feature {
            name: "XDP on bonds",
            since: Some("5.15"),
            available: is_at_least(5, 15),
            without: "XDP on bonds (tc takes their packets)",
        },
        Feature {
            name: "cookies of namespaces",
            since: Some("5.14"),
            available: sys::namespace_cookie().is_ok(),
            without: "NodePorts on loopback",
        },
        Feature {
            name: "MTU from routing",
            since: Some("5.12"),
            available: is_at_least(5, 12),
            without: "XDP for packets to other nodes (tc sends them)",
        },
        Feature {
            name: "coarse clock",
            since: Some("5.11"),
            available: coarse_clock(),
            without: "some speed: a finer clock is read, which costs more",
        },
        Feature {
            name: "tcp_migrate_req",
            since: Some("5.14"),
            available: sysctls.number("net/ipv4/tcp_migrate_req").is_some(),
            without: "half-open connections of a listener that closes",
        },
        Feature {
            name: "JIT",
            since: None,
            available: sysctls.number("net/core/bpf_jit_enable") != Some(0),
            without: "speed: programs are interpreted",
        },
        Feature {
            name: "instruction counts",
            since: Some("5.16"),
            available: is_at_least(5, 16),
            without: "instruction counts in status",
        },
    ]
}

/// What an administrator should know about this kernel: what it is too old for, and what costs speed.
pub(crate) fn warnings(features: &[Feature]) -> Vec<Note> {
    let mut notes: Vec<_> = features.iter().filter_map(Feature::loss).map(|l| Note::info("kernel-lacks", l)).collect();
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
