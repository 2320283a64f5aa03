//! Lines as the settings of the front say: by the names of nginx's variables. What a request says is taken down when it
//! comes, the rest when its answer has gone out. Every value is escaped: who asks does not choose what the log says.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{DATE, HeaderMap, HeaderName};

use super::time::{Iso8601, Time};
use super::{Line, Try, escape};
use crate::l7::filter::Seen;
use crate::l7::forward::Ends;
use crate::l7::table::RouteEntry;
use crate::l7::trace;
use crate::model::filters::{Variable, Variables};
use crate::model::settings::{Escape, FrontSettings, LogPart, LogVariable};

/// As long as any (RFC 9110 section 5.6.7).
const DATE_LINE: &str = "date: Sat, 21 Nov 2026 23:16:31 GMT\r\n";

/// One line.
#[derive(Clone, Debug)]
pub struct Form {
    settings: Arc<FrontSettings>,
    /// What was known from the beginning, by part.
    values: Vec<Vec<u8>>,
    entry: Option<Arc<RouteEntry>>,
    /// Headers of the answer that the line names.
    sent: HeaderMap,
    /// Bytes of the answer's head.
    head_bytes: u64,
}

impl Form {
    /// Takes down what a request says. `None`: nobody has said what lines say.
    pub fn new(settings: &Arc<FrontSettings>, seen: &Seen<'_>) -> Option<Self> {
        let format = settings.log.line()?;
        let values = format.parts().iter().map(|part| early(part, seen)).collect();
        Some(Form { settings: Arc::clone(settings), values, entry: None, sent: HeaderMap::new(), head_bytes: 0 })
    }

    /// The request cannot be read: only the connection is known.
    pub fn refused(&mut self) {
        let parts = self.settings.log.line().map(|format| format.parts()).unwrap_or_default();
        for (part, value) in parts.iter().zip(&mut self.values) {
            if !is_of_connection(part) {
                value.clear();
            }
        }
    }

    /// The rule that the request has.
    pub fn route(&mut self, entry: &Arc<RouteEntry>) {
        self.entry = Some(Arc::clone(entry));
    }

    /// The headers of the answer.
    pub fn answered(&mut self, headers: &HeaderMap) {
        // "HTTP/1.1 200 OK", two bytes after each line and at the end, and the date, which hyper adds.
        let of_all: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let of_date = if headers.contains_key(DATE) { 0 } else { DATE_LINE.len() };
        self.head_bytes = (19 + of_date + of_all) as u64;
        for part in self.settings.log.line().map(|format| format.parts()).unwrap_or_default() {
            if let LogPart::Log(LogVariable::Sent(name)) = part
                && let Ok(name) = HeaderName::try_from(name.as_str())
                && let Some(value) = headers.get(&name)
            {
                self.sent.insert(name, value.clone());
            }
        }
    }

    /// Appends the line.
    pub fn write(&self, line: &Line, now: SystemTime, out: &mut Vec<u8>) {
        let parts = self.settings.log.line().map(|format| format.parts()).unwrap_or_default();
        for (part, early) in parts.iter().zip(&self.values) {
            match part {
                LogPart::Text(text) => out.extend_from_slice(text.as_bytes()),
                LogPart::Request(variable) => match self.of_rule(variable) {
                    Some(value) => self.value(value.as_bytes(), out),
                    None => self.value(early, out),
                },
                LogPart::Log(variable) => {
                    let mut late = String::new();
                    // Writing to a String does not fail.
                    let _ = self.late(variable, line, now, &mut late);
                    self.value(if late.is_empty() { early } else { late.as_bytes() }, out);
                }
            }
        }
        out.push(b'\n');
    }

    fn value(&self, value: &[u8], out: &mut Vec<u8>) {
        write_value(self.settings.log.escape, value, out);
    }

    /// What only the rule knows.
    fn of_rule(&self, variable: &Variable) -> Option<&str> {
        let entry = self.entry.as_deref();
        let of = |of: fn(&RouteEntry) -> &str| Some(entry.map_or("", of));
        match variable {
            Variable::Namespace => of(|entry| entry.ingress.split_once('/').map_or("", |(namespace, _)| namespace)),
            Variable::IngressName => of(|entry| entry.ingress.split_once('/').map_or("", |(_, name)| name)),
            Variable::ServiceName => of(|entry| entry.service.split_once('/').map_or("", |(_, name)| name)),
            Variable::ServicePort => of(|entry| &entry.service_port),
            _ => None,
        }
    }

    fn late(&self, variable: &LogVariable, line: &Line, now: SystemTime, out: &mut String) -> fmt::Result {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        match variable {
            LogVariable::RequestLength => write!(out, "{}", line.request_bytes),
            LogVariable::RequestTime => seconds(Some(line.duration), out),
            LogVariable::Status => write!(out, "{:03}", line.status),
            LogVariable::BodyBytesSent => write!(out, "{}", line.bytes),
            LogVariable::BytesSent => write!(out, "{}", line.bytes + self.head_bytes),
            LogVariable::TimeLocal => write!(out, "{}", Time(since.as_secs())),
            LogVariable::TimeIso8601 => write!(out, "{}", Iso8601(since.as_secs())),
            LogVariable::Msec => seconds(Some(since), out),
            LogVariable::UpstreamAddr => each(line, out, |one, out| write!(out, "{}", one.endpoint)),
            LogVariable::UpstreamStatus => each(line, out, |one, out| match one.answered {
                Some((status, _)) => write!(out, "{status}"),
                None => out.write_str("-"),
            }),
            LogVariable::UpstreamConnectTime => each(line, out, |one, out| seconds(one.connected, out)),
            LogVariable::UpstreamHeaderTime => each(line, out, |one, out| seconds(one.answered.map(|one| one.1), out)),
            LogVariable::UpstreamResponseTime => each(line, out, |one, out| seconds(Some(one.ended), out)),
            LogVariable::UpstreamResponseLength => {
                let last = line.tries.last().map(|last| last.endpoint);
                each(line, out, |one, out| {
                    write!(out, "{}", if Some(one.endpoint) == last { line.received } else { 0 })
                })
            }
            LogVariable::ProxyUpstreamName => out.write_str(&dashed(self.main(line))),
            LogVariable::ProxyAlternativeUpstreamName => {
                let other = line.upstream.as_deref().filter(|taken| self.main(line) != Some(taken));
                out.write_str(&dashed(other))
            }
            LogVariable::Sent(name) => {
                let value = HeaderName::try_from(name.as_str()).ok().and_then(|name| self.sent.get(name));
                out.write_str(&value.map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default())
            }
            _ => Ok(()),
        }
    }

    /// The upstream that the rule names, of which a canary may have taken the place.
    fn main<'a>(&'a self, line: &'a Line) -> Option<&'a str> {
        let named = self.entry.as_ref().and_then(|entry| entry.upstream.as_deref());
        named.or(line.upstream.as_deref())
    }
}

/// Appends a value, escaped.
pub(super) fn write_value(how: Escape, value: &[u8], out: &mut Vec<u8>) {
    match how {
        Escape::Hex if value.is_empty() => out.push(b'-'),
        Escape::Hex => escape(value, out),
        Escape::Json => {
            for character in String::from_utf8_lossy(value).chars() {
                // Writing to a Vec does not fail.
                let _ = match character {
                    '"' | '\\' => write!(out, "\\{character}"),
                    character if character.is_control() => write!(out, "\\u{:04x}", u32::from(character)),
                    character => write!(out, "{character}"),
                };
            }
        }
    }
}

fn seconds(time: Option<Duration>, out: &mut String) -> fmt::Result {
    match time {
        Some(time) => write!(out, "{:.3}", time.as_secs_f64()),
        None => out.write_str("-"),
    }
}

/// One value for each endpoint.
fn each(line: &Line, out: &mut String, write: impl Fn(&Try, &mut String) -> fmt::Result) -> fmt::Result {
    line.tries.iter().enumerate().try_for_each(|(position, one)| {
        out.write_str(if position == 0 { "" } else { ", " })?;
        write(one, out)
    })
}

/// `namespace/service:port` as ingress-nginx writes it.
fn dashed(name: Option<&str>) -> String {
    name.unwrap_or_default().replace(['/', ':'], "-")
}

fn is_of_connection(part: &LogPart) -> bool {
    use LogVariable as Log;
    match part {
        LogPart::Text(_) => true,
        LogPart::Request(variable) => matches!(
            variable,
            Variable::Scheme
                | Variable::RemoteAddr
                | Variable::BinaryRemoteAddr
                | Variable::RemotePort
                | Variable::ServerPort
                | Variable::ServerAddr
        ),
        LogPart::Log(variable) => {
            matches!(variable, Log::ProxyProtocolAddr | Log::SslProtocol | Log::SslCipher | Log::SslServerName)
        }
    }
}

/// What is known from the beginning.
fn early(part: &LogPart, seen: &Seen<'_>) -> Vec<u8> {
    let session = |of: fn(&crate::l7::tls::Session) -> &str| seen.ends.session.as_deref().map_or("", of).into();
    let traced = |of: fn(trace::Context) -> String| trace::Context::of(&seen.head.headers).map(of).unwrap_or_default();
    match part {
        LogPart::Text(_) => Vec::new(),
        // As it came: a template would leave out what is no text.
        LogPart::Request(Variable::Header(name)) => {
            let value = HeaderName::try_from(name.as_str()).ok().and_then(|name| seen.head.headers.get(name));
            value.map(|value| value.as_bytes().to_vec()).unwrap_or_default()
        }
        LogPart::Request(variable) => {
            let mut value = String::new();
            seen.append(variable, &mut value);
            value.into()
        }
        LogPart::Log(LogVariable::Request) => request_line(seen).into(),
        LogPart::Log(LogVariable::ServerProtocol) => format!("{:?}", seen.head.version).into(),
        LogPart::Log(LogVariable::ProxyProtocolAddr) => peer(seen.ends),
        LogPart::Log(LogVariable::SslProtocol) => session(|session| session.version),
        LogPart::Log(LogVariable::SslCipher) => session(|session| session.suite),
        LogPart::Log(LogVariable::SslServerName) => {
            session(|session| session.server_name.as_deref().unwrap_or_default())
        }
        LogPart::Log(LogVariable::TraceId) => traced(|context| context.trace).into(),
        LogPart::Log(LogVariable::SpanId) => traced(|context| context.span).into(),
        LogPart::Log(_) => Vec::new(),
    }
}

fn request_line(seen: &Seen<'_>) -> String {
    let target = seen.head.uri.path_and_query().map_or(seen.head.uri.path(), |target| target.as_str());
    format!("{} {target} {:?}", seen.head.method, seen.head.version)
}

fn peer(ends: &Ends) -> Vec<u8> {
    ends.peer_address().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_end_what_they_stand_in() {
        let written = |how, value: &[u8]| {
            let mut out = Vec::new();
            write_value(how, value, &mut out);
            String::from_utf8(out).expect("text")
        };
        let evil = b"a\"\\\n\x7f\xff\xc3\xa4";
        assert_eq!(written(Escape::Hex, evil), "a\\x22\\x5C\\x0A\\x7F\\xFF\\xC3\\xA4");
        assert_eq!(written(Escape::Json, evil), "a\\\"\\\\\\u000a\\u007f\u{fffd}\u{e4}");
        assert_eq!((written(Escape::Hex, b""), written(Escape::Json, b"")), ("-".to_owned(), String::new()));
    }
}
