//! The serving guest, with everything that is needed to roll it back. See [`rollback`](super).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use task_queue_raft::state_machine::{ClientWatch, Moment};

use crate::failure::MachineFailure;
use crate::guest::call::{CallPurpose, CallView};
use crate::guest::failure::GuestCallError;
use crate::guest::instance::{CallOutput, Instance, ShortQuery};
use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::records::chunks::SnapshotChunks;
use crate::records::failure::GuestFailure;
use crate::records::outcome::GuestQueryError;
use crate::records::query::MachineQuery;
use crate::rollback::checkpoint::{
    CapturedState, Checkpoint, Checkpoints, StateCopy, snapshot_failure,
};
use crate::rollback::compaction::Compaction;
use crate::rollback::factory::InstanceFactory;
use crate::rollback::image::MemoryImage;
use crate::rollback::journal::{Journal, JournalRecord, StateCall};
use crate::rollback::kept::KeptCalls;
use crate::rollback::replica::{FrozenGuest, response};
use crate::rollback::replicas::{QueryReplicas, ShadowInstance};
use crate::rollback::stopwatch::Stopwatch;

/// The host's own check of well-formed outcomes. An error counts as a failure of the guest.
pub(crate) type OutputCheck<'a> = &'a dyn Fn(&CallOutput) -> Result<(), GuestFailure>;

/// How a guest got its state: a checkpoint and the calls since. Another module can rebuild its own state from it.
pub(crate) struct GuestOrigin {
    checkpoint: Option<Checkpoint>,
    records: Vec<JournalRecord>,
}

/// Statistics of rollbacks on this node.
#[derive(Clone, Copy, Debug, Default)]
struct RollbackStats {
    count: u64,
    /// Duration of the last one, including the drop of the failed instance.
    last: Duration,
    /// How long the drop of the failed instance took.
    last_drop: Duration,
}

/// The guest that serves, and how to roll it back.
pub(crate) struct RecoverableGuest {
    factory: InstanceFactory,
    /// `None` after a failure, until the next call.
    instance: Option<Instance>,
    journal: Journal,
    checkpoints: Checkpoints,
    image: MemoryImage,
    replicas: QueryReplicas,
    kept: KeptCalls,
    compaction: Compaction,
    rollbacks: RollbackStats,
}

impl RecoverableGuest {
    /// Starts a guest in its initial state.
    pub(crate) fn start(
        module: GuestModule,
        limits: &MachineLimits,
    ) -> Result<Self, MachineFailure> {
        let image = MemoryImage::new(module.rollback_method());
        let factory = InstanceFactory::new(module, limits);
        let mut guest = Self {
            instance: Some(factory.start()?),
            factory,
            journal: Journal::default(),
            checkpoints: Checkpoints::default(),
            image,
            replicas: QueryReplicas::default(),
            kept: KeptCalls::default(),
            compaction: Compaction::default(),
            rollbacks: RollbackStats::default(),
        };
        guest.freeze();
        Ok(guest)
    }

    pub(crate) fn module(&self) -> &GuestModule {
        &self.factory.module
    }

    /// Number of rollbacks on this node.
    pub(crate) fn rollbacks(&self) -> u64 {
        self.rollbacks.count
    }

    /// Duration of the last rollback, in microseconds.
    pub(crate) fn last_rollback_us(&self) -> u64 {
        u64::try_from(self.rollbacks.last.as_micros()).unwrap_or(u64::MAX)
    }

    /// Linear memory of the serving instance, in bytes; 0 while there is none.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.instance.as_ref().map_or(0, Instance::memory_bytes)
    }

    /// Applies other limits under the same rules of execution from the next call on. Calls in the journal keep theirs.
    pub(crate) fn set_limits(&mut self, limits: &MachineLimits) {
        self.factory.limits = Arc::new(*limits);
        if let Some(instance) = &mut self.instance {
            instance.set_limits(limits, 0);
        }
        self.image.set_factory(&self.factory);
    }

    /// Makes a call that changes the state. If the result is the inner error, the call changed nothing.
    ///
    /// # Errors
    /// This node can't continue.
    pub(crate) fn run(
        &mut self,
        at: Moment,
        number: u32,
        view: CallView,
        call: StateCall,
        check: OutputCheck<'_>,
    ) -> Result<Result<CallOutput, GuestFailure>, MachineFailure> {
        let instance = self.live()?;
        let start = Stopwatch::start();
        let output = call.run(instance, CallPurpose::Change, at, number, view);
        let took = start.elapsed();
        let (fuel, bytes) = (instance.fuel_spent(), instance.memory_bytes());
        let output = output.and_then(|output| match check(&output) {
            Ok(()) => Ok(output),
            Err(failure) => Err(GuestCallError::Guest(failure)),
        });
        match output {
            Ok(output) => {
                let record = JournalRecord {
                    at,
                    number,
                    view,
                    call,
                    checksum: output.checksum,
                    limits: Arc::clone(&self.factory.limits),
                };
                self.kept.push(&record);
                self.journal.push(record, fuel);
                if self.image.is_due_after(took, bytes) {
                    self.freeze();
                }
                Ok(Ok(output))
            }
            Err(error) => {
                self.drop_instance();
                self.image.note_failure();
                match error {
                    GuestCallError::NodeOutOfMemory => Err(MachineFailure::NodeOutOfMemory),
                    GuestCallError::Guest(GuestFailure::StackOverflow) => {
                        Err(MachineFailure::StackOverflow { index: at.index })
                    }
                    // Only queries have a client.
                    GuestCallError::ClientGone => Err(MachineFailure::Rebuild {
                        message: error.to_string(),
                    }),
                    GuestCallError::Guest(failure) => Ok(Err(failure)),
                }
            }
        }
    }

    /// Ends an entry: adopts a checkpoint from another thread, and writes a new one if the journal has grown too long.
    ///
    /// # Errors
    /// No checkpoint could be written too often.
    pub(crate) fn settle(&mut self, at: Moment) -> Result<(), MachineFailure> {
        self.image.set_last_applied(at);
        if self.checkpoints.is_async {
            self.adopt_checkpoint()?;
        }
        if self.journal.is_due() {
            if self.checkpoints.is_async && self.image.exists() {
                self.checkpoint_on_thread(at)?;
            } else {
                self.checkpoint_now(at)?;
            }
        }
        self.compact_if_due();
        Ok(())
    }

    /// Moves to a new instance if that gives back memory. If it fails, the old instance serves on.
    fn compact_if_due(&mut self) {
        let (memory, limits) = (self.memory_bytes(), &self.factory.limits);
        let Some(checkpoint) = self.checkpoints.latest().map(|last| last.chunks.bytes()) else {
            return;
        };
        if self.journal.is_costly() || !self.compaction.is_due(memory, checkpoint, limits) {
            return;
        }
        match self.rebuild_from_checkpoint() {
            Ok(instance) if instance.memory_bytes() < memory => {
                tracing::info!(
                    before = memory,
                    after = instance.memory_bytes(),
                    "the guest moved to a new instance, which gave back memory"
                );
                self.instance = Some(instance);
                // They are over the memory of the old instance.
                self.drop_copies();
                self.freeze();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the guest could not move to a new instance to give back memory");
            }
        }
    }
}

/// Queries.
impl RecoverableGuest {
    /// The guest's state after all calls up to now, frozen for queries; `None` if the guest has no image.
    pub(crate) fn frozen(
        &mut self,
        at: Moment,
    ) -> Result<Option<Arc<FrozenGuest>>, MachineFailure> {
        if self.image.is_current(self.journal.records().len()) {
            self.image.reaches(at);
        } else if !self.image.is_enabled() {
            return Ok(None);
        } else {
            self.image.set_last_applied(at);
            self.live()?;
            self.freeze();
        }
        Ok(self.image.guest())
    }

    /// Whether [`Self::frozen`] is cheap now: there were no calls since the last freeze, or enough for another one.
    pub(crate) fn is_ready_for_queries(&self) -> bool {
        self.image.is_current(self.journal.records().len()) || self.image.is_freeze_worth_it()
    }

    /// Runs a query on this thread.
    ///
    /// # Errors
    /// The state could not be rebuilt for it.
    pub(crate) fn query(
        &mut self,
        at: Moment,
        query: &MachineQuery,
        client: &ClientWatch,
    ) -> Result<Result<Bytes, GuestQueryError>, MachineFailure> {
        match self.frozen(at)? {
            Some(guest) => Ok(self.replicas.query(&guest, query, client)),
            None => self.query_shadow(at, query, client),
        }
    }

    fn query_shadow(
        &mut self,
        at: Moment,
        query: &MachineQuery,
        client: &ClientWatch,
    ) -> Result<Result<Bytes, GuestQueryError>, MachineFailure> {
        let mut shadow = self.shadow(at)?;
        match shadow.query(at, query) {
            Ok(ShortQuery::Ended(outcome)) => {
                let calls = self.journal.records().len();
                self.replicas.keep_queried(shadow, calls);
                Ok(response(Ok(outcome)))
            }
            Ok(ShortQuery::IsLong) => {
                drop(shadow);
                let instance = self.shadow(at)?;
                Ok(response(instance.query_long(at, query, client)))
            }
            Err(error) => Ok(response(Err(error))),
        }
    }

    /// A second instance in the current state.
    fn shadow(&mut self, at: Moment) -> Result<Instance, MachineFailure> {
        let shadow = self.replicas.take_shadow();
        if let Some(Ok(instance)) = shadow.map(|shadow| self.catch_up(shadow)) {
            return Ok(instance);
        }
        // There was no shadow, or a query had changed its state, which the replay has detected.
        if self.journal.is_costly() {
            self.live()?;
            self.checkpoint_now(at)?;
        }
        self.rebuild_from_checkpoint()
    }

    fn catch_up(&self, shadow: ShadowInstance) -> Result<Instance, MachineFailure> {
        self.replay(shadow.instance, shadow.calls)
    }

    /// Brings the shadow up to date before a checkpoint drops the calls that it needs for that. Drops it if there was
    /// no query since the last checkpoint.
    fn catch_up_shadow(&mut self) {
        let shadow = self.replicas.take_queried_shadow();
        let instance = shadow.and_then(|shadow| self.catch_up(shadow).ok());
        self.replicas.set_shadow(instance);
    }
}

/// Snapshots and checkpoints.
impl RecoverableGuest {
    /// Has the guest write its state, which becomes the checkpoint.
    ///
    /// # Errors
    /// The guest can't write it.
    pub(crate) fn snapshot(&mut self, at: Moment) -> Result<SnapshotChunks, MachineFailure> {
        let version = self.factory.version();
        let instance = self.live()?;
        let written = Checkpoint::write(instance, at, version);
        let fuel = instance.fuel_spent();
        match written {
            Ok(Ok(checkpoint)) => {
                self.catch_up_shadow();
                let chunks = checkpoint.chunks.clone();
                self.checkpoints.set_latest(Some(checkpoint));
                self.clear_journal(chunks.bytes(), fuel);
                Ok(chunks)
            }
            Ok(Err(message)) => Err(MachineFailure::GuestSnapshot { message }),
            Err(error) => {
                self.instance = None;
                Err(snapshot_failure(&error, at.index))
            }
        }
    }

    /// Writes checkpoints on another thread from now on, if the guest has an image.
    pub(crate) fn checkpoint_on_threads(&mut self) {
        self.checkpoints.is_async = true;
    }

    /// Captures the state, to be written as a snapshot on any thread. Takes little time if the guest has an image.
    ///
    /// # Errors
    /// The guest can't write its state.
    pub(crate) fn begin_snapshot(&mut self, at: Moment) -> Result<CapturedState, MachineFailure> {
        match self.copy_state(at)? {
            Some(copy) => Ok(CapturedState::copy(copy)),
            None => self.snapshot(at).map(CapturedState::written),
        }
    }

    /// A copy of the guest over the image; `None` if there is no image or no copy could be started.
    fn copy_state(&mut self, at: Moment) -> Result<Option<StateCopy>, MachineFailure> {
        let Some(guest) = self.frozen(at)? else {
            return Ok(None);
        };
        let (instance, held) = match guest.copy() {
            Ok(copy) => copy,
            Err(error) => {
                tracing::warn!(%error, "the guest could not be copied for a snapshot; it is written on the applying thread");
                return Ok(None);
            }
        };
        Ok(Some(StateCopy {
            instance,
            held,
            version: self.factory.version(),
            destination: self.checkpoints.destination(self.journal.records().len()),
        }))
    }

    /// Adopts a checkpoint that another thread has finished, and drops its calls from the journal.
    fn adopt_checkpoint(&mut self) -> Result<(), MachineFailure> {
        let finished = match self.checkpoints.take_finished() {
            None => return Ok(()),
            Some(Ok(finished)) => finished,
            Some(Err(error)) => return self.postpone_checkpoint(error),
        };
        if let Some(calls) = self.checkpoints.calls_in(&finished)
            && self.image.forget_first(calls)
        {
            let bytes = finished.checkpoint.chunks.bytes();
            self.journal.forget_first(calls, bytes, finished.fuel);
            self.checkpoints.adopt(finished);
        }
        Ok(())
    }

    /// Begins a checkpoint on another thread. If the journal grows faster than a checkpoint is written, waits for the
    /// one in progress first.
    fn checkpoint_on_thread(&mut self, at: Moment) -> Result<(), MachineFailure> {
        let must_wait = self.journal.is_overdue();
        if self.checkpoints.join_writer(must_wait) {
            self.adopt_checkpoint()?;
        }
        if self.checkpoints.is_writing() || !self.journal.is_due() {
            return Ok(());
        }
        let Some(copy) = self.copy_state(at)? else {
            return self.checkpoint_now(at);
        };
        match copy.write_on_thread() {
            Ok(writer) => {
                self.checkpoints.set_writer(writer);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "no thread could be started for a checkpoint; it is written on the applying thread");
                self.checkpoint_now(at)
            }
        }
    }

    /// Writes a checkpoint on this thread. If that fails, it is retried when the journal has doubled, a limited number
    /// of times.
    fn checkpoint_now(&mut self, at: Moment) -> Result<(), MachineFailure> {
        match self.snapshot(at) {
            Ok(_) => Ok(()),
            Err(error) => self.postpone_checkpoint(error),
        }
    }

    fn postpone_checkpoint(&mut self, error: MachineFailure) -> Result<(), MachineFailure> {
        if self.journal.postpone() {
            tracing::warn!(%error, "a checkpoint of the guest failed; it is retried later");
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Replaces the state by a snapshot, which becomes the checkpoint.
    ///
    /// # Errors
    /// The guest can't restore it. The state is unchanged then.
    pub(crate) fn restore(
        &mut self,
        written_by: u32,
        chunks: SnapshotChunks,
    ) -> Result<(), MachineFailure> {
        let bytes = chunks.bytes();
        let before = self.checkpoints.replace(Checkpoint { written_by, chunks });
        let restored = self.restore_checkpoint();
        let instance = match restored {
            Ok(instance) => instance,
            Err(error) => {
                self.checkpoints.set_latest(before);
                return Err(error);
            }
        };
        // Reading a state takes about as much work as writing it.
        let fuel = instance.fuel_spent();
        self.instance = Some(instance);
        // The image and the replicas have the old state.
        self.drop_copies();
        self.clear_journal(bytes, fuel);
        Ok(())
    }
}

/// Upgrades: the state of another module.
impl RecoverableGuest {
    /// How the guest got its state.
    pub(crate) fn origin(&self) -> GuestOrigin {
        GuestOrigin {
            checkpoint: self.checkpoints.latest().cloned(),
            records: self.journal.records().to_vec(),
        }
    }

    /// Rebuilds the state of another module from its calls. All of them must have the same outcomes as before.
    ///
    /// # Errors
    /// A call failed or had other outcomes.
    pub(crate) fn inherit(&mut self, origin: GuestOrigin) -> Result<(), MachineFailure> {
        self.checkpoints.set_latest(origin.checkpoint);
        self.journal = Journal::default();
        for record in origin.records {
            self.journal.push(record, 0);
        }
        self.instance = None;
        self.drop_copies();
        self.instance = Some(self.rebuild()?);
        self.freeze();
        Ok(())
    }

    /// Makes the calls that another module made since both had the same state.
    ///
    /// # Errors
    /// As [`Self::inherit`].
    pub(crate) fn follow(&mut self, records: &[JournalRecord]) -> Result<(), MachineFailure> {
        let mut origin = self.origin();
        origin.records.extend_from_slice(records);
        self.inherit(origin)
    }

    /// Keeps each call from now on, for a module that will [`follow`](Self::follow).
    pub(crate) fn keep_calls(&mut self) {
        self.kept.start();
    }

    /// Continues to keep the calls of another guest of the same module.
    pub(super) fn take_kept_calls_of(&mut self, other: &mut Self) {
        self.kept = std::mem::take(&mut other.kept);
    }

    pub(crate) fn drop_kept_calls(&mut self) {
        self.kept.stop();
    }

    pub(crate) fn kept_calls(&self) -> &[JournalRecord] {
        self.kept.records()
    }

    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept.bytes()
    }

    /// Replaces another guest on this node: continues its statistics and settings.
    pub(crate) fn in_place_of(mut self, other: &Self) -> Self {
        self.rollbacks.count += other.rollbacks.count;
        self.checkpoints.is_async = other.checkpoints.is_async;
        self.factory.log = Arc::clone(&other.factory.log);
        self
    }
}

/// Rollback.
impl RecoverableGuest {
    /// Drops an instance whose call failed.
    fn drop_instance(&mut self) {
        let start = Stopwatch::start();
        self.instance = None;
        self.rollbacks.last_drop = start.elapsed();
    }

    /// The serving instance; rebuilds it after a failure.
    fn live(&mut self) -> Result<&mut Instance, MachineFailure> {
        if self.instance.is_none() {
            let start = Stopwatch::start();
            self.instance = Some(self.rebuild()?);
            self.rollbacks.count += 1;
            self.rollbacks.last = self.rollbacks.last_drop + start.elapsed();
            // Makes the next rollback cheaper; failures often come in groups.
            if self.image.exists() {
                if self.image.is_behind() {
                    self.freeze();
                }
            } else if self.journal.is_costly()
                && let Some(last) = self.journal.last_moment()
            {
                self.checkpoint_now(last)?;
            }
        }
        if self.instance.is_none() {
            // The checkpoint or the freeze failed, and cost the instance again.
            self.instance = Some(self.rebuild()?);
        }
        match &mut self.instance {
            Some(instance) => Ok(instance),
            None => unreachable!("the instance was just rebuilt"),
        }
    }

    /// A new instance in the state after all calls of the journal: over the image, or from the checkpoint.
    fn rebuild(&mut self) -> Result<Instance, MachineFailure> {
        match self.image.start(&self.factory) {
            Some((instance, calls)) => self.replay(instance, calls),
            None => self.rebuild_from_checkpoint(),
        }
    }

    fn rebuild_from_checkpoint(&self) -> Result<Instance, MachineFailure> {
        let instance = self.restore_checkpoint()?;
        self.replay(instance, 0)
    }

    /// A new instance in the state of the checkpoint.
    fn restore_checkpoint(&self) -> Result<Instance, MachineFailure> {
        let mut instance = self.factory.start()?;
        if let Some(checkpoint) = self.checkpoints.latest() {
            instance.set_headroom(self.headroom());
            checkpoint.restore_in(&mut instance)?;
            instance.set_headroom(0);
        }
        Ok(instance)
    }

    /// Replays the journal on an instance that has made the first `skip` calls.
    fn replay(&self, mut instance: Instance, skip: usize) -> Result<Instance, MachineFailure> {
        let headroom = |limits: &MachineLimits| self.checkpoints.headroom(limits);
        self.journal.replay(&mut instance, skip, headroom)?;
        instance.set_limits(&self.factory.limits, 0);
        Ok(instance)
    }

    fn headroom(&self) -> u64 {
        self.checkpoints.headroom(&self.factory.limits)
    }

    /// Drops the image and the replicas, because the guest has a state that its journal does not lead to.
    fn drop_copies(&mut self) {
        self.checkpoints.start_lineage();
        self.image.clear();
        self.replicas = QueryReplicas::default();
    }

    /// Empties the journal: the current state is a checkpoint of this size, which used this fuel.
    fn clear_journal(&mut self, bytes: u64, fuel: u64) {
        self.checkpoints.advance(self.journal.records().len());
        self.journal.clear(bytes, fuel);
        // The image counts calls of the old journal.
        self.freeze();
    }

    fn freeze(&mut self) {
        let calls = self.journal.records().len();
        self.image.freeze(&mut self.instance, calls, &self.factory);
    }
}

#[cfg(test)]
mod tests;
