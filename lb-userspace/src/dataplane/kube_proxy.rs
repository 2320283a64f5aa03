//! kube-proxy on this node: whether it runs, and the rules that it made or left behind in this network namespace.
//!
//! Only looked at. What a kube-proxy that is gone has left is removed by [`remove`], and by nobody else.

mod ipvs;
mod legacy;
pub(in crate::dataplane) mod nftables;
mod raw;
mod remove;

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::sockets;

pub use remove::{RemoveError, remove};

/// Chains that only kube-proxy makes, in every version; the kubelet has some of its own.
const SIGNS: [&str; 2] = ["KUBE-SERVICES", "KUBE-PROXY-CANARY"];
/// The table of its mode `nftables`.
const TABLE: &str = "kube-proxy";
/// Where it tells of its health unless told otherwise.
const HEALTH_PORT: u16 = 10256;

/// What there is of kube-proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeProxy {
    /// It runs.
    pub running: bool,
    /// Whose rules there are.
    pub rules: Vec<Rules>,
}

/// Rules of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rules {
    /// Chains of iptables, kept by nf_tables.
    Iptables(Family),
    /// Chains of the older iptables.
    IptablesLegacy(Family),
    /// A table of nf_tables.
    Nftables(Family),
    /// The device with the addresses of its mode `ipvs`, and virtual services.
    Ipvs,
}

/// Whose packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Family {
    V4,
    V6,
}

impl Family {
    const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

impl std::fmt::Display for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Rules::Iptables(Family::V4) => "iptables",
            Rules::Iptables(Family::V6) => "ip6tables",
            Rules::IptablesLegacy(Family::V4) => "iptables-legacy",
            Rules::IptablesLegacy(Family::V6) => "ip6tables-legacy",
            Rules::Nftables(Family::V4) => "nftables table ip kube-proxy",
            Rules::Nftables(Family::V6) => "nftables table ip6 kube-proxy",
            Rules::Ipvs => "ipvs",
        })
    }
}

/// Looks. What cannot be seen counts as absent.
pub fn find() -> KubeProxy {
    let mut rules = nftables::rules().unwrap_or_else(|error| {
        tracing::debug!(%error, "cannot list the chains of nf_tables");
        Vec::new()
    });
    rules.extend(Family::BOTH.into_iter().filter(|family| legacy::has_chains(*family)).map(Rules::IptablesLegacy));
    if ipvs::is_left() {
        rules.push(Rules::Ipvs);
    }
    rules.sort_unstable();
    KubeProxy { running: is_running(), rules }
}

/// A process of that name in this network namespace, or somebody at its port.
fn is_running() -> bool {
    let namespace = |process: &str| fs::metadata(format!("/proc/{process}/ns/net")).map(|file| file.ino()).ok();
    let own = namespace("thread-self");
    let is_proxy = |process: &procfs::process::Process| {
        process.stat().is_ok_and(|stat| stat.comm == "kube-proxy") && namespace(&process.pid().to_string()) == own
    };
    let found = procfs::process::all_processes().is_ok_and(|all| all.flatten().any(|process| is_proxy(&process)));
    found || sockets::listening_on(HEALTH_PORT).is_ok_and(|sockets| !sockets.is_empty())
}
