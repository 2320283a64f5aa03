//! Real routing daemons: BIRD beside an agent, and FRR as the router of the nodes' network.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::command;
use crate::netns::Netns;
use crate::node::Node;
use crate::wait::{SOON, eventually};

/// Where Debian has FRR's daemons.
const FRR: &str = "/usr/lib/frr";

/// The BIRD of a node, which reads what the agent writes.
#[derive(Debug)]
pub struct Bird {
    child: Child,
    folder: PathBuf,
}

impl Bird {
    /// Starts it in the node's namespace, with no capabilities but these, as soon as there is a configuration. It goes on with what
    /// an earlier one told.
    pub fn start(node: &Node, folder: &Path, capabilities: &[&str]) -> Result<Self> {
        let configuration = folder.join("bird.conf");
        eventually("the agent to write a configuration", SOON, || {
            ensure!(configuration.exists(), "{} is not there", configuration.display());
            Ok(())
        })?;
        let log = File::options().create(true).append(true).open(folder.join("bird.log"))?;
        let only = capabilities.iter().fold("-all".to_owned(), |set, name| format!("{set},+{}", name.to_lowercase()));
        let mut command = node.netns.command("setpriv");
        command.args(["--no-new-privs", &format!("--bounding-set={only}"), "bird"]);
        command.args(["-f", "-R", "-c"]).arg(configuration).arg("-s").arg(folder.join("bird.ctl"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("bird")?;
        Ok(Self { child, folder: folder.to_owned() })
    }

    /// Ends it without a word.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop).context("bird")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("bird.log")).unwrap_or_default()
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// FRR in the namespace of the switch, whose address all nodes know.
#[derive(Debug)]
pub struct Router {
    children: Vec<Child>,
    folder: PathBuf,
}

impl Router {
    /// Starts it as a neighbour of all nodes, with as many equal ways as there are nodes. It has this number, and the nodes theirs.
    pub fn start(cluster: &Cluster, (own, nodes): (u32, u32), with_bfd: bool) -> Result<Self> {
        let folder = cluster.folder().join("frr");
        fs::create_dir_all(&folder)?;
        // its daemons run as a user of their own
        fs::set_permissions(cluster.folder(), fs::Permissions::from_mode(0o711))?;
        command::run(Command::new("chown").arg("frr:frr").arg(&folder))?;
        let (mut neighbours, mut four, mut six) = (String::new(), String::new(), String::new());
        for node in &cluster.nodes {
            for (address, family) in [(IpAddr::from(node.ip), &mut four), (node.ip6.into(), &mut six)] {
                neighbours += &format!(" neighbor {address} remote-as {nodes}\n neighbor {address} timers connect 1\n");
                neighbours += &format!(" neighbor {address} timers 3 9\n");
                if with_bfd {
                    neighbours += &format!(" neighbor {address} bfd 3 300 300\n");
                }
                *family += &format!("  neighbor {address} activate\n");
            }
        }
        let ways = format!("  maximum-paths {0}\n  maximum-paths ibgp {0}\n", cluster.nodes.len());
        let families = format!(
            " address-family ipv4 unicast\n{four}{ways} exit-address-family\n address-family ipv6 unicast\n{six}{ways} exit-address-family\n"
        );
        let start = format!(
            "router bgp {own}\n bgp router-id 192.168.77.1\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n\
             \x20bgp bestpath as-path multipath-relax\n"
        );
        fs::write(folder.join("bgpd.conf"), format!("{start}{neighbours}{families}"))?;
        fs::write(folder.join("zebra.conf"), "")?;
        fs::write(folder.join("bfdd.conf"), "")?;
        let mut router = Self { children: Vec::new(), folder };
        for daemon in ["zebra", "bfdd", "bgpd"] {
            router.daemon(&cluster.wire, daemon)?;
        }
        hash_by_ports(&cluster.wire)?;
        cluster.client.ip("route replace default via 192.168.77.1")?;
        Ok(router)
    }

    fn daemon(&mut self, netns: &Netns, name: &str) -> Result<()> {
        let file = |suffix: &str| self.folder.join(format!("{name}.{suffix}"));
        let log = File::create(file("out"))?;
        let mut command = netns.command(format!("{FRR}/{name}"));
        command.args(["-P", "0", "-f"]).arg(file("conf"));
        command.arg("-z").arg(self.folder.join("zserv.api")).arg("-i").arg(file("pid"));
        command.arg("--vty_socket").arg(&self.folder);
        if name == "bfdd" {
            command.arg("--bfdctl").arg(file("sock"));
        }
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context(FRR)?;
        self.children.push(child);
        let vty = file("vty");
        eventually("a daemon of FRR", SOON, || {
            ensure!(vty.exists(), "{}", fs::read_to_string(file("out"))?);
            Ok(())
        })
    }

    /// What a command says, as JSON.
    pub fn ask(&self, line: &str) -> Result<Value> {
        let mut vtysh = Command::new("vtysh");
        let text = command::run(vtysh.arg("--vty_socket").arg(&self.folder).args(["-c", &format!("{line} json")]))?;
        serde_json::from_str(&text).with_context(|| format!("{line}: {text}"))
    }

    /// How often the session with a neighbour was lost, and whether it is there.
    pub fn session(&self, neighbour: IpAddr) -> Result<(bool, u64)> {
        let all = self.ask(&format!("show bgp neighbors {neighbour}"))?;
        let found = &all[neighbour.to_string()];
        let dropped = found["connectionsDropped"].as_u64().with_context(|| format!("no {neighbour}: {all}"))?;
        Ok((found["bgpState"] == "Established", dropped))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Each flow goes one way, which its addresses and ports choose, and nobody is told of a shorter one.
fn hash_by_ports(netns: &Netns) -> Result<()> {
    for family in ["ipv4", "ipv6"] {
        netns.set_sysctl(&format!("net/{family}/fib_multipath_hash_policy"), "1")?;
    }
    netns.set_sysctl("net/ipv4/conf/all/send_redirects", "0")?;
    netns.set_sysctl("net/ipv4/conf/switch/send_redirects", "0")
}
