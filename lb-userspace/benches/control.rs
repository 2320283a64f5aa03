//! What control costs: everything from nothing, one endpoint more or less on top of that, and one ring; in time of the
//! processor. Called by `cargo xtask bench control`.

#[path = "control/change.rs"]
mod change;
#[path = "control/objects.rs"]
mod objects;
#[path = "control/ring.rs"]
mod ring;

use std::time::Duration;

fn main() {
    println!("| Services × endpoints | Ingresses | everything, ms | writes | one endpoint, ms | writes |");
    println!("|---|---|---|---|---|---|");
    for (services, endpoints, ingresses) in
        [(1_000, 10, 0), (10_000, 10, 0), (10_000, 10, 5_000), (100_000, 2, 0), (100_000, 10, 0)]
    {
        let cost = change::measure(services, endpoints, ingresses);
        println!(
            "| {services} × {endpoints} | {ingresses} | {:.0} | {} | {:.3} | {} |",
            ms(cost.everything),
            cost.first_writes,
            ms(cost.change),
            cost.writes
        );
    }
    println!(
        "\n| backends of a ring of 65,537 | made in, ms | slots of the backend that goes | other slots that move |"
    );
    println!("|---|---|---|---|");
    for backends in [10, 100, 1_000] {
        let ring = ring::measure(backends);
        println!("| {backends} | {:.2} | {:.2} % | {:.2} % |", ms(ring.took), ring.own, ring.moved);
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The one in the middle.
fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("no time is not a number"));
    values[values.len() / 2]
}
