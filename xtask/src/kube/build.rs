//! From Debian's packages to programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use ebpf_build::Workspace;

use super::VERSION;
use crate::host;

/// What the build needs. reflect2: the copy in the tree (1.0.1) crashes with Go since 1.18 when it walks over a map.
const TOOLS: [&str; 7] =
    ["golang-go", "golang-github-modern-go-reflect2-dev", "dpkg-dev", "rsync", "jq", "make", "libc6-dev"];
/// Debian's programs, and where they are in their packages.
const READY: [(&str, &str); 2] = [("etcd-server", "usr/bin/etcd"), ("kubernetes-client", "usr/bin/kubectl")];
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
    let apt = Apt::new(work)?;
    apt.install(&TOOLS)?;
    apt.read_sources()?;
    let done = work.join("done");
    fs::create_dir_all(&done)?;
    let is_missing = |program: &&str| !folder.join(program).is_file();
    for (package, path) in READY.into_iter().filter(|(_, path)| is_missing(&name(path))) {
        fs::copy(apt.unpack(package)?.join(path), done.join(name(path))).with_context(|| package.to_owned())?;
    }
    let missing: Vec<_> = BUILT.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        let tree = apt.source("kubernetes", VERSION)?;
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

/// apt with a state of its own: the machine's lists need not have sources, and are not touched.
struct Apt {
    work: PathBuf,
}

impl Apt {
    fn new(work: &Path) -> Result<Self> {
        for folder in ["sources", "lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(work.join("apt").join(folder))?;
        }
        Ok(Apt { work: work.join("apt") })
    }

    fn install(&self, packages: &[&str]) -> Result<()> {
        let missing: Vec<_> = packages.iter().filter(|package| !is_installed(package)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let apt_get = |args: &[&str]| {
            let mut command = host::as_root("apt-get", &[("DEBIAN_FRONTEND", "noninteractive")]);
            command.args(args).stdout(std::io::stderr());
            command
        };
        let _ = host::run(&mut apt_get(&["update", "-q"]));
        host::run(apt_get(&["install", "-qy", "--no-install-recommends", "--no-remove"]).args(missing))
    }

    /// Asks the mirrors that this machine is set up with for their sources and packages.
    fn read_sources(&self) -> Result<()> {
        let mut count = 0;
        for file in configured() {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let is_deb822 = file.extension().is_some_and(|extension| extension == "sources");
            let with_sources = if is_deb822 { deb822(&text) } else { one_line(&text) };
            fs::write(self.work.join("sources").join(file.file_name().context("a file has a name")?), with_sources)?;
            count += 1;
        }
        if count == 0 {
            bail!("apt has no sources");
        }
        host::run(self.command("apt-get").args(["-q", "update"]))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let set = |name: &str, path: &str| format!("-oDir::{name}={}", self.work.join(path).display());
        command.args(["-oDir::Etc::sourcelist=/dev/null", "-oAPT::Sandbox::User="]);
        command.args([set("Etc::sourceparts", "sources"), set("State::lists", "lists"), set("Cache", "cache")]);
        command.current_dir(self.work.join("packages")).stdout(std::io::stderr());
        command
    }

    /// Unpacks a package without installing it.
    fn unpack(&self, package: &str) -> Result<PathBuf> {
        host::run(self.command("apt-get").args(["-q", "download", package]))?;
        let file = self.file(package, ".deb")?;
        let folder = self.work.join(package);
        host::run(Command::new("dpkg-deb").arg("-x").arg(file).arg(&folder))?;
        Ok(folder)
    }

    /// Unpacks the source of a package.
    fn source(&self, package: &str, version: &str) -> Result<PathBuf> {
        host::run(self.command("apt-get").args(["-q", "source", "--download-only", package]))?;
        let file = self.file(&format!("{package}_"), ".dsc")?;
        // Debian's own numbering is around it: 1.20.5+really1.20.2-1.1.
        ensure!(file.to_string_lossy().contains(version), "Debian has {}, not {version}", file.display());
        let tree = self.work.join("tree");
        let mut unpack = Command::new("dpkg-source");
        host::run(unpack.args(["--no-check", "-x"]).arg(file).arg(&tree).stdout(std::io::stderr()))?;
        Ok(tree)
    }

    fn file(&self, start: &str, end: &str) -> Result<PathBuf> {
        let entries = fs::read_dir(self.work.join("packages"))?.flatten().map(|entry| entry.path());
        let fits = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        };
        entries.into_iter().find(fits).with_context(|| format!("apt brought no {start}*{end}"))
    }
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    let output = query.args(["-W", "-f=${db:Status-Status}", package]).output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

fn configured() -> Vec<PathBuf> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_ours =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sources" || extension == "list");
    [PathBuf::from("/etc/apt/sources.list")].into_iter().chain(parts.filter(is_ours)).collect()
}

fn deb822(text: &str) -> String {
    let line = |line: &str| if line.starts_with("Types:") { "Types: deb deb-src".to_owned() } else { line.to_owned() };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn one_line(text: &str) -> String {
    let deb = text.lines().filter(|line| line.starts_with("deb "));
    deb.flat_map(|line| [format!("{line}\n"), format!("deb-src {}\n", &line[4..])]).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_asked_for_beside_packages() {
        let text = "Types: deb\nURIs: http://mirror/debian\nSuites: bookworm\n";
        assert_eq!(deb822(text), "Types: deb deb-src\nURIs: http://mirror/debian\nSuites: bookworm\n");
        let text = "# x\ndeb [signed-by=/k] http://mirror/debian bookworm main\ndeb-src http://old x y\n";
        let line = "[signed-by=/k] http://mirror/debian bookworm main";
        assert_eq!(one_line(text), format!("deb {line}\ndeb-src {line}\n"));
    }
}
