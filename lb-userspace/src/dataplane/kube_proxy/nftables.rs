//! Chains and tables of nf_tables, by netlink (include/uapi/linux/netfilter/nf_tables.h): the iptables of today is kept there.

use std::collections::BTreeSet;
use std::io;

use super::raw::{self, ACK, Attributes, Connection, DUMP};
use super::{Family, Rules, SIGNS, TABLE};

/// `NETLINK_NETFILTER`.
const NETFILTER: isize = 12;
/// `NFNL_SUBSYS_NFTABLES`, the upper byte of a message's type.
const NFTABLES: u16 = 10 << 8;
const GET_CHAIN: u16 = NFTABLES | 4;
const GET_TABLE: u16 = NFTABLES | 1;
const DELETE_TABLE: u16 = NFTABLES | 2;
/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`: changes come in batches.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// `struct nfgenmsg`: family, version, resource.
const GENERAL: usize = 4;
/// Names the subsystem, in network byte order.
const BATCH: [u8; GENERAL] = [0, 0, 0, (NFTABLES >> 8) as u8];
/// `NFTA_TABLE_NAME` and `NFTA_CHAIN_TABLE`.
const TABLE_NAME: u16 = 1;
/// `NFTA_CHAIN_NAME`.
const CHAIN_NAME: u16 = 3;

impl Family {
    /// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
    const fn number(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }

    fn of(number: u8) -> Option<Self> {
        Self::BOTH.into_iter().find(|family| family.number() == number)
    }
}

/// What kube-proxy has in nf_tables.
pub(super) fn rules() -> io::Result<Vec<Rules>> {
    let connection = Connection::open(NETFILTER)?;
    let mut found = BTreeSet::new();
    list(&connection, GET_CHAIN, |family, attributes| {
        if attributes.text(CHAIN_NAME).is_some_and(|name| SIGNS.contains(&name))
            && attributes.text(TABLE_NAME) != Some(TABLE)
        {
            found.insert(Rules::Iptables(family));
        }
    })?;
    list(&connection, GET_TABLE, |family, attributes| {
        if attributes.text(TABLE_NAME) == Some(TABLE) {
            found.insert(Rules::Nftables(family));
        }
    })?;
    Ok(found.into_iter().collect())
}

/// Removes the table of kube-proxy's mode `nftables`, with all that is in it.
pub(super) fn delete_table(family: Family) -> io::Result<()> {
    change_table(DELETE_TABLE, ACK, family)
}

fn change_table(kind: u16, flags: u16, family: Family) -> io::Result<()> {
    let batch = [
        raw::message(BATCH_BEGIN, 0, &BATCH, &[]),
        raw::message(kind, flags, &[family.number(), 0, 0, 0], &raw::text(TABLE_NAME, TABLE)),
        raw::message(BATCH_END, 0, &BATCH, &[]),
    ];
    Connection::open(NETFILTER)?.ask(&batch.concat(), |_| {})
}

fn list(connection: &Connection, kind: u16, mut each: impl FnMut(Family, Attributes<'_>)) -> io::Result<()> {
    connection.ask(&raw::message(kind, DUMP, &[0; GENERAL], &[]), |body| {
        let family = body.first().copied().and_then(Family::of);
        if let (Some(family), Some(attributes)) = (family, body.get(GENERAL..)) {
            each(family, Attributes(attributes));
        }
    })
}

/// Makes the table, as kube-proxy does it.
#[cfg(test)]
pub(in crate::dataplane) fn create_table(family: Family) -> io::Result<()> {
    const NEW_TABLE: u16 = NFTABLES;
    const CREATE: u16 = 0x400;
    change_table(NEW_TABLE, ACK | CREATE, family)
}
