//! From objects to writes: all of them, and those of one endpoint.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use lb_userspace::clock;
use lb_userspace::compile::{Limits, Node};
use lb_userspace::dataplane::fake::void::Void;
use lb_userspace::reconcile::{Prune, Reconciler};
use lb_userspace::tables::Settings;
use lb_userspace::translate::{self, Translation};

use crate::{median, objects};

/// Endpoints that go, and come again.
const CHANGES: u32 = 200;
/// Large enough for all sizes of clusters.
const LIMITS: Limits = Limits { services: 1 << 20, backends: 1 << 21 };

/// Processor time, and what was to be written.
pub(crate) struct Cost {
    pub(crate) everything: Duration,
    pub(crate) first_writes: usize,
    /// The median.
    pub(crate) change: Duration,
    pub(crate) writes: usize,
}

/// Makes the first pass, then one for each change. The store takes every write at once.
pub(crate) fn measure(services: u32, endpoints: u32, ingresses: u32) -> Cost {
    let mut objects = objects::cluster(services, endpoints, ingresses);
    let (settings, node) = (translate::Settings::default(), node());
    let mut translation = Translation::default();
    let mut reconciler = Reconciler::new(Box::new(Void)).expect("nothing is read");
    let begin = clock::worked();
    let mut desired = Arc::new(translation.renew(&objects, &settings));
    let outcome = reconciler.run_once(&desired, &node, Prune::All);
    let everything = clock::worked() - begin;
    let mut compiled = outcome.compiled;
    let (mut times, mut writes) = (Vec::new(), 0);
    for change in 0..CHANGES {
        let (number, count) = (change / 2 * (services / CHANGES), endpoints - (change + 1) % 2);
        objects::apply(&mut objects, objects::slice(number, count));
        let begin = clock::worked();
        let changes = objects.take_changes();
        let changed = translation.amend(&mut desired, &objects, &changes, &settings).expect("slices are followed");
        let followed = reconciler.follow(&mut compiled, &desired, &changed, &node).expect("so are their backends");
        times.push(clock::worked() - begin);
        writes = writes.max(followed.writes);
    }
    Cost { everything, first_writes: outcome.writes, change: median(times), writes }
}

fn node() -> Node {
    let address = BTreeSet::from([IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10))]);
    Node {
        own_addresses: address.clone(),
        node_addresses: address.clone(),
        front_addresses: address.clone(),
        tls_addresses: address,
        settings: Settings { snat_ports: (15_000, 29_999), front_mark: 0x77, ..Settings::default() },
        http_port: 80,
        https_port: 443,
        external_cluster_ips: false,
        source_ranges_everywhere: false,
        denied: None,
        limits: LIMITS,
    }
}
