//! Clients that ask for what does not change, all the time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use weir_lab::{Request, Session};

/// What clients met.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    end: AtomicBool,
    pub(crate) asked: AtomicUsize,
    pub(crate) failed: AtomicUsize,
}

impl Tally {
    /// No client asks any more.
    pub(crate) fn end(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    /// Asks for hosts in turn until the end, and counts answers that are not 200.
    pub(crate) fn keep_asking(&self, mut session: Session, hosts: &[String]) {
        let requests: Vec<_> = hosts.iter().map(|host| Request::get(host, "/")).collect();
        for request in requests.iter().cycle() {
            if self.end.load(Ordering::Relaxed) {
                return;
            }
            match session.send(request) {
                Ok(answer) if answer.status == 200 => {}
                other => {
                    eprintln!("{request:?}: {other:?}");
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
            // Clients that never rest would measure how busy the machine is.
            thread::sleep(Duration::from_millis(1));
        }
    }
}
