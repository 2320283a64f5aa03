use std::path::Path;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::Array;
use aya::programs::tc::{self, NlOptions, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode};

use crate::netns::Netns;

/// Our programs for tests (`lb-ebpf/src/bin/lab.rs`), loaded once per cluster. Dropping it detaches them.
#[derive(Debug)]
pub struct LabObject {
    ebpf: Ebpf,
}

impl LabObject {
    const PASS: &str = "lab_pass";
    const SUM: &str = "lab_sum";
    const TAGS: [(&str, TcAttachType); 2] = [("lab_tag", TcAttachType::Egress), ("lab_untag", TcAttachType::Ingress)];

    /// Loads the object.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let mut ebpf = Ebpf::load_file(path).with_context(|| format!("cannot load {}", path.display()))?;
        pass(&mut ebpf)?.load().context("cannot load the pass program")?;
        for name in Self::TAGS.map(|(name, _)| name).into_iter().chain([Self::SUM]) {
            classifier(&mut ebpf, name)?.load().with_context(|| format!("cannot load {name}"))?;
        }
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

    /// Puts an interface behind two VLANs: all that it sends but ARP has a tag within a tag, and of what comes only that
    /// reaches the station. No VLAN device is needed for that, which not every kernel can make.
    pub(crate) fn attach_tags(&mut self, netns: &Netns, interface: &str) -> Result<()> {
        for (name, direction) in Self::TAGS {
            let program = classifier(&mut self.ebpf, name)?;
            netns.run(|| {
                let _ = tc::qdisc_add_clsact(interface); // is there already, or not needed (tcx)
                program.attach(interface, direction).with_context(|| format!("cannot attach to {interface}"))?;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// One tag from now on in place of two, for all that are behind VLANs.
    pub(crate) fn use_one_tag(&mut self) -> Result<()> {
        let map = self.ebpf.map_mut("ONE_TAG").context("no map ONE_TAG")?;
        Array::<_, u64>::try_from(map)?.set(0, 1, 0).context("cannot write ONE_TAG")
    }

    /// Counts from now on whether the sums over whole packets that an interface gives are right behind the other programs at
    /// its ingress.
    pub(crate) fn attach_sum(&mut self, netns: &Netns, interface: &str) -> Result<()> {
        let program = classifier(&mut self.ebpf, Self::SUM)?;
        netns.run(|| {
            // a link where the kernel has them, else a filter of low priority
            let last = TcAttachOptions::TcxOrder(LinkOrder::last());
            let filter = TcAttachOptions::Netlink(NlOptions { priority: 60_000, ..NlOptions::default() });
            let attached = program.attach_with_options(interface, TcAttachType::Ingress, last);
            attached
                .or_else(|_| program.attach_with_options(interface, TcAttachType::Ingress, filter))
                .with_context(|| format!("cannot attach to {interface}"))?;
            Ok(())
        })
    }

    /// How many sums were right, wrong, or not given.
    pub(crate) fn sums(&self) -> Result<[u64; 3]> {
        let map = self.ebpf.map("SUMS").context("no map SUMS")?;
        let sums = Array::<_, u64>::try_from(map)?;
        Ok([sums.get(&0, 0)?, sums.get(&1, 0)?, sums.get(&2, 0)?])
    }
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

fn pass(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf.program_mut(LabObject::PASS).with_context(|| format!("no program {}", LabObject::PASS))?;
    Ok(program.try_into()?)
}
