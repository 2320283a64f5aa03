//! HTTP/1 with a client (RFC 9112): its requests one after the other, and the answers to them.
//!
//! The guard passes on one message at a time, and only what is beyond doubt; here it is taken apart. Nothing is kept of a request
//! whose answer has gone out, so a connection that waits for the next one takes little memory.

mod answer;
mod date;
mod head;
mod line;
mod received;
mod rest;
mod sending;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Body;
use hyper::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::body::{ClientBody, ResponseBody};
use super::connection::closing;
use super::guard::Guard;
use super::proxy::{self, Client};
use super::worker::Worker;
use date::Dates;
use head::Asked;
use line::Line;
pub use received::Received;
use sending::Sending;

/// How long who has come when the worker ends may take to ask.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// Buffers that wait for their next use, and how large they may be.
const MOST_BUFFERS: usize = 64;
const LARGEST_BUFFER: usize = 64 << 10;

/// What answers of a worker have in common.
#[derive(Debug, Default)]
pub struct Outbox {
    dates: Dates,
    buffers: RefCell<Vec<Vec<u8>>>,
}

impl Outbox {
    fn take(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < MOST_BUFFERS && buffer.capacity() <= LARGEST_BUFFER {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}

/// Serves a connection until its end.
pub(super) async fn serve<I>(worker: &Rc<Worker>, guard: Guard<I>, client: Rc<Client>)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let connection = Connection { line: Rc::new(Line::new(guard)), worker, client };
    // An error here concerns this connection only, and who caused it knows.
    let _ = connection.run().await;
    worker.counters.hit(connection.client.guard.cut_for());
}

struct Connection<'a, I: AsyncRead + AsyncWrite + Unpin> {
    line: Rc<Line<I>>,
    worker: &'a Rc<Worker>,
    client: Rc<Client>,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Drop for Connection<'_, I> {
    /// Who still reads the body of a request does not keep the connection open.
    fn drop(&mut self) {
        self.line.take();
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + 'static> Connection<'_, I> {
    async fn run(&self) -> io::Result<()> {
        let mut end = std::pin::pin!(self.end());
        loop {
            let head = tokio::select! {
                biased;
                head = poll_fn(|cx| self.line.poll_head(cx)) => head?,
                () = end.as_mut() => None,
            };
            let Some(head) = head else { break };
            let asked = head.asked;
            let body = self.line.body(&head);
            let request = head.request.map(|()| ClientBody::Http1(body));
            // What a request needs takes no memory of connections that wait for one.
            let response = Box::pin(proxy::answer(Rc::clone(self.worker), Rc::clone(&self.client), request)).await;
            if !self.send(response, asked).await? {
                break;
            }
        }
        poll_fn(|cx| self.line.with_io(|io| io.poll_shutdown(cx))).await
    }

    /// Sends an answer; false: no request may follow it.
    async fn send(&self, response: Response<ResponseBody>, asked: Asked) -> io::Result<bool> {
        let outbox = &self.worker.outbox;
        let mut out = outbox.take();
        let (interim, goes_on) = poll_fn(|cx| Poll::Ready(self.line.begin_answer(cx))).await;
        out.extend_from_slice(interim);
        let asked = Asked { keeps: asked.keeps && goes_on, ..asked };
        let (head, body) = response.into_parts();
        let form = answer::write(&head, &body.size_hint(), asked, &outbox.dates, &mut out);
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        drop(head);
        let mut sending = Sending::new(out, form.framing, body);
        let sent = poll_fn(|cx| sending.poll(&self.line, cx)).await;
        outbox.give_back(sending.into_buffer());
        sent?;
        if switches {
            self.hand_over();
            return Ok(false);
        }
        let settled = poll_fn(|cx| self.line.poll_settled(cx)).await;
        Ok(form.keeps && settled)
    }

    /// The connection is a tunnel now.
    fn hand_over(&self) {
        if let Some(io) = self.line.take() {
            self.client.hand_over(Box::new(io));
        }
    }

    /// A request may be on its way when the worker begins to drain: HTTP/1 cannot say that another one will not be answered
    /// but with an answer (RFC 9112 section 9.6). So idle connections stay open as long as the worker accepts, and whoever
    /// asks on one meanwhile is told that it was the last time. At the end, what has arrived by then is answered, too: the
    /// runtime looks at its sockets before a task that yields goes on. Who has just come is still about to ask.
    async fn end(&self) {
        closing(self.worker).await;
        if !self.client.has_been_served() {
            sleep(FIRST_REQUEST).await;
        }
        tokio::task::yield_now().await;
    }
}
