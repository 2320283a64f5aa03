//! Connections of TCP ports whose ConfigMap entry asks for the PROXY protocol: passed on as they are, but for its header at
//! the beginning, which is read, written, or both. All other ports are served in the kernel.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::access_log::Session;
use super::connection;
use super::passthrough;
use super::proxy_protocol::{self, Told, Version};
use super::table::Stream;
use super::tunnel::both_ways;
use super::worker::Worker;
use crate::clock;
use crate::model::settings::StreamSettings;

/// Serves a connection until its end.
pub async fn run(worker: &Rc<Worker>, mut client: TcpStream, peer: SocketAddr, front: SocketAddr, stream: &Stream) {
    let mut session = Session::new(peer, front);
    let told = match stream.proxy.decode {
        true => connection::read_told(worker, &mut client, peer, front).await,
        false => Some((peer, front)),
    };
    // Who does not begin as a proxy that is believed gets nothing.
    match told.map(|(from, to)| (from, to, worker.connected(from.ip()))) {
        Some((from, to, counted)) => {
            (session.client, session.front) = (from, to);
            match counted {
                Some(_counted) => pass_on(worker, client, stream, &mut session).await,
                None => session.status = 503,
            }
        }
        None => session.status = 400,
    }
    let view = worker.view();
    let log = &view.router.settings.asked.log;
    if !log.off {
        let lost = worker.log.borrow_mut().add_session(&session, log, clock::wall());
        worker.counters.log_lines_lost.add(lost);
    }
}

async fn pass_on(worker: &Rc<Worker>, client: TcpStream, stream: &Stream, session: &mut Session) {
    let settings = worker.view().router.settings.asked.streams;
    let Some((mut backend, endpoint)) = connect(worker, stream, settings).await else {
        session.status = 502;
        return worker.counters.upstream_failures.increment();
    };
    worker.counters.upstream_connections.increment();
    session.connected(endpoint);
    if stream.proxy.encode {
        // What nginx writes.
        let header = proxy_protocol::write(Version::V1, Told { client: session.client, front: session.front });
        if backend.write_all(&header).await.is_err() {
            session.status = 502;
            return worker.counters.upstream_failures.increment();
        }
    }
    let (received, sent) = both_ways(client, backend, Duration::from_millis(settings.idle)).await;
    (session.received, session.sent) = (received, sent);
}

async fn connect(worker: &Rc<Worker>, stream: &Stream, settings: StreamSettings) -> Option<(TcpStream, SocketAddr)> {
    let tries = match (settings.next, settings.tries) {
        (false, _) => 1,
        (true, 0) => usize::MAX,
        (true, tries) => tries as usize,
    };
    let connection = passthrough::connect(worker, &stream.upstream, tries);
    match settings.next_time {
        0 => connection.await,
        limit => timeout(Duration::from_millis(limit), connection).await.ok()?,
    }
}
