//! The signature of the module of an upgrade. The host does not interpret it: each node checks it with its own keys.
//!
//! ```text
//! kind 50   u64 the entry that began the upgrade · the rest: the signature, UTF-8, at most 512 bytes
//! ```

use bytes::{BufMut, BytesMut};
use task_queue_raft::ids::Index;

/// Kind of the record.
pub(crate) const SIGNATURE: u8 = 50;
/// Longest signature, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 512;

/// The signature of the module of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeSignature {
    /// The entry that began the upgrade.
    pub upgrade: Index,
    /// The signature, at most [`MAX_SIGNATURE_BYTES`].
    pub text: String,
}

impl UpgradeSignature {
    /// Appends kind and content.
    pub(crate) fn encode(&self, to: &mut BytesMut) {
        to.put_u8(SIGNATURE);
        to.put_u64_le(self.upgrade.0);
        to.put_slice(self.text.as_bytes());
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&SIGNATURE, rest) = bytes.split_first()? else {
            return None;
        };
        let (upgrade, text) = rest.split_first_chunk()?;
        let text = std::str::from_utf8(text).ok()?;
        (text.len() <= MAX_SIGNATURE_BYTES).then(|| Self {
            upgrade: Index(u64::from_le_bytes(*upgrade)),
            text: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_survives_its_encoding_and_has_these_bytes() {
        let signature = UpgradeSignature {
            upgrade: Index(7),
            text: "s".to_owned(),
        };
        let mut bytes = BytesMut::new();
        signature.encode(&mut bytes);
        assert_eq!(&bytes[..], b"\x32\x07\0\0\0\0\0\0\0s");
        assert_eq!(UpgradeSignature::decode(&bytes), Some(signature));
        for length in 0..9 {
            assert_eq!(UpgradeSignature::decode(&bytes[..length]), None);
        }
        for wrong in [vec![0xff], vec![b'a'; MAX_SIGNATURE_BYTES + 1]] {
            let wrong = [&bytes[..9], &wrong].concat();
            assert_eq!(UpgradeSignature::decode(&wrong), None);
        }
    }
}
