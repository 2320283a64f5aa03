use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::netns::Netns;

/// A TCP server that greets and echoes like a pod's, for very many connections: one thread looks after all of them.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
}

/// How long it waits for something to do before it looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(100);
/// Events taken at a time.
const EVENTS: usize = 256;
/// Stands for the listener among the numbers of connections.
const LISTENER: u64 = 0;

impl Echo {
    /// Starts it in a namespace; its greeting is `name node peer`.
    pub fn start(netns: &Netns, at: SocketAddr, name: &str, node: &str) -> Result<Self> {
        let listener = netns.run(|| TcpListener::bind(at).with_context(|| at.to_string()))?;
        listener.set_nonblocking(true)?;
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut server =
            Server { listener, poll, greeting: format!("{name} {node}"), streams: HashMap::new(), next: 1 };
        let until = stop.clone();
        thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                server.turn();
            }
        });
        Ok(Self { stop })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Lets this process open `files` files, for both ends of very many connections, or as many as it may; gives how many.
pub fn raise_file_limit(files: u64) -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return Ok(files);
    }
    // root may go beyond what was meant to be the most
    let maximum = limit.maximum.map(|most| most.max(files));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum }).is_ok() {
        return Ok(files);
    }
    let most = limit.maximum.map_or(files, |most| most.min(files));
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })?;
    Ok(most)
}

struct Server {
    listener: TcpListener,
    poll: OwnedFd,
    greeting: String,
    /// By their numbers.
    streams: HashMap<u64, TcpStream>,
    next: u64,
}

impl Server {
    /// Does what there is to do now.
    fn turn(&mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(PATIENCE.subsec_nanos()) };
        let _ = epoll::wait(&self.poll, spare_capacity(&mut events), Some(&patience));
        for event in events {
            match event.data.u64() {
                LISTENER => self.accept(),
                number => {
                    if self.streams.get_mut(&number).is_some_and(|stream| echo(stream).is_err()) {
                        self.streams.remove(&number);
                    }
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, peer)) = self.listener.accept() {
            let mut greeted = || {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                epoll::add(&self.poll, &stream, EventData::new_u64(self.next), EventFlags::IN)?;
                stream.write_all(format!("{} {peer}\n", self.greeting).as_bytes())
            };
            if greeted().is_ok() {
                self.streams.insert(self.next, stream);
                self.next += 1;
            }
        }
    }
}

/// What has come goes back; an error where the connection has ended.
fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 256];
    match stream.read(&mut bytes) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(length) => stream.write_all(&bytes[..length]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
