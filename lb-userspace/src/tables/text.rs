//! Tables as text: one line per entry, in the order of the keys. Golden files, the Plan and messages use the same words.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};
use std::net::{IpAddr, SocketAddr};

use super::{BackendId, BackendKey, Frontend, FrontendKey, Ring, ServiceId, ServicePolicy, Settings, Tables};
use crate::model::FrontListener;

impl Display for Tables {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (key, frontend) in &self.frontends {
            writeln!(f, "frontend {key} -> {frontend}")?;
        }
        for (id, ring) in &self.services {
            writeln!(f, "service {id} {}", RingText(ring))?;
        }
        for (id, policy) in &self.policies {
            writeln!(f, "policy {id} {policy}")?;
        }
        for (id, network) in &self.ranges {
            writeln!(f, "range {id} {network}")?;
        }
        for network in &*self.denied {
            writeln!(f, "denied {network}")?;
        }
        for ((family, id), key) in &self.backends {
            writeln!(f, "backend {family} {id} {key}")?;
        }
        for ((family, id), node) in &self.backend_nodes {
            writeln!(f, "backend-node {family} {id} {node}")?;
        }
        for (node, own) in &self.nodes {
            writeln!(f, "node {node}{}", if *own { " own" } else { "" })?;
        }
        for address in &self.node_addresses {
            writeln!(f, "node-address {address}")?;
        }
        for address in &self.vips {
            writeln!(f, "vip {address}")?;
        }
        writeln!(f, "settings {}", self.settings)
    }
}

/// `address:port/protocol`, and for whom; a NodePort has the unspecified address of its family.
impl Display for FrontendKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port), self.protocol)?;
        if self.inside { f.write_str(" inside") } else { Ok(()) }
    }
}

impl Display for Frontend {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "service {}", self.service)?;
        match self.front {
            Some(FrontListener::Http) => f.write_str(" front http")?,
            Some(FrontListener::Https) => f.write_str(" front https")?,
            None if self.dsr => f.write_str(" dsr")?,
            None => {}
        }
        if self.cluster {
            f.write_str(" cluster")?;
        }
        for (is, what) in [
            (self.ranges, " ranges"),
            (self.chooses, " chooses"),
            (self.cookies, " syn-cookies"),
            (self.elsewhere, " backends elsewhere"),
            (self.inside, " unless inside"),
        ] {
            f.write_str(if is { what } else { "" })?;
        }
        Ok(())
    }
}

/// What is not as usual.
impl Display for ServicePolicy {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.algorithm.fmt(f)?;
        if self.affinity > 0 { write!(f, " affinity {} s", self.affinity) } else { Ok(()) }
    }
}

/// `address:port/protocol`, and whether it is local.
impl Display for BackendKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port), self.protocol)?;
        if self.local { f.write_str(" local") } else { Ok(()) }
    }
}

impl Display for ServiceId {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.fmt(f)
    }
}

impl Display for BackendId {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.fmt(f)
    }
}

impl Display for Settings {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (first, last) = self.snat_ports;
        write!(f, "snat-ports {first}-{last}")?;
        if let Some((lowest, highest)) = self.node_ports {
            write!(f, " node-ports {lowest}-{highest}")?;
        }
        if let Some(address) = self.snat_address4 {
            write!(f, " snat-address {address}")?;
        }
        if let Some(address) = self.snat_address6 {
            write!(f, " snat-address {address}")?;
        }
        write!(f, " front-mark {:#x}", self.front_mark)?;
        for address in self.node_address4.map(IpAddr::V4).into_iter().chain(self.node_address6.map(IpAddr::V6)) {
            write!(f, " tunnel-from {address}")?;
        }
        if self.syn_limit != 0 {
            write!(f, " syn-limit {}", self.syn_limit)?;
        }
        if self.denies4 || self.denies6 {
            f.write_str(" denies")?;
        }
        if self.tunnel_mtu > 0 {
            write!(f, " tunnel-mtu {}", self.tunnel_mtu)?;
        }
        Ok(())
    }
}

/// A ring by its length and the slots of each backend.
pub(crate) struct RingText<'a>(pub(crate) &'a Ring);

impl Display for RingText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut shares = BTreeMap::<BackendId, u32>::new();
        for backend in self.0.iter() {
            *shares.entry(backend).or_default() += 1;
        }
        write!(f, "ring of {}", self.0.len())?;
        for (backend, share) in shares {
            write!(f, ", backend {backend}: {share}")?;
        }
        Ok(())
    }
}
