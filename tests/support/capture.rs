use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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

/// One packet of IPv4 or IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol number; behind extension headers.
    pub protocol: u8,
    /// Options of IPv4, or all extension headers of IPv6, as they stand.
    pub options: Vec<u8>,
    /// Source and destination port; 0 where there are none.
    pub ports: (u16, u16),
    /// Whether the IPv4 header sums up; that of IPv6 has no checksum to be wrong.
    pub header_checksum_ok: bool,
    /// Whether TCP, UDP or ICMP sums up; a UDP checksum of zero is none.
    pub checksum_ok: bool,
    /// UDP whose sender made no checksum.
    pub unchecked: bool,
    /// Bytes of the whole IP packet.
    pub length: usize,
    /// The largest segment that the first segment of one side of a TCP connection asks for.
    pub mss: Option<u16>,
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

    /// What has been recorded so far. tcpdump may be behind what has passed.
    pub fn so_far(&self) -> Result<Vec<Packet>> {
        parse(&fs::read(&self.file)?)
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
    match frame.get(12..14)? {
        [8, 0] => parse_v4(&frame[14..]),
        [0x86, 0xdd] => parse_v6(&frame[14..]),
        _ => None,
    }
}

fn parse_v4(ip: &[u8]) -> Option<Packet> {
    let header = usize::from(ip.first()? & 0xf) * 4;
    let length = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let (ip, payload) = (ip.get(..length)?, ip.get(header..length)?);
    let address = |at: usize| Some(Ipv4Addr::new(*ip.get(at)?, *ip.get(at + 1)?, *ip.get(at + 2)?, *ip.get(at + 3)?));
    let (source, destination, protocol) = (IpAddr::from(address(12)?), IpAddr::from(address(16)?), ip[9]);
    // RFC 792: that of ICMP covers no pseudo header
    let pseudo = if protocol == 1 { 0 } else { pseudo_header(source, destination, protocol, payload.len()) };
    let none = protocol == 17 && port(payload, 6) == 0;
    Some(Packet {
        source,
        destination,
        protocol,
        options: ip.get(20..header)?.to_vec(),
        ports: (port(payload, 0), port(payload, 2)),
        unchecked: none,
        header_checksum_ok: checksum(sum(ip.get(..header)?)) == 0,
        checksum_ok: checksum(pseudo + sum(payload)) == 0 || none || !matches!(protocol, 1 | 6 | 17),
        length,
        mss: mss(protocol, payload),
    })
}

/// RFC 8200, sections 3 and 8.1: the pseudo header counts for ICMP too, and UDP has to have a checksum.
fn parse_v6(ip: &[u8]) -> Option<Packet> {
    let length = 40 + usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
    let ip = ip.get(..length)?;
    let (protocol, header) = behind_extensions(ip)?;
    let payload = ip.get(header..)?;
    let address = |at: usize| Some(IpAddr::from(Ipv6Addr::from(*ip.get(at..)?.first_chunk::<16>()?)));
    let (source, destination) = (address(8)?, address(24)?);
    let pseudo = pseudo_header(source, destination, protocol, payload.len());
    Some(Packet {
        source,
        destination,
        protocol,
        options: ip[40..header].to_vec(),
        ports: (port(payload, 0), port(payload, 2)),
        unchecked: protocol == 17 && port(payload, 6) == 0,
        header_checksum_ok: true,
        checksum_ok: checksum(pseudo + sum(payload)) == 0 || !matches!(protocol, 6 | 17 | 58),
        length,
        mss: mss(protocol, payload),
    })
}

/// What a packet of IPv6 carries, and where that begins: behind hop-by-hop and destination options (RFC 8200, section 4.2).
fn behind_extensions(ip: &[u8]) -> Option<(u8, usize)> {
    let (mut protocol, mut at) = (*ip.get(6)?, 40);
    while matches!(protocol, 0 | 60) {
        let units = usize::from(*ip.get(at + 1)?);
        (protocol, at) = (*ip.get(at)?, at + 8 * (units + 1));
    }
    (at <= ip.len()).then_some((protocol, at))
}

/// The option (RFC 9293, section 3.2) of a segment with SYN, where it is the first one: Linux puts it there.
fn mss(protocol: u8, payload: &[u8]) -> Option<u16> {
    let is_first = protocol == 6 && payload.get(13)? & 2 != 0 && payload.get(20..22)? == [2, 4];
    is_first.then(|| port(payload, 22))
}

fn port(payload: &[u8], at: usize) -> u16 {
    payload.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
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
