//! Asking an agent for a listing: one small blocking GET.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Name;

/// An agent that is there answers at once.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(10);
/// More than 100,000 rows take.
const LARGEST: u64 = 256 << 20;
/// Of a refusal, so much is told.
const LONGEST_REASON: usize = 200;
/// Our own server sends fewer.
const HEADERS: usize = 16;

/// No listing could be had.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("no agent answers at {admin}: {source}")]
    Nobody {
        /// The address.
        admin: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else is there, or an agent that cannot answer.
    #[error("{admin} answers {path} with {found}; expected 200 and JSON")]
    Answer {
        /// The address.
        admin: SocketAddr,
        /// What was asked for.
        path: String,
        /// What came.
        found: String,
    },
}

/// The JSON of a listing, from the agent at `admin`.
pub fn ask(admin: SocketAddr, name: Name) -> Result<String, AskError> {
    get(admin, &format!("/api/v1/{}", name.as_str()))
}

/// What the agent at `admin` answers at this path, arguments included.
pub fn get(admin: SocketAddr, path: &str) -> Result<String, AskError> {
    request(admin, "GET", path, ANSWER)
}

/// The same where the agent takes its time: it begins to answer after `pause`.
pub fn get_after(admin: SocketAddr, path: &str, pause: Duration) -> Result<String, AskError> {
    request(admin, "GET", path, ANSWER + pause)
}

/// The same for what changes something.
pub fn post(admin: SocketAddr, path: &str) -> Result<String, AskError> {
    request(admin, "POST", path, ANSWER)
}

fn request(admin: SocketAddr, method: &str, path: &str, patience: Duration) -> Result<String, AskError> {
    let answer = exchange(admin, method, path, patience).map_err(|source| AskError::Nobody { admin, source })?;
    body(&answer).map_err(|found| AskError::Answer { admin, path: path.to_owned(), found })
}

fn exchange(admin: SocketAddr, method: &str, path: &str, patience: Duration) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&admin, CONNECT)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let length = if method == "GET" { "" } else { "content-length: 0\r\n" };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {admin}\r\n{length}cache-control: no-cache\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The body of a 200; else what came instead.
fn body(answer: &[u8]) -> Result<String, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let start = match response.parse(answer) {
        Ok(httparse::Status::Complete(start)) => start,
        Ok(httparse::Status::Partial) => return Err("half an answer".to_owned()),
        Err(error) => return Err(format!("what is not HTTP ({error})")),
    };
    match response.code {
        Some(200) => String::from_utf8(answer[start..].to_vec()).map_err(|_| "what is not text".to_owned()),
        Some(code) => Err(match first_line(&answer[start..]) {
            Some(line) => format!("{code} ({line})"),
            None => code.to_string(),
        }),
        None => Err("no status".to_owned()),
    }
}

/// Why not, as our own server says it.
fn first_line(text: &[u8]) -> Option<String> {
    let line = text.split(|byte| *byte == b'\n').next().filter(|line| !line.is_empty())?;
    Some(String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_taken_from_200_only() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n{}"), Ok("{}".to_owned()));
        assert_eq!(body(b"HTTP/1.1 404 Not Found\r\n\r\n"), Err("404".to_owned()));
        assert_eq!(body(b"HTTP/1.1 400 Bad Request\r\n\r\nlimit\t0\nx"), Err("400 (limit0)".to_owned()));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nx"), Err("half an answer".to_owned()));
        assert!(body(b"SSH-2.0-x\r\n").is_err_and(|found| found.contains("not HTTP")));
    }

    #[test]
    fn nobody_is_told_with_the_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = listener.local_addr().unwrap();
        drop(listener);
        let error = ask(admin, Name::Status).unwrap_err();
        assert!(matches!(error, AskError::Nobody { .. }) && error.to_string().contains(&admin.to_string()), "{error}");
    }
}
