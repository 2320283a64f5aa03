//! Bodies of requests that are read before an endpoint hears of the request (`proxy-request-buffering: on`), so that a slow
//! client keeps none of them waiting.
//!
//! They are held in memory: the front has no files. What one body and all bodies of a worker may take is bounded; a body
//! that is longer, or for which there is no room, goes on as it comes from there on.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::timeout;

use super::body::{BodyError, Fault, Progress};
use super::mirror::Tee;

/// Most bytes of one body.
pub const MOST_OF_ONE: usize = 16 << 20;
/// Most bytes of all bodies of a worker.
pub const MOST_OF_ALL: usize = 64 << 20;
/// Bytes of a part. What comes is copied into parts of our own: a frame of one byte keeps a whole buffer of the connection
/// that it came on, so a body in small pieces would take many times of what is counted.
const PART: usize = 16 << 10;

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
    /// The part that is being filled.
    open: BytesMut,
    bytes: usize,
    /// Memory, of parts that are full and of the one that is not.
    held: usize,
    room: Rc<Room>,
}

impl Gathered {
    /// Nothing so far.
    pub fn new(room: &Rc<Room>) -> Self {
        Gathered { parts: Vec::new(), is_whole: false, open: BytesMut::new(), bytes: 0, held: 0, room: Rc::clone(room) }
    }

    /// Bytes that are here.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Takes a piece; after it so many bytes at least are still to come, or nobody knows how many.
    pub fn take(&mut self, mut piece: &[u8], expected: Option<u64>) {
        while !piece.is_empty() {
            if self.open.len() == self.open.capacity() {
                let rest = expected.map_or(PART, |more| piece.len().saturating_add(more as usize));
                self.begin(rest.min(PART));
            }
            let count = piece.len().min(self.open.capacity() - self.open.len());
            self.open.extend_from_slice(&piece[..count]);
            self.bytes += count;
            piece = &piece[count..];
        }
    }

    fn begin(&mut self, size: usize) {
        self.finish();
        self.open = BytesMut::with_capacity(size);
        let size = self.open.capacity();
        self.held += size;
        self.room.0.set(self.room.0.get() + size);
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        let full = std::mem::take(&mut self.open);
        if !full.is_empty() {
            self.parts.push(full.freeze());
        }
    }

    /// There is room for no more.
    pub fn is_full(&self) -> bool {
        self.held >= MOST_OF_ONE || self.room.0.get() >= MOST_OF_ALL
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.room.0.set(self.room.0.get().saturating_sub(self.held));
    }
}

/// Reads a body as far as there is room for it. Each piece has to come within `limit`.
pub async fn gather<B>(
    body: &mut B,
    room: &Rc<Room>,
    progress: &Progress,
    tee: Option<&Tee>,
    limit: Duration,
) -> Result<Gathered, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    BodyError: From<B::Error>,
{
    let mut gathered = Gathered::new(room);
    while !gathered.is_full() {
        let frame = if body.is_end_stream() {
            None
        } else {
            progress.wait();
            timeout(limit, body.frame()).await.map_err(|_| BodyError::Stalled)?
        };
        let Some(frame) = frame else {
            gathered.is_whole = true;
            tee.into_iter().for_each(Tee::end);
            break;
        };
        // Its length goes ahead of a body that is here, and nothing can follow it.
        let Ok(data) = frame?.into_data() else { continue };
        tee.into_iter().for_each(|tee| tee.part(&data));
        progress.gathered(data.len() as u64);
        if progress.fault() == Some(Fault::Slow) {
            return Err(BodyError::Slow);
        }
        if progress.is_too_large() {
            return Err(BodyError::TooLarge);
        }
        gathered.take(&data, body.size_hint().exact());
    }
    gathered.finish();
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// Pieces, and then nothing more, or no end.
    struct Pieces {
        left: usize,
        each: usize,
        ends: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            if self.left == 0 {
                return if self.ends { Poll::Ready(None) } else { Poll::Pending };
            }
            self.left -= 1;
            Poll::Ready(Some(Ok(Frame::data(vec![b'x'; self.each].into()))))
        }
    }

    async fn gathered(mut body: Pieces, room: &Rc<Room>) -> Result<Gathered, BodyError> {
        let progress = Progress::new(u64::MAX);
        gather(&mut body, room, &progress, None, Duration::from_secs(60)).await
    }

    #[tokio::test(start_paused = true)]
    async fn small_pieces_take_no_more_than_large_ones() {
        for (left, each) in [(100_000, 1), (100, 1000), (1, 100_000)] {
            let room = Rc::default();
            let whole = gathered(Pieces { left, each, ends: true }, &room).await.expect("it ends");
            assert!(whole.is_whole && whole.bytes() == 100_000, "{each}");
            assert_eq!(whole.parts.iter().map(Bytes::len).sum::<usize>(), 100_000, "{each}");
            assert_eq!((whole.parts.len(), room.0.get()), (100_000_usize.div_ceil(PART), 7 * PART), "{each}");
            drop(whole);
            assert_eq!(room.0.get(), 0, "{each}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_bounded_by_the_memory_they_take() {
        let room = Rc::<Room>::default();
        let mut all = Vec::new();
        // One byte each: a part of each of them is all but empty.
        while room.0.get() < MOST_OF_ALL {
            all.push(gathered(Pieces { left: 1, each: 1, ends: true }, &room).await.expect("it ends"));
        }
        assert_eq!(all.len(), MOST_OF_ALL / PART);
        let none = gathered(Pieces { left: 1, each: 1, ends: true }, &room).await.expect("goes on as it comes");
        assert!(!none.is_whole && none.bytes() == 0);
        drop(all);
        let long = gathered(Pieces { left: 20 << 10, each: 1 << 10, ends: true }, &room).await.expect("goes on");
        assert!(!long.is_whole && (MOST_OF_ONE - PART..=MOST_OF_ONE).contains(&(long.bytes() as usize)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_more_is_not_waited_for() {
        let result = gathered(Pieces { left: 3, each: 10, ends: false }, &Rc::default()).await;
        assert!(matches!(result, Err(BodyError::Stalled)), "{result:?}");
    }
}
