//! Clients that find nobody are told so at once, and those whose backend is gone do not wait for it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use weir_lab::{Cluster, Flow, SOON, ask_tcp, ask_udp, eventually};

use crate::common::{EXTERNAL, metric, scenario};

const EXTERNAL6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, 0x64);

/// A dual-stack Service for the pods of `app`: TCP at node port 30070, UDP at 30053, and both at external IPs.
fn service(app: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  type: NodePort\n  selector: {{app: {app}}}\n  \
         ipFamilies: [IPv4, IPv6]\n  externalIPs: [{EXTERNAL}, '{EXTERNAL6}']\n  ports:\n  \
         - {{name: tcp, port: 7070, nodePort: 30070, protocol: TCP}}\n  \
         - {{name: udp, port: 5353, nodePort: 30053, protocol: UDP}}\n"
    )
}

/// The kind of the error that ended an attempt.
fn kind(error: &anyhow::Error) -> Option<ErrorKind> {
    error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind)
}

/// Connecting fails because somebody says so, not because nobody answers.
fn refused(cluster: &Cluster, to: SocketAddr) -> Result<()> {
    match ask_tcp(&cluster.client, to, None) {
        Ok(greeting) => bail!("{to}: {greeting} answered"),
        Err(error) => ensure!(kind(&error) == Some(ErrorKind::ConnectionRefused), "{to}: {error:#}"),
    }
    Ok(())
}

/// The sender of a datagram is told that nobody is there.
fn unreachable(cluster: &Cluster, to: SocketAddr) -> Result<()> {
    cluster.client.run(|| {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.send(b"is anybody there?")?;
        let answer = socket.recv(&mut [0; 64]);
        let kind = answer.as_ref().err().map(std::io::Error::kind);
        ensure!(kind == Some(ErrorKind::ConnectionRefused), "{to}: {answer:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn who_finds_nobody_is_told_at_once() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "web")?;
        cluster.write_pods()?;
        cluster.write("web.yaml", &service("nobody"))?;
        cluster.start_agents()?;
        let node = &cluster.nodes[0];
        for (own, vip) in [(IpAddr::from(node.ip), IpAddr::from(EXTERNAL)), (node.ip6.into(), EXTERNAL6.into())] {
            for to in [(own, 30070), (vip, 7070), (vip, 9)] {
                eventually("the reset", SOON, || refused(cluster, to.into()))?;
            }
            for to in [(own, 30053), (vip, 5353), (vip, 9)] {
                // one may be lost: how many are told in a moment is limited
                eventually("port unreachable", SOON, || unreachable(cluster, to.into()))?;
            }
            // the host answers for ports of its own, here because nobody listens
            refused(cluster, (own, 9).into())?;
        }
        eventually("the drops to be counted", SOON, || {
            for reason in ["no_backend", "no_port"] {
                let drops = metric(node, &format!("weir_drops_total{{reason=\"{reason}\"}}"))?;
                ensure!(drops >= 4.0, "{reason}: {drops}");
            }
            Ok(())
        })?;
        // As soon as there is somebody, he answers.
        cluster.write("web.yaml", &service("web"))?;
        for vip in [IpAddr::from(EXTERNAL), EXTERNAL6.into()] {
            eventually("the pod to answer", SOON, || ask_tcp(&cluster.client, (vip, 7070).into(), None).map(drop))?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn connections_to_a_backend_that_is_gone_end_at_once() -> Result<()> {
    for others in [true, false] {
        scenario(|cluster| {
            cluster.add_pod(0, "near", "web")?;
            cluster.add_pod(1, "far", "web")?;
            cluster.write_pods()?;
            cluster.write("web.yaml", &service("web"))?;
            cluster.start_agents()?;
            let node = &cluster.nodes[0];
            let mut flows = Vec::new();
            for to in [node.port(30070), node.port6(30070)] {
                for pod in ["near", "far"] {
                    flows.push(eventually("a connection to each pod", SOON, || {
                        let flow = Flow::start(&cluster.client, to)?;
                        ensure!(flow.pod() == pod, "{} answered", flow.pod());
                        Ok(flow)
                    })?);
                }
            }
            let udp = node.port(30053);
            let port = (20_000..20_064)
                .find(|port| {
                    ask_udp(&cluster.client, udp, Some(*port), "x").is_ok_and(|answer| answer.starts_with("far"))
                })
                .context("no datagram reached the far pod")?;

            // The network of a pod that is gone answers nobody, not even with a reset.
            let gone = if others { vec!["far"] } else { vec!["far", "near"] };
            let at = cluster.pods.iter().position(|pod| pod.name == "far").context("there is a pod `far`")?;
            // cut off first: what ends with its sockets would say goodbye
            cluster
                .pods
                .iter()
                .filter(|pod| gone.contains(&pod.name.as_str()))
                .try_for_each(|pod| pod.netns.ip("link set eth0 down").map(drop))?;
            drop(cluster.pods.remove(at));
            if !others {
                cluster.pods.clear();
            }
            cluster.write_pods()?;
            for flow in flows {
                let pod = flow.pod().to_owned();
                if !gone.contains(&pod.as_str()) {
                    flow.goes_on(5)?;
                    let report = flow.stop()?;
                    ensure!(report.error.is_none(), "a connection to {pod} broke: {report:?}");
                    continue;
                }
                eventually("a connection to what is gone to end", SOON, || {
                    ensure!(flow.has_ended(), "it hangs");
                    Ok(())
                })?;
                let error = flow.stop()?.error.context("it ended without an error")?;
                ensure!(error.contains("reset"), "{error}");
            }
            if others {
                eventually("datagrams to reach another pod", SOON, || {
                    let answer = ask_udp(&cluster.client, udp, Some(port), "y")?;
                    ensure!(answer.starts_with("near"), "{answer}");
                    Ok(())
                })?;
            } else {
                unreachable_soon(cluster, udp)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn unreachable_soon(cluster: &Cluster, to: SocketAddr) -> Result<()> {
    eventually("port unreachable", SOON, || unreachable(cluster, to))
}
