//! qemu and kernels from Debian's packages, unpacked into the user's cache and never installed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::apt::Apt;
use crate::host;

/// Says that a folder of the cache is whole.
const COMPLETE: &str = ".complete";

/// What boots kernels.
pub(super) struct Tools {
    folder: PathBuf,
    pub(super) qemu: PathBuf,
}

/// An unpacked kernel.
pub(super) struct Kernel {
    pub(super) name: String,
    /// As `uname -r` says it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// The folder of `lib/modules`.
    base: PathBuf,
}

/// Fetches what the cache lacks.
pub(super) fn ensure(folder: &Path, wanted: &[(&str, &str)], update: bool) -> Result<(Tools, Vec<Kernel>)> {
    ensure!(host::is_debian(), "kernels and qemu come from Debian's packages, and this is something else");
    let own = codename().context("/etc/os-release names no suite")?;
    let place = |name: &str| folder.join(name);
    let missing: Vec<_> = wanted.iter().filter(|(name, _)| update || !is_complete(&place(name))).collect();
    if update || !missing.is_empty() || !is_complete(&place("tools")) {
        let work = folder.join(format!("work-{}", std::process::id()));
        eprintln!("fetching kernels and qemu into {}: about 400 MB, once", folder.display());
        let result = fetch(&work, folder, &missing, &own, update);
        let _ = fs::remove_dir_all(&work);
        result?;
    }
    let tools = Tools::find(place("tools"))?;
    let kernels = wanted.iter().map(|(name, _)| Kernel::find(name, &place(name), &tools)).collect::<Result<_>>()?;
    Ok((tools, kernels))
}

fn fetch(work: &Path, folder: &Path, kernels: &[&(&str, &str)], own: &str, update: bool) -> Result<()> {
    if update || !is_complete(&folder.join("tools")) {
        // of this suite alone: beside others apt mixes packages of two that do not go together
        let apt = Apt::of_suites(&work.join("tools"), &[own])?;
        let mut packages = vec!["busybox-static".to_owned(), "kmod".to_owned()];
        if host::find(QEMU).is_none() {
            packages.extend(apt.missing("qemu-system-x86", own)?);
        }
        unpack(&apt, packages.iter().map(|package| format!("{package}/{own}")), &folder.join("tools"))?;
    }
    let mut suites: Vec<_> = kernels.iter().map(|(_, suite)| *suite).collect();
    suites.sort_unstable();
    suites.dedup();
    if suites.is_empty() {
        return Ok(());
    }
    let apt = Apt::of_suites(&work.join("kernels"), &suites)?;
    for (name, suite) in kernels {
        let image = apt.depends(&format!("linux-image-amd64/{suite}"))?;
        let image = image.into_iter().find(|name| name.starts_with("linux-image-")).context("no kernel")?;
        // since 6.16 or so Debian has image and modules in packages of their own
        let parts = apt.depends(&image)?.into_iter();
        let parts = parts.filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"));
        unpack(&apt, parts.chain([image.clone()]), &folder.join(name))?;
    }
    Ok(())
}

/// In one step: what is there is whole.
fn unpack(apt: &Apt, packages: impl Iterator<Item = String>, folder: &Path) -> Result<()> {
    let part = folder.with_extension(format!("part-{}", std::process::id()));
    for package in packages {
        apt.unpack(&package, &part)?;
    }
    fs::write(part.join(COMPLETE), "")?;
    let _ = fs::remove_dir_all(folder);
    fs::rename(&part, folder).with_context(|| folder.display().to_string())
}

fn is_complete(folder: &Path) -> bool {
    folder.join(COMPLETE).exists()
}

fn codename() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).map(str::to_owned)
}

const QEMU: &str = "qemu-system-x86_64";

impl Tools {
    fn find(folder: PathBuf) -> Result<Self> {
        let unpacked = folder.join("usr/bin").join(QEMU);
        let qemu = if unpacked.exists() { Some(unpacked) } else { host::find(QEMU) };
        Ok(Self { folder, qemu: qemu.context("no qemu")? })
    }

    /// A program with no need of the machine's libraries.
    pub(super) fn busybox(&self) -> PathBuf {
        self.folder.join("bin/busybox")
    }

    /// The program that is modprobe, depmod and others by its name.
    pub(super) fn kmod(&self) -> PathBuf {
        self.folder.join("bin/kmod")
    }

    /// A command with the libraries that were unpacked beside it.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|dir| self.folder.join(dir));
        command.env("LD_LIBRARY_PATH", libraries.map(|dir| dir.display().to_string()).join(":"));
        command
    }

    /// Where qemu finds its firmware, if it was unpacked.
    pub(super) fn firmware(&self) -> Vec<PathBuf> {
        ["usr/share/qemu", "usr/share/seabios"]
            .map(|dir| self.folder.join(dir))
            .into_iter()
            .filter(|d| d.exists())
            .collect()
    }
}

impl Kernel {
    fn find(name: &str, folder: &Path, tools: &Tools) -> Result<Self> {
        let bases = [folder.to_owned(), folder.join("usr")];
        let base =
            bases.into_iter().find(|base| base.join("lib/modules").is_dir()).context("a kernel without modules")?;
        let mut releases = fs::read_dir(base.join("lib/modules"))?.flatten();
        let release = releases.next().context("a kernel without modules")?.file_name().to_string_lossy().into_owned();
        let modules = base.join("lib/modules").join(&release);
        let images = [folder.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
        let image = images.into_iter().find(|path| path.exists()).with_context(|| format!("no image of {release}"))?;
        if !modules.join("modules.dep").exists() {
            host::run(tools.command(&tools.kmod()).arg0("depmod").arg("-b").arg(&base).arg(&release))?;
        }
        Ok(Self { name: name.to_owned(), release, image, base })
    }

    /// The folder that a guest sees as `/lib/modules`.
    pub(super) fn modules(&self) -> PathBuf {
        self.base.join("lib/modules")
    }

    /// A module and what it needs, in the order to load them: names and contents.
    pub(super) fn module(&self, tools: &Tools, name: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut modprobe = tools.command(&tools.kmod());
        modprobe.arg0("modprobe").arg("-d").arg(&self.base).args(["-S", &self.release, "--show-depends", name]);
        let output = modprobe.output().context("cannot start modprobe")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let files = text.lines().filter_map(|line| line.strip_prefix("insmod ")).map(|line| line.trim().to_owned());
        files.map(|file| plain(Path::new(&file))).collect()
    }
}

/// A module as insmod wants it: Debian compresses those of newer kernels.
fn plain(file: &Path) -> Result<(String, Vec<u8>)> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (program, name) = match name.rsplit_once('.') {
        Some((name, "xz")) => ("xz", name.to_owned()),
        Some((name, "zst")) => ("zstd", name.to_owned()),
        _ => return Ok((name, fs::read(file)?)),
    };
    let output =
        Command::new(program).arg("-dc").arg(file).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program} cannot read {}", file.display());
    }
    Ok((name, output.stdout))
}
