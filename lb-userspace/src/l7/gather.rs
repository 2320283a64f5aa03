//! Bodies of requests that are read before an endpoint hears of the request (`proxy-request-buffering: on`), so that a slow
//! client keeps none of them waiting.
//!
//! They are held in memory: the front has no files. What one body and all bodies of a worker may take is bounded; a body
//! that is longer, or for which there is no room, goes on as it comes from there on.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::body::{BodyError, Progress};
use super::mirror::Tee;

/// Most bytes of one body.
pub const MOST_OF_ONE: usize = 16 << 20;
/// Most bytes of all bodies of a worker.
pub const MOST_OF_ALL: usize = 64 << 20;

/// Bytes that a worker holds.
#[derive(Debug, Default)]
pub struct Room(Cell<usize>);

/// The beginning of a body.
#[derive(Debug)]
pub struct Gathered {
    /// In the order in which they came.
    pub parts: Vec<Bytes>,
    /// That is all of it.
    pub is_whole: bool,
    bytes: usize,
    room: Rc<Room>,
}

impl Gathered {
    /// Bytes that are here.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    fn takes(&mut self, more: usize) {
        self.bytes += more;
        self.room.0.set(self.room.0.get() + more);
    }

    fn is_full(&self) -> bool {
        self.bytes >= MOST_OF_ONE || self.room.0.get() >= MOST_OF_ALL
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.room.0.set(self.room.0.get().saturating_sub(self.bytes));
    }
}

/// Reads a body as far as there is room for it.
pub async fn gather(
    body: &mut Incoming,
    room: &Rc<Room>,
    progress: &Progress,
    tee: Option<&Tee>,
) -> Result<Gathered, BodyError> {
    let mut gathered = Gathered { parts: Vec::new(), is_whole: false, bytes: 0, room: Rc::clone(room) };
    while !gathered.is_full() {
        let frame = if body.is_end_stream() { None } else { body.frame().await };
        let Some(frame) = frame else {
            gathered.is_whole = true;
            tee.into_iter().for_each(Tee::end);
            break;
        };
        // Trailers of requests are not passed on.
        let Ok(data) = frame?.into_data() else { continue };
        tee.into_iter().for_each(|tee| tee.part(&data));
        progress.gathered(data.len() as u64);
        if progress.is_too_large() {
            return Err(BodyError::TooLarge);
        }
        gathered.takes(data.len());
        gathered.parts.push(data);
    }
    Ok(gathered)
}
