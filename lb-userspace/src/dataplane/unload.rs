//! Takes back everything that an agent did to the machine.

use std::path::Path;
use std::{fs, io};

use aya::programs::TcAttachType;
use lb_common::abi::program;
use serde::Serialize;

use super::config::{Pins, run_dir};
use super::error::DataplaneError;
use super::ipv6::Ipv6;
use super::lock::{Lock, LockError};
use super::netlink::Netlink;
use super::ports::PortSet;
use super::record::Record;
use super::sysctl::{SysctlError, Sysctls};
use super::{attach, bpffs, route, tc, told_routes};
use crate::tables::IpFamily;

/// What was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnloadReport {
    /// One line per thing; empty if there was nothing.
    pub removed: Vec<String>,
}

/// Detaches and unpins everything of a pin path, and removes rule, route and reserved ports. Refuses while an agent runs,
/// unless forced. Doing it twice is no error.
///
/// `end_processes` is called with the run directory before anything is detached, so that what is in flight still arrives;
/// not while an agent runs. It gives a line for each process that it ended.
pub fn unload(
    pin_path: &Path,
    force: bool,
    end_processes: impl FnOnce(&Path) -> io::Result<Vec<String>>,
) -> Result<UnloadReport, DataplaneError> {
    let (pins, run_dir) = (Pins::new(pin_path), run_dir(pin_path));
    let lock = match Lock::acquire(&run_dir) {
        Ok(lock) => Some(lock),
        Err(LockError::Held { .. }) if force => None,
        Err(error) => return Err(error.into()),
    };
    let record = Record::read(&run_dir)?;
    let mut report = UnloadReport::default();
    if lock.is_some() {
        report.removed = end_processes(&run_dir).map_err(DataplaneError::file("end the processes of", &run_dir))?;
    }
    detach(&pins, &record, &mut report)?;
    restore(&record, &mut report)?;
    match told_routes::remove_all()? {
        0 => {}
        routes => report.removed.push(format!("{routes} routes for routers")),
    }
    Record::remove(&run_dir)?;
    if let Some(lock) = lock {
        lock.remove();
    }
    Ok(report)
}

/// XDP first: from then on no packet comes in.
fn detach(pins: &Pins, record: &Record, report: &mut UnloadReport) -> Result<(), DataplaneError> {
    if bpffs::is_bpffs(pins.root()) {
        remove_pins(pins, report)?;
    }
    for interface in &record.interfaces {
        for (direction, name) in
            [(TcAttachType::Ingress, program::TC_INGRESS), (TcAttachType::Egress, program::TC_EGRESS)]
        {
            if tc::detach_clsact(interface, direction, name) {
                report.removed.push(format!("filter {name} of {interface}"));
            }
        }
    }
    for tunnel in &record.tunnels {
        if tc::detach_clsact(tunnel, TcAttachType::Ingress, program::TUNNEL) {
            report.removed.push(format!("filter {} of {tunnel}", program::TUNNEL));
        }
    }
    Ok(())
}

fn remove_pins(pins: &Pins, report: &mut UnloadReport) -> Result<(), DataplaneError> {
    let mut links = files(&pins.links())?;
    links.sort_by_key(|link| !link.contains(program::XDP));
    for name in links {
        attach::detach(&pins.links().join(&name))?;
        report.removed.push(format!("link {}", name.replace(':', ".")));
    }
    for name in files(&pins.programs())? {
        remove_file(&pins.programs().join(&name))?;
        report.removed.push(format!("program {name}"));
    }
    for version in files(&pins.all_maps())? {
        for name in files(&pins.all_maps().join(&version))? {
            report.removed.push(format!("map {version}/{name}"));
        }
    }
    for dir in [pins.links(), pins.programs(), pins.all_maps()] {
        removed(&dir, fs::remove_dir_all(&dir))?;
    }
    // Only if nobody else has something there: the pin path may be the root of a bpffs, which is everybody's.
    removed(pins.root(), fs::remove_dir(pins.root()))
}

/// What is gone already, somebody else's, or a mount point, stays as it is.
fn removed(dir: &Path, result: io::Result<()>) -> Result<(), DataplaneError> {
    use io::ErrorKind::{DirectoryNotEmpty, NotFound, ResourceBusy};
    match result {
        Err(error) if !matches!(error.kind(), NotFound | DirectoryNotEmpty | ResourceBusy) => {
            Err(DataplaneError::file("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

fn restore(record: &Record, report: &mut UnloadReport) -> Result<(), DataplaneError> {
    if let Some(policy) = record.policy {
        let netlink = Netlink::connect()?;
        report.removed.extend(route::remove(&netlink, policy, IpFamily::V4)?);
        if Ipv6::find(&Sysctls::default(), &[]) != Ipv6::Missing {
            report.removed.extend(route::remove(&netlink, policy, IpFamily::V6)?);
        }
    }
    let ports: PortSet = record.reserved_ports.parse().map_err(|error: super::ports::PortSetError| {
        SysctlError::Contents { name: "reservedPorts of record.json", message: error.to_string() }
    })?;
    if !ports.is_empty() {
        Sysctls::default().release_ports(&ports)?;
        report.removed.push(format!("reserved ports {ports}"));
    }
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<String>, DataplaneError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(DataplaneError::file("read", dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(DataplaneError::file("read", dir))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn remove_file(path: &Path) -> Result<(), DataplaneError> {
    fs::remove_file(path).map_err(DataplaneError::file("remove", path))
}
