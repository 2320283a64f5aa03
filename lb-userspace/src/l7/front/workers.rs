//! The threads of the front: one worker per core, and one that writes the access log.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use tokio::sync::{Notify, mpsc, watch};

use super::{FrontError, start_error};
use crate::l7::access_log::{self, Log};
use crate::l7::connection::Scheme;
#[cfg(feature = "otlp")]
use crate::l7::control::Collector;
use crate::l7::control::{Hello, Listeners};
use crate::l7::health::{self, Health};
#[cfg(feature = "otlp")]
use crate::l7::otlp;
use crate::l7::router::Router;
use crate::l7::worker::{self, Limits, Shared};

/// The worker threads.
pub(super) struct Workers {
    pub(super) routes: watch::Sender<Arc<Router>>,
    drain: watch::Sender<bool>,
    pub(super) shared: Vec<Arc<Shared>>,
    /// What endpoints answer that are asked whether they can serve.
    pub(super) health: Health,
    /// Told when a worker serves from a new table.
    pub(super) in_force: Arc<Notify>,
    pub(super) ended: mpsc::UnboundedReceiver<(usize, Result<(), String>)>,
    running: usize,
}

impl Workers {
    /// One thread for each set of listeners, and one for the access log, which tells when it has written everything.
    pub(super) fn start(
        sockets: Vec<Sockets>,
        hello: &Hello,
        limits: Limits,
    ) -> Result<(Self, Option<Receiver<()>>), FrontError> {
        let (routes, drain, in_force) =
            (watch::Sender::new(Arc::default()), watch::Sender::new(false), Arc::new(Notify::new()));
        let (log, written) = if hello.access_log { start_log()? } else { (None, None) };
        let (tell_end, ended) = mpsc::unbounded_channel();
        let limiter = Arc::default();
        let health = health::start(routes.subscribe()).map_err(start_error("start the health checks"))?;
        #[cfg(feature = "otlp")]
        let exporter = start_spans(hello.collector.as_ref())?;
        let mut shared = Vec::new();
        for (number, Sockets { listeners, quic }) in sockets.into_iter().enumerate() {
            let worker = Arc::new(Shared::default());
            let start = worker::Start {
                listeners,
                quic,
                routes: routes.subscribe(),
                drain: drain.subscribe(),
                shared: Arc::clone(&worker),
                unhealthy: health.unhealthy.subscribe(),
                in_force: Arc::clone(&in_force),
                log: Log::new(log.clone()),
                limits,
                limiter: Arc::clone(&limiter),
                #[cfg(feature = "otlp")]
                exporter: Some(exporter.clone()),
            };
            shared.push(worker);
            let end = End { number, tell: tell_end.clone() };
            let thread = std::thread::Builder::new().name(format!("front-{number}"));
            thread.spawn(move || end.tell(worker::run(start))).map_err(start_error("start a worker"))?;
        }
        let running = shared.len();
        Ok((Workers { routes, drain, shared, health, in_force, ended, running }, written))
    }

    pub(super) fn drain(&self) {
        self.drain.send_replace(true);
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// True when the last worker has ended. One that ends before its time is an error: a new process serves better than
    /// one with fewer cores.
    pub(super) fn note_end(&mut self, ended: Option<(usize, Result<(), String>)>) -> Result<bool, FrontError> {
        match ended {
            Some((_, Ok(()))) if self.is_draining() => {
                self.running -= 1;
                Ok(self.running == 0)
            }
            Some((worker, result)) => Err(FrontError::Worker {
                worker,
                reason: result.err().unwrap_or_else(|| "nobody told it to".to_owned()),
            }),
            None => Ok(true),
        }
    }
}

/// The sockets of one worker.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    listeners: Vec<(Scheme, TcpListener)>,
    quic: Vec<UdpSocket>,
}

/// Each worker gets one listener of each scheme and family that there is, and one socket for HTTP/3 of each family.
pub(super) fn per_worker(listeners: Listeners) -> Vec<Sockets> {
    let is_v6 = |listener: &TcpListener| listener.local_addr().is_ok_and(|address| address.is_ipv6());
    let mut sets: Vec<Sockets> = Vec::new();
    for (scheme, listeners) in [(Scheme::Http, listeners.http), (Scheme::Https, listeners.https)] {
        let (v6, v4): (Vec<_>, Vec<_>) = listeners.into_iter().partition(is_v6);
        for family in [v4, v6] {
            sets.resize_with(sets.len().max(family.len()), Sockets::default);
            for (set, listener) in sets.iter_mut().zip(family) {
                set.listeners.push((scheme, listener));
            }
        }
    }
    let is_v6 = |socket: &UdpSocket| socket.local_addr().is_ok_and(|address| address.is_ipv6());
    let (v6, v4): (Vec<_>, Vec<_>) = listeners.quic.into_iter().partition(is_v6);
    for family in [v4, v6] {
        for (set, socket) in sets.iter_mut().zip(family) {
            set.quic.push(socket);
        }
    }
    sets
}

type LogEnds = (Option<std::sync::mpsc::SyncSender<Vec<u8>>>, Option<Receiver<()>>);

fn start_log() -> Result<LogEnds, FrontError> {
    let (sender, batches) = access_log::queue();
    let (tell, written) = sync_channel(1);
    let thread = std::thread::Builder::new().name("access-log".to_owned());
    let write = move || {
        access_log::write_all(&batches, io::stdout());
        let _ = tell.send(());
    };
    thread.spawn(write).map_err(start_error("start the access log"))?;
    Ok((Some(sender), Some(written)))
}

#[cfg(feature = "otlp")]
fn start_spans(flags: Option<&Collector>) -> Result<otlp::Exporter, FrontError> {
    let to = otlp::start().map_err(start_error("start the export of spans"))?;
    Ok(otlp::Exporter { to, flags: flags.cloned() })
}

/// Tells that a worker has ended, also when it panicked.
struct End {
    number: usize,
    tell: mpsc::UnboundedSender<(usize, Result<(), String>)>,
}

impl End {
    fn tell(self, result: io::Result<()>) {
        let _ = self.tell.send((self.number, result.map_err(|error| error.to_string())));
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.tell.send((self.number, Err("it panicked".to_owned())));
        }
    }
}
