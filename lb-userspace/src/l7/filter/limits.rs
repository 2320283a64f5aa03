//! How much one client may ask for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::variables::Seen;
use crate::l7::answer::Answer;
use crate::l7::limiter::{self, Flight, Limit, Limiter};
use crate::model::filters::RequestLimits;

/// Counts the request; the answer if it is one too many.
pub(super) fn check(limits: &RequestLimits, seen: &Seen<'_>, limiter: &Arc<Limiter>) -> Result<Option<Flight>, Answer> {
    let client = seen.ends.client.ip().to_canonical();
    let who = limiter::who(client);
    let ingress = seen.rule.entry.ingress.as_str();
    let now = Instant::now();
    let mut flight = None;
    if limits.hold_for(client) {
        let rates = [(Limit::Second, limits.per_second, 1), (Limit::Minute, limits.per_minute, 60)];
        for (limit, rate, seconds) in rates {
            let Some(rate) = rate else { continue };
            let cost = Duration::from_secs(seconds) / rate;
            if !limiter.admit(limiter.key(limit, ingress, who), cost, limits.burst(rate), now) {
                return Err(Answer::too_many(limits.rate_status.unwrap_or(503)));
            }
        }
        if let Some(most) = limits.in_flight {
            let taken = limiter.take_off(limiter.key(Limit::InFlight, ingress, who), most, now);
            flight = Some(taken.ok_or_else(|| Answer::too_many(limits.flight_status.unwrap_or(503)))?);
        }
    }
    if let Some(global) = limits.global.as_ref().filter(|global| global.holds_for(client)) {
        let key = limiter.key(Limit::Window, ingress, global.key.expand(seen));
        let cost = Duration::from_millis(global.window) / global.requests;
        if !limiter.admit(key, cost, global.requests, now) {
            return Err(Answer::too_many(429));
        }
    }
    Ok(flight)
}
