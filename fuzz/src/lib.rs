//! Fuzz targets: functions over any bytes that panic where something that must hold does not.
//!
//! `cargo xtask fuzz` runs them under a coverage-guided engine. The inputs that reached something new, and those that once
//! failed, are saved under `corpus/` and run as tests.

mod against;
#[expect(dead_code, reason = "the fixtures use the rest")]
mod benches;
mod manifests;
mod packets;
mod parse;
mod pipeline;
mod requests;
mod wire;

use benches::{fixture, kernel, loaded, packet, packet6, world, world6};

/// Something to throw bytes at.
#[derive(Debug)]
pub struct Target {
    /// Its name, which is also that of its folder of inputs.
    pub name: &'static str,
    /// One run. Panics if something that must hold does not.
    pub run: fn(&[u8]),
    /// Loads programs into the kernel.
    pub needs_root: bool,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "parse", run: parse::run, needs_root: false },
    Target { name: "pipeline", run: pipeline::run, needs_root: false },
    Target { name: "kernel", run: against::run, needs_root: true },
    Target { name: "manifests", run: manifests::run, needs_root: false },
    Target { name: "requests", run: requests::run, needs_root: false },
];

impl Target {
    /// The target of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// As whom it has to run: `root` or `anybody`.
    pub fn rights(&self) -> &'static str {
        if self.needs_root { "root" } else { "anybody" }
    }
}

/// The names of all targets, for messages.
pub fn names() -> String {
    TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ")
}
