//! Memory records: a node reports that the memory of its guest is low, or no longer low.
//!
//! The size of the memory differs between nodes, because a heap that was restored from a snapshot has another layout than one
//! that grew. So a guest may depend on it only through the log.
//!
//! ```text
//! kind 16   u8: 1 low, 0 no longer low · the rest: name of the node, UTF-8, at most 256 bytes
//! ```

use bytes::{BufMut, BytesMut};

use crate::records::audit::MAX_NAME_BYTES;

pub(crate) const MEMORY: u8 = 16;

/// A node's report about the memory of its guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRecord {
    /// The node's name, at most 256 bytes. The leader reports for a node that can't do so itself.
    pub node: String,
    /// Whether its memory is low.
    pub is_low: bool,
}

impl MemoryRecord {
    /// Appends kind and content.
    pub(crate) fn encode(&self, to: &mut BytesMut) {
        to.put_u8(MEMORY);
        to.put_u8(self.is_low.into());
        to.put_slice(self.node.as_bytes());
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&MEMORY, [is_low @ (0 | 1), node @ ..]) = bytes.split_first()? else {
            return None;
        };
        let node = std::str::from_utf8(node).ok()?;
        (node.len() <= MAX_NAME_BYTES).then(|| Self {
            node: node.to_owned(),
            is_low: *is_low == 1,
        })
    }
}
