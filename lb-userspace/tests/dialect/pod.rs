//! Backends: they answer with what they were asked, or as a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A request as a backend received it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method, target and version.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }
}

type Answer = dyn Fn(&Asked) -> String + Send + Sync;

/// A backend on a thread of its own, which ends with the test process.
pub(crate) struct Pod {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Pod {
    /// Answers 200 with the line of the request.
    pub(crate) fn echo() -> Self {
        Self::answering(|asked| answer("200 OK", &[], &asked.line))
    }

    /// Answers as the function says, with a whole response.
    pub(crate) fn answering(answer: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, remembered): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (answer, remembered) = (Arc::clone(&answer), Arc::clone(&remembered));
                std::thread::spawn(move || serve(stream, &*answer, &remembered));
            }
        });
        Pod { address, seen }
    }

    /// Accepts by its backlog alone, and answers nothing, for as long as the test runs.
    pub(crate) fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::mem::forget(listener);
        Self::at(address)
    }

    /// Answers with this text.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::answering(move |_| answer("200 OK", &[], name))
    }

    /// Somebody else who listens there.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Pod { address, seen: Arc::default() }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A whole response.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn serve(stream: TcpStream, answer: &Answer, seen: &Mutex<Vec<Asked>>) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        let response = answer(&asked);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        if writer.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut asked = Asked { line: lines.first()?.clone(), headers, body: Vec::new() };
    if let Some(length) = asked.header("content-length").and_then(|length| length.parse().ok()) {
        asked.body.resize(length, 0);
        reader.read_exact(&mut asked.body).ok()?;
    } else if asked.header("transfer-encoding") == Some("chunked") {
        asked.body = chunks(reader)?;
    }
    Some(asked)
}

fn chunks(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
