//! SCTP of the kernel's own: one-to-one sockets (RFC 6458, section 4), where the kernel has the protocol.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::{PATIENCE, SCTP};
use crate::netns::Netns;
use crate::wait::SOON;

/// Whether the kernel has the protocol. Asking loads its module, and from then on the kernel answers packets that raw sockets
/// were meant for.
pub fn has_kernel(netns: &Netns) -> bool {
    netns.run(socket).is_ok()
}

/// A server in a pod: it answers each text with its name, who sent it, and the text. Dropping it stops it.
#[derive(Debug)]
pub struct KernelServer(Arc<AtomicBool>);

impl KernelServer {
    /// Serves a port in a namespace, one association after the other.
    pub fn start(netns: &Netns, name: &str, port: u16) -> Result<Self> {
        let listener = netns.run(|| {
            let listener = socket()?;
            listener.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
            listener.listen(16)?;
            listener.set_read_timeout(Some(PATIENCE))?;
            Ok(listener)
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, name) = (stop.clone(), name.to_owned());
        thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                let Ok((association, peer)) = listener.accept() else { continue };
                let peer = peer.as_socket().map(|peer| peer.to_string()).unwrap_or_default();
                let _ = serve(association, &format!("{name} {peer} "));
            }
        });
        Ok(Self(stop))
    }
}

impl Drop for KernelServer {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn serve(mut association: Socket, greeting: &str) -> Result<()> {
    association.set_read_timeout(Some(SOON))?;
    let mut text = [0; 2048];
    loop {
        match association.read(&mut text)? {
            0 => return Ok(()),
            length => association.write_all(&[greeting.as_bytes(), &text[..length]].concat())?,
        }
    }
}

/// Sets up an association from an address and port, sends a text, and gives the answer.
pub fn ask_kernel(from: &Netns, at: SocketAddrV4, to: SocketAddrV4, text: &str) -> Result<String> {
    from.run(|| {
        let mut association = socket()?;
        association.bind(&SocketAddr::from(at).into())?;
        association.set_read_timeout(Some(SOON))?;
        association.set_write_timeout(Some(SOON))?;
        association.connect(&SocketAddr::from(to).into()).with_context(|| format!("no association with {to}"))?;
        association.write_all(text.as_bytes())?;
        let mut answer = [0; 4096];
        let length = association.read(&mut answer).with_context(|| format!("no answer from {to}"))?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    })
}

fn socket() -> Result<Socket> {
    Ok(Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::from(i32::from(SCTP))))?)
}
