//! Clients over TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::harness::{Reply, Site, parse};

impl Site {
    /// Asks over TLS with curl, whatever name a host has; further arguments are curl's.
    pub(crate) fn get_secured(&self, host: &str, path: &str, arguments: &[&str]) -> Reply {
        self.try_secured(host, path, arguments).unwrap_or_else(|error| panic!("{host}{path}: {error}"))
    }

    /// The same where there may be no answer.
    pub(crate) fn try_secured(&self, host: &str, path: &str, arguments: &[&str]) -> Result<Reply, String> {
        self.get_secured_at(self.tls_port(), host, path, arguments)
    }

    /// The same at another port.
    pub(crate) fn get_secured_at(
        &self,
        port: u16,
        host: &str,
        path: &str,
        arguments: &[&str],
    ) -> Result<Reply, String> {
        let connect = format!("{host}:443:127.0.0.1:{port}");
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--include", "--path-as-is", "--globoff", "--max-time", "60"])
            .args(["--connect-to", &connect])
            .args(arguments)
            .arg(format!("https://{host}{path}"))
            .output()
            .expect("curl is installed");
        if output.status.success() {
            Ok(parse(&String::from_utf8_lossy(&output.stdout)))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Opens a connection that stays.
    pub(crate) fn connect_secured(&self, host: &str, authorities: &str) -> Connection {
        let connect = format!("127.0.0.1:{}", self.tls_port());
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-connect", &connect, "-servername", host])
            .args(["-CAfile", authorities])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let (to, from) = (client.stdin.take().expect("piped"), client.stdout.take().expect("piped"));
        Connection { client, to, from: BufReader::new(from), host: host.to_owned() }
    }
}

/// A connection of HTTP/1.1 over TLS.
pub(crate) struct Connection {
    client: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    host: String,
}

impl Connection {
    /// Sends a request; gives the body of the answer.
    pub(crate) fn ask(&mut self, path: &str) -> String {
        write!(self.to, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host).expect("sent");
        self.to.flush().expect("sent");
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).expect("an answer") > 0, "the connection has ended");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.from.read_exact(&mut body).expect("a body");
        String::from_utf8(body).expect("text")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
