//! Tells the programs when next hops that they remember may have changed: each change of a route, rule, neighbour,
//! interface or address begins a new epoch, in which nothing is remembered from before. Without an agent a next hop lives
//! for a second (`lb_common::hop::LIFE`).

use std::time::Duration;

use aya::maps::{Array, MapData};
use lb_common::abi::{map, setting};
use rtnetlink::MulticastGroup;
use tokio::time::sleep;

use super::error::{DataplaneError, map_io};
use super::maps::Maps;
use super::sys;
use super::watch::Subscription;

/// No more than one epoch in so long: neighbours of a busy network change their state all the time, and each epoch costs
/// every CPU a lookup per way. The first change after a pause counts at once.
const PAUSE: Duration = Duration::from_millis(10);
/// After an error it is tried again so much later, which is when next hops have ended anyway.
const AGAIN: Duration = Duration::from_secs(1);

/// What a next hop depends on.
const GROUPS: [MulticastGroup; 11] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
    MulticastGroup::Nexthop,
    MulticastGroup::Ipv4Netconf,
    MulticastGroup::Ipv6Netconf,
];

/// Follows changes and begins epochs.
pub struct HopWatch {
    epoch: Epoch,
    changes: Subscription,
}

impl HopWatch {
    /// Subscribes to the changes. Needs a tokio runtime.
    pub(super) fn new(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self { epoch: Epoch::open(maps)?, changes: subscribe()? })
    }

    /// Begins an epoch with each change, for ever.
    pub async fn run(mut self) {
        loop {
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "next hops are not followed for a moment; those in use end after a second");
                sleep(AGAIN).await;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), DataplaneError> {
        if let Err(error) = self.changes.some().await {
            tracing::debug!(%error, "following next hops anew");
            self.changes = subscribe()?;
        }
        self.epoch.begin()?;
        sleep(PAUSE).await;
        Ok(())
    }
}

fn subscribe() -> Result<Subscription, DataplaneError> {
    Ok(Subscription::to(&GROUPS, "watch routes and neighbours")?)
}

/// The number of the epoch in SETTINGS.
pub(super) struct Epoch(Array<MapData, u64>);

impl Epoch {
    pub(super) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self(maps.array(map::SETTINGS)?))
    }

    /// Begins an epoch: whatever the programs remember is asked for anew.
    pub(super) fn begin(&mut self) -> Result<(), DataplaneError> {
        self.0.set(setting::HOP_EPOCH, number(), 0).map_err(|error| DataplaneError::map(map::SETTINGS)(map_io(error)))
    }
}

/// The number of an epoch that begins now. The clock makes it, so that writers need not know of each other: none begins two of them
/// within 64 ns. The programs compare its low half, and nothing lives for the minutes until that comes again.
pub(super) fn number() -> u64 {
    sys::monotonic_ns() >> 6
}
