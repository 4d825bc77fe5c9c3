//! A guest that can be brought back to where it was before a call that failed.
//!
//! A trap leaves a store poisoned and the guest's memory half changed. So there is always a checkpoint, which is a
//! snapshot of the guest at some earlier point (at first: a fresh instance), and a journal of the calls that succeeded
//! since. After a failure the next call starts from a new instance, restored from the checkpoint, through which the
//! journal runs again without effects. The guest is a function of its state and its calls, so it is then where it was;
//! each replayed call is compared with what it gave the first time.
//!
//! A guest whose state is in its memory alone has an image of that as well ([`crate::images`]), taken far more often
//! than a checkpoint. The new instance then starts over the image, and only the calls since then run again.
//!
//! A question never reaches the instance that serves: it is asked of a copy ([`crate::readers`]), or, where there is no
//! image, of a second instance that makes the same calls ([`Shadow`]). So one that changes something changes nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use crate::chunks::SnapshotChunks;
use crate::failure::{GuestCallError, GuestFailure};
use crate::guest_log::GuestLog;
use crate::host::CallPurpose;
use crate::images::stopwatch::Stopwatch;
use crate::images::{FreezeSchedule, RollbackMethod};
use crate::instance::{Batch, CallOutput, Instance, InstantiateError};
use crate::limits::MachineLimits;
use crate::machine::MachineFailure;
use crate::module::GuestModule;
use crate::outcome::GuestQueryError;
use crate::readers::{self, FrozenGuest, QueryReplica};

mod beside;
mod journal;

pub(crate) use beside::Caught;
use beside::{CopyOfState, Mailbox, Mark, Writer};
use journal::Journal;
pub(crate) use journal::JournalRecord;

/// A call that changes the state.
#[derive(Clone, Debug)]
pub(crate) enum StateCall {
    Apply(Batch),
    Wake,
}

impl StateCall {
    /// The batch of some commands, laid end to end.
    pub(crate) fn of(commands: &[&Bytes]) -> Self {
        let mut batch = Batch {
            data: Vec::with_capacity(commands.iter().map(|command| command.len()).sum()),
            ends: Vec::with_capacity(commands.len()),
        };
        for command in commands {
            batch.data.extend_from_slice(command);
            // The caller keeps a batch under 1 GiB (`MAX_BATCH_BYTES`), so an offset fits.
            batch.ends.push(batch.data.len() as u32);
        }
        Self::Apply(batch)
    }

    fn run(
        &self,
        instance: &mut Instance,
        purpose: CallPurpose,
        at: Moment,
        number: u32,
    ) -> Result<CallOutput, GuestCallError> {
        match self {
            Self::Apply(batch) => instance.apply(purpose, at, number, batch),
            Self::Wake => instance.wake(purpose, at, number),
        }
    }
}

/// What the host still has to say to outcomes that are well-formed. An error counts as the guest's failure.
pub(crate) type Accept<'a> = &'a dyn Fn(&CallOutput) -> Result<(), GuestFailure>;

/// A snapshot of the guest, and the version that wrote it.
#[derive(Clone, Debug)]
struct Checkpoint {
    written_by: u32,
    chunks: SnapshotChunks,
}

/// The guest's memory as it was after some of the journal.
struct Frozen {
    subject: Arc<FrozenGuest>,
    /// How many calls of the journal are in it.
    calls: usize,
}

/// A second instance of a guest that has no image, for questions. It makes the calls of the journal as well, whenever it
/// is asked; what a question changed in it shows there or is gone with it.
struct Shadow {
    instance: Instance,
    /// How many calls of the journal it has made.
    calls: usize,
    /// Since the last checkpoint.
    asked: bool,
}

/// How a guest came to its state: enough for another module to come to its own.
pub(crate) struct Lineage {
    checkpoint: Option<Checkpoint>,
    records: Vec<JournalRecord>,
}

/// See the module.
pub(crate) struct RecoverableGuest {
    module: GuestModule,
    limits: MachineLimits,
    log: Arc<GuestLog>,
    /// `None` after a failure, until the next call.
    instance: Option<Instance>,
    /// `None`: the first state.
    checkpoint: Option<Checkpoint>,
    journal: Journal,
    /// `None` where the guest goes by replay alone, or the last freeze failed.
    image: Option<Frozen>,
    /// Whether to have one.
    has_images: bool,
    pace: FreezeSchedule,
    /// The last entry that is through, as far as this is told.
    settled: Moment,
    /// For questions that are answered at once.
    copy: QueryReplica,
    shadow: Option<Shadow>,
    /// Whether checkpoints are written beside apply, and the one that is.
    is_beside: bool,
    writer: Option<Writer>,
    mailbox: Mailbox,
    /// The beginning of the journal.
    mark: Mark,
    /// Calls that another module will have to make as well, and their bytes.
    kept: Option<(Vec<JournalRecord>, u64)>,
    rollbacks: u64,
    /// How long the last one took, with what it took to throw the instance away.
    last_rollback: Duration,
    thrown_away: Duration,
}

impl RecoverableGuest {
    pub(crate) fn start(
        module: GuestModule,
        limits: &MachineLimits,
    ) -> Result<Self, MachineFailure> {
        let mut guest = Self {
            has_images: *module.rollback_method() == RollbackMethod::Images,
            image: None,
            pace: FreezeSchedule::default(),
            settled: Moment::default(),
            copy: QueryReplica::default(),
            shadow: None,
            is_beside: false,
            writer: None,
            mailbox: Mailbox::default(),
            mark: Mark {
                lineage: 0,
                calls: 0,
            },
            module,
            limits: *limits,
            log: Arc::new(GuestLog::new()),
            instance: None,
            checkpoint: None,
            journal: Journal::default(),
            kept: None,
            rollbacks: 0,
            last_rollback: Duration::ZERO,
            thrown_away: Duration::ZERO,
        };
        guest.instance = Some(guest.new_instance()?);
        guest.freeze();
        Ok(guest)
    }

    pub(crate) fn module(&self) -> &GuestModule {
        &self.module
    }

    /// How often a state was built again after a failure.
    pub(crate) fn rollbacks(&self) -> u64 {
        self.rollbacks
    }

    /// How long the last of these took, in microseconds.
    pub(crate) fn last_rollback_us(&self) -> u64 {
        u64::try_from(self.last_rollback.as_micros()).unwrap_or(u64::MAX)
    }

    /// Linear memory of the instance, in bytes; 0 while there is none.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.instance.as_ref().map_or(0, Instance::memory_bytes)
    }

    /// Makes a call that changes the state. The inner error means that it changed nothing.
    pub(crate) fn run(
        &mut self,
        at: Moment,
        number: u32,
        work: StateCall,
        accept: Accept<'_>,
    ) -> Result<Result<CallOutput, GuestFailure>, MachineFailure> {
        let instance = self.live()?;
        let start = Stopwatch::start();
        let applied = work.run(instance, CallPurpose::Change, at, number);
        let took = start.elapsed();
        let (fuel, bytes) = (instance.fuel_spent(), instance.memory_bytes());
        let applied = applied.and_then(|applied| match accept(&applied) {
            Ok(()) => Ok(applied),
            Err(failure) => Err(GuestCallError::Guest(failure)),
        });
        match applied {
            Ok(applied) => {
                let record = JournalRecord {
                    at,
                    number,
                    work,
                    checksum: applied.checksum,
                };
                if let Some((kept, bytes)) = &mut self.kept {
                    *bytes += record.bytes();
                    kept.push(record.clone());
                }
                self.journal.push(record, fuel);
                if self.has_images && self.pace.is_due_after(took, bytes) {
                    self.freeze();
                }
                Ok(Ok(applied))
            }
            Err(error) => {
                self.throw_away();
                self.pace.failed();
                match error {
                    GuestCallError::NodeOutOfMemory => Err(MachineFailure::NodeOutOfMemory),
                    GuestCallError::Guest(GuestFailure::StackOverflow) => {
                        Err(MachineFailure::StackOverflow { index: at.index })
                    }
                    GuestCallError::Guest(failure) => Ok(Err(failure)),
                }
            }
        }
    }

    /// What questions are to be asked of, with all in it that was applied up to now; `None` where there is no image.
    pub(crate) fn subject(
        &mut self,
        at: Moment,
    ) -> Result<Option<Arc<FrozenGuest>>, MachineFailure> {
        let calls = self.journal.records().len();
        match &self.image {
            Some(frozen) if frozen.calls == calls => frozen.subject.image.reaches(at),
            _ if !self.has_images => return Ok(None),
            _ => {
                self.settled = at;
                self.live()?;
                self.freeze();
            }
        }
        Ok(self
            .image
            .as_ref()
            .map(|frozen| Arc::clone(&frozen.subject)))
    }

    /// Whether [`Self::subject`] takes little now, for nothing was applied since it was frozen or enough to freeze it again.
    pub(crate) fn is_ready_for_questions(&self) -> bool {
        let calls = self.journal.records().len();
        let is_frozen = self
            .image
            .as_ref()
            .is_some_and(|frozen| frozen.calls == calls);
        is_frozen || self.pace.is_worth_it()
    }

    /// Asks a question, of a copy.
    pub(crate) fn query(
        &mut self,
        at: Moment,
        request: &[u8],
    ) -> Result<Result<Bytes, GuestQueryError>, MachineFailure> {
        let Some(subject) = self.subject(at)? else {
            return self.ask_shadow(at, request);
        };
        let asked = self.copy.ask(&subject, request);
        Ok(asked.map_or_else(
            |error| Err(readers::unavailable(&error)),
            |(_, answer)| answer,
        ))
    }

    fn ask_shadow(
        &mut self,
        at: Moment,
        request: &[u8],
    ) -> Result<Result<Bytes, GuestQueryError>, MachineFailure> {
        let mut instance = match self.shadow.take().map(|shadow| self.follow_with(shadow)) {
            Some(Ok(instance)) => instance,
            // What a question changed has shown, or there was none yet.
            Some(Err(_)) | None => {
                if self.journal.is_costly() {
                    self.live()?;
                    self.try_checkpoint(at)?;
                }
                self.replayed()?
            }
        };
        let answered = instance.query(at, request);
        if answered.is_ok() {
            self.shadow = Some(Shadow {
                instance,
                calls: self.journal.records().len(),
                asked: true,
            });
        }
        Ok(readers::answer(answered))
    }

    fn follow_with(&self, shadow: Shadow) -> Result<Instance, MachineFailure> {
        self.replay(shadow.instance, shadow.calls)
    }

    /// Writes the guest's state, which becomes the checkpoint.
    pub(crate) fn snapshot(&mut self, at: Moment) -> Result<SnapshotChunks, MachineFailure> {
        let instance = self.live()?;
        let written = instance.snapshot(at);
        let fuel = instance.fuel_spent();
        let message = match written {
            Ok(Ok(chunks)) => {
                self.bring_shadow();
                self.checkpoint = Some(Checkpoint {
                    written_by: self.module.description().version,
                    chunks: chunks.clone(),
                });
                self.clear_journal(chunks.bytes(), fuel);
                return Ok(chunks);
            }
            Ok(Err(refusal)) => refusal,
            Err(error) => {
                self.instance = None;
                match of_this_node(&error, at.index) {
                    Some(failure) => return Err(failure),
                    None => error.to_string(),
                }
            }
        };
        Err(MachineFailure::GuestSnapshot { message })
    }

    /// Has checkpoints written beside apply from now on, where there are images.
    pub(crate) fn write_beside(&mut self) {
        self.is_beside = true;
    }

    /// Catches the state, to be written on any thread: as a copy where there is an image.
    pub(crate) fn begin_snapshot(&mut self, at: Moment) -> Result<Caught, MachineFailure> {
        match self.copy_of_state(at)? {
            Some(copy) => Ok(Caught::QueryReplica(Box::new(copy))),
            None => self.snapshot(at).map(Caught::Written),
        }
    }

    fn copy_of_state(&mut self, at: Moment) -> Result<Option<CopyOfState>, MachineFailure> {
        let Some(subject) = self.subject(at)? else {
            return Ok(None);
        };
        let (instance, held) = match subject.copy() {
            Ok(copied) => copied,
            Err(error) => {
                tracing::warn!(%error, "no copy of the guest for a snapshot: it is written at once");
                return Ok(None);
            }
        };
        Ok(Some(CopyOfState {
            instance,
            held,
            version: self.module.description().version,
            mark: Mark {
                calls: self.mark.calls + self.journal.records().len() as u64,
                ..self.mark
            },
            mailbox: self.mailbox.clone(),
        }))
    }

    /// Takes over a checkpoint that was written beside.
    fn take_over(&mut self) -> Result<(), MachineFailure> {
        let arrived = match self.mailbox.take() {
            None => return Ok(()),
            Some(Ok(arrived)) => arrived,
            Some(Err(error)) => return self.put_off(error),
        };
        let (own, its) = (self.mark, arrived.mark);
        // A later one may be there already, or a state that came from elsewhere.
        let Some(calls) = its.calls.checked_sub(own.calls) else {
            return Ok(());
        };
        let calls = usize::try_from(calls).unwrap_or(usize::MAX);
        let Some(frozen) = self.image.as_mut().filter(|frozen| frozen.calls >= calls) else {
            return Ok(());
        };
        if its.lineage != own.lineage {
            return Ok(());
        }
        frozen.calls -= calls;
        let bytes = arrived.checkpoint.chunks.bytes();
        self.journal.forget_first(calls, bytes, arrived.fuel);
        self.mark.calls = its.calls;
        self.checkpoint = Some(arrived.checkpoint);
        Ok(())
    }

    /// Begins a checkpoint beside, or waits for it where the journal grows faster than it is written.
    fn checkpoint_beside(&mut self, at: Moment) -> Result<(), MachineFailure> {
        let overdue = self.journal.is_overdue();
        if let Some(writer) = self
            .writer
            .take_if(|writer| overdue || writer.is_finished())
        {
            writer.wait();
            self.take_over()?;
        }
        if self.writer.is_some() || !self.journal.is_due() {
            return Ok(());
        }
        let Some(copy) = self.copy_of_state(at)? else {
            return self.try_checkpoint(at);
        };
        match copy.write_beside() {
            Ok(writer) => {
                self.writer = Some(writer);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "no thread for a checkpoint: it is written at once");
                self.try_checkpoint(at)
            }
        }
    }

    /// Replaces the state by that of a snapshot, which becomes the checkpoint.
    pub(crate) fn restore(
        &mut self,
        written_by: u32,
        chunks: SnapshotChunks,
    ) -> Result<(), MachineFailure> {
        let mut instance = self.new_instance()?;
        let checkpoint = Checkpoint { written_by, chunks };
        instance.set_headroom(self.headroom(Some(&checkpoint)));
        restore_from(&mut instance, &checkpoint)?;
        instance.set_headroom(0);
        // To read a state is about as much work as to write it.
        let fuel = instance.fuel_spent();
        let bytes = checkpoint.chunks.bytes();
        self.checkpoint = Some(checkpoint);
        self.instance = Some(instance);
        // What there was is of another memory.
        self.forget_copies();
        self.clear_journal(bytes, fuel);
        Ok(())
    }

    /// How it came to its state.
    pub(crate) fn lineage(&self) -> Lineage {
        Lineage {
            checkpoint: self.checkpoint.clone(),
            records: self.journal.records().to_vec(),
        }
    }

    /// Comes to the state that another module had, by the calls that it made. All of them have to be answered as they
    /// were then.
    pub(crate) fn inherit(&mut self, lineage: Lineage) -> Result<(), MachineFailure> {
        self.checkpoint = lineage.checkpoint;
        self.journal = Journal::default();
        for record in lineage.records {
            self.journal.push(record, 0);
        }
        self.instance = None;
        self.forget_copies();
        self.instance = Some(self.rebuild()?);
        self.freeze();
        Ok(())
    }

    /// Makes the calls that another module made after the state that both have.
    pub(crate) fn follow(&mut self, records: &[JournalRecord]) -> Result<(), MachineFailure> {
        let mut lineage = self.lineage();
        lineage.records.extend_from_slice(records);
        self.inherit(lineage)
    }

    /// Keeps each call from now on, for a module that is to [`follow`](Self::follow).
    pub(crate) fn keep_records(&mut self) {
        self.kept = Some((Vec::new(), 0));
    }

    pub(crate) fn forget_records(&mut self) {
        self.kept = None;
    }

    pub(crate) fn kept_records(&self) -> &[JournalRecord] {
        self.kept.as_ref().map_or(&[], |(records, _)| records)
    }

    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    /// Takes the place of another guest on this node, whose counts go on.
    pub(crate) fn in_place_of(mut self, other: &Self) -> Self {
        self.rollbacks += other.rollbacks;
        self.is_beside = other.is_beside;
        self.log = Arc::clone(&other.log);
        self
    }

    /// Takes a new checkpoint if the journal has grown too long.
    pub(crate) fn settle(&mut self, at: Moment) -> Result<(), MachineFailure> {
        self.settled = at;
        if self.is_beside {
            self.take_over()?;
        }
        if self.journal.is_due() {
            if self.is_beside && self.image.is_some() {
                self.checkpoint_beside(at)?;
            } else {
                self.try_checkpoint(at)?;
            }
        }
        Ok(())
    }

    /// A checkpoint that fails is tried again when the journal has doubled; there is an end to that.
    fn try_checkpoint(&mut self, at: Moment) -> Result<(), MachineFailure> {
        match self.snapshot(at) {
            Ok(_) => Ok(()),
            Err(error) => self.put_off(error),
        }
    }

    fn put_off(&mut self, error: MachineFailure) -> Result<(), MachineFailure> {
        if self.journal.postpone() {
            tracing::warn!(%error, "checkpoint of the guest failed, trying later");
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Lets go of an instance whose call failed.
    fn throw_away(&mut self) {
        let start = Stopwatch::start();
        self.instance = None;
        self.thrown_away = start.elapsed();
    }

    fn live(&mut self) -> Result<&mut Instance, MachineFailure> {
        if self.instance.is_none() {
            let start = Stopwatch::start();
            self.instance = Some(self.rebuild()?);
            self.rollbacks += 1;
            self.last_rollback = self.thrown_away + start.elapsed();
            // So that the next failure, which may be near, costs less.
            if self.image.is_some() {
                if self.pace.is_behind() {
                    self.freeze();
                }
            } else if self.journal.is_costly()
                && let Some(last) = self.journal.last_moment()
            {
                self.try_checkpoint(last)?;
            }
        }
        if self.instance.is_none() {
            // That checkpoint failed, and cost the instance again.
            self.instance = Some(self.rebuild()?);
        }
        match &mut self.instance {
            Some(instance) => Ok(instance),
            None => unreachable!("it was put there"),
        }
    }

    /// The state is now another one, and none that the journal leads to.
    fn forget_copies(&mut self) {
        self.mark.lineage += 1;
        self.image = None;
        self.copy = QueryReplica::default();
        self.shadow = None;
    }

    /// Starts the journal anew: the state as it is now is a checkpoint.
    fn clear_journal(&mut self, bytes: u64, fuel: u64) {
        self.mark.calls += self.journal.records().len() as u64;
        self.journal.clear(bytes, fuel);
        // An image is good for the calls after it, and those before it are gone.
        self.freeze();
    }

    /// Brings the shadow to where the guest is, before the calls on the way there are gone. One that nobody asked for a
    /// while is let go.
    fn bring_shadow(&mut self) {
        let shadow = self.shadow.take().filter(|shadow| shadow.asked);
        let instance = shadow.map(|shadow| self.follow_with(shadow));
        self.shadow = instance.and_then(Result::ok).map(|instance| Shadow {
            instance,
            calls: 0,
            asked: false,
        });
    }

    /// Freezes the memory of a guest that fits. Where that fails the guest goes on by replay alone.
    fn freeze(&mut self) {
        let Some(instance) = self.instance.as_mut().filter(|_| self.has_images) else {
            self.image = None;
            return;
        };
        let start = Stopwatch::start();
        let before = self.image.take().map(|frozen| frozen.subject);
        let image = before.as_ref().map(|subject| Arc::clone(&subject.image));
        let bytes = instance.memory_bytes();
        match instance.freeze(image, self.settled) {
            Ok(image) => {
                let calls = self.journal.records().len();
                let subject = before.unwrap_or_else(|| {
                    Arc::new(FrozenGuest {
                        module: self.module.clone(),
                        limits: self.limits,
                        log: Arc::clone(&self.log),
                        image,
                    })
                });
                self.image = Some(Frozen { subject, calls });
                self.pace.frozen(start.elapsed(), bytes);
            }
            Err(error) => {
                tracing::warn!(%error, "the guest's memory can't be frozen: from now on a failed call is undone by replay alone");
                self.has_images = false;
                // Part of its memory may be gone.
                self.instance = None;
            }
        }
    }

    fn new_instance(&self) -> Result<Instance, MachineFailure> {
        Instance::start(&self.module, &self.limits, &self.log).map_err(|error| match error {
            InstantiateError::Call(GuestCallError::NodeOutOfMemory) => {
                MachineFailure::NodeOutOfMemory
            }
            error => MachineFailure::Rebuild {
                message: error.to_string(),
            },
        })
    }

    /// What it takes to build a state again beside what the state itself takes, in bytes: the snapshot, which the guest
    /// may hold in a buffer that grows by doubling; and a quarter more, for a heap that is built in another order.
    fn headroom(&self, checkpoint: Option<&Checkpoint>) -> u64 {
        let snapshot = checkpoint.map_or(0, |checkpoint| checkpoint.chunks.bytes());
        snapshot
            .saturating_mul(4)
            .saturating_add(self.limits.memory_bytes / 4)
    }

    /// A new instance in the state before the call that failed.
    fn rebuild(&mut self) -> Result<Instance, MachineFailure> {
        if let Some(Frozen { subject, calls }) = &self.image {
            match Instance::start_at(&self.module, &self.limits, &self.log, &subject.image) {
                Ok(instance) => return self.replay(instance, *calls),
                Err(error) => {
                    tracing::warn!(%error, "the guest can't be brought back by an image: from now on a failed call is undone by replay alone");
                    self.image = None;
                    self.has_images = false;
                }
            }
        }
        self.replayed()
    }

    /// A new instance in the state now, by the checkpoint and all calls since.
    fn replayed(&self) -> Result<Instance, MachineFailure> {
        let mut instance = self.new_instance()?;
        if let Some(checkpoint) = &self.checkpoint {
            instance.set_headroom(self.headroom(Some(checkpoint)));
            restore_from(&mut instance, checkpoint)?;
        }
        self.replay(instance, 0)
    }

    /// Runs the calls of the journal again, but for the first so many.
    fn replay(&self, mut instance: Instance, but: usize) -> Result<Instance, MachineFailure> {
        instance.set_headroom(self.headroom(self.checkpoint.as_ref()));
        for record in &self.journal.records()[but..] {
            let index = record.at.index;
            let applied = record
                .work
                .run(&mut instance, CallPurpose::Replay, record.at, record.number)
                .map_err(|error| {
                    let message = error.to_string();
                    of_this_node(&error, index).unwrap_or(MachineFailure::Replay { index, message })
                })?;
            if applied.checksum != record.checksum {
                return Err(MachineFailure::NotDeterministic { index });
            }
        }
        instance.set_headroom(0);
        Ok(instance)
    }
}

fn restore_from(instance: &mut Instance, checkpoint: &Checkpoint) -> Result<(), MachineFailure> {
    let restored = instance.restore(checkpoint.written_by, &checkpoint.chunks);
    let message = match restored {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(refusal)) => refusal,
        // There is no entry to name: a state is read between two.
        Err(error) => match of_this_node(&error, Index::ZERO) {
            Some(MachineFailure::StackOverflow { .. }) => {
                let message = error.to_string();
                return Err(MachineFailure::Rebuild { message });
            }
            Some(failure) => return Err(failure),
            None => error.to_string(),
        },
    };
    Err(MachineFailure::GuestRestore { message })
}

/// What another node may not have met at the same call: nothing that is replicated may follow from it.
fn of_this_node(error: &GuestCallError, index: Index) -> Option<MachineFailure> {
    match error {
        GuestCallError::NodeOutOfMemory => Some(MachineFailure::NodeOutOfMemory),
        GuestCallError::Guest(GuestFailure::StackOverflow) => {
            Some(MachineFailure::StackOverflow { index })
        }
        GuestCallError::Guest(_) => None,
    }
}

#[cfg(test)]
mod tests;
