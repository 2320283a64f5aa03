//! Where programs go and how: from what is known of the interfaces to a decision for each. Asks nobody.

use super::netlink::Link;
use super::report::Note;
use crate::model::problem::code;

/// `--xdp`: whether XDP is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpPolicy {
    /// Wherever the driver runs it natively and it sees whole frames.
    #[default]
    Auto,
    /// Also on a veth. Whoever sends to it has to finish checksums, and its other end must have an XDP program.
    Native,
    /// Nowhere.
    Off,
}

impl std::str::FromStr for XdpPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "native" => Ok(Self::Native),
            "off" => Ok(Self::Off),
            _ => Err("auto, native or off".to_owned()),
        }
    }
}

/// An interface and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) link: Link,
    /// Name and id of somebody else's XDP program on it.
    pub(crate) foreign: Option<String>,
    /// What its driver says that XDP can do there (`NETDEV_XDP_ACT_*`, since 6.3); `None` if the kernel does not tell.
    pub(crate) features: Option<u64>,
    /// The card takes VLAN tags off before XDP sees the frame.
    pub(crate) strips_tags: bool,
    /// VLAN devices stand on it.
    pub(crate) carries_vlans: bool,
    /// Why XDP could not be attached natively the last time, nothing about the interface having changed since.
    pub(crate) refused: Option<String>,
}

/// An external interface with what was decided for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) facts: Facts,
    pub(crate) way: Way,
    /// What else there is to say of it.
    pub(crate) notes: Vec<Note>,
}

/// How packets of an interface are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By XDP in the driver; the tc programs finish what it cannot.
    Xdp,
    /// By the tc programs alone.
    Tc(Reason),
    /// Not at all.
    None(Reason),
}

/// Why not by XDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) text: String,
    /// As a Problem, if somebody may want to know.
    pub(crate) note: Option<Note>,
}

/// Drivers of the kernel's own that have no XDP.
const WITHOUT_XDP: [&str; 11] =
    ["bridge", "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "team", "vxlan", "geneve", "dummy", "macsec"];
/// `NETDEV_XDP_ACT_BASIC`, include/uapi/linux/netdev.h.
const BASIC: u64 = 1;
/// `NETDEV_XDP_ACT_NDO_XMIT`: others may redirect to it.
const REDIRECT_TARGET: u64 = 4;
/// `NETDEV_XDP_ACT_NDO_XMIT_SG`: also packets of several buffers.
const REDIRECT_TARGET_BUFFERS: u64 = 64;
/// A packet of this size fits into one buffer: a page of 4 KiB less head room and `skb_shared_info`.
const ONE_BUFFER: u32 = 3_498;

/// Decides how packets of an interface are taken.
pub(crate) fn decide(facts: &Facts, policy: XdpPolicy) -> Way {
    let link = &facts.link;
    if !link.ethernet {
        return Way::None(Reason::not_ethernet(link));
    }
    match (policy, link.kind.as_deref()) {
        (XdpPolicy::Off, _) => return Way::Tc(Reason { text: "--xdp off".to_owned(), note: None }),
        (_, Some(kind)) if WITHOUT_XDP.contains(&kind) => {
            return Way::Tc(Reason::info(link, format!("a device of kind {kind} has no XDP of its own")));
        }
        (XdpPolicy::Auto, Some("veth")) => return Way::Tc(Reason::info(link, VETH.to_owned())),
        _ => {}
    }
    if facts.strips_tags && facts.carries_vlans {
        return Way::Tc(Reason::info(link, format!("{STRIPS} (`ethtool -K {} rxvlan off`)", link.name)));
    }
    if let Some(holder) = &facts.foreign {
        return Way::Tc(Reason::foreign(link, holder));
    }
    if facts.features.is_some_and(|features| features & BASIC == 0) {
        return Way::Tc(Reason::refused(link, "the driver has no XDP"));
    }
    match &facts.refused {
        Some(why) => Way::Tc(Reason::refused(link, why)),
        None => Way::Xdp,
    }
}

const VETH: &str = "a veth: packets of senders on this machine have unfinished checksums, which XDP cannot see; \
                    --xdp native uses it all the same";
const STRIPS: &str = "the card takes VLAN tags off before XDP sees them, and VLAN devices stand on the interface; with \
                      that switched off XDP is used";

/// The interface to attach to for one that was named or that a route leads to: a port of a bond, a team or a bridge has no
/// traffic of its own, its master has.
pub(crate) fn head<'a>(links: &'a [Link], link: &'a Link) -> &'a Link {
    let mut head = link;
    // Masters may have masters (a bond in a bridge), never in a circle.
    while let Some(master) = head.master.filter(|_| is_part(head)) {
        match links.iter().find(|link| link.index == master) {
            Some(link) => head = link,
            None => break,
        }
    }
    head
}

fn is_part(link: &Link) -> bool {
    matches!(link.master_kind.as_deref(), Some("bond" | "team" | "bridge"))
}

/// VLAN devices stand on the interface.
pub(crate) fn carries_vlans(links: &[Link], index: u32) -> bool {
    links.iter().any(|link| link.is("vlan") && link.lower == Some(index))
}

/// Whether XDP may send out of an interface on which our program runs natively. Frames of several buffers vanish where the
/// driver cannot send them, so it must be able to if frames can be that large.
pub(crate) fn may_redirect_to(facts: &Facts) -> bool {
    let large = facts.link.mtu > ONE_BUFFER;
    let wanted = if large { REDIRECT_TARGET | REDIRECT_TARGET_BUFFERS } else { REDIRECT_TARGET };
    facts.features.is_none_or(|features| features & wanted == wanted)
}

impl Reason {
    /// The driver did not take our program.
    pub(crate) fn refused(link: &Link, why: &str) -> Self {
        let message =
            format!("XDP cannot run natively on {}, so tc takes its packets, which is slower: {why}", link.name);
        Self { text: format!("native: {why}"), note: Some(Note::warning(code::XDP_NOT_NATIVE, message)) }
    }

    /// Somebody else's program is there.
    pub(crate) fn foreign(link: &Link, holder: &str) -> Self {
        let message = format!(
            "{} already holds the XDP program {holder}, which stays: tc takes the packets that it passes",
            link.name
        );
        Self { text: format!("held by XDP program {holder}"), note: Some(Note::warning(code::XDP_FOREIGN, message)) }
    }

    fn info(link: &Link, text: String) -> Self {
        let note = Note::info(code::XDP_NOT_USED, format!("tc takes the packets of {}: {text}", link.name));
        Self { text, note: Some(note) }
    }

    fn not_ethernet(link: &Link) -> Self {
        let text = "its packets have no Ethernet header".to_owned();
        let message = format!("{} is left alone: {text}", link.name);
        Self { text, note: Some(Note::warning(code::INTERFACE_NOT_ETHERNET, message)) }
    }
}

#[cfg(test)]
mod tests;
