use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::netns::Netns;

/// One request, sent on a connection of its own.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Request {
    /// A GET for `path` at `host`.
    pub fn get(host: &str, path: &str) -> Self {
        let headers = vec![("Host".to_owned(), host.to_owned())];
        Self { method: "GET".to_owned(), path: path.to_owned(), headers, body: Vec::new() }
    }

    /// A POST with a body of known length.
    pub fn post(host: &str, path: &str, body: Vec<u8>) -> Self {
        let length = body.len().to_string();
        let request = Self { method: "POST".to_owned(), body, ..Self::get(host, path) };
        request.header("Content-Length", &length)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends it from `from` and reads the whole answer.
    pub fn send(&self, from: &Netns, to: SocketAddr) -> Result<Response> {
        let bytes = self.clone().header("Connection", "close").bytes();
        Self::send_raw(from, to, &bytes)
    }

    /// Sends several on one connection, one after the other.
    pub fn send_all(requests: &[Self], from: &Netns, to: SocketAddr) -> Result<Vec<Response>> {
        from.run(|| {
            let mut stream = BufReader::new(connect(to)?);
            let mut answers = Vec::new();
            for request in requests {
                answers.push(request.send_on(&mut stream)?);
            }
            Ok(answers)
        })
    }

    /// Sends bytes that need not be a proper request.
    pub fn send_raw(from: &Netns, to: SocketAddr, bytes: &[u8]) -> Result<Response> {
        from.run(|| {
            let mut stream = connect(to)?;
            stream.write_all(bytes).context("writing the request")?;
            read_response(&mut BufReader::new(stream), bytes.starts_with(b"HEAD"))
        })
    }

    /// Sends it on a connection that is there, over TLS or not, and reads the whole answer.
    pub fn send_on(&self, stream: &mut BufReader<impl Read + Write>) -> Result<Response> {
        stream.get_mut().write_all(&self.bytes()).context("writing the request")?;
        stream.get_mut().flush().context("writing the request")?;
        read_response(stream, self.is_head())
    }

    fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        self.headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        text.push_str("\r\n");
        [text.as_bytes(), &self.body].concat()
    }
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON in {} {}", self.status, self.text()))
    }

    /// A field of a pod's answer, for example `pod`, `node` or `path`.
    pub fn field(&self, name: &str) -> Result<String> {
        let json = self.json()?;
        let value = json.get(name).and_then(Value::as_str);
        value.map(str::to_owned).with_context(|| format!("no `{name}` in {} {}", self.status, self.text()))
    }

    /// A header as the pod received it.
    pub fn seen_header(&self, name: &str) -> Result<Option<String>> {
        let json = self.json()?;
        Ok(json["headers"][name.to_ascii_lowercase()].as_str().map(str::to_owned))
    }
}

/// Connects from the namespace that the thread is in, with deadlines for all that follows.
pub fn connect(to: SocketAddr) -> Result<TcpStream> {
    let deadline = Duration::from_secs(30);
    let stream =
        TcpStream::connect_timeout(&to, Duration::from_secs(10)).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(deadline))?;
    stream.set_write_timeout(Some(deadline))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The head of a message: its first line, and headers with names in lower case.
pub(crate) type Head = (String, Vec<(String, String)>);

/// Reads a head; `None` when the connection ended before it began.
pub(crate) fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut first = String::new();
    if stream.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some((first.trim_end().to_owned(), headers)));
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Reads a body as the headers frame it; `to_end` where without a length it lasts until the connection ends.
pub(crate) fn read_body(stream: &mut impl BufRead, headers: &[(String, String)], to_end: bool) -> io::Result<Vec<u8>> {
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        while read_chunk(stream, &mut body)? {}
    } else if let Some(length) = header("content-length") {
        let length = length.parse().map_err(io::Error::other)?;
        if stream.take(length).read_to_end(&mut body)? as u64 != length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body is shorter than Content-Length"));
        }
    } else if to_end {
        stream.read_to_end(&mut body)?;
    }
    Ok(body)
}

fn read_chunk(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let size = line.trim_end().split(';').next().unwrap_or_default();
    let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
    let read = stream.take(size).read_to_end(body)? as u64;
    if read != size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ends within a chunk"));
    }
    stream.read_line(&mut line)?;
    Ok(size > 0)
}

fn read_response(stream: &mut impl BufRead, bodiless: bool) -> Result<Response> {
    let Some((line, headers)) = read_head(stream).context("reading the answer")? else {
        bail!("the connection ended without an answer");
    };
    let status = line.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("no status in {line:?}"))?;
    let body = if bodiless { Vec::new() } else { read_body(stream, &headers, true).context("reading the body")? };
    Ok(Response { status, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_chunked_answer() -> Result<()> {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let response = read_response(&mut text.as_bytes(), false)?;
        assert_eq!((response.status, response.text().as_str()), (200, "abcde"));
        Ok(())
    }

    #[test]
    fn a_short_body_is_an_error() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc";
        assert!(read_response(&mut text.as_bytes(), false).is_err());
    }
}
