//! A server that takes its time for each request, and keeps its connections.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use weir_lab::Netns;

pub(crate) const PORT: u16 = 8099;
/// Of each request.
const WORK: Duration = Duration::from_millis(20);

/// Runs until the process ends.
pub(crate) struct Backend;

impl Backend {
    pub(crate) fn start(netns: &Netns) -> Result<Self> {
        let listener = netns.run(|| Ok(TcpListener::bind(("0.0.0.0", PORT))?))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        Ok(Backend)
    }
}

fn serve(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        if line == "\r\n" {
            thread::sleep(WORK);
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").ok()?;
        }
    }
}
