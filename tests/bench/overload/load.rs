//! Clients that ask at a fixed rate, whatever becomes of what they asked before.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use weir_lab::{Request, Session};

pub(crate) const HOST: &str = "slow.test";
/// Enough of them never to wait for one another: each asks when its time has come, and its last answer is long there.
const CLIENTS: u32 = 256;

/// How long answers took, from when they were to be asked for.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) served: Vec<Duration>,
    pub(crate) shed: Vec<Duration>,
}

/// Requests a second that are served of those who ask without a pause: as many as may be in flight.
pub(crate) fn capacity(front: SocketAddr, clients: usize, length: Duration) -> Result<u64> {
    let heard = together(clients, |_| {
        let (begun, mut session, mut heard) = (Instant::now(), Session::keeping(front), Heard::default());
        while begun.elapsed() < length {
            heard.ask(&mut session, Instant::now())?;
        }
        Ok(heard)
    })?;
    Ok(heard.served.len() as u64 / length.as_secs())
}

/// Offers so many requests a second.
pub(crate) fn offer(front: SocketAddr, rate: u64, length: Duration) -> Result<Heard> {
    let between = Duration::from_secs_f64(f64::from(CLIENTS) / rate as f64);
    let begun = Instant::now() + Duration::from_millis(100);
    together(CLIENTS as usize, |number| {
        let (mut session, mut heard) = (Session::keeping(front), Heard::default());
        let mut due = begun + between * number / CLIENTS;
        while due < begun + length {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            heard.ask(&mut session, due)?;
            due += between;
        }
        Ok(heard)
    })
}

impl Heard {
    fn ask(&mut self, session: &mut Session, due: Instant) -> Result<()> {
        let answer = session.send(&Request::get(HOST, "/"))?;
        match answer.status {
            200 => self.served.push(due.elapsed()),
            503 => {
                ensure!(answer.header("retry-after") == Some("1"), "{answer:?}");
                self.shed.push(due.elapsed());
            }
            _ => bail!("{answer:?}"),
        }
        Ok(())
    }
}

/// Runs so many clients at once, and puts together what they heard.
fn together(clients: usize, client: impl Fn(u32) -> Result<Heard> + Sync) -> Result<Heard> {
    let client = &client;
    thread::scope(|scope| {
        let numbers = 0..u32::try_from(clients)?;
        let all: Vec<_> = numbers.map(|number| scope.spawn(move || client(number))).collect();
        let mut heard = Heard::default();
        for one in all {
            let one = one.join().unwrap_or_else(|_| bail!("panicked"))?;
            heard.served.extend(one.served);
            heard.shed.extend(one.shed);
        }
        Ok(heard)
    })
}

/// The median, and what 99 of 100 keep to.
pub(crate) fn quantiles(times: &[Duration]) -> (Duration, Duration) {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    (at(50), at(99))
}
