//! Bad manifests: told with file, line and field; what is good goes on.

use anyhow::{Result, ensure};
use weir_lab::{Cluster, eventually};

use crate::common::{greeted_by, problems, scenario, web};

/// Waits for a problem in `file` whose message has all the words.
fn expect_problem(cluster: &Cluster, file: &str, words: &[&str]) -> Result<()> {
    eventually(&format!("a problem in {file}"), weir_lab::SOON, || {
        let problems = problems(&cluster.nodes[0])?;
        let fits = |p: &&serde_json::Value| {
            let from = p["file"].as_str().is_some_and(|path| path.ends_with(file));
            from && words.iter().all(|word| p["message"].as_str().unwrap_or_default().contains(word))
        };
        let problem = problems.iter().find(fits);
        ensure!(problem.is_some(), "no problem with {words:?}: {problems:?}");
        ensure!(problem.is_some_and(|p| p["line"].is_u64() && p["code"].is_string()), "no line or code: {problem:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_bad_manifest_is_told_and_stops_nothing() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[0].port(30070);

        cluster.write("broken.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: x\nspec: [\n")?;
        expect_problem(cluster, "broken.yaml", &[])?;
        greeted_by(cluster, to, 4)?;

        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: wrong}\nspec:\n  type: NodePort\n  ports:\n";
        cluster.write("port.yaml", &format!("{service}  - port: 99999\n"))?;
        expect_problem(cluster, "port.yaml", &["wrong", "99999", "65535"])?;
        cluster
            .write("taken.yaml", &format!("{service}  - port: 80\n    nodePort: 30070\n").replace("wrong", "zzz"))?;
        expect_problem(cluster, "taken.yaml", &["zzz", "30070"])?;
        greeted_by(cluster, to, 4)?;

        // Was good, becomes bad: what it last held stays in force.
        cluster.write("web.yaml", "kind: Service\n  bad: [indent\n")?;
        expect_problem(cluster, "web.yaml", &[])?;
        greeted_by(cluster, to, 4)?;

        for file in ["broken.yaml", "port.yaml", "taken.yaml"] {
            cluster.remove(file)?;
        }
        cluster.write("web.yaml", &crate::common::web_service("web"))?;
        eventually("the problems to be gone", weir_lab::SOON, || {
            let left: Vec<_> = problems(&cluster.nodes[0])?.into_iter().filter(|p| p["severity"] == "error").collect();
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
    })
}
