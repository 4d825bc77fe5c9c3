//! The calls since the last checkpoint.

use task_queue_raft::state_machine::Moment;

use super::Work;

/// The journal is due for a checkpoint past this many bytes, or past the size of the last checkpoint if that is more:
/// so writing checkpoints takes no more than in proportion to what is applied.
const BYTES: u64 = 8 << 20;

/// It is due past this many calls, too. A larger state gets more: one for each [`BYTES_PER_CALL`] of its checkpoint.
const CALLS: u64 = 4096;
const BYTES_PER_CALL: u64 = 16 << 10;

/// What a record costs beside its commands, in bytes.
const RECORD_BYTES: u64 = 96;

/// How often a checkpoint may be postponed, each time for twice as long, while the guest can't write one.
const POSTPONED: u32 = 4;

/// A call that succeeded.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) at: Moment,
    pub(super) number: u32,
    pub(super) work: Work,
    /// Of its outcomes.
    pub(super) checksum: u32,
}

/// Bounded: past its limits the guest gets a checkpoint or the machine stops.
#[derive(Debug, Default)]
pub(super) struct Journal {
    records: Vec<Record>,
    bytes: u64,
    checkpoint_bytes: u64,
    postponed: u32,
}

impl Journal {
    pub(super) fn push(&mut self, record: Record) {
        self.bytes += RECORD_BYTES;
        if let Work::Apply(batch) = &record.work {
            self.bytes += batch.data.len() as u64 + 4 * batch.ends.len() as u64;
        }
        self.records.push(record);
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(super) fn last_moment(&self) -> Option<Moment> {
        self.records.last().map(|record| record.at)
    }

    /// Starts anew after a checkpoint of this size.
    pub(super) fn clear(&mut self, checkpoint_bytes: u64) {
        *self = Self {
            checkpoint_bytes,
            ..Self::default()
        };
    }

    pub(super) fn is_due(&self) -> bool {
        self.fills(1)
    }

    /// Whether replaying it takes long enough for a checkpoint to be worth it after a failure.
    pub(super) fn is_costly(&self) -> bool {
        self.fills(16)
    }

    /// Lets it grow to twice its limits before it is due again. `false` if that was done too often.
    pub(super) fn postpone(&mut self) -> bool {
        if self.postponed == POSTPONED {
            return false;
        }
        self.postponed += 1;
        true
    }

    fn fills(&self, part: u64) -> bool {
        let times = 1 << self.postponed;
        let bytes = BYTES.max(self.checkpoint_bytes) * times;
        let calls = CALLS.max(self.checkpoint_bytes / BYTES_PER_CALL) * times;
        self.bytes > bytes / part || self.records.len() as u64 >= calls / part
    }
}

#[cfg(test)]
mod tests;
