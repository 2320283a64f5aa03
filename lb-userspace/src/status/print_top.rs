//! `weir top` as text that fits a terminal.

use super::table::{Align, Table, bytes, count, cut};
use super::top::{Rates, Top, TopListing};

const UNKNOWN: &str = "-";
/// Lines of a table beside its rows: one that is empty, and the header.
const AROUND: usize = 2;

/// `weir top` as text no wider than `width` and, if there is room for a row of each table, no higher than `height`.
pub fn print_top(listing: &TopListing, width: usize, height: usize) -> String {
    let top = &listing.top;
    let mut out = cut(&title(top), width) + "\n";
    let mut left = height.saturating_sub(1);
    if let Some(front) = front(top) {
        out += &(cut(&front, width) + "\n");
        left = left.saturating_sub(1);
    }
    let sizes = shares(left, [top.services.len(), top.backends.len(), top.drops.len(), top.hosts.len()]);
    let tables = [services(top, sizes[0]), backends(top, sizes[1]), hosts(top, sizes[3]), drops(top, sizes[2])];
    for table in tables.into_iter().flatten() {
        out.push('\n');
        out += &table.render(width);
    }
    out
}

/// How many rows each table gets: drops, which are few, up to a quarter; hosts up to a third of the rest; services half of
/// what is left then, backends the other half, and services also what backends do not need.
fn shares(lines: usize, [services, backends, drops, hosts]: [usize; 4]) -> [usize; 4] {
    let tables = [services, backends, drops, hosts].into_iter().filter(|rows| *rows > 0).count();
    let rows = lines.saturating_sub(tables * AROUND);
    let of_drops = drops.min((rows / 4).max(1));
    let rest = rows.saturating_sub(of_drops);
    let of_hosts = hosts.min((rest / 3).max(1));
    let rest = rest.saturating_sub(of_hosts);
    let of_backends = backends.min((rest / 2).max(rest.saturating_sub(services)).max(1));
    let of_services = services.min(rest.saturating_sub(of_backends).max(1));
    [of_services, of_backends, of_drops, of_hosts]
}

fn title(top: &Top) -> String {
    let node = top.node.as_deref().unwrap_or("the maps");
    format!("weir top of {node}: over {:.1} s, sorted by {}", top.seconds, top.sort)
}

fn front(top: &Top) -> Option<String> {
    let front = top.front.as_ref()?;
    Some(format!(
        "front: {} requests/s, {} with 4xx, {} with 5xx; {} connections, {} new/s",
        rate(front.requests_per_second),
        rate(front.client_errors_per_second),
        rate(front.server_errors_per_second),
        count(front.active_connections),
        rate(front.connections_per_second),
    ))
}

fn services(top: &Top, rows: usize) -> Option<Table> {
    use Align::{Left, Right};
    let mut table =
        Table::new(&[("SERVICE", Left), ("PORT", Left), ("PACKETS/S", Right), ("BYTES/S", Right), ("FLOWS/S", Right)]);
    for row in top.services.iter().take(rows) {
        let name = match (&row.namespace, &row.name) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ => row.id.map_or(UNKNOWN.to_owned(), |id| format!("id {id}")),
        };
        let protocol = row.protocol.map_or(UNKNOWN.to_owned(), |protocol| protocol.to_string());
        let port = row.port.map_or(protocol.clone(), |port| format!("{port}/{protocol}"));
        table.row([vec![name, port], rates(&row.rates)].concat());
    }
    (!top.services.is_empty()).then_some(table)
}

fn backends(top: &Top, rows: usize) -> Option<Table> {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("BACKEND", Left),
        ("NODE", Left),
        ("POD", Left),
        ("PACKETS/S", Right),
        ("BYTES/S", Right),
        ("FLOWS/S", Right),
    ]);
    for row in top.backends.iter().take(rows) {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        let cells = vec![format!("{}/{}", row.backend, row.protocol), known(&row.node), known(&row.pod)];
        table.row([cells, rates(&row.rates)].concat());
    }
    (!top.backends.is_empty()).then_some(table)
}

fn hosts(top: &Top, rows: usize) -> Option<Table> {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("HOST", Left),
        ("REQUESTS/S", Right),
        ("4XX/S", Right),
        ("5XX/S", Right),
        ("BYTES/S", Right),
        ("MS", Right),
    ]);
    for row in top.hosts.iter().take(rows) {
        table.row(vec![
            row.host.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            rate(row.requests_per_second),
            rate(row.client_errors_per_second),
            rate(row.server_errors_per_second),
            bytes(row.bytes_per_second as u64),
            format!("{:.1}", row.milliseconds),
        ]);
    }
    (!top.hosts.is_empty()).then_some(table)
}

fn drops(top: &Top, rows: usize) -> Option<Table> {
    use Align::{Left, Right};
    let mut table = Table::new(&[("DROPPED", Left), ("PACKETS/S", Right), ("BYTES/S", Right)]);
    for row in top.drops.iter().take(rows) {
        table.row(vec![row.reason.clone(), rate(row.packets_per_second), bytes(row.bytes_per_second as u64)]);
    }
    (!top.drops.is_empty()).then_some(table)
}

fn rates(rates: &Rates) -> Vec<String> {
    // never negative, and a rate beyond 2^64 does not occur
    let bytes = bytes(rates.bytes_per_second as u64);
    vec![rate(rates.packets_per_second), bytes, rate(rates.new_flows_per_second)]
}

/// Small rates with a digit behind the point, large ones as counts.
fn rate(value: f64) -> String {
    if value > 0.0 && value < 10.0 { format!("{value:.1}") } else { count(value as u64) }
}
