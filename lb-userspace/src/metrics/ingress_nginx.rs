//! The metrics of ingress-nginx by their names and labels, for dashboards that exist (`--nginx-metrics`).
//!
//! Written by hand: their counters do not end in `_total`, as OpenMetrics wants it, so they are of unknown type there.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::Scrape;
use crate::l7::traffic::{Buckets, Detail, LENGTHS, SIZES, TIMES, TrafficCounts, TrafficKey};
use crate::x509;

/// What ingress-nginx calls itself.
const CLASS: &str = "k8s.io/ingress-nginx";

/// Appends all of them.
pub(super) fn write(out: &mut String, scrape: &Scrape) -> fmt::Result {
    let own = own(scrape);
    requests(out, scrape, &own)?;
    type Of = (&'static str, &'static str, fn(&Detail) -> &Buckets, &'static [u64], f64);
    let histograms: [Of; 7] = [
        ("request_duration_seconds", "Time until the end of the answer", |detail| &detail.request_time, &TIMES, 1e6),
        ("connect_duration_seconds", "Time to connect to the endpoint", |detail| &detail.connect_time, &TIMES, 1e6),
        ("header_duration_seconds", "Time until the endpoint answers", |detail| &detail.header_time, &TIMES, 1e6),
        ("response_duration_seconds", "Time until its answer ends", |detail| &detail.response_time, &TIMES, 1e6),
        ("request_size", "Bytes of the body of a request", |detail| &detail.request_size, &LENGTHS, 1.0),
        ("response_size", "Bytes of the body of an answer", |detail| &detail.response_size, &SIZES, 1.0),
        ("bytes_sent", "The same, by its older name", |detail| &detail.response_size, &SIZES, 1.0),
    ];
    for (name, help, of, bounds, unit) in histograms {
        describe(out, name, "histogram", help)?;
        for (key, counts) in scrape.traffic.iter() {
            if let Some(detail) = &counts.detail {
                histogram(out, name, &labels(&own, key), of(detail), bounds, unit)?;
            }
        }
    }
    process(out, scrape, &own)?;
    certificates(out, scrape, &own)?;
    orphans(out, scrape, &own)
}

fn requests(out: &mut String, scrape: &Scrape, own: &str) -> fmt::Result {
    describe(out, "requests", "unknown", "Requests of clients")?;
    scrape.traffic.iter().try_for_each(|(key, TrafficCounts { requests, .. })| {
        writeln!(out, "nginx_ingress_controller_requests{{{}}} {requests}", labels(own, key))
    })
}

fn histogram(out: &mut String, name: &str, labels: &str, of: &Buckets, bounds: &[u64], unit: f64) -> fmt::Result {
    let mut below = 0;
    for (bound, count) in bounds.iter().zip(&of.counts) {
        below += count;
        let bound = *bound as f64 / unit;
        writeln!(out, "nginx_ingress_controller_{name}_bucket{{{labels},le=\"{bound}\"}} {below}")?;
    }
    let total = of.total();
    writeln!(out, "nginx_ingress_controller_{name}_bucket{{{labels},le=\"+Inf\"}} {total}")?;
    writeln!(out, "nginx_ingress_controller_{name}_sum{{{labels}}} {}", of.sum as f64 / unit)?;
    writeln!(out, "nginx_ingress_controller_{name}_count{{{labels}}} {total}")
}

/// What concerns the process as a whole.
fn process(out: &mut String, scrape: &Scrape, own: &str) -> fmt::Result {
    let front = scrape.front.unwrap_or_default();
    describe(out, "nginx_process_requests_total", "unknown", "Requests of clients")?;
    writeln!(out, "nginx_ingress_controller_nginx_process_requests_total{{{own}}} {}", front.total_requests())?;
    describe(out, "nginx_process_connections_total", "unknown", "Connections of clients")?;
    for state in ["accepted", "handled"] {
        let connections = front.connections;
        writeln!(
            out,
            "nginx_ingress_controller_nginx_process_connections_total{{{own},state=\"{state}\"}} {connections}"
        )?;
    }
    describe(out, "nginx_process_connections", "gauge", "Connections of clients that are open")?;
    let open = front.active_connections;
    writeln!(out, "nginx_ingress_controller_nginx_process_connections{{{own},state=\"active\"}} {open}")?;
    describe(out, "config_last_reload_successful", "gauge", "1 if what was asked for last is in force")?;
    let ready = u8::from(scrape.view.missing.is_empty());
    writeln!(out, "nginx_ingress_controller_config_last_reload_successful{{{own}}} {ready}")?;
    describe(out, "build_info", "unknown", "Version of weir")?;
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "nginx_ingress_controller_build_info{{{own},release=\"{version}\",repository=\"weir\"}} 1")
}

fn certificates(out: &mut String, scrape: &Scrape, own: &str) -> fmt::Result {
    let tls = &scrape.view.routes.tls;
    let mut served = Vec::new();
    for (host, entry) in &tls.hosts {
        let held = entry.certificate.as_ref().and_then(|name| tls.certificates.get_key_value(name));
        let Some((secret, certificate)) = held else { continue };
        let (namespace, name) = secret.split_once('/').unwrap_or(("", secret));
        let (host, namespace, name) = (Escaped(host), Escaped(namespace), Escaped(name));
        let labels =
            format!("{own},host=\"{host}\",namespace=\"{namespace}\",secret_name=\"{name}\",class=\"{CLASS}\"");
        served.push((labels, certificate));
    }
    describe(out, "ssl_expire_time_seconds", "gauge", "Until when the certificate of a host is valid")?;
    for (labels, certificate) in &served {
        let until = certificate.not_after;
        writeln!(out, "nginx_ingress_controller_ssl_expire_time_seconds{{{labels}}} {until}")?;
    }
    describe(out, "ssl_certificate_info", "gauge", "Which certificate a host has")?;
    for (labels, certificate) in &served {
        let Some(marks) = x509::marks(&certificate.chain) else { continue };
        let (issuer, organization, serial) =
            (Escaped(&marks.issuer), Escaped(&marks.organization), Escaped(&marks.serial));
        let which = format!(
            "identifier=\"{issuer}-{serial}\",issuer_common_name=\"{issuer}\",issuer_organization=\"{organization}\",\
serial_number=\"{serial}\",public_key_algorithm=\"{}\"",
            marks.algorithm
        );
        writeln!(out, "nginx_ingress_controller_ssl_certificate_info{{{labels},{which}}} 1")?;
    }
    Ok(())
}

/// Ingresses that lead to a Service that is not there, or to one without endpoints.
fn orphans(out: &mut String, scrape: &Scrape, own: &str) -> fmt::Result {
    let routes = &scrape.view.routes;
    // By Ingress: whether a Service, and whether endpoints are missing.
    let mut missing = BTreeMap::<&str, [bool; 2]>::new();
    for entry in routes.hosts.values().flat_map(|entries| entries.iter()) {
        let endpoints = |name: &String| {
            routes.external.contains_key(name) || routes.upstreams.get(name).is_some_and(|all| !all.is_empty())
        };
        let [no_service, no_endpoint] = missing.entry(&entry.ingress).or_default();
        match &entry.upstream {
            None => *no_service = true,
            Some(name) => *no_endpoint |= !endpoints(name),
        }
    }
    describe(out, "orphan_ingress", "gauge", "1 if a Service of an Ingress or its endpoints are missing")?;
    for (ingress, is_missing) in missing {
        let (namespace, name) = ingress.split_once('/').unwrap_or(("", ingress));
        let (namespace, name) = (Escaped(namespace), Escaped(name));
        for (kind, is_missing) in ["no-service", "no-endpoint"].into_iter().zip(is_missing) {
            writeln!(
                out,
                "nginx_ingress_controller_orphan_ingress{{{own},namespace=\"{namespace}\",ingress=\"{name}\",type=\"{kind}\"}} {}",
                u8::from(is_missing)
            )?;
        }
    }
    Ok(())
}

fn describe(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP nginx_ingress_controller_{name} {help}.")?;
    writeln!(out, "# TYPE nginx_ingress_controller_{name} {kind}")
}

/// Labels of all of them. The node has the place of the pod: there is one front on each.
fn own(scrape: &Scrape) -> String {
    let node = scrape.view.node.as_deref().unwrap_or_default();
    format!("controller_class=\"{CLASS}\",controller_namespace=\"\",controller_pod=\"{}\"", Escaped(node))
}

fn labels(own: &str, key: &TrafficKey) -> String {
    let (namespace, ingress) = key.ingress.split_once('/').unwrap_or_default();
    let service = key.service.split_once('/').map_or("", |(_, name)| name);
    let host = if key.host.is_empty() || key.host == "*" { "_" } else { &key.host };
    let canary = key.canary.replace(['/', ':'], "-");
    format!(
        "{own},host=\"{}\",namespace=\"{}\",ingress=\"{}\",service=\"{}\",path=\"{}\",canary=\"{}\",method=\"{}\",status=\"{}\"",
        Escaped(host),
        Escaped(namespace),
        Escaped(ingress),
        Escaped(service),
        Escaped(&key.path),
        Escaped(&canary),
        key.method,
        key.status
    )
}

/// The value of a label.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            character => f.write_char(character),
        })
    }
}
