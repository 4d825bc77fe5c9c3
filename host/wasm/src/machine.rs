//! The replicated machine around a guest: what Raft applies entries to.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::{Answering, MachineError, Moment, SnapshotWork, StateMachine};
use thiserror::Error;

use crate::audit::Audit;
use crate::entry::EntryExecutor;
use crate::envelope::EnvelopeError;
use crate::host::Effects;
use crate::limits::{LimitsError, MachineLimits};
use crate::module::{GuestModule, Sha256};
use crate::outcome::{CommandOutcome, GuestQueryError};
use crate::readers::{self, QueryPool, ReplicaQuery};
use crate::recover::RecoverableGuest;
use crate::snapshot::{self, MachineSnapshotError, ModuleBytes, ReplicatedState};
use crate::status::{MachineCounters, StatusHandle};
use crate::upgrade::state::PendingUpgrade;
use crate::upgrade::{PreparationSpawner, Upgrader};

/// Gets what each entry did beside its outcomes, on the thread that applies, after the entry and before its replies; and
/// how many events were published before it since the beginning of the log. It is called with no effects after a
/// snapshot, whose events nobody has: by that number one tells whether there were any.
///
/// Of entries it is called for those with effects only, in the order of the log. After a restart the log is applied again from
/// the last snapshot on, so the same effects come again: an event is named by the entry's index and its position.
pub type EffectsListener = Box<dyn FnMut(Moment, &Effects, u64) + Send>;

/// Why a machine can't go on. None of this is the outcome of a command: the node stops instead.
#[derive(Debug, Error)]
pub enum MachineFailure {
    /// The limits make no sense.
    #[error("the limits of the machine can't be used: {0}")]
    Limits(#[from] LimitsError),
    /// An entry came twice, or out of order.
    #[error(
        "entry {found} is to be applied after entry {applied}; this is a fault of the host, please report it"
    )]
    OutOfOrder {
        /// The entry that came.
        found: Index,
        /// The last one that was applied.
        applied: Index,
    },
    /// The log is another module's: to go on would make this node's state differ from the others'.
    #[error(
        "this log belongs to the state machine with SHA-256 {settled}, and this node was started with {own}, which its cluster never ran; start it with the module of its cluster, or with another data directory and cluster"
    )]
    OtherModule {
        /// What the log is for.
        settled: Sha256,
        /// What this node runs.
        own: Sha256,
    },
    /// The log holds a command of a later version.
    #[error(transparent)]
    Envelope(EnvelopeError),
    /// The guest recursed too deep. How deep that is depends on compiler and processor, so it can't be an outcome.
    #[error(
        "the guest's stack overflowed at entry {index}; repair the recursion in the guest, then start the node again"
    )]
    StackOverflow {
        /// The entry.
        index: Index,
    },
    /// The system has no memory for a guest that is within its limit.
    #[error(
        "this machine has no memory left for the guest, which is within its limit; give the machine more memory, then start the node again"
    )]
    NodeOutOfMemory,
    /// No new instance could be made.
    #[error("the guest could not be started again: {message}")]
    Rebuild {
        /// What went wrong.
        message: String,
    },
    /// A call that had succeeded failed when it was replayed.
    #[error(
        "entry {index} could not be replayed after a failure: {message}; the guest is not deterministic, repair it"
    )]
    Replay {
        /// The entry.
        index: Index,
        /// How it failed.
        message: String,
    },
    /// A call gave other outcomes when it was replayed.
    #[error(
        "entry {index} gave other outcomes when it was replayed after a failure; the guest is not deterministic, repair it"
    )]
    NotDeterministic {
        /// The entry.
        index: Index,
    },
    /// The guest did not write its state.
    #[error("the guest did not write a snapshot: {message}; repair its `snapshot`")]
    GuestSnapshot {
        /// What it says, or how it failed.
        message: String,
    },
    /// The guest did not take its state back.
    #[error("the guest did not restore a snapshot: {message}; repair its `restore`")]
    GuestRestore {
        /// What it says, or how it failed.
        message: String,
    },
    /// The cluster runs another module from here on, and this node can't.
    #[error(
        "the cluster has switched to a module that does not run on this node: {message}; remove the cause, then start the node again"
    )]
    Upgrade {
        /// What is in the way.
        message: String,
    },
    /// There is no snapshot while a new module is built without the old one's help.
    #[error(
        "no snapshot is taken while an upgrade does without the old module's help; it is tried again after it"
    )]
    SnapshotDuringUpgrade,
    /// A snapshot is damaged, or another machine's.
    #[error(transparent)]
    Snapshot(#[from] MachineSnapshotError),
}

impl From<MachineFailure> for MachineError {
    fn from(failure: MachineFailure) -> Self {
        match failure {
            MachineFailure::Snapshot(MachineSnapshotError::Io(error)) => Self::Snapshot(error),
            failure => Self::Failed(Box::new(failure)),
        }
    }
}

/// A guest as a replicated state machine, with idempotency keys and a running hash.
///
/// Commands are [`Envelope`](crate::Envelope)s, replies are [`CommandOutcome`]s.
pub struct WasmMachine {
    guest: RecoverableGuest,
    replicated: ReplicatedState,
    upgrader: Upgrader,
    audit: Audit,
    limits: MachineLimits,
    effects: Option<EffectsListener>,
    status: StatusHandle,
    /// Threads for questions; `None`: they are answered at once.
    readers: Option<QueryPool>,
    /// Questions that wait until the guest is frozen: until there is nothing else to do, or enough was done since.
    asked: Vec<WaitingQuery>,
}

struct WaitingQuery {
    at: Moment,
    request: Bytes,
    answer: Answering<Result<Bytes, GuestQueryError>>,
}

impl WasmMachine {
    /// A machine in the guest's first state.
    ///
    /// # Errors
    /// [`MachineFailure`] where the guest can't be started.
    pub fn new(
        module: GuestModule,
        limits: MachineLimits,
        effects: Option<EffectsListener>,
    ) -> Result<Self, MachineFailure> {
        limits.validate()?;
        let status = StatusHandle::new(module.clone());
        let machine = Self {
            replicated: ReplicatedState::first(module.sha256()),
            upgrader: Upgrader::new(&module, &limits, status.clone()),
            audit: Audit::default(),
            status,
            guest: RecoverableGuest::start(module, &limits)?,
            limits,
            effects,
            readers: None,
            asked: Vec::new(),
        };
        machine.publish();
        Ok(machine)
    }

    /// Has questions answered beside apply, on so many threads, and checkpoints written beside it, where the guest has a
    /// memory image. What comes of them is the same.
    ///
    /// # Errors
    /// The system has no threads.
    pub fn with_query_threads(mut self, threads: usize) -> io::Result<Self> {
        if threads > 0 {
            self.readers = Some(QueryPool::start(threads, self.status.query_counts())?);
            self.guest.write_beside();
        }
        Ok(self)
    }

    /// Has the module of an upgrade prepared there, beside apply, instead of at once. What an entry does is the same.
    #[must_use]
    pub fn with_preparation_spawner(mut self, aside: PreparationSpawner) -> Self {
        self.upgrader.prepare_on(aside);
        self
    }

    /// The module that runs.
    #[must_use]
    pub fn module(&self) -> &GuestModule {
        self.guest.module()
    }

    /// Reads the status from other threads.
    #[must_use]
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }

    /// The running hash over everything applied so far.
    #[must_use]
    pub fn state_hash(&self) -> Sha256 {
        self.replicated.hash.0
    }

    /// Digest of the guest's state as it writes it now. Unlike the hash it says nothing of how the state came about.
    ///
    /// # Errors
    /// The guest can't write it.
    pub fn guest_digest(&mut self) -> Result<Sha256, MachineFailure> {
        let chunks = self.guest.snapshot(self.replicated.applied)?;
        let version = self.module().description().version;
        Ok(chunks.digest(version))
    }

    fn apply_entry(
        &mut self,
        at: Moment,
        commands: &[Bytes],
    ) -> Result<Vec<CommandOutcome>, MachineFailure> {
        let applied = self.replicated.applied.index;
        if at.index <= applied {
            return Err(MachineFailure::OutOfOrder {
                found: at.index,
                applied,
            });
        }
        let entry = EntryExecutor::new(
            &mut self.guest,
            &mut self.replicated,
            &mut self.upgrader,
            &mut self.audit,
            &self.limits,
            at,
        );
        let had_upgrade = entry.has_upgrade();
        let (outcomes, effects) = entry.run(commands)?;
        self.replicated.applied = at;
        let wake_at_ms = self.replicated.wake_at_ms;
        self.replicated
            .hash
            .extend(at, &outcomes, &effects, wake_at_ms);
        self.audit.settle(at.index, self.replicated.hash.0);
        self.guest.settle(at)?;
        if !self.asked.is_empty() && self.guest.is_ready_for_questions() {
            self.hand_over();
        }
        self.publish();
        self.status.set_audit(&self.audit);
        // Between upgrades there is nothing new to say of them.
        let is_word = |outcome: &CommandOutcome| matches!(outcome, CommandOutcome::Upgrade(_));
        if had_upgrade || outcomes.iter().any(is_word) {
            self.publish_upgrades();
            self.forget_copies();
        }
        if let Some(listener) = &mut self.effects
            && effects != Effects::default()
        {
            let before = self.replicated.events - effects.events.len() as u64;
            listener(at, &effects, before);
        }
        Ok(outcomes)
    }

    fn ask(&mut self, at: Moment, request: &[u8]) -> Result<Bytes, GuestQueryError> {
        if let Some(error) = readers::too_large(request, &self.limits) {
            return Err(error);
        }
        if !self.guest.module().has_queries() {
            return Err(GuestQueryError::NotSupported);
        }
        let asked = self.guest.query(at, request);
        asked.unwrap_or_else(|failure| Err(readers::unavailable(&failure)))
    }

    /// Hands a question to the threads for that, if there are any and the guest has an image.
    fn ask_beside(
        &mut self,
        at: Moment,
        request: Bytes,
        answer: Answering<Result<Bytes, GuestQueryError>>,
    ) {
        let askable = self.guest.module().has_queries()
            && readers::too_large(&request, &self.limits).is_none();
        if !askable || self.readers.is_none() {
            return answer(at.index, self.ask(at, &request));
        }
        // Past this the readers refuse it.
        let is_full = self.asked.len() as u64 >= self.limits.queries_waiting;
        self.asked.push(WaitingQuery {
            at,
            request,
            answer,
        });
        if is_full || self.guest.is_ready_for_questions() {
            self.hand_over();
        }
    }

    /// Hands over the questions that were asked so far, which takes one freeze for all of them.
    fn hand_over(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        let Some(now) = asked.last().map(|last| last.at) else {
            return;
        };
        let subject = self.guest.subject(now);
        for WaitingQuery {
            at,
            request,
            answer,
        } in asked
        {
            match (&subject, &self.readers) {
                (Ok(Some(subject)), Some(readers)) => readers.ask(ReplicaQuery {
                    subject: Arc::clone(subject),
                    at,
                    request,
                    answer,
                }),
                (Err(failure), _) => answer(at.index, Err(readers::unavailable(failure))),
                _ => answer(now.index, self.ask(now, &request)),
            }
        }
    }

    fn catch_snapshot(&mut self) -> Result<SnapshotWork, MachineFailure> {
        self.refuse_snapshot()?;
        let guest = self.guest.begin_snapshot(self.replicated.applied)?;
        let module = self.guest.module();
        let version = module.description().version;
        let (module, replicated) = (ModuleBytes::from(module), self.replicated.clone());
        Ok(Box::new(move |to| {
            let guest = guest.write()?;
            Ok(snapshot::write(to, &module, version, &replicated, &guest)?)
        }))
    }

    fn refuse_snapshot(&self) -> Result<(), MachineFailure> {
        let upgrade = self.replicated.upgrade.as_ref();
        if upgrade.is_some_and(PendingUpgrade::goes_by_journal) {
            // Whoever restored it would not have the calls that the new module is to make.
            return Err(MachineFailure::SnapshotDuringUpgrade);
        }
        Ok(())
    }

    fn write_snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineFailure> {
        self.refuse_snapshot()?;
        let guest = self.guest.snapshot(self.replicated.applied)?;
        let module = self.guest.module();
        let version = module.description().version;
        let module = ModuleBytes::from(module);
        snapshot::write(to, &module, version, &self.replicated, &guest)
            .map_err(|error| MachineSnapshotError::Io(error).into())
    }

    fn read_snapshot(&mut self, from: &mut dyn Read) -> Result<(), MachineFailure> {
        // They were asked of the state before.
        self.hand_over();
        let snapshot = snapshot::read(from, self.upgrader.started_with(), &self.limits)?;
        let (sha256, base) = (snapshot.module, (snapshot.written_by, snapshot.guest));
        let active = self.guest.module();
        if sha256 == active.sha256() {
            self.guest.restore(base.0, base.1.clone())?;
        } else {
            let module = self
                .upgrader
                .module_of(sha256, snapshot.module_bytes, active)?;
            let mut guest = RecoverableGuest::start(module.clone(), &self.limits)?;
            guest.restore(base.0, base.1.clone())?;
            self.guest = guest.in_place_of(&self.guest);
            self.status.set_module(module);
        }
        self.guest.forget_records();
        self.replicated = snapshot.replicated;
        // One of a module that has nothing to do with this node's is refused, so the log is this one's.
        self.replicated.module = Some(sha256);
        self.upgrader.restored(&self.replicated, base);
        // The entry that asked is not seen here. What a node restores may be what it alone came to, so there is a reason
        // to ask.
        self.audit = Audit {
            is_due: true,
            ..Audit::default()
        };
        self.status.set_audit(&self.audit);
        self.publish();
        self.publish_upgrades();
        self.forget_copies();
        if let Some(listener) = &mut self.effects {
            let ReplicatedState {
                applied, events, ..
            } = self.replicated;
            listener(applied, &Effects::default(), events);
        }
        Ok(())
    }

    /// The memory of what ran before is not to be held by copies of it.
    fn forget_copies(&self) {
        if let Some(readers) = &self.readers {
            readers.forget();
        }
    }

    fn publish_upgrades(&self) {
        let replicated = &self.replicated;
        let pending = replicated.upgrade.as_ref();
        self.status.set_upgrades(&replicated.history, pending);
    }

    fn publish(&self) {
        let replicated = &self.replicated;
        self.status.set(MachineCounters {
            applied: replicated.applied,
            state_hash: replicated.hash.0,
            events: replicated.events,
            failures: replicated.failures,
            keys: replicated.keys.len() as u64,
            deferred: replicated.deferred.len() as u64,
            wake_at_ms: replicated.wake_at_ms,
            memory_bytes: self.guest.memory_bytes(),
            rollbacks: self.guest.rollbacks(),
            last_rollback_us: self.guest.last_rollback_us(),
        });
    }
}

impl StateMachine for WasmMachine {
    type Reply = CommandOutcome;
    type Query = Bytes;
    type Answer = Result<Bytes, GuestQueryError>;

    /// Applies the commands of one entry: [`Envelope`](crate::Envelope)s.
    ///
    /// # Errors
    /// A [`MachineFailure`] where this node can't go on; a command at which the guest fails is an [`CommandOutcome`].
    fn apply(
        &mut self,
        at: Moment,
        commands: &[Bytes],
    ) -> Result<Vec<CommandOutcome>, MachineError> {
        Ok(self.apply_entry(at, commands)?)
    }

    /// Asks the guest. A query at which it fails leaves the state as it was.
    fn query(&mut self, at: Moment, query: Bytes) -> Result<Bytes, GuestQueryError> {
        self.ask(at, &query)
    }

    /// Asks a copy of the guest on another thread, where [`Self::with_query_threads`] has made some.
    fn query_beside(&mut self, at: Moment, query: Bytes, answer: Answering<Self::Answer>) {
        self.ask_beside(at, query, answer);
    }

    fn rest(&mut self) {
        self.hand_over();
    }

    /// Writes the whole state: the guest's, the keys and the hash.
    ///
    /// # Errors
    /// The guest could not write it, or the bytes could not be written.
    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError> {
        Ok(self.write_snapshot(to)?)
    }

    /// Catches the whole state; where the guest has a memory image that takes little, however large the state is.
    ///
    /// # Errors
    /// The guest could not write it.
    fn begin_snapshot(&mut self) -> Result<SnapshotWork, MachineError> {
        Ok(self.catch_snapshot()?)
    }

    /// Replaces the whole state. A snapshot that is refused changes nothing.
    ///
    /// # Errors
    /// The bytes are damaged, another module wrote them, or the guest refused them.
    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        Ok(self.read_snapshot(from)?)
    }
}

#[cfg(test)]
mod tests;
