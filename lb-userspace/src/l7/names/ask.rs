//! Asking name servers.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::message::{self, Answer, Kind};
use super::system::{System, in_hosts};
use super::{Files, NameError};

/// The system's configuration is read again after so long.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// Longest answer over UDP without extensions (RFC 1035 section 2.3.4), and some more.
const DATAGRAM: usize = 4096;

/// Asks for addresses.
#[derive(Debug)]
pub(super) struct Asker {
    /// Instead of the system's, if there are any.
    servers: Vec<SocketAddr>,
    system: RefCell<Option<(Instant, System, Arc<Files>)>>,
    random: RandomState,
    asked: Cell<u64>,
}

impl Asker {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Asker { servers, system: RefCell::default(), random: RandomState::new(), asked: Cell::new(0) }
    }

    /// All addresses of a name, or those of IPv4, and how long they hold.
    pub(super) async fn addresses(&self, name: &str, ipv4_only: bool) -> Result<(Vec<IpAddr>, Duration), NameError> {
        let (system, files) = self.system();
        let mut written = in_hosts(&files.hosts, name.trim_end_matches('.'));
        written.retain(|address| address.is_ipv4() || !ipv4_only);
        if !written.is_empty() {
            return Ok((written, READ_AGAIN));
        }
        let mut outcome = Err(NameError::Invalid);
        for candidate in system.candidates(name) {
            let v4 = self.of_kind(&system, &candidate, Kind::A);
            let found = if ipv4_only {
                v4.await
            } else {
                let (v4, v6) = tokio::join!(v4, self.of_kind(&system, &candidate, Kind::Aaaa));
                together(v4, v6)
            };
            match found {
                Ok(found) => return Ok(found),
                // A name that does not exist is completed otherwise; that nobody answers says more.
                Err(error) if outcome != Err(NameError::NoAnswer) => outcome = Err(error),
                Err(_) => {}
            }
        }
        outcome
    }

    async fn of_kind(&self, system: &System, name: &str, kind: Kind) -> Result<(Vec<IpAddr>, Duration), NameError> {
        for server in (0..system.attempts).flat_map(|_| &system.servers) {
            let question = message::question(self.id(), name, kind).ok_or(NameError::Invalid)?;
            match timeout(system.timeout, ask(*server, &question, kind)).await {
                Ok(Ok(Answer::Addresses(found, time))) if !found.is_empty() => return Ok((found, time)),
                Ok(Ok(Answer::Addresses(..) | Answer::NoName)) => return Err(NameError::NoAddress),
                // The next server may know.
                Ok(Ok(Answer::Failed | Answer::CutOff) | Err(_)) | Err(_) => {}
            }
        }
        Err(NameError::NoAnswer)
    }

    /// Not to be guessed: who can might answer in the place of the server.
    fn id(&self) -> u16 {
        self.asked.set(self.asked.get().wrapping_add(1));
        self.random.hash_one(self.asked.get()) as u16
    }

    /// The system's configuration, and its hosts file.
    fn system(&self) -> (System, Arc<Files>) {
        let now = Instant::now();
        let known = self.system.borrow().as_ref().filter(|(at, ..)| now < *at + READ_AGAIN).cloned();
        let (mut system, files) = match known {
            Some((_, system, files)) => (system, files),
            None => {
                let files = Files::known();
                let system = System::parse(&files.resolv);
                self.system.replace(Some((now, system.clone(), Arc::clone(&files))));
                (system, files)
            }
        };
        if !self.servers.is_empty() {
            system.servers.clone_from(&self.servers);
        }
        (system, files)
    }
}

type Found = Result<(Vec<IpAddr>, Duration), NameError>;

/// Addresses of both families; those of one are enough.
fn together(v4: Found, v6: Found) -> Found {
    match (v4, v6) {
        (Ok((mut found, time)), Ok((more, other))) => {
            found.extend(more);
            Ok((found, time.min(other)))
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(NameError::NoAnswer), _) | (_, Err(NameError::NoAnswer)) => Err(NameError::NoAnswer),
        (Err(error), Err(_)) => Err(error),
    }
}

async fn ask(server: SocketAddr, question: &[u8], kind: Kind) -> io::Result<Answer> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    // A socket of its own for each question: its port is random, and only the server's datagrams reach it.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match message::read(&buffer[..length], question, kind) {
            Some(Answer::CutOff) => return ask_at_length(server, question, kind).await,
            Some(answer) => return Ok(answer),
            // An answer to something else.
            None => {}
        }
    }
}

async fn ask_at_length(server: SocketAddr, question: &[u8], kind: Kind) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&(question.len() as u16).to_be_bytes()).await?;
    stream.write_all(question).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut buffer = vec![0; length];
    stream.read_exact(&mut buffer).await?;
    message::read(&buffer, question, kind).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
