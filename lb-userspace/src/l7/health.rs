//! Active health checks: a thread of its own asks endpoints whether they can serve, and workers look at what it found.
//!
//! What is asked and how is a part of what was found: two Ingresses may lead to one endpoint in different ways and judge it
//! differently. Endpoints behind names of ExternalName Services are not asked: nobody but a request knows them.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{sleep, timeout};

use super::body::RequestBody;
use super::destination;
use super::forward;
use super::pool::{Pool, Reuse};
use super::proxy_protocol::Told;
use super::router::{Router, Upstream};
use super::rules::Rule;
use super::secure::Transport;
use super::table::RouteEntry;
use crate::model::filters::HealthCheck;
use crate::siphash::UNKEYED;

/// A kind of question, and whom it is asked.
type Asked = (u64, SocketAddr);

/// Endpoints that are left out, each for a kind of question.
#[derive(Debug, Default)]
pub struct Unhealthy(BTreeSet<Asked>);

impl Unhealthy {
    /// This one is.
    pub fn has(&self, kind: u64, endpoint: SocketAddr) -> bool {
        !self.0.is_empty() && self.0.contains(&(kind, endpoint))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, SocketAddr)> {
        self.0.iter().copied()
    }

    /// How many endpoints that are.
    pub fn endpoints(&self) -> usize {
        self.0.iter().map(|(_, endpoint)| endpoint).collect::<HashSet<_>>().len()
    }
}

/// What is counted of questions.
#[derive(Debug, Default)]
pub struct Counts {
    /// Asked.
    pub asked: AtomicU64,
    /// Of those, not answered well.
    pub failed: AtomicU64,
}

/// What the thread tells.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Who is left out, as it changes.
    pub unhealthy: watch::Sender<Arc<Unhealthy>>,
    /// What is counted.
    pub counts: Arc<Counts>,
}

/// The kind of question that a route asks of its endpoints; `None`: it asks none.
pub fn kind(entry: &RouteEntry) -> Option<u64> {
    let check = entry.filters.health.as_ref()?;
    let text = serde_json::to_vec(&(check, &entry.filters.backend, &entry.service)).ok()?;
    Some(UNKEYED.hash(&text))
}

/// Starts it; it ends with the routes.
pub fn start(routes: watch::Receiver<Arc<Router>>) -> std::io::Result<Health> {
    let health = Health::default();
    let told = health.clone();
    std::thread::Builder::new().name("health".to_owned()).spawn(move || {
        // Without a runtime nobody is asked, and all are taken for healthy.
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => LocalSet::new().block_on(&runtime, follow(routes, told)),
            Err(error) => tracing::error!(%error, "no health checks"),
        }
    })?;
    Ok(health)
}

/// One endpoint to ask.
#[derive(Clone, Debug)]
struct Question {
    check: HealthCheck,
    transport: Transport,
    service: String,
    asked: Asked,
}

async fn follow(mut routes: watch::Receiver<Arc<Router>>, health: Health) {
    let asker = Rc::new(Asker { pool: Pool::default(), health, left_out: RefCell::default() });
    let mut running: HashMap<Asked, JoinHandle<()>> = HashMap::new();
    loop {
        let wanted = questions(&routes.borrow_and_update());
        running.retain(|asked, task| {
            let stays = wanted.contains_key(asked);
            if !stays {
                task.abort();
                asker.note(*asked, false);
            }
            stays
        });
        for (asked, question) in wanted {
            let asker = Rc::clone(&asker);
            running.entry(asked).or_insert_with(|| tokio::task::spawn_local(asker.watch(question)));
        }
        let asked: HashSet<_> = running.keys().map(|(_, endpoint)| *endpoint).collect();
        asker.pool.sweep(|endpoint| asked.contains(&endpoint));
        if routes.changed().await.is_err() {
            return;
        }
    }
}

/// All that is to be asked.
fn questions(router: &Router) -> HashMap<Asked, Question> {
    let mut questions = HashMap::new();
    for rule in router.rules() {
        let (Some(kind), Some(check)) = (rule.health, rule.entry.filters.health.as_deref()) else { continue };
        let canary = rule.canary.as_ref().map(|canary| canary.upstream);
        for upstream in rule.upstream.into_iter().chain(canary).filter_map(|index| router.upstreams.get(index)) {
            for endpoint in upstream.endpoints.iter().filter(|_| upstream.external.is_none()) {
                let asked = (kind, *endpoint);
                questions.entry(asked).or_insert_with(|| Question {
                    check: check.clone(),
                    transport: transport(rule, upstream),
                    service: rule.entry.service.clone(),
                    asked,
                });
            }
        }
    }
    questions
}

/// As requests go there; with the PROXY protocol nobody is told of.
fn transport(rule: &Rule, upstream: &Upstream) -> Transport {
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    destination::transport_for(rule, upstream, false, Told { client: nobody, front: nobody })
}

struct Asker {
    pool: Pool,
    health: Health,
    left_out: RefCell<BTreeSet<Asked>>,
}

impl Asker {
    /// Asks one endpoint again and again.
    async fn watch(self: Rc<Self>, question: Question) {
        let check = &question.check;
        let interval = Duration::from_millis(check.interval);
        let (mut out, mut in_a_row) = (false, 0);
        // Not all at once.
        sleep(interval.mul_f64(part(question.asked))).await;
        loop {
            let good = self.ask(&question).await;
            self.health.counts.asked.fetch_add(1, Ordering::Relaxed);
            self.health.counts.failed.fetch_add(u64::from(!good), Ordering::Relaxed);
            in_a_row = if good == out { in_a_row + 1 } else { 0 };
            if in_a_row >= if out { check.healthy } else { check.unhealthy } {
                (out, in_a_row) = (!out, 0);
                self.note(question.asked, out);
                let (endpoint, service, path) = (question.asked.1, &question.service, &check.path);
                match out {
                    true => tracing::warn!(%endpoint, service, path, "the endpoint is not healthy, and left out"),
                    false => tracing::info!(%endpoint, service, path, "the endpoint is healthy again"),
                }
            }
            sleep(interval).await;
        }
    }

    /// The endpoint answers well, and in time.
    async fn ask(&self, question: &Question) -> bool {
        let limit = Duration::from_millis(question.check.timeout);
        let status = timeout(limit, self.status(question, limit)).await.ok().flatten();
        status.is_some_and(|status| question.check.expects(status))
    }

    async fn status(&self, question: &Question, limit: Duration) -> Option<u16> {
        let Question { check, transport, asked: (_, endpoint), .. } = question;
        let mut request = Request::new(());
        *request.uri_mut() = Uri::try_from(check.path.as_str()).ok()?;
        let host = check.host.clone().unwrap_or_else(|| endpoint.to_string());
        request.headers_mut().insert(HOST, HeaderValue::try_from(host).ok()?);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("weir-health-check"));
        if transport.http2 {
            forward::for_http2(&mut request, transport.tls.is_some());
        }
        let peer = self.pool.peer(*endpoint);
        // One of HTTP/2 is there for many requests; others are never given back.
        let mut lease = match peer.take(transport, Reuse::Any) {
            Some(lease) => lease,
            None => self.pool.connect(&peer, transport, limit).await.ok()?,
        };
        let request = request.map(|()| RequestBody::whole(Bytes::new()));
        // Its body is not read, and the connection closes.
        let answer = lease.sender.send(request, true).await.ok()?;
        Some(answer.status().as_u16())
    }

    /// Tells workers, if that is something new.
    fn note(&self, asked: Asked, out: bool) {
        let mut left_out = self.left_out.borrow_mut();
        let changed = if out { left_out.insert(asked) } else { left_out.remove(&asked) };
        if changed {
            self.health.unhealthy.send_replace(Arc::new(Unhealthy(left_out.clone())));
        }
    }
}

/// A part of one, spread evenly over what is asked.
fn part((kind, endpoint): Asked) -> f64 {
    let hash = UNKEYED.hash(format!("{kind} {endpoint}").as_bytes());
    hash as f64 / 2f64.powi(64)
}
