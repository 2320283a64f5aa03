//! What is left of a request when the answer to it has begun. Backends may go on to read it: it is sent until its end, until
//! the client gives up the answer, or, after the answer, until the backend takes no more of it or has had its time.

use std::future::poll_fn;
use std::task::Waker;
use std::time::Duration;

use tokio::time::timeout;

use super::Wire;

/// A backend that has answered and takes nothing of the request for so long reads no more of it. Longer than twice that no
/// request lasts behind its answer: nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Goes on to send, if there is anything left.
pub(super) fn send(wire: &Wire) {
    let mut connection = wire.0.borrow_mut();
    if connection.sending.goes_on() {
        let task = tokio::task::spawn_local(run(wire.clone()));
        connection.rest = Some((task.abort_handle(), None));
    }
}

async fn run(wire: Wire) {
    let mut answered = false;
    loop {
        let before = wire.0.borrow().sending.sent();
        let all = poll_fn(|cx| {
            let connection = &mut *wire.0.borrow_mut();
            connection.sending.poll(&mut connection.io, cx)
        });
        let result = timeout(PATIENCE, all).await;
        let connection = &mut *wire.0.borrow_mut();
        match result {
            // The answer ends with a request that breaks off, and whoever reads it hears so.
            Ok(_) => {
                connection.rest.take().into_iter().filter_map(|(_, reader)| reader).for_each(Waker::wake);
                return;
            }
            Err(_) if answered || (connection.receiving.is_complete() && connection.sending.sent() == before) => {
                connection.rest = None;
                return;
            }
            Err(_) => answered = connection.receiving.is_complete(),
        }
    }
}
