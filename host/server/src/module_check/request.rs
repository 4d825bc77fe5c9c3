//! What the node sends to the child that checks a module.
//!
//! ```text
//! offset  bytes  content
//!      0      4  length of the limits, little-endian
//!      4      n  the limits, as JSON
//!  4 + n         the module
//! ```
//!
//! The child answers with a JSON array of the reasons why it refuses the module; an empty array accepts it. Both sides are
//! the same program, so the format may change at any time.

use std::io::{self, ErrorKind, Read};

use oarlock_wasm::MachineLimits;

/// Most bytes of the limits.
const MAX_LIMITS_BYTES: usize = 64 << 10;

/// What is before the module.
///
/// # Errors
/// The limits can't be written.
pub(super) fn head(limits: &MachineLimits) -> io::Result<Vec<u8>> {
    let limits = serde_json::to_vec(limits)?;
    let length = u32::try_from(limits.len()).map_err(io::Error::other)?;
    let mut head = length.to_le_bytes().to_vec();
    head.extend(limits);
    Ok(head)
}

/// Reads a request.
///
/// # Errors
/// It is not complete, or the limits are not valid.
pub(crate) fn read(mut from: impl Read) -> io::Result<(MachineLimits, Vec<u8>)> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    if length > MAX_LIMITS_BYTES {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut limits = vec![0; length];
    from.read_exact(&mut limits)?;
    let limits: MachineLimits = serde_json::from_slice(&limits)?;
    let mut bytes = Vec::new();
    from.take(limits.module_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok((limits, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_and_the_module_arrive() {
        let limits = MachineLimits {
            stack_bytes: 12_345,
            module_bytes: 4,
            ..MachineLimits::default()
        };
        let mut request = head(&limits).expect("a head");
        request.extend(b"module");
        let (read_limits, bytes) = read(request.as_slice()).expect("a request");
        assert_eq!(read_limits, limits);
        assert_eq!(
            bytes, b"modul",
            "one byte over the limit, so that the check tells it"
        );
    }

    #[test]
    fn a_request_that_is_cut_off_is_an_error() {
        let request = head(&MachineLimits::default()).expect("a head");
        for length in 0..request.len() {
            assert!(read(&request[..length]).is_err(), "{length} bytes");
        }
        assert!(read([0xff; 100].as_slice()).is_err());
    }
}
