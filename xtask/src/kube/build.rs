//! From Debian's packages to programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use ebpf_build::Workspace;

use super::VERSION;
use crate::apt::{self, Apt};
use crate::host;

/// What the build needs. reflect2: the copy in the tree (1.0.1) crashes with Go since 1.18 when it walks over a map.
const TOOLS: [&str; 7] =
    ["golang-go", "golang-github-modern-go-reflect2-dev", "dpkg-dev", "rsync", "jq", "make", "libc6-dev"];
/// Debian's programs, and where they are in their packages.
const READY: [(&str, &str); 4] = [
    ("dehydrated", "usr/bin/dehydrated"),
    ("etcd-server", "usr/bin/etcd"),
    ("kubernetes-client", "usr/bin/kubectl"),
    ("pebble", "usr/bin/pebble"),
];
/// What is built.
const BUILT: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-proxy"];

/// Makes what the folder lacks; what is left of a build that failed is removed too.
pub(super) fn all(folder: &Path) -> Result<()> {
    let work = Workspace::here().target().join("kubernetes");
    let result = in_folder(&work, folder);
    let _ = fs::remove_dir_all(&work);
    result
}

fn in_folder(work: &Path, folder: &Path) -> Result<()> {
    eprintln!("building Kubernetes {VERSION} for the tests from Debian's source, once: about seven minutes");
    let _ = fs::remove_dir_all(work);
    apt::install(&TOOLS)?;
    let apt = Apt::with_sources(work)?;
    let done = work.join("done");
    fs::create_dir_all(&done)?;
    let is_missing = |program: &&str| !folder.join(program).is_file();
    for (package, path) in READY.into_iter().filter(|(_, path)| is_missing(&name(path))) {
        fs::copy(apt.unpack(package, &work.join(package))?.join(path), done.join(name(path)))
            .with_context(|| package.to_owned())?;
    }
    let missing: Vec<_> = BUILT.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        let tree = apt.source("kubernetes", VERSION, &work.join("tree"))?;
        repair(&tree)?;
        make(&tree, &missing)?;
        collect(&tree, &missing, &done)?;
    }
    keep(&done, folder)
}

fn collect(tree: &Path, programs: &[&str], done: &Path) -> Result<()> {
    for program in programs {
        fs::copy(tree.join("_output/bin").join(program), done.join(program)).with_context(|| (*program).to_owned())?;
    }
    Ok(())
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Program by program, each in one step: another checkout may do the same now.
fn keep(done: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for entry in fs::read_dir(done)? {
        let name = entry?.file_name();
        let part = folder.join(format!("{}.{}", name.to_string_lossy(), std::process::id()));
        fs::copy(done.join(&name), &part)?;
        fs::rename(&part, folder.join(&name))?;
    }
    Ok(())
}

fn repair(tree: &Path) -> Result<()> {
    let (copy, package) =
        (tree.join("vendor/github.com/modern-go/reflect2"), "/usr/share/gocode/src/github.com/modern-go/reflect2");
    fs::remove_dir_all(&copy)?;
    host::run(Command::new("cp").arg("-r").arg(package).arg(&copy))?;
    for entry in fs::read_dir(&copy)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with("_test.go") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn make(tree: &Path, programs: &[&str]) -> Result<()> {
    let packages = tree.join(".go/src/k8s.io");
    fs::create_dir_all(&packages)?;
    std::os::unix::fs::symlink("../../..", packages.join("kubernetes"))?;
    let what: Vec<_> = programs.iter().map(|program| format!("cmd/{program}")).collect();
    let mut command = Command::new("nice");
    command.args(["-n", "10", "make"]).arg(format!("WHAT={}", what.join(" "))).current_dir(tree);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("/usr/lib/go/bin:{path}")).env("GOPATH", tree.join(".go"));
    for (name, value) in [("CGO_ENABLED", "0"), ("GOPROXY", "off"), ("GO111MODULE", "off")] {
        command.env(name, value);
    }
    command.env("GOCACHE", tree.join(".cache")).env("KUBE_GIT_VERSION", format!("v{VERSION}"));
    let mut numbers = VERSION.split('.');
    for name in ["KUBE_GIT_MAJOR", "KUBE_GIT_MINOR"] {
        command.env(name, numbers.next().unwrap_or_default());
    }
    command.env("KUBE_GIT_COMMIT", "0").env("KUBE_GIT_TREE_STATE", "archive");
    host::run(command.stdout(std::io::stderr()))
}
