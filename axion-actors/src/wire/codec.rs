//! Frames: a `u32` little-endian length, then one message in bincode's fixed-width encoding.

use std::collections::TryReserveError;

use bincode::Options;
use bytes::Bytes;
use serde::Serialize;
use serde::de::Deserialize;

use super::message::Up;

/// Bytes that do not follow the protocol.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A frame states a length above the limit.
    #[error("a frame of {size} bytes is above the limit of {limit} bytes")]
    TooLarge {
        /// What it states.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A frame's body is not a message.
    #[error("a frame of {size} bytes is not a message: {source}")]
    Malformed {
        /// The body's length.
        size: usize,
        /// What the decoder found.
        source: bincode::Error,
    },
    /// There is no memory for a frame.
    #[error("no memory for {size} more bytes of a frame: {source}")]
    NoMemory {
        /// What was asked for.
        size: usize,
        /// Why it was refused.
        source: TryReserveError,
    },
    /// A message cannot be written.
    #[error("a message cannot be encoded: {0}")]
    Unwritable(bincode::Error),
}

const LENGTH: usize = 4;

/// Appends a message to `out` as one frame.
///
/// # Errors
/// If the message is larger than `limit` bytes; `out` is then as it was.
pub fn encode<T: Serialize>(message: &T, limit: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    let format = bincode::options().with_fixint_encoding().with_no_limit();
    if let Err(error) = format.serialize_into(&mut *out, message) {
        out.truncate(start);
        return Err(WireError::Unwritable(error));
    }
    let size = out.len() - start - LENGTH;
    match u32::try_from(size) {
        Ok(length) if size <= limit => {
            out[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(WireError::TooLarge { size, limit })
        }
    }
}

/// Appends the frame of a message up to its last field, a payload of `payload` bytes. The caller writes the payload after
/// it, without a copy. In `message` that field is empty.
///
/// # Errors
/// As [`encode`], with the payload counted.
pub fn encode_before<T: Serialize>(
    message: &T,
    payload: usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let start = out.len();
    encode(message, limit, out)?;
    let size = out.len() - start - LENGTH + payload;
    match u32::try_from(size) {
        Ok(length) if size <= limit => {
            out[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
            // The payload's own length is the last that was written.
            let end = out.len();
            out[end - size_of::<u64>()..].copy_from_slice(&(payload as u64).to_le_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(WireError::TooLarge { size, limit })
        }
    }
}

/// Reads the message in one frame's body.
///
/// Works on a slice of a frame that is already bounded. No count or length in it is believed: texts and payloads are
/// slices of it before they are copied, and lists grow by elements that have been read.
///
/// # Errors
/// If the bytes are not exactly one message.
pub fn decode<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, WireError> {
    let format = bincode::options().with_fixint_encoding().with_limit(body.len() as u64);
    format.deserialize(body).map_err(|source| WireError::Malformed { size: body.len(), source })
}

/// The bytes of a `Done` before its data, and its tag.
const DONE_HEAD: usize = 4 + 8 + 8 + 8;
const DONE_TAG: [u8; 4] = 1u32.to_le_bytes();

/// The message in a large frame's body. The data of a `Done` stays where it is.
fn large_up(body: Bytes) -> Result<Up, WireError> {
    let Some((head, data)) = body.split_first_chunk::<DONE_HEAD>() else { return decode(&body) };
    let size = &head[DONE_HEAD - 8..];
    if !head.starts_with(&DONE_TAG) || size != (data.len() as u64).to_le_bytes() {
        return decode(&body); // which refuses a length that is wrong
    }
    let mut small = *head;
    small[DONE_HEAD - 8..].fill(0);
    let mut message = decode(&small)?;
    if let Up::Done { data, .. } = &mut message {
        *data = body.slice(DONE_HEAD..).into();
    }
    Ok(message)
}

/// Splits a stream of bytes into frames.
#[derive(Debug)]
pub struct FrameReader {
    held: Vec<u8>,
    taken: usize,
    limit: usize,
}

/// A frame of this size keeps the buffer it was read into.
const LARGE: usize = 1 << 20;
/// An empty buffer above this size is freed.
const KEEP: usize = 1 << 20;

impl FrameReader {
    /// A reader that refuses frames above `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { held: Vec::new(), taken: 0, limit }
    }

    /// Where to append what was read next, with room for at least `more` bytes.
    ///
    /// Memory grows with the bytes that arrive, not with the length a frame states.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn room(&mut self, more: usize) -> Result<&mut Vec<u8>, WireError> {
        if self.taken == self.held.len() {
            self.held.clear();
            if self.held.capacity() > KEEP {
                self.held = Vec::new();
            }
            self.taken = 0;
        } else if self.taken > self.held.len() / 2 {
            self.held.drain(..self.taken);
            self.taken = 0;
        }
        self.held.try_reserve(more).map_err(|source| WireError::NoMemory { size: more, source })?;
        Ok(&mut self.held)
    }

    /// As [`drain`](Self::drain), for results, of which it takes `most` at a time. A large result keeps the buffer it
    /// was read into.
    ///
    /// # Errors
    /// The same.
    pub fn drain_up(&mut self, out: &mut Vec<Up>, most: usize) -> Result<(), WireError> {
        while out.len() < most
            && let Some(size) = self.next_size()?
        {
            if size >= LARGE {
                let body = self.take_frame(size);
                out.push(large_up(body)?);
            } else {
                let start = self.taken + LENGTH;
                self.taken = start + size;
                out.push(decode(&self.held[start..start + size])?);
            }
        }
        Ok(())
    }

    /// Takes the buffer with the body of the next frame, of `size` bytes. The bytes after it move to a new buffer.
    fn take_frame(&mut self, size: usize) -> Bytes {
        let start = self.taken + LENGTH;
        let rest = self.held.split_off(start + size);
        let mut whole = std::mem::replace(&mut self.held, rest);
        self.taken = 0;
        whole.shrink_to_fit();
        Bytes::from(whole).slice(start..)
    }

    /// The length of the next frame, if that is whole.
    fn next_size(&self) -> Result<Option<usize>, WireError> {
        let held = &self.held[self.taken..];
        let Some((length, rest)) = held.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let size = u32::from_le_bytes(*length) as usize;
        if size > self.limit {
            return Err(WireError::TooLarge { size, limit: self.limit });
        }
        Ok((rest.len() >= size).then_some(size))
    }

    /// The body of the next whole frame, if there is one.
    ///
    /// # Errors
    /// If the next frame states a length above the limit. The stream is then beyond repair.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, WireError> {
        let Some(size) = self.next_size()? else { return Ok(None) };
        let start = self.taken + LENGTH;
        self.taken = start + size;
        Ok(Some(&self.held[start..start + size]))
    }

    /// Takes every whole message that has arrived.
    ///
    /// # Errors
    /// At the first frame that is too large or not a message; those before it stay in `out`.
    pub fn drain<T: for<'de> Deserialize<'de>>(&mut self, out: &mut Vec<T>) -> Result<(), WireError> {
        while let Some(body) = self.next_frame()? {
            out.push(decode(body)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
