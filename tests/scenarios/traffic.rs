//! Clients of many kinds, each of which has to be answered whatever happens meanwhile, and what they count.

pub(crate) mod certificates;
mod clients;
mod secure;
pub(crate) mod site;
pub(crate) mod sockets;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

pub(crate) use secure::secured;
pub(crate) use site::{HOST, Site, Target};

/// What a client does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// GET on a connection that is kept.
    Kept,
    /// GET on a connection of its own.
    Fresh,
    /// POST with a body, on a connection that is kept.
    Post,
    /// GET over TLS on a connection that is kept.
    KeptTls,
    /// GET over TLS on a connection of its own, with a whole handshake.
    FreshTls,
    /// GET over HTTP/2 on a connection that is kept until the server says goodbye.
    Http2,
    /// A WebSocket that is opened, used and closed.
    Socket,
    /// A message on a WebSocket that stays open.
    KeptSocket,
    /// A new connection at layer 4.
    Tcp,
    /// A line on a connection at layer 4 that stays open.
    Flow,
    /// A datagram of a new flow.
    Udp,
}

impl Kind {
    pub(crate) const ALL: [Kind; 11] = [
        Kind::Kept,
        Kind::Fresh,
        Kind::Post,
        Kind::KeptTls,
        Kind::FreshTls,
        Kind::Http2,
        Kind::Socket,
        Kind::KeptSocket,
        Kind::Tcp,
        Kind::Flow,
        Kind::Udp,
    ];

    fn client(self, target: &Target) -> Box<dyn Client> {
        match self {
            Kind::Kept => Box::new(clients::Http::kept(target)),
            Kind::Fresh => Box::new(clients::Http::fresh(target)),
            Kind::Post => Box::new(clients::Http::post(target)),
            Kind::KeptTls => Box::new(secure::Https::kept(target)),
            Kind::FreshTls => Box::new(secure::Https::fresh(target)),
            Kind::Http2 => Box::new(secure::Http2::new(target)),
            Kind::Socket => Box::new(sockets::Short::new(target)),
            Kind::KeptSocket => Box::new(sockets::Long::new(target)),
            Kind::Tcp => Box::new(clients::Lines::fresh(target)),
            Kind::Flow => Box::new(clients::Lines::kept(target)),
            Kind::Udp => Box::new(clients::Datagrams::new(target)),
        }
    }
}

/// Somebody who asks.
trait Client {
    /// Asks once; an error unless the answer is right.
    fn exchange(&mut self) -> Result<()>;
}

#[derive(Debug, Default)]
struct Count {
    answered: AtomicU64,
    failed: AtomicU64,
    /// The longest exchange, in ms.
    longest: AtomicU64,
}

/// What clients met.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    end: AtomicBool,
    counts: [Count; Kind::ALL.len()],
    failures: Mutex<Vec<String>>,
}

/// So many failures are kept with their reasons.
const TOLD: usize = 20;

impl Tally {
    /// Asks until the end, with a pause behind each answer. In the namespace of the client.
    pub(crate) fn drive(&self, kind: Kind, target: &Target, pause: Duration) {
        let mut client = kind.client(target);
        let count = &self.counts[kind as usize];
        while !self.is_over() {
            let begun = Instant::now();
            match client.exchange() {
                Ok(()) => drop(count.answered.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    count.failed.fetch_add(1, Ordering::Relaxed);
                    self.keep(format!("{kind:?}, after {:?}: {error:#}", begun.elapsed()));
                    client = kind.client(target);
                }
            }
            let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            count.longest.fetch_max(took, Ordering::Relaxed);
            thread::sleep(pause);
        }
    }

    /// Nobody asks any more.
    pub(crate) fn end(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Exchanges of all kinds that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.counts.iter().map(|count| count.answered.load(Ordering::Relaxed)).sum()
    }

    /// The same that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.counts.iter().map(|count| count.failed.load(Ordering::Relaxed)).sum()
    }

    /// An error that tells of failures by their kinds, if there are any.
    pub(crate) fn check(&self) -> Result<()> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(self.failed() == 0, "{} exchanges failed:\n{}\n{self}", self.failed(), failures.join("\n"));
        Ok(())
    }

    fn keep(&self, failure: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < TOLD {
            failures.push(failure);
        }
    }
}

/// A line for each kind that asked.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in Kind::ALL {
            let Count { answered, failed, longest } = &self.counts[kind as usize];
            let [answered, failed, longest] = [answered, failed, longest].map(|count| count.load(Ordering::Relaxed));
            if answered + failed > 0 {
                let name = format!("{kind:?}");
                writeln!(f, "{name:>10}: {answered} answered, {failed} failed, the longest took {longest} ms")?;
            }
        }
        Ok(())
    }
}

/// Runs something on the cluster's nodes while clients ask, one thread for each of the kinds, and waits for them.
pub(crate) fn while_asked<T>(
    tally: &Tally,
    target: &Target,
    clients: &[(Kind, Duration)],
    netns: &weir_lab::Netns,
    run: impl FnOnce() -> Result<T>,
) -> Result<T> {
    thread::scope(|scope| {
        // A thread belongs to the namespace of the one that started it.
        let asking = scope.spawn(|| {
            netns.run(|| {
                thread::scope(|scope| {
                    for &(kind, pause) in clients {
                        scope.spawn(move || tally.drive(kind, target, pause));
                    }
                });
                Ok(())
            })
        });
        let ran = {
            // Also where it panics: the scope waits for those who ask.
            let _end = End(tally);
            run()
        };
        let asked = asking.join().unwrap_or_else(|_| anyhow::bail!("panicked"));
        ran.and_then(|done| asked.map(|()| done))
    })
}

struct End<'a>(&'a Tally);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
