//! The life of the front's processes, one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::absent::Absent;
use super::backoff::Backoff;
use super::pid_file::{PidFile, RunningFront};
use super::{FrontConfig, FrontStatus, SupervisorError, process};
use crate::l7::control::{self, ControlError, FromFront, Listeners, ToFront};
use crate::l7::counters::FrontCounters;
use crate::l7::delta::delta;
use crate::l7::front::{MAX_NAMED, MAX_UNHEALTHY};
use crate::l7::names::Files;
use crate::l7::table::RouteTable;

/// A front that says nothing for so long (it reports every second) is replaced.
const SILENCE: Duration = Duration::from_secs(30);
/// A front that drains is given so long: its own limits, and a little more.
pub(super) const DRAIN: Duration = Duration::from_secs(40);
/// What draining takes beyond the time for requests.
const MARGIN: Duration = Duration::from_secs(10);

/// The table that the front should serve from.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    /// 0: none yet.
    pub(super) version: u64,
    table: Arc<RouteTable>,
}

impl Published {
    /// Takes a table if it differs; tells whether it does.
    pub(super) fn replace(&mut self, table: Arc<RouteTable>) -> bool {
        // Of what has not changed most is the very same, which this sees.
        let differs = || !Arc::ptr_eq(&self.table, &table) && !delta(&self.table, &table).is_empty();
        let changed = self.version == 0 || differs();
        if changed {
            *self = Published { version: self.version + 1, table };
        }
        changed
    }

    /// Number of routes.
    pub(super) fn routes(&self) -> usize {
        self.table.hosts.values().map(|routes| routes.len()).sum::<usize>() + usize::from(self.table.default.is_some())
    }
}

/// Keeps one front running.
pub(super) struct Supervisor {
    config: FrontConfig,
    listeners: Arc<Listeners>,
    published: watch::Receiver<Published>,
    status: watch::Sender<FrontStatus>,
    shutdown: watch::Receiver<bool>,
    pid_file: PidFile,
    /// Fronts of earlier agents, until they are told to end.
    predecessors: Vec<RunningFront>,
    /// What processes that have ended had counted.
    past: FrontCounters,
    /// Routes whose counts are to be forgotten.
    absent: Absent,
    first: Option<(Child, UnixStream)>,
    /// Processes that drain because somebody else has told them to.
    leaving: Vec<JoinHandle<()>>,
}

/// How a process ended.
enum End {
    /// On request.
    Shutdown,
    /// It has not: nobody supervises it any more.
    Abandoned,
    /// By itself, or because it was not well.
    Failure(String),
    /// It will: somebody else has told it to.
    Leaving(Child),
}

impl Supervisor {
    /// Starts the first process.
    pub(super) fn start(
        config: FrontConfig,
        listeners: Arc<Listeners>,
        published: watch::Receiver<Published>,
        status: watch::Sender<FrontStatus>,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Self, SupervisorError> {
        let run_dir = &config.run_dir;
        std::fs::create_dir_all(run_dir).map_err(|source| SupervisorError::RunDir {
            path: run_dir.clone(),
            action: "create it",
            source,
        })?;
        let pid_file = PidFile::new(run_dir);
        let predecessors = pid_file.running();
        let first = Some(process::spawn(&config, &listeners)?);
        let past = FrontCounters::default();
        let absent = Absent::default();
        let leaving = Vec::new();
        Ok(Supervisor {
            config,
            listeners,
            published,
            status,
            shutdown,
            pid_file,
            predecessors,
            past,
            absent,
            first,
            leaving,
        })
    }

    /// Runs until shutdown.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let end = match self.next_process() {
                Ok((child, control)) => self.accompany(child, control).await,
                Err(error) => End::Failure(crate::l7::chain(&error)),
            };
            self.note_end();
            let reason = match end {
                End::Failure(reason) => reason,
                End::Shutdown => break,
                End::Abandoned => return,
                End::Leaving(child) => self.let_go(child),
            };
            let wait = backoff.after(started.elapsed());
            tracing::warn!(reason, wait_ms = wait.as_millis() as u64, "the front ended and is started again");
            self.status.send_modify(|status| {
                status.restarts += 1;
                status.last_failure = Some(reason);
            });
            tokio::select! {
                () = sleep(wait) => {}
                () = requested(&mut self.shutdown) => break,
            }
        }
        for leaving in self.leaving {
            // Its panic was reported where it happened.
            let _ = leaving.await;
        }
        self.pid_file.write([]).unwrap_or_else(|error| {
            tracing::error!(path = %self.pid_file.path().display(), %error, "the front's pid file could not be removed");
        });
    }

    /// It finishes what is in flight while the next one serves.
    fn let_go(&mut self, mut child: Child) -> String {
        let asked = self.published.borrow().table.settings.clients.shutdown.map(Duration::from_millis);
        self.leaving.retain(|leaving| !leaving.is_finished());
        self.leaving.push(tokio::spawn(async move { end_in_time(&mut child, asked).await }));
        "it was told to end, and drains".to_owned()
    }

    fn next_process(&mut self) -> Result<(Child, UnixStream), SupervisorError> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => process::spawn(&self.config, &self.listeners),
        }
    }

    fn note_end(&mut self) {
        self.status.send_modify(|status| {
            (status.pid, status.version) = (None, None);
            status.unresolved.clear();
            status.unhealthy = Arc::default();
            status.counters.unhealthy_endpoints = 0;
            status.unconfined = None;
            status.counters.active_connections = 0;
            self.past = status.counters;
        });
    }

    /// Feeds and watches a process until its end.
    async fn accompany(&mut self, mut child: Child, control: UnixStream) -> End {
        self.status.send_modify(|status| status.pid = child.id());
        self.remember(child.id());
        let (from_front, to_front) = control.into_split();
        let files = Files::read();
        let mut session = Session { to_front, sent: Published::default(), heard: Instant::now(), files };
        let mut messages = listen(from_front);
        self.published.mark_changed();
        loop {
            let silent = session.heard + SILENCE;
            let result = tokio::select! {
                exit = child.wait() => return End::Failure(exit.map_or_else(|error| error.to_string(), |exit| exit.to_string())),
                () = requested(&mut self.shutdown) => {
                    self.listeners = Arc::default();
                    return session.drain(child).await;
                }
                message = messages.recv() => match message {
                    Some(message) => {
                        if matches!(message, FromFront::InForce { .. }) && !self.predecessors.is_empty() {
                            self.take_over(&child);
                        }
                        if message == FromFront::Leaving {
                            return End::Leaving(child);
                        }
                        self.hear(&mut session, message).await
                    }
                    None => Err("it closed its control socket".to_owned()),
                },
                changed = self.published.changed() => match changed {
                    Ok(()) => {
                        let published = self.published.borrow_and_update().clone();
                        session.send(published).await
                    }
                    // The agent's end was dropped without a shutdown: the process goes on alone.
                    Err(_) => return End::Abandoned,
                },
                () = sleep_until(silent) => Err(format!("it said nothing for {} s", SILENCE.as_secs())),
            };
            if let Err(reason) = result {
                return end_badly(child, reason).await;
            }
        }
    }

    /// The process serves: earlier ones may go.
    fn take_over(&mut self, child: &Child) {
        for predecessor in self.predecessors.drain(..) {
            match predecessor.drain() {
                Ok(()) => tracing::info!(pid = predecessor.pid, "the front of an earlier agent drains"),
                Err(error) => {
                    tracing::error!(pid = predecessor.pid, %error, "the front of an earlier agent could not be told to end");
                }
            }
        }
        self.remember(child.id());
    }

    /// Writes down which fronts a later agent has to end.
    fn remember(&self, pid: Option<u32>) {
        let pids = pid.into_iter().chain(self.predecessors.iter().map(|predecessor| predecessor.pid));
        if let Err(error) = self.pid_file.write(pids) {
            tracing::error!(path = %self.pid_file.path().display(), %error, "the front's pid file could not be written");
        }
    }

    async fn hear(&mut self, session: &mut Session, message: FromFront) -> Result<(), String> {
        session.heard = Instant::now();
        match message {
            FromFront::InForce { version } => self.status.send_modify(|status| status.version = Some(version)),
            FromFront::Counters(counters) => {
                let mut sum = self.past;
                sum += *counters;
                self.status.send_if_modified(|status| std::mem::replace(&mut status.counters, sum) != sum);
                // It comes once a second.
                return session.tell_files().await;
            }
            FromFront::Unconfined(why) => self.status.send_modify(|status| status.unconfined = Some(why)),
            FromFront::Traffic(portion) => self.status.send_modify(|status| {
                let (absent, in_detail) = (&mut self.absent, self.config.in_detail);
                absent.forget(&session.sent.table, &mut status.traffic, session.heard);
                let traffic = Arc::make_mut(&mut status.traffic);
                portion.into_iter().for_each(|(key, counts)| traffic.hear(key, &counts, in_detail));
            }),
            // A message has an end, so their length is bounded; their number is here.
            FromFront::Unresolved(mut names) => {
                while names.len() > MAX_NAMED {
                    names.pop_last();
                }
                self.status
                    .send_if_modified(|status| std::mem::replace(&mut status.unresolved, names.clone()) != names);
            }
            FromFront::Unhealthy(endpoints) => self.status.send_modify(|status| {
                status.unhealthy = Arc::new(endpoints.into_iter().take(MAX_UNHEALTHY).collect());
            }),
            // That was heard before.
            FromFront::Leaving => {}
            FromFront::Mismatch { .. } => {
                let published = std::mem::take(&mut session.sent);
                return session.send(published).await;
            }
        }
        Ok(())
    }
}

/// What was said between the agent and one process.
struct Session {
    to_front: OwnedWriteHalf,
    sent: Published,
    heard: Instant,
    /// What it was told of the files by which names are found.
    files: Files,
}

impl Session {
    /// It opens no files: it is told when they change.
    async fn tell_files(&mut self) -> Result<(), String> {
        let files = Files::read();
        if files == self.files {
            return Ok(());
        }
        self.files.clone_from(&files);
        self.tell(&ToFront::Files(files)).await
    }

    /// Sends a table: whole the first time, then what changed.
    async fn send(&mut self, published: Published) -> Result<(), String> {
        let Published { version, table } = &published;
        if *version == self.sent.version {
            return Ok(());
        }
        let message = match self.sent.version {
            0 => ToFront::Snapshot { version: *version, table: RouteTable::clone(table) },
            base => ToFront::Delta { version: *version, base, delta: delta(&self.sent.table, table) },
        };
        self.tell(&message).await?;
        self.sent = published;
        Ok(())
    }

    async fn tell(&mut self, message: &ToFront) -> Result<(), String> {
        match timeout(SILENCE, control::write(&mut self.to_front, message)).await {
            Ok(Ok(())) => Ok(()),
            // Restarting the front would not help; it keeps what it has.
            Ok(Err(error @ ControlError::TooLong { .. })) => {
                tracing::error!(%error, "the route table is too large for the front and was not sent");
                Ok(())
            }
            Ok(Err(error)) => Err(crate::l7::chain(&error)),
            Err(_) => Err("it did not take a route table in time".to_owned()),
        }
    }

    async fn drain(mut self, mut child: Child) -> End {
        let asked = self.sent.table.settings.clients.shutdown.map(Duration::from_millis);
        match self.tell(&ToFront::Drain).await {
            Ok(()) => end_in_time(&mut child, asked).await,
            Err(_) => drop(child.kill().await),
        }
        End::Shutdown
    }
}

/// Waits for a process that drains; kills it if it takes longer than it may, which somebody may have asked for.
async fn end_in_time(child: &mut Child, asked: Option<Duration>) {
    let limit = asked.map_or(DRAIN, |asked| DRAIN.max(asked + MARGIN));
    if timeout(limit, child.wait()).await.is_err() {
        // Fails only if it has ended already.
        let _ = child.kill().await;
    }
}

/// Waits for the request to shut down; for ever if nobody is left to make it.
async fn requested(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|shutdown| *shutdown).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Ends a process that is not well; its exit status tells more, if it has ended by itself.
async fn end_badly(mut child: Child, reason: String) -> End {
    let reason = match timeout(Duration::from_millis(100), child.wait()).await {
        Ok(Ok(exit)) => exit.to_string(),
        _ => reason,
    };
    // Fails only if it has ended already.
    let _ = child.kill().await;
    End::Failure(reason)
}

fn listen(mut from_front: OwnedReadHalf) -> mpsc::Receiver<FromFront> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok(Some(message)) = control::read(&mut from_front, control::MAX_REPORT).await {
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    receiver
}
