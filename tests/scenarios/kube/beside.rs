//! weir beside the real kube-proxy, and instead of it.

use anyhow::{Result, ensure};
use weir_lab::{Cluster, SOON, eventually};

use super::{both_answer, has_problem, web, with_kubernetes};
use crate::common::metric;

/// Rules of iptables of a node.
fn rules(cluster: &Cluster, node: usize) -> Result<String> {
    cluster.nodes[node].netns.shell("iptables-save")
}

/// What status says of it.
fn status_says(cluster: &Cluster, node: usize, running: bool, rules: bool) -> Result<()> {
    let status = cluster.nodes[node].api("status")?;
    let found = &status["status"]["kubeProxy"];
    let kinds = found["rules"].as_array().map(Vec::len).unwrap_or_default();
    ensure!(found["running"] == running && (kinds > 0) == rules, "{found}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn beside_kube_proxy_and_instead_of_it() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        web(cluster, plane)?;
        let proxies: Vec<_> = cluster.nodes.iter().map(|node| plane.start_kube_proxy(node)).collect::<Result<_>>()?;
        for node in 0..2 {
            eventually("kube-proxy to know the Service", SOON * 2, || {
                ensure!(rules(cluster, node)?.contains("--dport 30070"), "no rule for the node port");
                Ok(())
            })?;
        }
        // Of somebody else, and not to be touched.
        cluster.nodes[0].netns.shell("iptables -t nat -N MINE")?;
        cluster.nodes[0].netns.shell("iptables -t nat -A PREROUTING -j MINE")?;

        cluster.start_agents()?;
        for node in 0..2 {
            both_answer(cluster, node)?;
            eventually("kube-proxy to be named", SOON * 2, || {
                status_says(cluster, node, true, true)?;
                ensure!(has_problem(cluster, node, "kube-proxy-runs")?, "no Problem names it");
                let flows = r#"weir_service_flows_total{namespace="default",name="web",port="7070",protocol="TCP"}"#;
                ensure!(metric(&cluster.nodes[node], flows)? > 0.0, "weir has not taken the flows");
                Ok(())
            })?;
        }
        let text = cluster.nodes[0].weir(&["status"])?;
        ensure!(text.contains("kube-proxy runs"), "{text}");
        let refused = cluster.nodes[0].weir(&["unload", "--kube-proxy"]);
        ensure!(
            refused.is_err_and(|error| error.to_string().contains("kube-proxy runs")),
            "it removes rules of a living one"
        );

        drop(proxies);
        for (index, node) in cluster.nodes.iter().enumerate() {
            eventually("the leftovers to be named", SOON * 2, || {
                status_says(cluster, index, false, true)?;
                ensure!(has_problem(cluster, index, "kube-proxy-rules-left")?, "no Problem names them");
                Ok(())
            })?;
            both_answer(cluster, index)?;
            let removed = node.weir(&["unload", "--kube-proxy"])?;
            ensure!(removed.contains("chains of iptables"), "{removed}");
            let left = rules(cluster, index)?;
            ensure!(!left.contains("KUBE-S") && !left.contains("KUBE-POSTROUTING"), "{left}");
            ensure!(index != 0 || left.contains("-A PREROUTING -j MINE"), "a rule of somebody else is gone: {left}");
            eventually("nothing to be named", SOON * 2, || {
                status_says(cluster, index, false, false)?;
                ensure!(!has_problem(cluster, index, "kube-proxy-rules-left")?, "the Problem stays");
                Ok(())
            })?;
        }
        (0..2).try_for_each(|node| both_answer(cluster, node))
    })
}
