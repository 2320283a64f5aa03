//! What the kernel lacks is told. On the newest there is nothing to tell; `cargo xtask kernels` runs this on older ones.

use anyhow::{Context, Result, ensure};
use weir_lab::{SOON, eventually};

use crate::common::{greeted_by, problems, scenario, web};

/// Versions that brought something that weir uses where it is. Distributions carry little of that back.
const VERSIONS: [(u32, u32); 9] = [(5, 11), (5, 12), (5, 14), (5, 15), (5, 16), (5, 17), (5, 18), (6, 1), (6, 6)];

/// The version of the running kernel.
fn running() -> Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-', '+']).map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("what version is {release:?}?")
    };
    Ok((major, minor))
}

#[test]
#[ignore = "needs root"]
fn what_the_kernel_lacks_is_told_and_services_work_without() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let kernel = running()?;
        let told = eventually("the Problems", SOON, || {
            let found = problems(&cluster.nodes[0])?;
            let lacks = found.iter().filter(|problem| problem["code"] == "kernel-lacks");
            let told: Vec<_> = lacks.filter_map(|problem| problem["message"].as_str().map(str::to_owned)).collect();
            for (major, minor) in VERSIONS {
                let brought = format!("Linux {major}.{minor} brought: ");
                let names_it = told.iter().any(|message| message.contains(&brought));
                ensure!(names_it == (kernel < (major, minor)), "{kernel:?}, {brought}{told:?}");
            }
            Ok(told)
        })?;
        for message in told {
            let (_, lost) = message.split_once("Linux ").context("a message names the version")?;
            println!("\nlacks {}", lost.replacen(" brought:", "", 1));
        }
        for node in &cluster.nodes {
            let pods = greeted_by(cluster, node.port(30070), 24)?;
            ensure!(pods.len() == 2, "{}: {pods:?}", node.name);
        }
        Ok(())
    })
}
