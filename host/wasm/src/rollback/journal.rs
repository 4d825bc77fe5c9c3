//! The calls since the last checkpoint.

use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::Moment;

use crate::failure::MachineFailure;
use crate::guest::call::{CallPurpose, CallView, Callers};
use crate::guest::failure::GuestCallError;
use crate::guest::instance::{Batch, CallOutput, Instance};
use crate::guest::limits::MachineLimits;
use crate::records::caller::GuestCaller;

/// A checkpoint is due when the journal exceeds this many bytes, or the size of the last checkpoint if that is more. So
/// all checkpoints together take no more bytes than the commands.
const BYTES: u64 = 8 << 20;

/// A checkpoint is also due when a replay takes more fuel than this (some seconds), or than this multiple of the fuel
/// of the last checkpoint. So checkpoints are a small part of all work, and the time of a replay is limited.
const FUEL: u64 = 4_000_000_000;
const FUEL_OF_CHECKPOINTS: u64 = 8;

/// Overhead of a record besides its commands, in bytes; and of a call besides its fuel, in fuel.
const RECORD_BYTES: u64 = 112;
const CALL_FUEL: u64 = 2_000;

/// How often a failed checkpoint may be postponed. Each time the limits of the journal double.
const MAX_POSTPONED: u32 = 4;

/// A call that changes the state.
#[derive(Clone, Debug)]
pub(crate) enum StateCall {
    Apply(Batch, Callers),
    Wake,
}

impl StateCall {
    /// A batch of commands, concatenated, and who has sent each.
    pub(crate) fn of<'c>(
        commands: impl IntoIterator<
            Item = (&'c Bytes, Option<&'c Arc<GuestCaller>>),
            IntoIter: Clone + ExactSizeIterator,
        >,
    ) -> Self {
        let commands = commands.into_iter();
        let bytes = commands.clone().map(|(command, _)| command.len()).sum();
        let mut batch = Batch {
            data: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(commands.len()),
        };
        let callers = Callers::of(commands.clone().map(|(_, caller)| caller));
        for (command, _) in commands {
            batch.data.extend_from_slice(command);
            // A batch is at most 1 GiB, the largest `command_bytes`, so an offset fits.
            batch.ends.push(batch.data.len() as u32);
        }
        Self::Apply(batch, callers)
    }

    pub(super) fn run(
        &self,
        instance: &mut Instance,
        purpose: CallPurpose,
        at: Moment,
        number: u32,
        view: CallView,
    ) -> Result<CallOutput, GuestCallError> {
        instance.set_view(view, purpose);
        match self {
            Self::Apply(batch, callers) => instance.apply(purpose, at, number, batch, callers),
            Self::Wake => instance.wake(purpose, at, number),
        }
    }
}

/// A successful call.
#[derive(Clone, Debug)]
pub(crate) struct JournalRecord {
    pub(super) at: Moment,
    pub(super) number: u32,
    pub(super) view: CallView,
    pub(super) call: StateCall,
    /// Checksum of the outcomes.
    pub(super) checksum: u32,
    /// The limits at that call. They may have been changed since.
    pub(super) limits: Arc<MachineLimits>,
}

impl JournalRecord {
    /// Approximate size in memory.
    pub(super) fn bytes(&self) -> u64 {
        RECORD_BYTES
            + match &self.call {
                StateCall::Apply(batch, callers) => {
                    (batch.data.len() + 4 * batch.ends.len() + callers.bytes()) as u64
                }
                StateCall::Wake => 0,
            }
    }
}

/// The calls since the last checkpoint, in order. Its size is limited: over the limit the guest writes a checkpoint, or
/// the machine stops.
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
    /// Appends a call that used `fuel`.
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

    /// Replays the calls after the first `skip`, each under its own limits plus this headroom of memory, and
    /// compares their outcomes.
    ///
    /// # Errors
    /// A call failed or had other outcomes than before.
    pub(super) fn replay(
        &self,
        instance: &mut Instance,
        skip: usize,
        headroom: impl Fn(&MachineLimits) -> u64,
    ) -> Result<(), MachineFailure> {
        let mut limits: Option<&Arc<MachineLimits>> = None;
        for record in &self.records[skip..] {
            if limits.is_none_or(|limits| !Arc::ptr_eq(limits, &record.limits)) {
                instance.set_limits(&record.limits, headroom(&record.limits));
                limits = Some(&record.limits);
            }
            let index = record.at.index;
            let JournalRecord {
                at, number, view, ..
            } = *record;
            let output = record
                .call
                .run(instance, CallPurpose::Replay, at, number, view)
                .map_err(|error| {
                    let message = error.to_string();
                    MachineFailure::of_node(&error, index)
                        .unwrap_or(MachineFailure::Replay { index, message })
                })?;
            if output.checksum != record.checksum {
                return Err(MachineFailure::NotDeterministic { index });
            }
        }
        Ok(())
    }

    /// Removes all calls after a checkpoint of this size, which used this fuel.
    pub(super) fn clear(&mut self, checkpoint_bytes: u64, checkpoint_fuel: u64) {
        *self = Self {
            checkpoint_bytes,
            checkpoint_fuel,
            ..Self::default()
        };
    }

    /// Removes the first `calls` calls, which a checkpoint of this size contains; writing it used this fuel.
    pub(super) fn forget_first(
        &mut self,
        calls: usize,
        checkpoint_bytes: u64,
        checkpoint_fuel: u64,
    ) {
        let rest = self.records.split_off(calls.min(self.records.len()));
        // Fuel is not kept for each call; an average is accurate enough.
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

    /// Whether the journal is at twice its limits, so that the guest has to wait for the checkpoint in progress.
    pub(super) fn is_overdue(&self) -> bool {
        self.bytes / 2 > self.max_bytes() || self.fuel / 2 > self.max_fuel()
    }

    /// Whether a checkpoint is due.
    pub(super) fn is_due(&self) -> bool {
        self.exceeds(1)
    }

    /// Whether a replay takes so long that a checkpoint is worth it after a failure.
    pub(super) fn is_costly(&self) -> bool {
        self.exceeds(16)
    }

    /// Doubles the limits after a failed checkpoint. `false`: the limit of postponements is reached.
    pub(super) fn postpone(&mut self) -> bool {
        if self.postponed == MAX_POSTPONED {
            return false;
        }
        self.postponed += 1;
        true
    }

    /// Whether the journal is over one of its limits divided by `part`.
    fn exceeds(&self, part: u64) -> bool {
        self.bytes > self.max_bytes() / part || self.fuel > self.max_fuel() / part
    }

    fn max_bytes(&self) -> u64 {
        let bytes = BYTES.max(self.checkpoint_bytes);
        bytes.saturating_mul(1 << self.postponed)
    }

    fn max_fuel(&self) -> u64 {
        let fuel = FUEL.max(self.checkpoint_fuel.saturating_mul(FUEL_OF_CHECKPOINTS));
        fuel.saturating_mul(1 << self.postponed)
    }
}

#[cfg(test)]
mod tests;
