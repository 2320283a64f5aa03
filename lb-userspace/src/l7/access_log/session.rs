//! Lines about connections of TCP ports.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::form::write_value;
use super::time::{Iso8601, Time};
use crate::model::filters::Variable;
use crate::model::settings::{LogFormat, LogPart, LogSettings, LogVariable};

/// One connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// The client.
    pub client: SocketAddr,
    /// Where it arrived.
    pub front: SocketAddr,
    /// 200, 400 without a PROXY header that is wanted, 502 without an endpoint, 503 if the client has too many connections, as
    /// nginx counts them.
    pub status: u16,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    peer: SocketAddr,
    started: Instant,
    endpoint: Option<(SocketAddr, Duration)>,
}

impl Session {
    /// Begins now.
    pub fn new(client: SocketAddr, front: SocketAddr) -> Self {
        let started = Instant::now();
        Session { client, front, status: 200, received: 0, sent: 0, peer: client, started, endpoint: None }
    }

    /// There is a connection to an endpoint.
    pub fn connected(&mut self, endpoint: SocketAddr) {
        self.endpoint = Some((endpoint, self.started.elapsed()));
    }

    /// Appends the line.
    pub(super) fn write(&self, log: &LogSettings, now: SystemTime, out: &mut Vec<u8>) {
        let format = log.stream.as_ref().unwrap_or(&USUAL);
        for part in format.parts() {
            let mut value = String::new();
            // Writing to a String does not fail.
            let _ = match part {
                LogPart::Text(text) => {
                    out.extend_from_slice(text.as_bytes());
                    continue;
                }
                LogPart::Request(variable) => self.of_connection(variable, &mut value),
                LogPart::Log(variable) => self.value(variable, now, &mut value),
            };
            write_value(log.escape, value.as_bytes(), out);
        }
        out.push(b'\n');
    }

    fn of_connection(&self, variable: &Variable, out: &mut String) -> fmt::Result {
        match variable {
            Variable::RemoteAddr | Variable::BinaryRemoteAddr => write!(out, "{}", self.client.ip().to_canonical()),
            Variable::RemotePort => write!(out, "{}", self.client.port()),
            Variable::ServerAddr => write!(out, "{}", self.front.ip().to_canonical()),
            Variable::ServerPort => write!(out, "{}", self.front.port()),
            _ => Ok(()),
        }
    }

    fn value(&self, variable: &LogVariable, now: SystemTime, out: &mut String) -> fmt::Result {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        match variable {
            LogVariable::Status => write!(out, "{}", self.status),
            LogVariable::BytesSent | LogVariable::UpstreamBytesReceived => write!(out, "{}", self.sent),
            LogVariable::BytesReceived | LogVariable::UpstreamBytesSent => write!(out, "{}", self.received),
            LogVariable::SessionTime => write!(out, "{:.3}", self.started.elapsed().as_secs_f64()),
            LogVariable::TimeLocal => write!(out, "{}", Time(since.as_secs())),
            LogVariable::TimeIso8601 => write!(out, "{}", Iso8601(since.as_secs())),
            LogVariable::Msec => write!(out, "{:.3}", since.as_secs_f64()),
            LogVariable::Protocol => out.write_str("TCP"),
            LogVariable::ProxyProtocolAddr => write!(out, "{}", self.peer.ip().to_canonical()),
            LogVariable::UpstreamAddr => self.endpoint.map_or(Ok(()), |(endpoint, _)| write!(out, "{endpoint}")),
            LogVariable::UpstreamConnectTime => {
                self.endpoint.map_or(Ok(()), |(_, time)| write!(out, "{:.3}", time.as_secs_f64()))
            }
            _ => Ok(()),
        }
    }
}

/// What ingress-nginx writes where nothing is said.
static USUAL: LazyLock<LogFormat> = LazyLock::new(|| {
    let usual = "[$remote_addr] [$time_local] $protocol $status $bytes_sent $bytes_received $session_time";
    // All of these names are known.
    LogFormat::parse(usual).unwrap_or_default()
});
