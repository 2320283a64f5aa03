//! A body on its way through an encoder, piece by piece.

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;

use super::Algorithm;

/// Brotli's window, as a power of two: what it may remember, and so the memory that it takes (RFC 7932 section 9.1).
const BROTLI_WINDOW: u32 = 18;
/// That of zstd; every decoder takes 23 (RFC 9659).
const ZSTD_WINDOW: u32 = 18;
/// Shorter pieces wait for more, or for a flush.
const MIN_PIECE: usize = 4096;
/// Pieces that brotli gives out.
const BROTLI_BUFFER: usize = 4096;

/// An encoder and what has come out of it.
pub struct Encoder {
    inner: Inner,
    /// Something went in since the last flush.
    pending: bool,
}

enum Inner {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Finished,
}

impl Encoder {
    /// `None`: there is no memory for it.
    pub fn new(algorithm: Algorithm, level: u32) -> Option<Self> {
        let inner = match algorithm {
            Algorithm::Gzip => Inner::Gzip(flate2::write::GzEncoder::new(Vec::new(), Compression::new(level.min(9)))),
            Algorithm::Brotli => {
                let writer = brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, level.min(11), BROTLI_WINDOW);
                Inner::Brotli(Box::new(writer))
            }
            Algorithm::Zstd => {
                let mut writer = zstd::stream::write::Encoder::new(Vec::new(), level.cast_signed()).ok()?;
                writer.window_log(ZSTD_WINDOW).ok()?;
                Inner::Zstd(writer)
            }
        };
        Some(Encoder { inner, pending: false })
    }

    /// Takes a piece; returns what is ready to go out.
    pub fn write(&mut self, data: &[u8]) -> io::Result<Bytes> {
        self.pending = true;
        match &mut self.inner {
            Inner::Gzip(writer) => writer.write_all(data)?,
            Inner::Brotli(writer) => writer.write_all(data)?,
            Inner::Zstd(writer) => writer.write_all(data)?,
            Inner::Finished => {}
        }
        Ok(self.take(MIN_PIECE))
    }

    /// Everything so far, in a form that the client can decode: nothing more has come yet.
    pub fn flush(&mut self) -> io::Result<Bytes> {
        if std::mem::take(&mut self.pending) {
            match &mut self.inner {
                Inner::Gzip(writer) => writer.flush()?,
                Inner::Brotli(writer) => writer.flush()?,
                Inner::Zstd(writer) => writer.flush()?,
                Inner::Finished => {}
            }
        }
        Ok(self.take(1))
    }

    /// The rest; nothing if it was asked for before.
    pub fn finish(&mut self) -> io::Result<Bytes> {
        self.pending = false;
        let rest = match std::mem::replace(&mut self.inner, Inner::Finished) {
            Inner::Gzip(writer) => writer.finish()?,
            Inner::Brotli(writer) => writer.into_inner(),
            Inner::Zstd(writer) => writer.finish()?,
            Inner::Finished => Vec::new(),
        };
        Ok(rest.into())
    }

    /// The last piece has been asked for.
    pub fn is_finished(&self) -> bool {
        matches!(self.inner, Inner::Finished)
    }

    fn take(&mut self, least: usize) -> Bytes {
        let out = match &mut self.inner {
            Inner::Gzip(writer) => writer.get_mut(),
            Inner::Brotli(writer) => writer.get_mut(),
            Inner::Zstd(writer) => writer.get_mut(),
            Inner::Finished => return Bytes::new(),
        };
        if out.len() < least { Bytes::new() } else { std::mem::take(out).into() }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("pending", &self.pending).finish_non_exhaustive()
    }
}
