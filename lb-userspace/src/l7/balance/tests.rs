use std::collections::BTreeMap;

use super::*;
use crate::model::filters::{HashBy, Template};

fn addresses(count: u16) -> Vec<SocketAddr> {
    (1..=count).map(|port| ([10, 0, 0, 1], port).into()).collect()
}

fn with(algorithm: Algorithm) -> Balance {
    Balance { algorithm, ..Balance::default() }
}

/// Ports of all that a request tries.
fn order(endpoints: Endpoints<'_>, balance: Option<&Balance>, hash: Option<u64>, turn: usize) -> Vec<u16> {
    Picker::new(endpoints, balance, hash, None, turn).map(|peer| peer.endpoint.port()).collect()
}

/// How often each port comes first.
fn shares(
    endpoints: Endpoints<'_>,
    balance: Option<&Balance>,
    hash: impl Fn(u64) -> Option<u64>,
) -> BTreeMap<u16, usize> {
    let mut shares = BTreeMap::new();
    for turn in 0..6000usize {
        let first = order(endpoints, balance, hash(turn as u64), turn)[0];
        *shares.entry(first).or_default() += 1;
    }
    shares
}

#[test]
fn every_endpoint_once_those_that_fail_last() {
    let (pool, all, base) = (Pool::default(), addresses(4), Duration::from_secs(60));
    let endpoints = Endpoints { addresses: &all, weights: None, pool: &pool, unhealthy: None };
    assert_eq!(order(endpoints, None, None, 5), [2, 3, 4, 1]);
    pool.peer(all[1]).health.unreachable(base, Instant::now());
    assert_eq!(order(endpoints, None, None, 5), [3, 4, 1, 2]);
    let hash = Balance { hash: Some(HashBy { key: Template::default(), subset: Some(3) }), ..Balance::default() };
    for balance in [with(Algorithm::Ewma), with(Algorithm::LeastConnections), hash] {
        for turn in 0..20 {
            let mut tried = order(endpoints, Some(&balance), balance.hash.as_ref().map(|_| turn as u64), turn);
            assert_eq!(tried[3], 2, "{balance:?}");
            tried.sort_unstable();
            assert_eq!(tried, [1, 2, 3, 4]);
        }
    }
    let none = Endpoints { addresses: &[], weights: None, pool: &pool, unhealthy: None };
    assert!(order(none, None, None, usize::MAX).is_empty());
    assert_eq!(order(endpoints, None, Some(7), usize::MAX).len(), 4);
}

#[test]
fn shares_are_those_of_the_weights() {
    let (pool, all) = (Pool::default(), addresses(3));
    let endpoints = Endpoints { addresses: &all, weights: Some(&[1, 2, 3]), pool: &pool, unhealthy: None };
    for (shares, tolerance) in [
        (shares(endpoints, None, |_| None), 5),
        (shares(endpoints, None, |turn| Some(UNKEYED.hash(&turn.to_le_bytes()))), 200),
    ] {
        for (port, expected) in [(1, 1000usize), (2, 2000), (3, 3000)] {
            assert!(shares[&port].abs_diff(expected) <= tolerance, "{shares:?}");
        }
    }
}

#[test]
fn an_endpoint_that_goes_moves_its_share_only() {
    let (pool, all) = (Pool::default(), addresses(10));
    let owner = |addresses: &[SocketAddr], hash| {
        order(Endpoints { addresses, weights: None, pool: &pool, unhealthy: None }, None, Some(hash), 0)[0]
    };
    for key in 0..500u64 {
        let hash = UNKEYED.hash(&key.to_le_bytes());
        let (before, after) = (owner(&all, hash), owner(&all[..9], hash));
        assert!(before == after || before == 10);
    }
}

#[test]
fn an_overloaded_endpoint_is_passed_over() {
    let (pool, all) = (Pool::default(), addresses(3));
    let endpoints = Endpoints { addresses: &all, weights: None, pool: &pool, unhealthy: None };
    let first = |hash| order(endpoints, None, Some(hash), 0)[0];
    let owner = first(1);
    let peer = pool.peer(all[usize::from(owner) - 1]);
    let load: Vec<_> = (0..15).map(|_| peer.loaded()).collect();
    assert_eq!(first(1), owner, "few requests say nothing");
    let more: Vec<_> = (0..15).map(|_| peer.loaded()).collect();
    assert_ne!(first(1), owner);
    drop((load, more));
    assert_eq!(first(1), owner);
}

#[test]
fn the_faster_and_the_less_busy() {
    let (pool, all) = (Pool::default(), addresses(3));
    let endpoints = Endpoints { addresses: &all, weights: None, pool: &pool, unhealthy: None };
    for (address, seconds) in all.iter().zip([0.5, 0.01, 0.5]) {
        pool.peer(*address).latency.observe(seconds, Instant::now());
    }
    let fast = shares(endpoints, Some(&with(Algorithm::Ewma)), |_| None);
    // Two of three pairs have the fast one in them.
    assert!(fast[&2] > 3500, "{fast:?}");
    let _busy = [pool.peer(all[0]).loaded(), pool.peer(all[1]).loaded()];
    let fewest = shares(endpoints, Some(&with(Algorithm::LeastConnections)), |_| None);
    assert_eq!(fewest, [(3, 6000)].into());
}

#[tokio::test(start_paused = true)]
async fn a_new_endpoint_gets_less_at_first() {
    let (pool, all) = (Pool::default(), addresses(2));
    let balance = Balance { slow_start: 100_000, ..Balance::default() };
    pool.peer(all[0]);
    tokio::time::advance(Duration::from_secs(200)).await;
    let endpoints = Endpoints { addresses: &all, weights: None, pool: &pool, unhealthy: None };
    let share = |shares: BTreeMap<u16, usize>| shares[&2];
    let new = share(shares(endpoints, Some(&balance), |_| None));
    assert!(new.abs_diff(6000 / 11) < 10, "a tenth of its weight: {new}");
    tokio::time::advance(Duration::from_secs(50)).await;
    let half = share(shares(endpoints, Some(&balance), |_| None));
    assert!(half.abs_diff(2000) < 10, "half: {half}");
    tokio::time::advance(Duration::from_secs(50)).await;
    assert!(share(shares(endpoints, Some(&balance), |_| None)).abs_diff(3000) < 10);
}
