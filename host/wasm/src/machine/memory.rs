//! Which nodes have reported that the memory of their guest is low. Replicated state.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::records::audit::MAX_NAME_BYTES;
use crate::records::memory::MemoryRecord;
use crate::records::wire;

/// Most nodes whose reports are kept. Further reports change nothing.
const MAX_NODES: usize = 64;

/// The nodes whose memory is low. The guest sees memory pressure while there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LowMemory {
    nodes: BTreeSet<String>,
}

impl LowMemory {
    /// Whether a node's memory is low.
    pub(crate) fn is_low(&self) -> bool {
        !self.nodes.is_empty()
    }

    pub(crate) fn nodes(&self) -> &BTreeSet<String> {
        &self.nodes
    }

    pub(crate) fn apply(&mut self, record: MemoryRecord) {
        if !record.is_low {
            self.nodes.remove(&record.node);
        } else if self.nodes.len() < MAX_NODES {
            self.nodes.insert(record.node);
        }
    }

    /// Writes the part of a snapshot. Nothing, if no memory is low.
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        for node in &self.nodes {
            wire::put_bytes(to, node.as_bytes())?;
        }
        Ok(())
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(mut part: &[u8]) -> io::Result<Self> {
        let mut low = Self::default();
        while !part.is_empty() {
            let node = wire::take_text(&mut part, MAX_NAME_BYTES as u64)?;
            low.nodes.insert(node);
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests;
