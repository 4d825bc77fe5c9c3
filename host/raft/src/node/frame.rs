//! The bytes of a message on the wire: length, bincode, checksum.
//!
//! ```text
//! 0        4                      4 + length - 4   4 + length
//! +--------+----------------------+----------------+
//! | length | bincode of a message | CRC-32C        |
//! +--------+----------------------+----------------+
//! ```
//!
//! Both numbers are big-endian. `length` counts what follows it: message and checksum. A length of 0 is a keep-alive,
//! which carries nothing. Whether the message is a request or a response follows from the direction of the connection.
//! Nothing here does IO, and nothing here trusts its input.

use bincode::config::{self, Config};
use bincode::error::{DecodeError, EncodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::message::{MessageError, RaftRequest, RaftResponse};

#[cfg(test)]
mod tests;

/// Bytes of the length in front of each frame.
pub const LENGTH_BYTES: usize = 4;

/// Bytes of the checksum at the end of each frame that carries a message.
pub const CHECKSUM_BYTES: usize = 4;

/// Default of the largest `length` that is sent or taken, in bytes.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// Largest limit that may be configured, in bytes.
pub const HIGHEST_FRAME_LIMIT: usize = 128 << 20;

/// The frame that says only that its sender is alive.
pub const KEEP_ALIVE: [u8; LENGTH_BYTES] = [0; LENGTH_BYTES];

/// What comes after a frame's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameLength {
    /// Nothing: the sender is alive.
    KeepAlive,
    /// So many bytes: a message and its checksum.
    Body(usize),
}

/// Why bytes are not a frame, or a message can't become one.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The length in front is over the limit. Nothing has been allocated for it.
    #[error(
        "a frame of {length} bytes is over the limit of {limit} bytes: the sender isn't one of our peers, or has a higher limit"
    )]
    TooLong {
        /// What the length says, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too short for a message and its checksum.
    #[error(
        "a frame of {length} bytes is too short to hold a message: the sender isn't one of our peers"
    )]
    TooShort {
        /// What there is, in bytes.
        length: usize,
    },
    /// The bytes changed on their way, or were no frame.
    #[error(
        "a frame's checksum is {found:08x} where its bytes have {computed:08x}: it was damaged on its way"
    )]
    Checksum {
        /// Written in the frame.
        found: u32,
        /// Of the bytes in front of it.
        computed: u32,
    },
    /// The checksum fits, and yet it's no message that this version knows.
    #[error("a frame holds no message that this version can read: is the peer of another version?")]
    Decode(#[source] DecodeError),
    /// A message with something behind it.
    #[error("a frame holds {extra} bytes more than its message: is the peer of another version?")]
    TrailingBytes {
        /// How many, in bytes.
        extra: usize,
    },
    /// A message whose numbers don't fit together.
    #[error("a frame holds a message that makes no sense")]
    Senseless(#[from] MessageError),
    /// A message that can't be written.
    #[error("a message could not be encoded")]
    Encode(#[source] EncodeError),
}

/// Appends the frame of `request` to `out`. On an error `out` is as before.
///
/// # Errors
/// [`FrameError::TooLong`] if the frame's length would be over `limit`; [`FrameError::Encode`].
pub fn encode_request(
    request: &RaftRequest,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    encode(request, limit, out)
}

/// Appends the frame of `response` to `out`. On an error `out` is as before.
///
/// # Errors
/// As [`encode_request`].
pub fn encode_response(
    response: &RaftResponse,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    encode(response, limit, out)
}

/// Reads the body of a frame, which is what follows its length, as a request.
///
/// # Errors
/// Anything but exactly one message and its checksum.
pub fn decode_request(body: &[u8]) -> Result<RaftRequest, FrameError> {
    let request: RaftRequest = decode(body)?;
    request.check()?;
    Ok(request)
}

/// Reads the body of a frame, which is what follows its length, as a response.
///
/// # Errors
/// As [`decode_request`].
pub fn decode_response(body: &[u8]) -> Result<RaftResponse, FrameError> {
    let response: RaftResponse = decode(body)?;
    response.check()?;
    Ok(response)
}

/// Reads a frame's length, before any memory is spent on the frame.
///
/// # Errors
/// [`FrameError::TooLong`] past `limit`; [`FrameError::TooShort`] if no message fits.
pub fn decode_length(prefix: [u8; LENGTH_BYTES], limit: usize) -> Result<FrameLength, FrameError> {
    let length = u32::from_be_bytes(prefix) as usize;
    match length {
        0 => Ok(FrameLength::KeepAlive),
        _ if length > limit => Err(FrameError::TooLong { length, limit }),
        _ if length <= CHECKSUM_BYTES => Err(FrameError::TooShort { length }),
        _ => Ok(FrameLength::Body(length)),
    }
}

fn encode<T: Serialize>(message: &T, limit: usize, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    let result = append(message, limit, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn append<T: Serialize>(message: &T, limit: usize, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&KEEP_ALIVE); // Makes room for the length.
    let body = out.len();
    bincode::serde::encode_into_std_write(message, out, config::standard())
        .map_err(FrameError::Encode)?;
    let checksum = crc32c::crc32c(&out[body..]);
    out.extend_from_slice(&checksum.to_be_bytes());
    let length = out.len() - body;
    // The second bound is that of the length's four bytes.
    match u32::try_from(length) {
        Ok(prefix) if length <= limit => {
            out[start..body].copy_from_slice(&prefix.to_be_bytes());
            Ok(())
        }
        _ => Err(FrameError::TooLong { length, limit }),
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    let Some((message, checksum)) = body.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(FrameError::TooShort { length: body.len() });
    };
    let (found, computed) = (u32::from_be_bytes(*checksum), crc32c::crc32c(message));
    if found != computed {
        return Err(FrameError::Checksum { found, computed });
    }
    let (value, read) = decode_limited(message).map_err(FrameError::Decode)?;
    match message.len() - read {
        0 => Ok(value),
        extra => Err(FrameError::TrailingBytes { extra }),
    }
}

/// Decodes with a budget of memory that follows the frame's size, so that a lying length inside of it buys nothing.
///
/// bincode's limit is a constant of its type and counts decoded bytes: a number of one byte on the wire counts as the
/// eight that it has in memory. Hence a few steps of sixteen times the frame.
fn decode_limited<T: DeserializeOwned>(message: &[u8]) -> Result<(T, usize), DecodeError> {
    const SMALL: usize = 16 << 10;
    const MEDIUM: usize = 1 << 20;
    const LARGE: usize = HIGHEST_FRAME_LIMIT;
    match message.len() {
        length if length <= SMALL => {
            decode_with(message, config::standard().with_limit::<{ 16 * SMALL }>())
        }
        length if length <= MEDIUM => {
            decode_with(message, config::standard().with_limit::<{ 16 * MEDIUM }>())
        }
        length if length <= LARGE => {
            decode_with(message, config::standard().with_limit::<{ 16 * LARGE }>())
        }
        _ => Err(DecodeError::LimitExceeded),
    }
}

fn decode_with<T: DeserializeOwned>(
    message: &[u8],
    config: impl Config,
) -> Result<(T, usize), DecodeError> {
    bincode::serde::decode_from_slice(message, config)
}
