//! apt with a state of its own: what the machine is set up with is read and not touched. What is fetched so is unpacked, and
//! not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::host;

/// Lists and packages in a folder of our own.
pub(crate) struct Apt {
    work: PathBuf,
}

impl Apt {
    /// Asks the mirrors that this machine is set up with for their sources and packages.
    pub(crate) fn with_sources(work: &Path) -> Result<Self> {
        Self::new(work, with_sources)
    }

    /// Asks them for their packages.
    pub(crate) fn as_configured(work: &Path) -> Result<Self> {
        Self::new(work, |file| Ok(file.text.clone()))
    }

    /// Asks them for other suites of Debian.
    pub(crate) fn of_suites(work: &Path, suites: &[&str]) -> Result<Self> {
        Self::new(work, |text| Ok(of_suites(text, suites)))
    }

    /// `rewrite` makes of a configured file what is asked instead.
    fn new(work: &Path, rewrite: impl Fn(&Configured) -> Result<String>) -> Result<Self> {
        let apt = Apt { work: work.join("apt") };
        for folder in ["sources", "lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(apt.work.join(folder))?;
        }
        let files = configured();
        if files.is_empty() {
            bail!("apt has no sources");
        }
        for file in files {
            fs::write(apt.work.join("sources").join(&file.name), rewrite(&file)?)?;
        }
        host::run(apt.command("apt-get").args(["-q", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let set = |name: &str, path: &str| format!("-oDir::{name}={}", self.work.join(path).display());
        command.args(["-oDir::Etc::sourcelist=/dev/null", "-oAPT::Sandbox::User="]);
        command.args([set("Etc::sourceparts", "sources"), set("State::lists", "lists"), set("Cache", "cache")]);
        command.current_dir(self.work.join("packages")).stdout(std::io::stderr());
        command
    }

    /// Unpacks a package (`NAME` or `NAME/SUITE`) into a folder without installing it, and gives the folder.
    pub(crate) fn unpack(&self, package: &str, folder: &Path) -> Result<PathBuf> {
        host::run(self.command("apt-get").args(["-q", "download", package]))?;
        let name = package.split('/').next().unwrap_or(package);
        let file = self.file(&format!("{name}_"), ".deb")?;
        fs::create_dir_all(folder)?;
        host::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(folder))?;
        fs::remove_file(file)?; // else another suite's could be taken for it
        Ok(folder.to_owned())
    }

    /// What a package of a suite depends on that is not installed here, itself included: names.
    pub(crate) fn missing(&self, package: &str, suite: &str) -> Result<Vec<String>> {
        let mut command = self.command("apt-get");
        command.args(["-s", "-q", "install", "--no-install-recommends", "-t", suite, package]);
        let output = command.stdout(Stdio::piped()).output().context("cannot start apt-get")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "apt does not know how to install {package} of {suite}");
        Ok(installed_by(&text))
    }

    /// The names of the packages that a package (`NAME` or `NAME/SUITE`) depends on.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let mut command = self.command("apt-cache");
        let output =
            command.args(["depends", package]).stdout(Stdio::piped()).output().context("cannot start apt-cache")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "there is no {package}");
        Ok(text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned).collect())
    }

    /// Unpacks the source of a package.
    pub(crate) fn source(&self, package: &str, version: &str, tree: &Path) -> Result<PathBuf> {
        host::run(self.command("apt-get").args(["-q", "source", "--download-only", package]))?;
        let file = self.file(&format!("{package}_"), ".dsc")?;
        // Debian's own numbering is around it: 1.20.5+really1.20.2-1.1.
        ensure!(file.to_string_lossy().contains(version), "Debian has {}, not {version}", file.display());
        let mut unpack = Command::new("dpkg-source");
        host::run(unpack.args(["--no-check", "-x"]).arg(file).arg(tree).stdout(std::io::stderr()))?;
        Ok(tree.to_owned())
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

/// Installs packages on this machine, those that are not there.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
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

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    let output = query.args(["-W", "-f=${db:Status-Status}", package]).output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

/// A file of apt's configuration.
struct Configured {
    name: String,
    text: String,
}

impl Configured {
    fn is_deb822(&self) -> bool {
        self.name.ends_with(".sources")
    }
}

fn configured() -> Vec<Configured> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_ours =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sources" || extension == "list");
    let paths = [PathBuf::from("/etc/apt/sources.list")].into_iter().chain(parts.filter(is_ours));
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some(Configured { name, text: fs::read_to_string(path).ok()? })
    };
    paths.filter_map(read).collect()
}

fn with_sources(file: &Configured) -> Result<String> {
    Ok(if file.is_deb822() { deb822(&file.text) } else { one_line(&file.text) })
}

fn deb822(text: &str) -> String {
    let line = |line: &str| if line.starts_with("Types:") { "Types: deb deb-src".to_owned() } else { line.to_owned() };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn one_line(text: &str) -> String {
    let deb = text.lines().filter(|line| line.starts_with("deb "));
    deb.flat_map(|line| [format!("{line}\n"), format!("deb-src {}\n", &line[4..])]).collect()
}

/// The mirror of Debian that stands in the file, with other suites; nothing of other archives.
fn of_suites(file: &Configured, suites: &[&str]) -> String {
    let mirror = if file.is_deb822() {
        file.text.lines().find_map(|line| line.strip_prefix("URIs:")).and_then(|uris| uris.split_whitespace().next())
    } else {
        file.text.lines().filter(|l| l.starts_with("deb ")).flat_map(str::split_whitespace).find(|word| is_debian(word))
    };
    let line = |mirror: &str, suite: &&str| format!("deb [signed-by={KEYS}] {mirror} {suite} main\n");
    let Some(mirror) = mirror.filter(|mirror| is_debian(mirror)) else { return String::new() };
    let lines: String = suites.iter().map(|suite| line(mirror, suite)).collect();
    if !file.is_deb822() {
        return lines;
    }
    format!("Types: deb\nURIs: {mirror}\nSuites: {}\nComponents: main\nSigned-By: {KEYS}\n", suites.join(" "))
}

/// Debian's own keys, of all its suites.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

fn is_debian(mirror: &str) -> bool {
    mirror.contains("://") && mirror.trim_end_matches('/').ends_with("/debian")
}

/// `Inst NAME (VERSION ...)` for each package that apt would install.
fn installed_by(simulated: &str) -> Vec<String> {
    let name = |line: &str| line.strip_prefix("Inst ")?.split_whitespace().next().map(str::to_owned);
    simulated.lines().filter_map(name).collect()
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

    #[test]
    fn other_suites_come_from_the_same_mirror() {
        let file = |name: &str, text: &str| Configured { name: name.to_owned(), text: text.to_owned() };
        let debian = file("debian.sources", "Types: deb\nURIs: http://mirror/debian\nSuites: bookworm\n");
        let made = of_suites(&debian, &["bullseye", "sid"]);
        assert!(made.contains("URIs: http://mirror/debian\nSuites: bullseye sid\n"), "{made}");
        let list = file("sources.list", "# x\ndeb [signed-by=/k] http://mirror/debian/ bookworm main\n");
        assert_eq!(of_suites(&list, &["sid"]), format!("deb [signed-by={KEYS}] http://mirror/debian/ sid main\n"));
        let other = file("other.sources", "Types: deb\nURIs: http://mirror/else\nSuites: x\n");
        assert_eq!(of_suites(&other, &["sid"]), "");
    }

    #[test]
    fn what_apt_would_install() {
        let text = "NOTE: x\nInst a (1 Debian [all])\nInst b [0] (2 Debian [amd64])\nConf a (1)\n";
        assert_eq!(installed_by(text), ["a", "b"]);
    }
}
