//! When the guest moves to a new instance to give back memory.
//!
//! Linear memory never shrinks, however much state the guest removes. A new instance that restores a checkpoint has as much
//! as the state needs.

use crate::guest::limits::MachineLimits;

/// A new instance is worth it when the checkpoint has shrunk to this part of its earlier size.
const SHRUNK_TO_PERCENT: u64 = 75;

/// The size that later checkpoints are compared with.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    /// Size of the largest checkpoint since the last move, or since the memory was last below its limits; in bytes. Where memory
    /// became low before there was a checkpoint: the size of the memory.
    reference: u64,
}

impl Compaction {
    /// Whether to move now: the guest has `memory` bytes of memory, and the last checkpoint takes `checkpoint` bytes.
    pub(super) fn is_due(&mut self, memory: u64, checkpoint: u64, limits: &MachineLimits) -> bool {
        if memory < limits.enough_memory_bytes() {
            self.reference = 0;
            return false;
        }
        if self.reference == 0 && memory >= limits.soft_memory_bytes() {
            self.reference = memory;
        }
        let most = self.reference / 100 * SHRUNK_TO_PERCENT;
        let is_due = checkpoint < most;
        if is_due || checkpoint > self.reference {
            self.reference = checkpoint;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_the_checkpoint_has_shrunk_while_the_memory_is_large() {
        let limits = MachineLimits {
            memory_bytes: 100_000,
            ..MachineLimits::default()
        };
        let mut compaction = Compaction::default();
        let mut due = |memory, checkpoint| compaction.is_due(memory, checkpoint, &limits);
        assert!(!due(75_000, 50_000));
        assert!(!due(90_000, 60_000));
        assert!(!due(90_000, 46_000));
        assert!(due(90_000, 44_000));
        // Not again before it has shrunk further.
        assert!(!due(90_000, 44_000));
        assert!(due(90_000, 30_000));
        // With enough memory there is nothing to give back.
        assert!(!due(60_000, 10_000));
        assert!(!due(75_000, 5_000));
    }

    /// Memory became low between two checkpoints, and most of the state was removed before the next one.
    #[test]
    fn the_first_checkpoint_while_memory_is_low_is_compared_with_the_memory() {
        let limits = MachineLimits {
            memory_bytes: 100_000,
            ..MachineLimits::default()
        };
        let mut compaction = Compaction::default();
        let mut due = |memory, checkpoint| compaction.is_due(memory, checkpoint, &limits);
        assert!(due(90_000, 10_000));
        assert!(!due(90_000, 10_000));
        let mut full = Compaction::default();
        assert!(!full.is_due(90_000, 80_000, &limits));
    }
}
