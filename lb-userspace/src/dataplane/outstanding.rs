//! What TCP has sent and nobody has acknowledged yet: a question to the kernel that only an ioctl asks.
#![expect(unsafe_code, reason = "ioctl(2) is called directly")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes that were written to a TCP socket and that its other side has not acknowledged (`SIOCOUTQ`, tcp(7)). After the other
/// side's FIN that is what had not arrived there when it closed.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the command, which is the same number as `SIOCOUTQ`, writes one int to the place it is given, which outlives
    // the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(usize::try_from(bytes).unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_has_arrived_is_acknowledged_and_what_comes_after_the_end_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut near = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (mut far, _) = listener.accept().expect("a connection");
        let mut bytes = [0; 5];
        near.write_all(b"heard").expect("open");
        far.read_exact(&mut bytes).expect("five bytes");
        far.write_all(b"yes").expect("open");
        near.read_exact(&mut bytes[..3]).expect("an answer, which acknowledges");
        assert_eq!(unacknowledged(near.as_fd()).expect("a socket"), 0);
        drop(far);
        near.write_all(b"not any more").expect("nobody knows yet");
        assert_eq!(near.read(&mut bytes).expect("its end"), 0);
        assert!(unacknowledged(near.as_fd()).expect("a socket") >= "not any more".len());
        assert!(unacknowledged(listener.as_fd()).is_err(), "it is no connection");
    }
}
