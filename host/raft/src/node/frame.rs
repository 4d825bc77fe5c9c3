//! The bytes of a message on the wire: length, bincode, checksum.
//!
//! ```text
//! 0        4                      4 + length - 4   4 + length
//! +--------+----------------------+----------------+
//! | length | bincode of a message | CRC-32C        |
//! +--------+----------------------+----------------+
//! ```
//!
//! Both numbers are big-endian. `length` is the number of bytes after it: message and checksum. Length 0 is a
//! keep-alive without a message. The direction of the connection determines whether a message is a request or a
//! response. This module does no IO and does not trust its input.

use bincode::config::{self, Config};
use bincode::error::{DecodeError, EncodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::message::check::MessageError;
use crate::message::{RaftRequest, RaftResponse};

#[cfg(test)]
mod tests;

/// Size of a frame's length prefix, in bytes.
pub const LENGTH_BYTES: usize = 4;

/// Size of the checksum at the end of a frame with a message, in bytes.
pub const CHECKSUM_BYTES: usize = 4;

/// Default of the largest `length` that is sent or accepted, in bytes.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// The highest limit that can be configured, in bytes.
pub const HIGHEST_FRAME_LIMIT: usize = 128 << 20;

/// The frame without a message: its sender is alive.
pub const KEEP_ALIVE: [u8; LENGTH_BYTES] = [0; LENGTH_BYTES];

/// A decoded length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameLength {
    /// A keep-alive: nothing follows.
    KeepAlive,
    /// This many bytes follow: a message and its checksum.
    Body(usize),
}

/// Why a frame could not be decoded or encoded.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The length is over the limit. No memory was reserved for it.
    #[error(
        "a frame of {length} bytes is over the limit of {limit} bytes: the sender is not an Oarlock node, or it has a higher limit; set the same limit on every node"
    )]
    TooLong {
        /// The length prefix, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too short for a message and its checksum.
    #[error(
        "a frame of {length} bytes is too short for a message: the sender is not an Oarlock node"
    )]
    TooShort {
        /// The length of the frame, in bytes.
        length: usize,
    },
    /// The bytes changed in transit, or they are not a frame.
    #[error(
        "a frame has the checksum {found:08x} and its bytes have {computed:08x}: it was corrupted in transit"
    )]
    Checksum {
        /// The checksum in the frame.
        found: u32,
        /// The checksum of the bytes before it.
        computed: u32,
    },
    /// The checksum is right, but this version does not know the message.
    #[error(
        "a frame has a message that this version can't read: the peer may run another release; run the same release on both"
    )]
    Decode(#[source] DecodeError),
    /// Bytes follow the message.
    #[error(
        "a frame has {extra} bytes after its message: the peer may run another release; run the same release on both"
    )]
    TrailingBytes {
        /// The number of bytes after the message.
        extra: usize,
    },
    /// The fields of a message contradict each other.
    #[error("a frame has a message that is not valid")]
    Senseless(#[from] MessageError),
    /// The message could not be encoded.
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

/// Decodes a frame's length prefix, before memory is reserved for the frame.
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
    out.extend_from_slice(&KEEP_ALIVE); // Placeholder for the length.
    let body = out.len();
    bincode::serde::encode_into_std_write(message, out, config::standard())
        .map_err(FrameError::Encode)?;
    let checksum = crc32c::crc32c(&out[body..]);
    out.extend_from_slice(&checksum.to_be_bytes());
    let length = out.len() - body;
    // A length prefix of four bytes is the second limit.
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

/// Decodes with a memory limit in proportion to the frame, so that a false length inside it can't reserve memory.
///
/// bincode's limit is a constant in a type, and it counts decoded bytes: a u64 that takes one byte on the wire counts
/// as eight. Hence three steps, each sixteen times the size of the frame.
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
