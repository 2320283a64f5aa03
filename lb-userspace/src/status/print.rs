//! Tables for the terminal.

use std::fmt::Write as _;

use super::Listing;
use super::row::{
    BackendCounts, BackendRow, Counters, FrontendRow, KubeProxyRow, RouteRow, ServiceRow, SocketLevelRow, StatusRow,
};
use super::table::{Align, Table, bytes, count, cut};
use crate::model::{Problem, Severity};

const UNKNOWN: &str = "-";
/// How many of a list are shown before `+N`.
const SHOWN: usize = 2;

/// A listing as text no wider than `width`.
pub fn print(listing: &Listing, width: usize) -> String {
    match listing {
        Listing::Status(row) => status(row, width),
        Listing::Services(rows) if rows.is_empty() => "no services\n".to_owned(),
        Listing::Services(rows) => services(rows, width),
        Listing::Backends(rows) if rows.is_empty() => "no backends\n".to_owned(),
        Listing::Backends(rows) => backends(rows, width),
        Listing::Routes(rows) if rows.is_empty() => "no routes\n".to_owned(),
        Listing::Routes(rows) => routes(rows, width),
    }
}

fn services(rows: &[ServiceRow], width: usize) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SERVICE", Left),
        ("PORT", Left),
        ("TYPE", Left),
        ("FRONTENDS", Left),
        ("BACKENDS", Left),
        ("PACKETS", Right),
        ("BYTES", Right),
        ("FLOWS", Right),
    ]);
    for row in rows {
        let name = match (&row.namespace, &row.name) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ => row.id.map_or(UNKNOWN.to_owned(), |id| format!("id {id}")),
        };
        let port = match (row.port, row.protocol) {
            (Some(port), Some(protocol)) => format!("{port}/{protocol}"),
            (_, protocol) => protocol.map_or(UNKNOWN.to_owned(), |protocol| protocol.to_string()),
        };
        let kind = row.service_type.map_or(UNKNOWN.to_owned(), |kind| format!("{kind:?}"));
        let mut cells = vec![name, port, kind, list(row.frontends.iter().map(frontend)), states(&row.backends)];
        cells.extend(counters(row.counters));
        table.row(cells);
    }
    table.render(width)
}

fn backends(rows: &[BackendRow], width: usize) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("ID", Right),
        ("BACKEND", Left),
        ("STATE", Left),
        ("NODE", Left),
        ("POD", Left),
        ("SERVICES", Left),
        ("PACKETS", Right),
        ("BYTES", Right),
        ("FLOWS", Right),
    ]);
    for row in rows {
        let node = match (&row.node, row.local) {
            (Some(node), true) => format!("{node} (here)"),
            (Some(node), false) => node.clone(),
            (None, true) => "here".to_owned(),
            (None, false) => UNKNOWN.to_owned(),
        };
        let mut cells = vec![
            row.id.map_or(UNKNOWN.to_owned(), |id| id.to_string()),
            format!("{}/{}", std::net::SocketAddr::new(row.address, row.port), row.protocol),
            row.state.map_or(UNKNOWN.to_owned(), |state| format!("{state:?}").to_lowercase()),
            node,
            row.pod.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            list(row.services.iter().cloned()),
        ];
        cells.extend(counters(row.counters));
        table.row(cells);
    }
    table.render(width)
}

fn routes(rows: &[RouteRow], width: usize) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("HOST", Left),
        ("PATH", Left),
        ("MATCH", Left),
        ("SERVICE", Left),
        ("ENDPOINTS", Right),
        ("INGRESS", Left),
        ("NOTE", Left),
    ]);
    for row in rows {
        let unhealthy = row.unhealthy.iter().map(|endpoint| format!("unhealthy {endpoint}"));
        table.row(vec![
            row.host.clone(),
            row.path.clone(),
            row.path_type.clone().unwrap_or_else(|| "default".to_owned()),
            format!("{}:{}", row.service, row.service_port),
            row.endpoints.to_string(),
            row.ingress.clone(),
            row.problem.iter().chain(&row.filters).cloned().chain(unhealthy).collect::<Vec<_>>().join(", "),
        ]);
    }
    table.render(width)
}

fn status(row: &StatusRow, width: usize) -> String {
    let mut out = String::new();
    let ready = if row.ready { "ready".to_owned() } else { format!("not ready: {}", row.missing.join(", ")) };
    line(&mut out, width, "weir", &format!("{} on {}, {ready}", row.version, row.node.as_deref().unwrap_or(UNKNOWN)));
    for source in &row.sources {
        let complete = if source.complete { "read" } else { "not read yet" };
        line(&mut out, width, "source", &format!("{}:{}, {complete}", source.kind, source.target));
    }
    if let Some(front) = &row.front {
        let pid = front.pid.map_or(UNKNOWN.to_owned(), |pid| pid.to_string());
        let text =
            format!("pid {pid}, {} listeners, {} routes, {} restarts", front.listeners, front.routes, front.restarts);
        line(&mut out, width, "front", &text);
    }
    if let Some(level) = &row.socket_level {
        line(&mut out, width, "sockets", &sockets(level));
    }
    for way in &row.forwarding {
        let text = format!("{}: {}, {} services", way.forwarding, way.reason, way.services);
        line(&mut out, width, "forward", &text);
    }
    if let Some(found) = row.kube_proxy.as_ref().and_then(kube_proxy) {
        line(&mut out, width, "others", &found);
    }
    out.push_str(&interfaces(row, width));
    out.push_str(&ways(row, width));
    out.push_str(&routers(row, width));
    out.push_str(&maps(row, width));
    if !row.problems.is_empty() {
        out.push('\n');
        out.push_str(&print_problems(&row.problems));
    }
    out
}

/// Nothing where there is nothing of it.
fn kube_proxy(row: &KubeProxyRow) -> Option<String> {
    let rules = row.rules.join(", ");
    match (row.running, rules.is_empty()) {
        (false, true) => None,
        (false, false) => Some(format!("kube-proxy is gone and has left rules: {rules}")),
        (true, true) => Some("kube-proxy runs".to_owned()),
        (true, false) => Some(format!("kube-proxy runs, its rules: {rules}")),
    }
}

fn line(out: &mut String, width: usize, key: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", cut(&format!("{key:<8}{text}"), width));
}

fn sockets(level: &SocketLevelRow) -> String {
    let state = match (&level.cgroup, level.attached) {
        (_, false) => "off".to_owned(),
        (None, true) => "balanced".to_owned(),
        (Some(cgroup), true) => format!("balanced for {cgroup}"),
    };
    [&[state][..], &level.reasons].concat().join("; ")
}

fn interfaces(row: &StatusRow, width: usize) -> String {
    use Align::{Left, Right};
    if row.interfaces.is_empty() {
        return String::new();
    }
    let mut table =
        Table::new(&[("INTERFACE", Left), ("MODE", Left), ("PROGRAM", Left), ("ID", Right), ("INSTRUCTIONS", Right)]);
    let number = |number: Option<u32>| number.map_or(UNKNOWN.to_owned(), |number| number.to_string());
    for interface in &row.interfaces {
        let mode = interface.mode.as_deref().unwrap_or(UNKNOWN);
        for program in &interface.programs {
            let (id, instructions) = (number(program.id), number(program.instructions));
            table.row(vec![interface.name.clone(), mode.to_owned(), program.name.clone(), id, instructions]);
        }
    }
    let mut out = format!("\n{}", table.render(width));
    for interface in &row.interfaces {
        if let Some(reason) = &interface.reason {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", cut(&format!("{}: {reason}", interface.name), width));
        }
    }
    out
}

fn ways(row: &StatusRow, width: usize) -> String {
    use Align::{Left, Right};
    if row.ways.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[("WAY", Left), ("DEVICE", Left), ("BACKENDS", Right), ("WHY", Left)]);
    for way in &row.ways {
        let device = way.device.clone().unwrap_or(UNKNOWN.to_owned());
        table.row(vec![way.way.clone(), device, way.backends.to_string(), way.reason.clone()]);
    }
    format!("\n{}", table.render(width))
}

fn routers(row: &StatusRow, width: usize) -> String {
    use Align::{Left, Right};
    if row.routers.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[("ROUTER", Left), ("ASN", Right), ("SESSION", Left), ("INFO", Left)]);
    for router in &row.routers {
        let session = if router.established { "established" } else { "down" };
        let info: String = router.info.chars().filter(|c| !c.is_control()).collect();
        table.row(vec![router.address.to_string(), router.asn.to_string(), session.to_owned(), info]);
    }
    format!("\n{}", table.render(width))
}

fn maps(row: &StatusRow, width: usize) -> String {
    use Align::{Left, Right};
    if row.maps.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[("MAP", Left), ("ENTRIES", Right), ("CAPACITY", Right), ("FULL", Right)]);
    for map in &row.maps {
        let entries = map.entries.map_or(UNKNOWN.to_owned(), |entries| entries.to_string());
        let full =
            map.entries.filter(|_| map.capacity > 0).map(|entries| format!("{} %", entries * 100 / map.capacity));
        table.row(vec![map.name.clone(), entries, map.capacity.to_string(), full.unwrap_or(UNKNOWN.to_owned())]);
    }
    format!("\n{}", table.render(width))
}

/// One line for each Problem, as compilers write them. Not cut: the end of the sentence says what would be right.
pub fn print_problems(problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        let place = match (&problem.file, problem.line) {
            (Some(file), Some(line)) => format!("{}:{line}: ", file.display()),
            (Some(file), None) => format!("{}: ", file.display()),
            _ => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{place}{}[{}]: {}", severity(problem.severity), problem.code, problem.message);
    }
    out
}

/// As the JSON writes it.
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

fn frontend(row: &FrontendRow) -> String {
    match row.address {
        Some(address) => std::net::SocketAddr::new(address, row.port).to_string(),
        None => format!("*:{}", row.port),
    }
}

/// `2`, or `2 +1 terminating` and so on.
fn states(counts: &BackendCounts) -> String {
    let mut text = counts.active.to_string();
    for (count, state) in [(counts.terminating, "ending"), (counts.unhealthy, "down")] {
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, " +{count} {state}");
        }
    }
    text
}

fn counters(counters: Option<Counters>) -> [String; 3] {
    match counters {
        Some(counters) => [count(counters.packets), bytes(counters.bytes), count(counters.new_flows)],
        None => [UNKNOWN, UNKNOWN, UNKNOWN].map(str::to_owned),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = items.collect();
    match all.len() {
        0 => UNKNOWN.to_owned(),
        1..=SHOWN => all.join(", "),
        more => format!("{} +{}", all[..SHOWN].join(", "), more - SHOWN),
    }
}
