//! Where a test runs: a network namespace with a veth pair, and a pin path that is removed whatever happens.
#![expect(unsafe_code, reason = "a thread enters a new namespace by unshare(2)")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::dataplane::{Config, Dataplane, DataplaneError, MapSizes, XdpPolicy, run_dir, unload};

/// The uplink of every test; `peer` is its other end.
pub(super) const UPLINK: &str = "uplink";

/// What a test works with.
pub(super) struct Stage {
    pub(super) config: Config,
}

/// Runs a test in a namespace of its own: `lo` up, `uplink` with 192.0.2.1/24, 2001:db8::1/64, a deprecated address, and a
/// default route for each family, that of IPv6 by a link-local address.
pub(super) fn run(name: &str, test: impl FnOnce(&Stage) + Send) {
    if weir_lab::left_to_root(name) {
        return;
    }
    let outcome = std::thread::scope(|scope| {
        let stage = scope.spawn(|| {
            // SAFETY: unshare takes a flag and touches no memory; only this thread changes its namespace.
            let entered = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
            let stage = Stage::set_up(name);
            test(&stage);
        });
        stage.join()
    });
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command in the namespace of the calling thread.
pub(super) fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Stage {
    fn set_up(name: &str) -> Self {
        sh("ip link set lo up");
        // Addresses count at once.
        sh("for conf in all default; do echo 0 > /proc/sys/net/ipv6/conf/$conf/accept_dad; done");
        sh(&format!("ip link add {UPLINK} type veth peer name peer"));
        sh(&format!("ip link set {UPLINK} up && ip link set peer up"));
        sh(&format!("ip address add 192.0.2.1/24 dev {UPLINK} && ip route add default via 192.0.2.254"));
        sh(&format!("ip address add 2001:db8::1/64 dev {UPLINK} nodad"));
        sh(&format!("ip address add 2001:db8::2/64 dev {UPLINK} nodad preferred_lft 0"));
        sh(&format!("ip route add default via fe80::254 dev {UPLINK}"));
        let pin_path = PathBuf::from(format!("/sys/fs/bpf/wplane-{}-{name}", std::process::id()));
        let node_ips = vec![IpAddr::from([192, 0, 2, 1])];
        Self { config: Config { pin_path, node_ips, sizes: small(), xdp: XdpPolicy::Native, ..Config::default() } }
    }

    /// Starts an agent's data plane.
    pub(super) fn start(&self) -> Result<Dataplane, DataplaneError> {
        start(&self.config)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let unloaded = unload(&self.config.pin_path, true, |_| Ok(Vec::new()));
        let _ = std::fs::remove_dir_all(run_dir(&self.config.pin_path));
        if !std::thread::panicking() {
            unloaded.unwrap();
        }
    }
}

/// Starts a data plane on the calling thread.
pub(super) fn start(config: &Config) -> Result<Dataplane, DataplaneError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(Dataplane::start(config))
}

/// Sizes that a test fills quickly.
fn small() -> MapSizes {
    MapSizes { services: 64, frontends: 64, backends: 64, ring_lines: 16, flows: 1_024, half_open_flows: 1_024 }
}
