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
    let path = format!("/api/v1/{}", name.as_str());
    let answer = get(admin, &path).map_err(|source| AskError::Nobody { admin, source })?;
    body(&answer).map_err(|found| AskError::Answer { admin, path, found })
}

fn get(admin: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&admin, CONNECT)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")?;
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
        code => Err(code.map_or("no status".to_owned(), |code| code.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_taken_from_200_only() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n{}"), Ok("{}".to_owned()));
        assert_eq!(body(b"HTTP/1.1 404 Not Found\r\n\r\nno"), Err("404".to_owned()));
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
