//! A network interface as routing netlink tells it.

use std::net::IpAddr;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};

/// How an XDP program sits on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttachedXdp {
    pub(crate) program: u32,
    pub(crate) native: bool,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) loopback: bool,
    /// Its packets begin with an Ethernet header.
    pub(crate) ethernet: bool,
    /// Which driver of the kernel's own made it (`veth`, `vlan`, `bond`, `bridge`, `vxlan`, ...); none for hardware.
    pub(crate) kind: Option<String>,
    /// Index of the device that this one is a port of.
    pub(crate) master: Option<u32>,
    /// Kind of that device.
    pub(crate) master_kind: Option<String>,
    /// Index of the device that this one stands on, as a VLAN does; of a veth, its other end.
    pub(crate) lower: Option<u32>,
    /// Identifier and EtherType of the tag, of a VLAN.
    pub(crate) vlan: Option<(u16, u16)>,
    pub(crate) mtu: u32,
    /// Those that count, the lasting ones first (`Standing` of `netlink.rs`).
    pub(crate) addresses: Vec<IpAddr>,
    /// Hardware address; zero if it has none of that length.
    pub(crate) mac: [u8; 6],
    pub(crate) xdp: Option<AttachedXdp>,
}

impl Link {
    /// Reads an answer to the question for interfaces; addresses come by another one.
    pub(crate) fn from_message(message: &RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewLink(LinkMessage { header, attributes, .. }) = message else { return None };
        let mut link = Self {
            index: header.index,
            loopback: header.flags.contains(LinkFlags::Loopback),
            ethernet: matches!(header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback),
            ..Self::default()
        };
        let mut elsewhere = false;
        for attribute in attributes {
            match attribute {
                LinkAttribute::IfName(text) => link.name.clone_from(text),
                LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().unwrap_or_default(),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Controller(index) => link.master = Some(*index),
                LinkAttribute::Link(index) => link.lower = Some(*index),
                LinkAttribute::LinkNetNsId(_) => elsewhere = true,
                LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| link.read_info(info)),
                LinkAttribute::Xdp(attributes) => link.xdp = attached_xdp(attributes),
                _ => {}
            }
        }
        // An index means nothing in another namespace.
        link.lower = link.lower.filter(|_| !elsewhere);
        (!link.name.is_empty()).then_some(link)
    }

    fn read_info(&mut self, info: &LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = Some(kind.to_string()),
            LinkInfo::PortKind(kind) => self.master_kind = Some(kind.to_string()),
            LinkInfo::Data(InfoData::Vlan(values)) => {
                let id = values.iter().find_map(|value| match value {
                    InfoVlan::Id(id) => Some(*id),
                    _ => None,
                });
                let protocol = values.iter().find_map(|value| match value {
                    InfoVlan::Protocol(protocol) => Some(u16::from(*protocol)),
                    _ => None,
                });
                self.vlan = id.zip(protocol);
            }
            _ => {}
        }
    }

    /// It is of this kind.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

fn attached_xdp(attributes: &[LinkXdp]) -> Option<AttachedXdp> {
    let native = attributes.contains(&LinkXdp::Attached(XdpAttached::Driver));
    let mut programs = attributes.iter().filter_map(|attribute| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    });
    programs.find(|&id| id != 0).map(|program| AttachedXdp { program, native })
}
