//! Speaks with BIRD: writes its configuration, and asks it on its control socket.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::announce::bird::control::{Answer, AnswerError, Protocol, configured, protocols};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};

/// What BIRD reads, and where it answers, in the folder that it shares with the agent.
const CONFIGURATION: &str = "bird.conf";
const SOCKET: &str = "bird.ctl";
/// BIRD answers within this time, or is not there.
const PATIENCE: Duration = Duration::from_secs(2);
/// BIRD may have another user, who shares the folder by its group; the file holds passwords.
const MODE: u32 = 0o640;

/// The BIRD of this node.
pub(super) struct Speech {
    folder: PathBuf,
    /// What stands in the file, once that is known.
    written: Option<String>,
    /// BIRD has not been told to read it.
    unread: bool,
    /// Why BIRD does not take it.
    refused: Option<String>,
}

/// What BIRD says.
pub(super) struct Heard {
    /// All its protocols.
    pub(super) protocols: Vec<Protocol>,
    /// Why it does not take its configuration.
    pub(super) refused: Option<String>,
}

/// Why BIRD is not heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum BirdError {
    /// Its configuration cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers.
    #[error("cannot speak with BIRD at {path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says something else than BIRD does.
    #[error("who answers at {path} is not BIRD: {source}")]
    Answer {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: AnswerError,
    },
}

impl BirdError {
    pub(super) fn problem(&self) -> Problem {
        let (code, expected) = match self {
            Self::Write { .. } => (code::BIRD_REFUSED, "a folder that the agent may write to"),
            Self::Socket { .. } | Self::Answer { .. } => (code::BIRD_UNREACHABLE, "a BIRD that runs"),
        };
        Problem::error(code, &ObjectRef::default(), self).expected(expected)
    }
}

impl Speech {
    pub(super) fn new(folder: &Path) -> Self {
        // a BIRD that runs may have read anything
        Self { folder: folder.to_owned(), written: None, unread: true, refused: None }
    }

    /// Writes the configuration, if it is not what stands there: as a whole, so that BIRD never reads half of it.
    pub(super) fn write(&mut self, text: &str) -> Result<(), BirdError> {
        if self.written.as_deref() == Some(text) {
            return Ok(());
        }
        let path = self.folder.join(CONFIGURATION);
        if fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            self.written = Some(text.to_owned());
            return Ok(());
        }
        self.replace(&path, text).map_err(|source| BirdError::Write { path, source })?;
        (self.written, self.unread) = (Some(text.to_owned()), true);
        Ok(())
    }

    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let part = self.folder.join("bird.conf.new");
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    }

    /// Has BIRD read its configuration, if it has not, and asks how it stands.
    pub(super) async fn ask(&mut self) -> Result<Heard, BirdError> {
        let path = self.folder.join(SOCKET);
        let late = |_| BirdError::Socket { path: path.clone(), source: io::ErrorKind::TimedOut.into() };
        let heard = timeout(PATIENCE, self.converse(&path)).await.map_err(late).flatten();
        if heard.is_err() {
            self.unread = true; // the one that comes next may have read another
        }
        heard
    }

    async fn converse(&mut self, path: &Path) -> Result<Heard, BirdError> {
        let failed = |source| BirdError::Socket { path: path.to_owned(), source };
        let mut socket = UnixStream::connect(path).await.map_err(failed)?;
        answer(&mut socket, path).await?; // the greeting
        if self.unread {
            socket.write_all(b"configure\n").await.map_err(failed)?;
            self.refused = configured(&answer(&mut socket, path).await?).err();
            self.unread = false;
        }
        socket.write_all(b"show protocols\n").await.map_err(failed)?;
        let protocols = protocols(&answer(&mut socket, path).await?);
        Ok(Heard { protocols, refused: self.refused.clone() })
    }
}

async fn answer(socket: &mut UnixStream, path: &Path) -> Result<Vec<(u16, String)>, BirdError> {
    let mut answer = Answer::default();
    let mut buffer = [0; 4096];
    loop {
        let read = socket.read(&mut buffer).await;
        let ended = |read| if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) };
        let count = read.and_then(ended).map_err(|source| BirdError::Socket { path: path.to_owned(), source })?;
        let taken = answer.take(&buffer[..count]);
        let taken = taken.map_err(|source| BirdError::Answer { path: path.to_owned(), source })?;
        if let Some(lines) = taken {
            return Ok(lines);
        }
    }
}
