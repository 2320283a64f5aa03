//! What is measured.

/// One row of the report.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) tls: bool,
    pub(crate) http2: bool,
    /// A connection for each request.
    pub(crate) close: bool,
    pub(crate) measure: Measure,
    /// The ratio to nginx that is to be reached.
    pub(crate) target: f64,
}

#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// µs of CPU time of the proxy's process.
    CpuPerRequest { requests: u32 },
    /// µs from a request to its answer that 99 of 100 requests keep to, at so many requests a second.
    Latency99 { rate: u32 },
    /// KB of user space memory of the proxy's process per connection that has had one request and waits for the next.
    MemoryPerConnection { connections: u32 },
}

const PLAIN: Case = Case {
    name: "HTTP/1.1, 1 KB",
    path: "/1k",
    tls: false,
    http2: false,
    close: false,
    measure: Measure::CpuPerRequest { requests: 60_000 },
    target: 0.80,
};

pub(crate) fn all() -> Vec<Case> {
    let cpu = |requests| Measure::CpuPerRequest { requests };
    let idle = Measure::MemoryPerConnection { connections: 2_000 };
    vec![
        PLAIN,
        Case { name: "HTTP/1.1 over TLS, 1 KB", tls: true, target: 0.75, ..PLAIN },
        Case { name: "HTTP/2 over TLS, 1 KB", tls: true, http2: true, target: 0.65, ..PLAIN },
        Case {
            name: "new TLS connection for each request",
            tls: true,
            close: true,
            measure: cpu(4_000),
            target: 0.70,
            ..PLAIN
        },
        Case { name: "HTTP/1.1, 100 KB", path: "/100k", measure: cpu(8_000), ..PLAIN },
        Case { name: "HTTP/1.1, 10 MB", path: "/10m", measure: cpu(100), ..PLAIN },
        Case {
            name: "p99 of latency at 4,000 requests a second",
            measure: Measure::Latency99 { rate: 4_000 },
            target: 1.0,
            ..PLAIN
        },
        Case { name: "idle connection", measure: idle, target: 2.0, ..PLAIN },
        Case { name: "idle connection, TLS", tls: true, measure: idle, target: 10.0, ..PLAIN },
    ]
}

impl Case {
    pub(crate) fn unit(&self) -> &'static str {
        match self.measure {
            Measure::CpuPerRequest { .. } => "µs of CPU",
            Measure::Latency99 { .. } => "µs",
            Measure::MemoryPerConnection { .. } => "KB",
        }
    }

    /// The target is the figure itself, not its ratio to nginx.
    pub(crate) fn is_absolute(&self) -> bool {
        matches!(self.measure, Measure::MemoryPerConnection { .. })
    }
}
