//! A compressed body that is inflated step by step.
//!
//! A few bytes may inflate to a thousand times as many, so after each step the caller decides whether to
//! continue, and on which thread. The stream must span the whole body: one that is truncated, fails its
//! checksum or has trailing bytes is refused. A gzip member may be followed by others (RFC 1952); each of
//! them is a step of its own, since thousands of empty members fit in one body.

use super::coding::Coding;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use std::io::Read;

/// The maximum number of bytes that one step adds, which takes some tenths of a millisecond.
const STEP_BYTES: usize = 64 << 10;

/// The maximum number of members in one gzip stream. Parallel compressors write one member per some
/// hundred kilobytes. Each member costs clearing a decoder's memory, whatever it contains.
const MAX_MEMBERS: u32 = 4096;

/// A body that is being inflated. Lifetime: one request.
#[derive(Debug)]
pub struct Inflater {
    decoder: Decoder,
    inflated: Vec<u8>,
    limit: usize,
}

#[derive(Debug)]
enum Decoder {
    // Boxed: the state is tens of kilobytes, as in `Decompress`, which boxes its own.
    Gzip {
        member: Box<GzDecoder<Reader<Bytes>>>,
        members: u32,
    },
    Deflate {
        state: Decompress,
        rest: Bytes,
    },
}

/// The progress of inflating a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more data.
    Started,
    Whole,
}

/// The error for a body that cannot be inflated. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("the inflated body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body is not exactly one complete {0} stream")]
    Malformed(Coding),
    #[error("there is no memory for the inflated body")]
    NoMemory,
}

impl Inflater {
    /// Creates an inflater for `body` that produces at most `limit` bytes.
    pub fn new(coding: Coding, body: Bytes, limit: usize) -> Inflater {
        Inflater {
            decoder: match coding {
                Coding::Gzip => Decoder::Gzip {
                    member: Box::new(GzDecoder::new(body.reader())),
                    members: 1,
                },
                Coding::Deflate => Decoder::Deflate {
                    state: Decompress::new(true),
                    rest: body,
                },
            },
            inflated: Vec::new(),
            limit,
        }
    }

    /// Inflates the next piece. The time it takes is at most proportional to the compressed body.
    pub fn step(&mut self) -> Result<Progress, InflateError> {
        let start = self.inflated.len();
        // One byte above the limit distinguishes a body that ends at the limit from one that continues.
        let most = self.limit.saturating_add(1);
        let end = most.min(start.saturating_add(STEP_BYTES));
        if end > self.inflated.capacity() {
            // The capacity doubles each time, but never exceeds the maximum possible size.
            let wanted = (self.inflated.capacity() * 2).clamp(end, most);
            let room = self.inflated.try_reserve_exact(wanted - start);
            room.map_err(|_| InflateError::NoMemory)?;
        }
        self.inflated.resize(end, 0);
        let (written, progress) = self.decoder.read(&mut self.inflated[start..])?;
        self.inflated.truncate(start + written);
        match self.inflated.len() > self.limit {
            true => Err(InflateError::TooLarge { limit: self.limit }),
            false => Ok(progress),
        }
    }

    /// Returns the number of bytes inflated so far.
    pub fn inflated_bytes(&self) -> usize {
        self.inflated.len()
    }

    /// Returns the bytes inflated so far.
    pub fn into_inflated(self) -> Bytes {
        Bytes::from(self.inflated)
    }
}

impl Decoder {
    /// Writes to `room`, which is not empty; returns the number of bytes written and the progress.
    fn read(&mut self, room: &mut [u8]) -> Result<(usize, Progress), InflateError> {
        let malformed = |coding| InflateError::Malformed(coding);
        let (written, rest) = match self {
            Decoder::Gzip { member, members } => {
                let read = member.read(room);
                let written = read.map_err(|_| malformed(Coding::Gzip))?;
                let rest = member.get_ref().get_ref().clone();
                // The decoder reads zero bytes only at its end, after the checksum.
                let ended = written == 0;
                if ended && rest.has_remaining() && *members < MAX_MEMBERS {
                    **member = GzDecoder::new(rest.reader());
                    *members += 1;
                    return Ok((0, Progress::Started));
                }
                (written, ended.then_some(rest.remaining()))
            }
            Decoder::Deflate { state, rest } => {
                let (before_in, before_out) = (state.total_in(), state.total_out());
                let status = state.decompress(rest, room, FlushDecompress::None);
                let status = status.map_err(|_| malformed(Coding::Deflate))?;
                let moved = |before: u64, after: u64| {
                    usize::try_from(after - before).expect("it lies within a slice")
                };
                let consumed = moved(before_in, state.total_in());
                let written = moved(before_out, state.total_out());
                rest.advance(consumed);
                if status != Status::StreamEnd && consumed == 0 && written == 0 {
                    return Err(malformed(Coding::Deflate));
                }
                let ended = status == Status::StreamEnd;
                (written, ended.then_some(rest.len()))
            }
        };
        match rest {
            None => Ok((written, Progress::Started)),
            Some(0) => Ok((written, Progress::Whole)),
            Some(_) => Err(malformed(self.coding())),
        }
    }

    fn coding(&self) -> Coding {
        match self {
            Decoder::Gzip { .. } => Coding::Gzip,
            Decoder::Deflate { .. } => Coding::Deflate,
        }
    }
}
