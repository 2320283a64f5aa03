//! What the agent says about the data plane when it starts, and what `status` shows of it.

use std::fmt;

use serde::Serialize;

use super::socket_level::SocketLevel;
use super::ways::WayStatus;
use crate::model::Severity;

/// A remark about the machine or the pins, for log and status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// Stable code in kebab-case.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
}

impl Note {
    pub(crate) fn info(code: &'static str, message: String) -> Self {
        Self { code, severity: Severity::Info, message }
    }

    pub(crate) fn warning(code: &'static str, message: String) -> Self {
        Self { code, severity: Severity::Warning, message }
    }
}

/// How XDP runs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum InterfaceMode {
    /// In the driver.
    Native,
    /// After the kernel made its own packet; only found where an older agent attached so.
    Generic,
    /// XDP is not used: the tc programs do it all.
    Tc,
    /// Nothing is attached.
    None,
}

/// A loaded program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramStatus {
    /// Name of the program.
    pub name: &'static str,
    /// Id in the kernel.
    pub id: u32,
    /// Instructions that the verifier walked through; unknown before 5.16.
    pub instructions: Option<u32>,
}

/// An external interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Which driver of the kernel's own made it, such as `veth` or `bond`; none for hardware.
    pub kind: Option<String>,
    /// How its packets are taken.
    pub mode: InterfaceMode,
    /// Why not by native XDP.
    pub reason: Option<String>,
    /// How the tc programs hang: `tcx` or `clsact`.
    pub tc: Option<&'static str>,
    /// What is attached.
    pub programs: Vec<ProgramStatus>,
    /// Remarks that hold as long as this does.
    #[serde(skip)]
    pub notes: Vec<Note>,
}

/// A feature of the kernel that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// Short name.
    pub name: &'static str,
    /// The version of Linux that brought it; none if that is not the point.
    pub since: Option<&'static str>,
    /// Whether it is there.
    pub available: bool,
    /// What is lost without it.
    pub without: &'static str,
}

impl Feature {
    /// What a newer kernel would bring, as one sentence; `None` if it is there, or if no version is the reason.
    pub(crate) fn loss(&self) -> Option<String> {
        let since = self.since.filter(|_| !self.available)?;
        Some(format!(
            "this kernel lacks what Linux {since} brought: {}; without it there is no {}",
            self.name, self.without
        ))
    }
}

/// What was found at start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartReport {
    /// Release of the kernel.
    pub kernel: String,
    /// What was probed.
    pub features: Vec<Feature>,
    /// The interfaces, as [`super::Dataplane::interfaces`] tells them.
    pub interfaces: Vec<InterfaceStatus>,
    /// Socket-level balancing.
    pub socket_level: SocketLevel,
    /// By which devices backends on other nodes are reached, as [`super::Dataplane::ways`] tells them.
    pub ways: Vec<WayStatus>,
    /// What was changed or found wanting.
    pub notes: Vec<Note>,
}

impl InterfaceStatus {
    /// The interface was removed, and with it what was attached.
    pub(crate) fn set_gone(&mut self) {
        self.mode = InterfaceMode::None;
        self.reason = Some("the interface is gone".to_owned());
        self.tc = None;
        self.programs.clear();
        self.notes.clear();
    }
}

impl fmt::Display for StartReport {
    /// One line for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}", self.kernel)?;
        for interface in &self.interfaces {
            write!(f, "; {interface}")?;
        }
        write!(f, "; {}", self.socket_level)?;
        let probed: Vec<_> = self.features.iter().map(Feature::to_string).collect();
        write!(f, "; probed: {}", probed.join(", "))?;
        let lost: Vec<_> = self.features.iter().filter(|feature| !feature.available).map(|lost| lost.without).collect();
        write!(f, "; lost: {}", if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") })
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.available, self.since) {
            (true, _) => f.write_str(self.name),
            (false, Some(since)) => write!(f, "{} missing ({since})", self.name),
            (false, None) => write!(f, "{} missing", self.name),
        }
    }
}

impl fmt::Display for InterfaceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            InterfaceMode::Native => "XDP native",
            InterfaceMode::Generic => "XDP generic",
            InterfaceMode::Tc => "tc",
            InterfaceMode::None => "nothing attached",
        };
        write!(f, "{} {mode}", self.name)?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        match self.tc {
            Some(tc) if self.mode == InterfaceMode::Tc => write!(f, " by {tc}"),
            Some(tc) => write!(f, " and {tc}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_modes_probes_and_losses() {
        let interface = InterfaceStatus {
            name: "eth0".into(),
            index: 2,
            kind: None,
            mode: InterfaceMode::Tc,
            reason: Some("native: Operation not supported".into()),
            tc: Some("tcx"),
            programs: Vec::new(),
            notes: Vec::new(),
        };
        let features = vec![
            Feature { name: "tcx", since: Some("6.6"), available: true, without: "-" },
            Feature {
                name: "tcp_migrate_req",
                since: Some("5.14"),
                available: false,
                without: "handshakes of a front that dies",
            },
        ];
        let report =
            StartReport { kernel: "6.1.0".into(), features, interfaces: vec![interface], ..StartReport::default() };
        assert_eq!(
            report.to_string(),
            "kernel 6.1.0; eth0 tc (native: Operation not supported) by tcx; no sockets; probed: tcx, tcp_migrate_req \
             missing (5.14); lost: handshakes of a front that dies"
        );
    }
}
