use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use rustix::process::{Pid, Signal, kill_process};

use crate::{command, control_group};

/// Removes what killed runs with this prefix left: namespaces with their processes, pins, run folders,
/// temporary files.
///
/// Names are `PREFIX-PID-ROLE`; nothing is touched whose process lives.
pub fn sweep(prefix: &str) {
    for name in names(Path::new("/run/netns")).filter(|name| is_orphan(name, prefix)) {
        end_processes(&name);
        // A leftover that cannot be removed must not stop the run that found it.
        let _ = command::ip(&format!("netns del {name}"));
    }
    if let Some(root) = control_group::root() {
        names(&root).filter(|name| is_orphan(name, prefix)).for_each(|name| control_group::remove(&root.join(name)));
    }
    for dir in [Path::new("/sys/fs/bpf"), Path::new("/run/weir"), &env::temp_dir()] {
        names(dir).filter(|name| is_orphan(pin_name(name), prefix)).for_each(|name| {
            let _ = fs::remove_dir_all(dir.join(name));
        });
    }
}

/// Pins are `weir-PREFIX-PID-ROLE`; run folders are named after the whole path of the pins.
fn pin_name(name: &str) -> &str {
    name.split_once("weir-").map_or(name, |(_, rest)| rest)
}

fn is_orphan(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    let owner = rest.and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
    owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Ends every process in a namespace of ours: agents, and fronts that outlived theirs.
pub(crate) fn end_processes(netns: &str) {
    for pid in processes(netns) {
        // Gone already is what we want.
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = crate::eventually("processes to end", crate::SOON, || {
        anyhow::ensure!(processes(netns).is_empty(), "processes are left in {netns}");
        Ok(())
    });
}

fn processes(netns: &str) -> Vec<Pid> {
    let text = command::ip(&format!("netns pids {netns}")).unwrap_or_default();
    let ours = process::id().cast_signed();
    let pids = text.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid != ours);
    pids.filter(|pid| !is_zombie(*pid)).filter_map(Pid::from_raw).collect()
}

/// Our own ended children stay until they are waited for.
fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_what_is_ours_and_dead() {
        assert!(is_orphan("wlab-4194305-n1", "wlab"), "no pid is that large");
        assert!(!is_orphan(&format!("wlab-{}-n1", process::id()), "wlab"), "we live");
        assert!(!is_orphan("wlab2-4194305-n1", "wlab"), "another prefix");
        assert!(!is_orphan("wlab-n1", "wlab"), "no pid");
    }

    #[test]
    fn finds_the_name_in_pins_and_run_folders() {
        assert_eq!(pin_name("weir-wlab-7-n1"), "wlab-7-n1");
        assert_eq!(pin_name("sys-fs-bpf-weir-wlab-7-n1"), "wlab-7-n1");
    }
}
