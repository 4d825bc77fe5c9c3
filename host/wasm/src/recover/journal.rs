//! The calls since the last checkpoint.

use task_queue_raft::state_machine::Moment;

use super::StateCall;

/// The journal is due for a checkpoint past this many bytes, or past the size of the last checkpoint if that is more:
/// so the bytes of all checkpoints together are no more than those of the commands.
const BYTES: u64 = 8 << 20;

/// It is due past this much work to replay, in fuel (some seconds), or past this many times the work of the last
/// checkpoint: so checkpoints take a small part of all work, and the way back from a failure has an end.
const FUEL: u64 = 4_000_000_000;
const FUEL_OF_CHECKPOINTS: u64 = 8;

/// What a record costs beside its commands, in bytes; and a call beside its fuel, in fuel.
const RECORD_BYTES: u64 = 96;
const CALL_FUEL: u64 = 2_000;

/// How often a checkpoint may be postponed, each time for twice as long, while the guest can't write one.
const POSTPONED: u32 = 4;

/// A call that succeeded.
#[derive(Clone, Debug)]
pub(crate) struct JournalRecord {
    pub(super) at: Moment,
    pub(super) number: u32,
    pub(super) work: StateCall,
    /// Of its outcomes.
    pub(super) checksum: u32,
}

impl JournalRecord {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> u64 {
        RECORD_BYTES
            + match &self.work {
                StateCall::Apply(batch) => batch.data.len() as u64 + 4 * batch.ends.len() as u64,
                StateCall::Wake => 0,
            }
    }
}

/// Bounded: past its limits the guest gets a checkpoint or the machine stops.
#[derive(Debug, Default)]
pub(super) struct Journal {
    records: Vec<JournalRecord>,
    bytes: u64,
    fuel: u64,
    checkpoint_bytes: u64,
    checkpoint_fuel: u64,
    postponed: u32,
}

impl Journal {
    /// Adds a call that took so much fuel.
    pub(super) fn push(&mut self, record: JournalRecord, fuel: u64) {
        self.bytes += record.bytes();
        self.fuel = self.fuel.saturating_add(CALL_FUEL).saturating_add(fuel);
        self.records.push(record);
    }

    pub(super) fn records(&self) -> &[JournalRecord] {
        &self.records
    }

    pub(super) fn last_moment(&self) -> Option<Moment> {
        self.records.last().map(|record| record.at)
    }

    /// Starts anew after a checkpoint of this size, which took so much fuel.
    pub(super) fn clear(&mut self, checkpoint_bytes: u64, checkpoint_fuel: u64) {
        *self = Self {
            checkpoint_bytes,
            checkpoint_fuel,
            ..Self::default()
        };
    }

    /// Forgets the first so many calls: a checkpoint of this size, which took so much fuel, has them in it.
    pub(super) fn forget_first(
        &mut self,
        calls: usize,
        checkpoint_bytes: u64,
        checkpoint_fuel: u64,
    ) {
        let rest = self.records.split_off(calls.min(self.records.len()));
        // What each call took is not kept; their share of all is near enough.
        let all = self.records.len() + rest.len();
        let fuel = self.fuel.checked_div(all as u64).unwrap_or(0) * rest.len() as u64;
        *self = Self {
            bytes: rest.iter().map(JournalRecord::bytes).sum(),
            fuel,
            records: rest,
            checkpoint_bytes,
            checkpoint_fuel,
            postponed: 0,
        };
    }

    /// Whether it has twice what makes it due: a checkpoint that is under way has to be waited for.
    pub(super) fn is_overdue(&self) -> bool {
        self.bytes / 2 > self.most_bytes() || self.fuel / 2 > self.most_fuel()
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

    /// Whether it is over this part of one of its limits.
    fn fills(&self, part: u64) -> bool {
        self.bytes > self.most_bytes() / part || self.fuel > self.most_fuel() / part
    }

    fn most_bytes(&self) -> u64 {
        let bytes = BYTES.max(self.checkpoint_bytes);
        bytes.saturating_mul(1 << self.postponed)
    }

    fn most_fuel(&self) -> u64 {
        let fuel = FUEL.max(self.checkpoint_fuel.saturating_mul(FUEL_OF_CHECKPOINTS));
        fuel.saturating_mul(1 << self.postponed)
    }
}

#[cfg(test)]
mod tests;
