//! A ring of the greatest length, and what of it moves when a backend goes.

use std::time::Duration;

use lb_common::limits::RING_MAX;
use lb_common::maglev::{Member, Seed, populate};
use lb_userspace::clock;

use crate::median;

/// Rings that are made, and backends that go.
const TRIES: usize = 20;

pub(crate) struct Ring {
    /// Time of the processor for one ring; the median.
    pub(crate) took: Duration,
    /// Of all slots, in percent: those of a backend that goes.
    pub(crate) own: f64,
    /// Slots of others that name another backend once it has gone.
    pub(crate) moved: f64,
}

pub(crate) fn measure(backends: u32) -> Ring {
    let members: Vec<_> = (1..=backends).map(member).collect();
    let (mut before, mut after) = (vec![0; RING_MAX as usize], vec![0; RING_MAX as usize]);
    let (mut times, mut own, mut moved) = (Vec::new(), 0, 0);
    for gone in members.iter().take(TRIES) {
        let begin = clock::worked();
        populate(&mut members.clone(), &mut before);
        times.push(clock::worked() - begin);
        let mut rest: Vec<_> = members.iter().filter(|member| *member != gone).copied().collect();
        populate(&mut rest, &mut after);
        let id = members.iter().position(|member| member == gone).expect("it is one of them") as u32 + 1;
        own += before.iter().filter(|&&slot| slot == id).count();
        moved += before.iter().zip(&after).filter(|&(&before, &after)| before != id && before != after).count();
    }
    let slots = times.len() as f64 * f64::from(RING_MAX) / 100.0;
    Ring { took: median(times), own: own as f64 / slots, moved: moved as f64 / slots }
}

fn member(id: u32) -> Member {
    let [_, a, b, c] = id.to_be_bytes();
    let address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, a, b, c];
    Member::new(Seed::new(address, 8080, 6), 1, id)
}
