//! Tables of single flows and packets for the terminal.

use std::fmt::Write as _;

use super::drops::{DropListing, SampleRow};
use super::explain::{ExplainListing, ExplainRow};
use super::flows::{FlowListing, FlowRow};
use super::table::{Align, Table, bytes, count};

const UNKNOWN: &str = "-";

/// `weir flows` as text no wider than `width`.
pub fn print_flows(listing: &FlowListing, width: usize) -> String {
    use Align::{Left, Right};
    if listing.flows.is_empty() {
        return "no flows\n".to_owned();
    }
    let mut table = Table::new(&[
        ("PROTO", Left),
        ("CLIENT", Left),
        ("FRONTEND", Left),
        ("BACKEND", Left),
        ("SNAT", Left),
        ("MODE", Left),
        ("STATE", Left),
        ("IDLE", Right),
        ("SERVICE", Left),
    ]);
    for row in &listing.flows {
        table.row(cells(row));
    }
    let mut text = table.render(width);
    if listing.truncated {
        text.push_str(&format!("{} of {} flows; --limit shows more\n", listing.flows.len(), listing.total));
    }
    text
}

fn cells(row: &FlowRow) -> Vec<String> {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    vec![
        row.protocol.map_or(UNKNOWN.to_owned(), |protocol| protocol.to_string()),
        row.client.clone(),
        row.frontend.clone(),
        known(&row.backend),
        known(&row.snat),
        row.mode.clone(),
        row.state.clone(),
        format!("{} s", row.idle_seconds),
        row.service.clone().unwrap_or_else(|| format!("id {}", row.service_id)),
    ]
}

/// `weir explain` as text: one line a step, then what becomes of it.
pub fn print_explain(listing: &ExplainListing, width: usize) -> String {
    use Align::Left;
    let row = &listing.explain;
    let mut table = Table::new(&[("STEP", Left), ("RESULT", Left), ("DETAIL", Left)]);
    for step in &row.steps {
        table.row(vec![step.step.clone(), step.result.clone(), step.detail.clone().unwrap_or_default()]);
    }
    format!("{} from {}\n\n{}\n{}", row.input, row.from, table.render(width), outcome(row))
}

fn outcome(row: &ExplainRow) -> String {
    let reason = row.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mut text = format!("verdict   {}{reason}\n", row.verdict);
    for (name, value) in [("backend", &row.backend), ("node", &row.node), ("next hop", &row.next_hop)] {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<10}{value}");
        }
    }
    text
}

/// `weir drops` as text no wider than `width`.
pub fn print_drops(listing: &DropListing, width: usize) -> String {
    use Align::{Left, Right};
    if listing.drops.is_empty() {
        return "no drops\n".to_owned();
    }
    let mut table = Table::new(&[("REASON", Left), ("PACKETS", Right), ("BYTES", Right)]);
    for row in &listing.drops {
        table.row(vec![row.reason.clone(), count(row.packets), bytes(row.bytes)]);
    }
    let samples = match (listing.sampled, listing.samples.is_empty()) {
        (false, _) => "no samples: no agent reads them\n".to_owned(),
        (true, true) => "no samples: nothing was dropped since the agent started\n".to_owned(),
        (true, false) => print_samples(&listing.samples, width),
    };
    format!("{}\n{samples}", table.render(width))
}

/// Samples as a table.
pub fn print_samples(samples: &[SampleRow], width: usize) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("TIME", Left),
        ("INTERFACE", Left),
        ("REASON", Left),
        ("PROTO", Left),
        ("SOURCE", Left),
        ("DESTINATION", Left),
        ("LENGTH", Right),
    ]);
    for row in samples {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        table.row(vec![
            row.time.clone(),
            row.interface.clone(),
            row.reason.clone(),
            known(&row.protocol),
            known(&row.source),
            known(&row.destination),
            row.length.to_string(),
        ]);
    }
    table.render(width)
}
