//! A compressed body, inflated step by step.
//!
//! A few bytes may hold a thousand times as many, so who inflates decides after each step whether to
//! go on, and where. The stream is read from its first byte to the body's last: one that is cut
//! short, does not match its checksum or has something behind it is refused. Behind a gzip member there
//! may be others, as RFC 1952 has it; each is a step of its own, since thousands of empty ones fit in a
//! body.

use super::Coding;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use std::io::Read;

/// What one step adds at most: some tenths of a millisecond.
const STEP_BYTES: usize = 64 << 10;

/// Members of one gzip stream. Who compresses in parallel makes one for some hundred kilobytes, and
/// each costs a decoder's memory to be cleared, whatever is in it.
const MAX_MEMBERS: u32 = 4096;

/// A body on its way from compressed to plain. Lifetime: one request.
#[derive(Debug)]
pub struct Inflater {
    decoder: Decoder,
    inflated: Vec<u8>,
    limit: usize,
}

#[derive(Debug)]
enum Decoder {
    // Boxed, like the state of the other, which is tens of kilobytes.
    Gzip {
        member: Box<GzDecoder<Reader<Bytes>>>,
        members: u32,
    },
    Deflate {
        state: Decompress,
        rest: Bytes,
    },
}

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    Started,
    Whole,
}

/// Why a body does not inflate. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("the inflated body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body is not a whole stream of {0}, and nothing else")]
    Malformed(Coding),
    #[error("there is no memory for the inflated body")]
    NoMemory,
}

impl Inflater {
    /// Nothing is inflated yet; at most `limit` bytes will be.
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

    /// Inflate some more. The time it takes grows with the compressed body at most.
    pub fn step(&mut self) -> Result<Progress, InflateError> {
        let start = self.inflated.len();
        // One byte above the limit tells a body that ends there from one that goes on.
        let most = self.limit.saturating_add(1);
        let end = most.min(start.saturating_add(STEP_BYTES));
        if end > self.inflated.capacity() {
            // Twice as much each time, but never more than could come.
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

    /// How many bytes are inflated so far.
    pub fn inflated_bytes(&self) -> usize {
        self.inflated.len()
    }

    /// What is inflated so far.
    pub fn into_inflated(self) -> Bytes {
        Bytes::from(self.inflated)
    }
}

impl Decoder {
    /// Bytes written to `room`, which is not empty, and whether they were the last.
    fn read(&mut self, room: &mut [u8]) -> Result<(usize, Progress), InflateError> {
        let malformed = |coding| InflateError::Malformed(coding);
        let (written, rest) = match self {
            Decoder::Gzip { member, members } => {
                let read = member.read(room);
                let written = read.map_err(|_| malformed(Coding::Gzip))?;
                let rest = member.get_ref().get_ref().clone();
                // It reads nothing only at its end, the checksum included.
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
