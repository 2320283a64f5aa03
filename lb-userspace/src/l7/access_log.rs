//! The access log: one line per request, like nginx's `combined` with what happened behind the front added.
//!
//! ```text
//! CLIENT - - [TIME] "REQUEST" STATUS BYTES "REFERER" "USER-AGENT" SECONDS "HOST" [UPSTREAM] ENDPOINT
//! ```
//!
//! Workers collect lines and hand them over in batches; a thread of its own writes them, so that a slow reader of the
//! log costs lines and never requests.

mod form;
mod session;
mod text;
mod time;
mod tries;

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::HeaderValue;
use hyper::{Method, Uri, Version};

use crate::model::settings::LogSettings;

pub use form::Form;
pub use session::Session;
pub use tries::{Tries, Try};

/// A batch is handed over when it is so long.
const BATCH: usize = 16 * 1024;
/// Batches that may wait for the writer.
const QUEUE: usize = 256;

/// What a line tells.
#[derive(Clone, Debug)]
pub struct Line {
    /// The client.
    pub client: IpAddr,
    /// The request line; `None` if the request was refused unread.
    pub request: Option<(Method, Uri, Version)>,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of the answer's body that were handed to the connection.
    pub bytes: u64,
    /// `Referer`.
    pub referer: Option<HeaderValue>,
    /// `User-Agent`.
    pub user_agent: Option<HeaderValue>,
    /// `Host`.
    pub host: Option<HeaderValue>,
    /// From the head of the request to the end of the answer.
    pub duration: Duration,
    /// `namespace/service:port`.
    pub upstream: Option<Arc<str>>,
    /// Endpoints that were tried.
    pub tries: Tries,
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Bytes of the backend's body.
    pub received: u64,
    /// What the line says, if the settings of the front say it.
    pub form: Option<Form>,
}

impl Line {
    /// Appends the line.
    pub fn write(&self, now: SystemTime, out: &mut Vec<u8>) {
        match &self.form {
            Some(form) => form.write(self, now, out),
            None => self.write_usual(now, out),
        }
    }

    /// Without the machinery of `fmt`, which took a fifth of the time of a request's line for each number.
    fn write_usual(&self, now: SystemTime, out: &mut Vec<u8>) {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        text::address(self.client, out);
        out.extend_from_slice(b" - - [");
        time::append(seconds, out);
        out.extend_from_slice(b"] \"");
        match &self.request {
            Some((method, uri, version)) => {
                escape(method.as_str().as_bytes(), out);
                out.push(b' ');
                escape(uri.path_and_query().map_or(uri.path(), |target| target.as_str()).as_bytes(), out);
                out.push(b' ');
                text::version(*version, out);
            }
            None => out.push(b'-'),
        }
        out.extend_from_slice(b"\" ");
        text::number(u64::from(self.status), out);
        out.push(b' ');
        text::number(self.bytes, out);
        out.extend_from_slice(b" \"");
        field(self.referer.as_ref(), out);
        out.extend_from_slice(b"\" \"");
        field(self.user_agent.as_ref(), out);
        out.extend_from_slice(b"\" ");
        text::seconds(self.duration, out);
        out.extend_from_slice(b" \"");
        field(self.host.as_ref(), out);
        out.extend_from_slice(b"\" [");
        out.extend_from_slice(self.upstream.as_deref().unwrap_or("-").as_bytes());
        out.extend_from_slice(b"] ");
        match self.tries.last() {
            Some(Try { endpoint, .. }) => text::endpoint(*endpoint, out),
            None => out.push(b'-'),
        }
        out.push(b'\n');
    }
}

fn field(value: Option<&HeaderValue>, out: &mut Vec<u8>) {
    escape(value.map_or(b"-", |value| value.as_bytes()), out);
}

/// Clients choose these bytes: nothing but printable ASCII reaches the log, and no quote that would end the field.
fn escape(mut bytes: &[u8], out: &mut Vec<u8>) {
    let is_odd = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7f..);
    while let Some(at) = bytes.iter().position(is_odd) {
        out.extend_from_slice(&bytes[..at]);
        // Writing to a Vec does not fail.
        let _ = write!(out, "\\x{:02X}", bytes[at]);
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
}

/// A worker's end of the log.
#[derive(Debug)]
pub struct Log {
    batch: Vec<u8>,
    lines: u64,
    writer: Option<SyncSender<Vec<u8>>>,
}

impl Log {
    /// Without a writer nothing is logged.
    pub fn new(writer: Option<SyncSender<Vec<u8>>>) -> Self {
        Log { batch: Vec::new(), lines: 0, writer }
    }

    /// Whether lines are wanted.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Adds a line; returns how many were lost.
    pub fn add(&mut self, line: &Line, now: SystemTime) -> u64 {
        line.write(now, &mut self.batch);
        self.added()
    }

    /// Adds one about a connection of a TCP port.
    pub fn add_session(&mut self, session: &Session, log: &LogSettings, now: SystemTime) -> u64 {
        session.write(log, now, &mut self.batch);
        self.added()
    }

    fn added(&mut self) -> u64 {
        self.lines += 1;
        if self.batch.len() < BATCH { 0 } else { self.flush() }
    }

    /// Hands over what there is; returns how many lines were lost because too many are waiting.
    pub fn flush(&mut self) -> u64 {
        let lines = std::mem::take(&mut self.lines);
        let batch = std::mem::take(&mut self.batch);
        match &self.writer {
            Some(writer) if lines > 0 => match writer.try_send(batch) {
                Ok(()) => 0,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => lines,
            },
            _ => 0,
        }
    }
}

/// A queue for batches. The thread that calls [`write_all`] empties it.
pub fn queue() -> (SyncSender<Vec<u8>>, Receiver<Vec<u8>>) {
    sync_channel(QUEUE)
}

/// Writes batches until no worker is left or nobody reads the log any more.
pub fn write_all(batches: &Receiver<Vec<u8>>, mut out: impl Write) {
    while let Ok(batch) = batches.recv() {
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            client: [192, 0, 2, 1].into(),
            request: Some((Method::GET, Uri::from_static("/a?b=c"), Version::HTTP_11)),
            status: 200,
            bytes: 12,
            referer: None,
            user_agent: Some(HeaderValue::from_bytes(b"x\"\\\xff\ty").expect("a value")),
            host: Some(HeaderValue::from_static("a.example:80")),
            duration: Duration::from_micros(1500),
            upstream: Some("default/web:80".into()),
            tries: Tries::of(([10, 0, 0, 1], 8080).into()),
            request_bytes: 0,
            received: 0,
            form: None,
        }
    }

    fn text(line: &Line) -> String {
        let mut out = Vec::new();
        line.write(UNIX_EPOCH + Duration::from_secs(1_795_199_179), &mut out);
        String::from_utf8(out).expect("a line is text")
    }

    #[test]
    fn lines() {
        assert_eq!(
            text(&line()),
            "192.0.2.1 - - [20/Nov/2026:18:26:19 +0000] \"GET /a?b=c HTTP/1.1\" 200 12 \"-\" \
             \"x\\x22\\x5C\\xFF\\x09y\" 0.002 \"a.example:80\" [default/web:80] 10.0.0.1:8080\n"
        );
        let refused = Line {
            request: None,
            status: 400,
            host: None,
            user_agent: None,
            upstream: None,
            tries: Tries::default(),
            ..line()
        };
        assert_eq!(
            text(&refused),
            "192.0.2.1 - - [20/Nov/2026:18:26:19 +0000] \"-\" 400 12 \"-\" \"-\" 0.002 \"-\" [-] -\n"
        );
    }

    #[test]
    fn a_full_queue_loses_lines_and_counts_them() {
        let (writer, reader) = sync_channel(1);
        let mut log = Log::new(Some(writer));
        assert_eq!(log.add(&line(), UNIX_EPOCH), 0);
        assert_eq!(log.flush(), 0);
        log.add(&line(), UNIX_EPOCH);
        log.add(&line(), UNIX_EPOCH);
        assert_eq!(log.flush(), 2);
        assert_eq!(reader.try_recv().map(|batch| batch.iter().filter(|&&byte| byte == b'\n').count()), Ok(1));
        assert!(reader.try_recv().is_err());
    }
}
