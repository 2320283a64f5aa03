//! `weir capture`: sampled or dropped packets into a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::pcapng::{Frame, Writer};
use super::{failed, say};
use crate::cli::{CaptureArgs, Exit};
use crate::clock;
use crate::config::{CaptureCommand, Reader};
use crate::status::ask::{self, AskError};
use crate::status::capture::{CaptureListing, CaptureQuery, CapturedRow};

/// How often the agent is asked for more; what is asked for ends by itself a few seconds later.
const PACE: Duration = Duration::from_millis(250);

/// Why a capture ended before its time.
#[derive(Debug, thiserror::Error)]
enum CaptureError {
    #[error("cannot write {path}")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{admin} answers with what is no capture: {found}")]
    Answer { admin: std::net::SocketAddr, found: String },
}

pub(super) fn run(args: &CaptureArgs) -> Exit {
    let command = match CaptureCommand::try_from(args) {
        Ok(command) => command,
        Err(error) => return failed(Exit::Usage, &error),
    };
    match capture(&command) {
        Ok((packets, lost)) => {
            let lost = if lost > 0 { format!(", {lost} more found no room") } else { String::new() };
            say(&format!("{packets} packets in {}{lost}", command.path.display()));
            Exit::Done
        }
        // Whoever reads from the pipe has enough.
        Err(CaptureError::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error @ CaptureError::Write { .. }) => failed(Exit::Failed, &error),
        Err(error) => {
            say("packets are captured by a running agent only");
            failed(Exit::Unavailable, &error)
        }
    }
}

/// Until there are enough packets or the time is over; how many were written, and how many were lost.
fn capture(command: &CaptureCommand) -> Result<(u64, u64), CaptureError> {
    // Asked once before the file is made, so that a refusal leaves none behind.
    let mut listing = ask(&command.reader, &command.query)?;
    let failed = |source| CaptureError::Write { path: command.path.display().to_string(), source };
    let out = open(&command.path).map_err(failed)?;
    let mut writer = Writer::new(out, command.query.snap).map_err(failed)?;
    let (started, mut written) = (clock::now(), 0);
    let lost_before = listing.lost;
    loop {
        for packet in &listing.capture {
            if written == command.count {
                break;
            }
            write(&mut writer, packet).map_err(failed)?;
            written += 1;
        }
        writer.flush().map_err(failed)?;
        if written == command.count || clock::since(started) >= command.time {
            break;
        }
        thread::sleep(PACE);
        listing = ask(&command.reader, &command.query)?;
    }
    // The agent would find out by itself, some seconds later.
    let _ = ask(&command.reader, &CaptureQuery { stop: true, ..command.query.clone() });
    Ok((written, listing.lost.saturating_sub(lost_before)))
}

fn ask(reader: &Reader, query: &CaptureQuery) -> Result<CaptureListing, CaptureError> {
    let text = ask::post(reader.admin, &format!("/api/v1/capture?{}", query.arguments()))?;
    serde_json::from_str(&text).map_err(|error| CaptureError::Answer { admin: reader.admin, found: error.to_string() })
}

/// `-` is standard output.
fn open(path: &Path) -> io::Result<Box<dyn Write>> {
    if path == Path::new("-") { Ok(Box::new(io::stdout())) } else { Ok(Box::new(File::create(path)?)) }
}

fn write<W: Write>(writer: &mut Writer<W>, packet: &CapturedRow) -> io::Result<()> {
    let bytes = unhex(&packet.bytes);
    let frame = Frame {
        interface: &packet.interface,
        time: packet.time,
        length: packet.length,
        bytes: &bytes,
        comment: &packet.comment,
    };
    writer.write(&frame)
}

/// Pairs of digits; what is none ends it.
fn unhex(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.as_bytes().as_chunks::<2>().0;
    pairs.iter().map_while(|&[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8)).collect()
}
