use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::netns::Netns;
use crate::packet::{checksum, pseudo_header, sum};

/// Packets as they pass an interface, recorded by tcpdump.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Child,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

/// One IPv4 packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Protocol number.
    pub protocol: u8,
    /// Source and destination port; 0 where there are none.
    pub ports: (u16, u16),
    /// Whether the IPv4 header sums up.
    pub header_checksum_ok: bool,
    /// Whether TCP, UDP or ICMP sums up; a UDP checksum of zero is none.
    pub checksum_ok: bool,
    /// Bytes of the whole IPv4 packet.
    pub length: usize,
}

impl Capture {
    /// Starts to record the packets that come *in* by an interface; returns when tcpdump listens.
    pub fn start(netns: &Netns, interface: &str, filter: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("capture.pcap");
        let mut command = netns.command("tcpdump");
        command
            .args(["-i", interface, "-Q", "in", "-n", "-U", "--immediate-mode", "-s", "0", "-Z", "root", "-w"])
            .arg(&file)
            .arg(filter);
        let mut tcpdump = command.stderr(Stdio::piped()).spawn().context("cannot start tcpdump")?;
        let stderr = tcpdump.stderr.take().context("tcpdump has no stderr")?;
        let mut lines = BufReader::new(stderr).lines();
        let listening = lines.by_ref().any(|line| line.is_ok_and(|line| line.contains("listening on")));
        std::thread::spawn(move || lines.for_each(drop));
        let capture = Self { tcpdump, file, _dir: dir };
        if !listening {
            bail!("tcpdump does not listen on {interface}");
        }
        Ok(capture)
    }

    /// Ends the recording and reads it.
    pub fn stop(mut self) -> Result<Vec<Packet>> {
        self.end(Signal::INT);
        parse(&fs::read(&self.file)?)
    }

    fn end(&mut self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.tcpdump.id()).ok().and_then(Pid::from_raw) {
            // Not yet waited for, so the pid is still its own.
            let _ = kill_process(pid, signal);
        }
        let _ = self.tcpdump.wait();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if matches!(self.tcpdump.try_wait(), Ok(None)) {
            self.end(Signal::KILL);
        }
    }
}

/// The classic pcap format in our own byte order, as tcpdump writes it; link type Ethernet.
fn parse(file: &[u8]) -> Result<Vec<Packet>> {
    let word = |at: usize| file.get(at..at + 4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    if word(0) != Some(0xa1b2_c3d4) || word(20) != Some(1) {
        bail!("not a pcap file of Ethernet frames");
    }
    let mut packets = Vec::new();
    let mut at = 24;
    while let Some(length) = word(at + 8) {
        let start = at + 16;
        let end = start + length as usize;
        let Some(frame) = file.get(start..end) else { break };
        packets.extend(parse_frame(frame));
        at = end;
    }
    Ok(packets)
}

fn parse_frame(frame: &[u8]) -> Option<Packet> {
    if frame.get(12..14)? != [8, 0] {
        return None;
    }
    let ip = &frame[14..];
    let header = usize::from(ip.first()? & 0xf) * 4;
    let length = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let (ip, payload) = (ip.get(..length)?, ip.get(header..length)?);
    let address = |at: usize| Some(Ipv4Addr::new(*ip.get(at)?, *ip.get(at + 1)?, *ip.get(at + 2)?, *ip.get(at + 3)?));
    let port = |at: usize| payload.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let (source, destination, protocol) = (address(12)?, address(16)?, ip[9]);
    // RFC 792: that of ICMP covers no pseudo header
    let pseudo = if protocol == 1 { 0 } else { pseudo_header(source, destination, protocol, payload.len()) };
    let full = checksum(pseudo + sum(payload)) == 0;
    let none = protocol == 17 && port(6) == 0;
    Some(Packet {
        source,
        destination,
        protocol,
        ports: (port(0), port(2)),
        header_checksum_ok: checksum(sum(ip.get(..header)?)) == 0,
        checksum_ok: full || none || !matches!(protocol, 1 | 6 | 17),
        length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP datagram of RFC 768 form whose checksum was worked out by hand.
    #[test]
    fn tells_right_checksums_from_wrong_ones() {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        frame.extend([0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x04, 0xd2, 0x16, 0x2e, 0, 9, 0, 0, b'w']);
        let header = checksum(sum(&frame[14..34]));
        frame[24..26].copy_from_slice(&header.to_be_bytes());
        let packet = parse_frame(&frame).expect("an IPv4 packet");
        assert_eq!(packet.ports, (1234, 5678));
        assert!(packet.header_checksum_ok && packet.checksum_ok, "no UDP checksum is right: {packet:?}");
        // 0x0a00+0x0001+0x0a00+0x0002+0x0011+0x0009 + 0x04d2+0x162e+0x0009+0x7700 = 0xa626, complement 0x59d9
        frame[40..42].copy_from_slice(&[0x59, 0xd9]);
        assert!(parse_frame(&frame).expect("an IPv4 packet").checksum_ok);
        frame[41] ^= 1;
        assert!(!parse_frame(&frame).expect("an IPv4 packet").checksum_ok);
    }
}
