//! What changed between two route tables, by host and by upstream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::table::{External, RouteEntry, RouteTable, Stream};
use crate::model::settings::FrontSettings;
use crate::model::{Certificate, Tls, TlsHost, Users};

/// The writes that turn one table into another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDelta {
    /// Hosts that are new or changed; `None`: removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, Option<Arc<[RouteEntry]>>>,
    /// Upstreams that are new or changed; `None`: removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub upstreams: BTreeMap<String, Option<Arc<[SocketAddr]>>>,
    /// Weights that are new or changed; `None`: removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, Option<Arc<[u16]>>>,
    /// Names that are new or changed; `None`: removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external: BTreeMap<String, Option<External>>,
    /// The table's default, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultChange>,
    /// Users of Secrets that are new or changed; `None`: removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, Option<Arc<Users>>>,
    /// The ports that are not HTTP, if one changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<BTreeMap<u16, Stream>>,
    /// The settings, if one changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Arc<FrontSettings>>,
    /// What changed of TLS.
    #[serde(default, skip_serializing_if = "TlsDelta::is_empty")]
    pub tls: TlsDelta,
}

/// What changed of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsDelta {
    /// Certificates that are new or changed; `None`: removed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, Option<Arc<Certificate>>>,
    /// Hosts that are new or changed; `None`: removed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, Option<TlsHost>>,
    /// The rest, if any of it changed; with neither certificates nor hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<Tls>,
}

impl TlsDelta {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == TlsDelta::default()
    }

    fn new(old: &Tls, new: &Tls) -> Self {
        let rest = |tls: &Tls| {
            let Tls { certificates: _, hosts: _, authorities, off, default } = tls;
            Tls { authorities: authorities.clone(), off: *off, default: default.clone(), ..Tls::default() }
        };
        let changed = rest(new);
        TlsDelta {
            certificates: map_delta(&old.certificates, &new.certificates),
            hosts: map_delta(&old.hosts, &new.hosts),
            rest: (rest(old) != changed).then_some(changed),
        }
    }

    fn apply(self, tls: &mut Tls) {
        if let Some(rest) = self.rest {
            let (certificates, hosts) = (std::mem::take(&mut tls.certificates), std::mem::take(&mut tls.hosts));
            *tls = Tls { certificates, hosts, ..rest };
        }
        map_apply(&mut tls.certificates, self.certificates);
        map_apply(&mut tls.hosts, self.hosts);
    }
}

/// A change of the table's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DefaultChange {
    /// It is this now.
    Set(RouteEntry),
    /// There is none any more.
    Remove,
}

impl TableDelta {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == TableDelta::default()
    }
}

/// What changes `old` into `new`.
pub fn delta(old: &RouteTable, new: &RouteTable) -> TableDelta {
    let default = (old.default != new.default).then(|| match &new.default {
        Some(entry) => DefaultChange::Set(entry.clone()),
        None => DefaultChange::Remove,
    });
    TableDelta {
        hosts: map_delta_by(&old.hosts, &new.hosts, |old, new| Arc::ptr_eq(old, new) || old == new),
        upstreams: map_delta_by(&old.upstreams, &new.upstreams, |old, new| Arc::ptr_eq(old, new) || old == new),
        weights: map_delta(&old.weights, &new.weights),
        external: map_delta(&old.external, &new.external),
        default,
        users: map_delta(&old.users, &new.users),
        streams: (old.streams != new.streams).then(|| new.streams.clone()),
        tls: TlsDelta::new(&old.tls, &new.tls),
        settings: (old.settings != new.settings).then(|| Arc::clone(&new.settings)),
    }
}

/// Applies what [`delta`] found.
pub fn apply(table: &mut RouteTable, delta: TableDelta) {
    map_apply(&mut table.hosts, delta.hosts);
    map_apply(&mut table.upstreams, delta.upstreams);
    map_apply(&mut table.users, delta.users);
    map_apply(&mut table.weights, delta.weights);
    delta.tls.apply(&mut table.tls);
    map_apply(&mut table.external, delta.external);
    match delta.default {
        Some(DefaultChange::Set(entry)) => table.default = Some(entry),
        Some(DefaultChange::Remove) => table.default = None,
        None => {}
    }
    if let Some(streams) = delta.streams {
        table.streams = streams;
    }
    if let Some(settings) = delta.settings {
        table.settings = settings;
    }
}

fn map_delta<V: Clone + PartialEq>(
    old: &BTreeMap<String, V>,
    new: &BTreeMap<String, V>,
) -> BTreeMap<String, Option<V>> {
    map_delta_by(old, new, V::eq)
}

/// The same for values of which it can be seen that they are the very same: slices behind an `Arc` do not show it by `==`.
fn map_delta_by<V: Clone>(
    old: &BTreeMap<String, V>,
    new: &BTreeMap<String, V>,
    is_same: impl Fn(&V, &V) -> bool,
) -> BTreeMap<String, Option<V>> {
    // Both are sorted, and what has not changed is mostly the very same: one walk along both.
    let (mut changes, mut before) = (BTreeMap::new(), old.iter().peekable());
    for (key, value) in new {
        while let Some((gone, _)) = before.next_if(|(other, _)| *other < key) {
            changes.insert(gone.clone(), None);
        }
        let same = before.next_if(|(other, _)| *other == key).is_some_and(|(_, old)| is_same(old, value));
        if !same {
            changes.insert(key.clone(), Some(value.clone()));
        }
    }
    changes.extend(before.map(|(gone, _)| (gone.clone(), None)));
    changes
}

fn map_apply<V>(map: &mut BTreeMap<String, V>, changes: BTreeMap<String, Option<V>>) {
    for (key, change) in changes {
        match change {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::testing::tables;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn apply_undoes_delta(old in tables(), new in tables()) {
            let change = delta(&old, &new);
            let text = serde_json::to_string(&change).expect("a delta is JSON");
            let change: TableDelta = serde_json::from_str(&text).expect("and back");
            let mut table = old.clone();
            apply(&mut table, change);
            prop_assert_eq!(table, new);
        }

        #[test]
        fn equal_tables_have_an_empty_delta(table in tables()) {
            prop_assert!(delta(&table, &table.clone()).is_empty());
        }

        #[test]
        fn a_change_of_one_host_is_a_delta_of_one_host(table in tables()) {
            let mut new = table.clone();
            new.hosts.insert("only.this".into(), Arc::from([]));
            let change = delta(&table, &new);
            prop_assert_eq!(change.hosts.len(), 1);
            prop_assert!(change.upstreams.is_empty() && change.default.is_none());
        }
    }
}
