use std::path::Path;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};

use crate::netns::Netns;

/// Our programs for tests (`lb-ebpf/src/bin/lab.rs`), loaded once per cluster. Dropping it detaches them.
#[derive(Debug)]
pub struct LabObject {
    ebpf: Ebpf,
}

impl LabObject {
    const PASS: &str = "lab_pass";

    /// Loads the object.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let mut ebpf = Ebpf::load_file(path).with_context(|| format!("cannot load {}", path.display()))?;
        pass(&mut ebpf)?.load().context("cannot load the pass program")?;
        Ok(Self { ebpf })
    }

    /// Attaches the program that passes everything. A veth loses what its peer sends by XDP_TX unless it has an XDP
    /// program itself (drivers/net/veth.c, `veth_xdp_xmit` and `veth_xdp_tx` want the receiver's NAPI).
    pub(crate) fn attach_pass(&mut self, netns: &Netns, interface: &str) -> Result<()> {
        let program = pass(&mut self.ebpf)?;
        netns.run(|| {
            program.attach(interface, XdpMode::Driver).with_context(|| format!("cannot attach to {interface}"))?;
            Ok(())
        })
    }
}

fn pass(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf.program_mut(LabObject::PASS).with_context(|| format!("no program {}", LabObject::PASS))?;
    Ok(program.try_into()?)
}
