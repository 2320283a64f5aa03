use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::netns::Netns;

/// A DNS server that knows the IPv4 address of one name; of any other it says that there is none.
#[derive(Debug)]
pub struct NameServer {
    stop: Arc<AtomicBool>,
}

/// A in RFC 1035, section 3.2.2.
const TYPE_A: [u8; 2] = [0, 1];
const HEADER: usize = 12;

impl NameServer {
    /// Answers questions at an address in a namespace.
    pub fn start(netns: &Netns, at: SocketAddr, name: &str, address: Ipv4Addr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let socket = netns.run(|| Ok(UdpSocket::bind(at)?))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (until, known) = (stop.clone(), encoded(name));
        thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let _ = serve(&socket, &known, address);
            }
        });
        Ok(Self { stop })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A name as it stands in messages: length and letters of each label, and a zero.
fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

fn serve(socket: &UdpSocket, known: &[u8], address: Ipv4Addr) -> io::Result<()> {
    let mut question = [0; 512];
    let (length, peer) = socket.recv_from(&mut question)?;
    if let Some(answer) = answer(&question[..length], known, address) {
        socket.send_to(&answer, peer)?;
    }
    Ok(())
}

/// The question again, with an answer if the name is known and an IPv4 address is asked for.
fn answer(question: &[u8], known: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let name_end = HEADER + question.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let (name, kind) = (&question[HEADER..name_end], question.get(name_end..name_end + 2)?);
    let is_known = name.eq_ignore_ascii_case(known) && kind == TYPE_A;
    let mut message = question[..2].to_vec();
    // An authoritative answer without error; one question, perhaps one answer.
    message.extend([0x84, 0, 0, 1, 0, u8::from(is_known), 0, 0, 0, 0]);
    message.extend_from_slice(&question[HEADER..name_end + 4]);
    if is_known {
        // The name of the question; A, class IN, 60 s, four bytes.
        message.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(address.octets());
    }
    Some(message)
}
