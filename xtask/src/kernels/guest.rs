//! A guest: boots, runs a script, and ends, by itself or by its deadline.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ebpf_build::Workspace;

use super::initramfs::Archive;
use super::packages::{Kernel, Tools};

/// What the first root needs to see the machine's files: the bus, the file system, and a layer over it.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];
/// The last line of a guest that came to its end.
const END: &str = "@ end";

/// A running guest. Dropping it ends it.
pub(super) struct Guest {
    child: Child,
    stdout: Option<ChildStdout>,
    folder: PathBuf,
}

impl Guest {
    /// Boots a kernel with a script to run.
    pub(super) fn boot(tools: &Tools, kernel: &Kernel, script: &str) -> Result<Self> {
        let folder = Workspace::here().target().join(format!("kernels-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let initramfs = folder.join("initramfs");
        fs::write(&initramfs, first_root(tools, kernel, script)?)?;
        let share = |path: PathBuf, tag: &str| {
            format!("local,path={},mount_tag={tag},security_model=none,readonly=on,multidevs=remap", path.display())
        };
        let mut qemu = tools.command(&tools.qemu);
        qemu.args(tools.firmware().iter().flat_map(|dir| ["-L".into(), dir.clone().into_os_string()]));
        // emulated, one processor: two would take one from the machine that the tests share
        qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "2048", "-smp", "1", "-nodefaults", "-no-reboot"]);
        qemu.args(["-display", "none", "-serial", "stdio", "-append", "console=ttyS0 panic=-1 quiet"]);
        qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initramfs);
        qemu.args(["-virtfs", &share("/".into(), "host"), "-virtfs", &share(kernel.modules(), "modules")]);
        let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start qemu")?;
        let stdout = child.stdout.take();
        Ok(Self { child, stdout, folder })
    }

    /// Hands on each line that the guest writes. A guest that is silent for too long, or takes too long in all, is ended.
    pub(super) fn watch(mut self, whole: Duration, silence: Duration, mut hear: impl FnMut(&str)) -> Result<()> {
        let stdout = self.stdout.take().context("no stdout")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        let begin = Instant::now();
        let mut ended = false;
        while begin.elapsed() < whole {
            match lines.recv_timeout(silence.min(whole.saturating_sub(begin.elapsed()))) {
                Ok(line) => {
                    ended |= line == END;
                    hear(&line);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        ensure!(
            ended,
            "the guest did not come to its end within {} s of silence or {} s in all",
            silence.as_secs(),
            whole.as_secs()
        );
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn first_root(tools: &Tools, kernel: &Kernel, script: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in ["bin", "proc", "sys", "dev", "host", "layer", "root", "modules"] {
        archive.folder(name);
    }
    archive.file("bin/busybox", &fs::read(tools.busybox()).context("no busybox")?);
    let mut names = Vec::new();
    for name in MODULES {
        for (name, content) in kernel.module(tools, name)? {
            if !names.contains(&name) {
                archive.file(&format!("modules/{name}"), &content);
                names.push(name);
            }
        }
    }
    archive.file("init", init(tools, &names.join(" ")).as_bytes());
    archive.file("script", script.as_bytes());
    Ok(archive.finish())
}

/// Mounts the machine's files, read-only, under a layer of memory, and goes on there. The kernel looks for modprobe where
/// the first process is.
fn init(tools: &Tools, modules: &str) -> String {
    let mount = "-t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144";
    format!(
        "#!/bin/busybox sh\n\
         b=/bin/busybox\n\
         $b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev\n\
         for m in {modules}; do $b insmod /modules/$m 2>/dev/null; done\n\
         $b mount {mount} host /host || {{ echo 'no 9p'; $b poweroff -f; }}\n\
         $b mount -t tmpfs tmpfs /layer; $b mkdir /layer/upper /layer/work\n\
         $b mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /root\n\
         $b mount -t tmpfs tmpfs /root/tmp; $b mount -t tmpfs tmpfs /root/run\n\
         $b mkdir -p /root/lib/modules; $b mount {mount} modules /root/lib/modules\n\
         $b mount --move /proc /root/proc; $b mount --move /sys /root/sys; $b mount --move /dev /root/dev\n\
         $b mount -t bpf bpf /root/sys/fs/bpf; $b mount -t cgroup2 cgroup /root/sys/fs/cgroup\n\
         $b ln -s {kmod} /root/run/modprobe; echo /run/modprobe > /root/proc/sys/kernel/modprobe\n\
         $b cp /script /root/run/script\n\
         $b printf '#!/bin/sh\\nexport PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\\n\
         /bin/sh /run/script\\necho \"{END}\"\\n{busybox} poweroff -f\\n' > /root/run/first; $b chmod 755 /root/run/first\n\
         exec $b switch_root /root /run/first\n",
        kmod = tools.kmod().display(),
        busybox = tools.busybox().display(),
    )
}
