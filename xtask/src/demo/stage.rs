//! The cluster of the demo: what `examples/demo/cluster.yaml` describes.

use anyhow::Result;
use ebpf_build::Workspace;
use weir_lab::{Binaries, Cluster, ClusterOptions, Gateways6, ServerOptions};

const PREFIX: &str = "wdemo";

/// Pods in the order in which they get their addresses: node, name, `app` label, status of their answers.
const PODS: [(usize, &str, &str, u16); 5] = [
    (0, "web-1", "web", 200),
    (1, "web-2", "web", 200),
    (0, "api-1", "api", 200),
    (1, "api-2", "api", 200),
    (1, "fallback", "fallback", 404),
];

pub(super) fn build(binaries: &Binaries) -> Result<Cluster> {
    weir_lab::sweep(PREFIX);
    let options = ClusterOptions {
        prefix: PREFIX.to_owned(),
        binaries: binaries.clone(),
        nodes: 2,
        pod_offload: true,
        gateways6: Gateways6::Routed,
    };
    let mut cluster = Cluster::new(&options)?;
    for (node, name, app, status) in PODS {
        let servers = ServerOptions { status, ..ServerOptions::default() };
        cluster.add_pod_in("demo", node, name, &[("app", app)], &servers)?;
    }
    let source = Workspace::here().root().join("examples/demo");
    for node in &mut cluster.nodes {
        node.agent_options().source.clone_from(&source);
        println!("{:<8} {}   pods {}", node.name, node.ip, node.pod_cidr());
    }
    println!("{:<8} {}  its router is node-1\n", "client", weir_lab::CLIENT);
    Ok(cluster)
}

pub(super) fn start_agents(cluster: &mut Cluster) -> Result<()> {
    println!("starting `weir agent --source dir:examples/demo` on every node ...");
    cluster.start_agents()
}

/// What weir itself says of the state, as a user would ask it.
pub(super) fn print_tables(cluster: &Cluster) -> Result<()> {
    let node = &cluster.nodes[0];
    for command in ["services", "backends", "routes"] {
        println!("\n$ weir {command}      # on {}\n{}", node.name, node.weir(&[command])?.trim_end());
    }
    println!();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_describes_these_pods() -> Result<()> {
        let path = Workspace::here().root().join("examples/demo/cluster.yaml");
        let text = std::fs::read_to_string(path)?;
        let mut count = [0; 2];
        for (node, name, app, _) in PODS {
            let pod = format!(
                "  name: {name}\n  namespace: demo\n  labels: {{app: {app}}}\nspec:\n  nodeName: node-{}\nstatus:\n  \
                 phase: Running\n  podIP: 10.244.{}.{}\n",
                node + 1,
                node + 1,
                10 + count[node]
            );
            count[node] += 1;
            assert!(text.contains(&pod), "cluster.yaml has no\n{pod}");
        }
        Ok(())
    }
}
