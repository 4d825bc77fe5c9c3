//! The disk of a simulated node: the production memory stores, with the faults of a disk in front of them.
//!
//! What a store has returned from is durable. A crash loses the tasks that still wait for the disk; the one under
//! way is lost wholly or done wholly, as the stores promise. Planted faults break that promise.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use task_queue_raft::raft::membership::Membership;
use task_queue_raft::storage::memory::{MemorySnapshots, MemoryStore};
use task_queue_raft::storage::{
    LogStore, Memory, Received, SnapshotStore, SnapshotWriter, StorageError, StoredState,
    WriteBatch,
};
use task_queue_raft::types::{Entry, HardState, Index, LogId, Payload, SnapshotMeta, Term};

use super::planted::Planted;

#[derive(Clone, Debug)]
enum LogOp {
    Write(WriteBatch),
    Purge(LogId),
}

/// Which entries, term and vote are durable. Kept beside the store, so that invariants can look at every step.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    pub(crate) hard_state: HardState,
    purged: LogId,
    terms: VecDeque<Term>,
    /// What its node's former disk held, as long as the node has no say by this one. It has acknowledged that, and is
    /// taken out of the voters before anybody may do without it.
    former: Option<(Box<Durable>, Index)>,
}

impl Durable {
    pub(crate) fn last(&self) -> LogId {
        let index = Index(self.purged.index.0 + self.terms.len() as u64);
        LogId::new(
            self.terms.back().copied().unwrap_or(self.purged.term),
            index,
        )
    }

    /// The entry at `index`, or the one that the log was purged up to.
    pub(crate) fn id_at(&self, index: Index) -> Option<LogId> {
        if index == self.purged.index {
            return Some(self.purged);
        }
        let place = index.0.checked_sub(self.purged.index.0 + 1)?;
        let term = self.terms.get(usize::try_from(place).ok()?)?;
        Some(LogId::new(*term, index))
    }

    /// Whether the entry is here, or was and stands in a snapshot.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let former = self.former.as_ref();
        let held = former.is_some_and(|(log, snapshot)| *snapshot >= id.index || log.holds(id));
        id.index <= self.purged.index || self.id_at(id.index) == Some(id) || held
    }

    fn take(&mut self, op: &LogOp) {
        match op {
            LogOp::Write(batch) => {
                if let Some(hard_state) = &batch.hard_state {
                    self.hard_state = hard_state.clone();
                }
                if let Some(from) = batch.truncate_from {
                    let keep = from.0.saturating_sub(self.purged.index.0 + 1);
                    self.terms
                        .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
                }
                self.terms
                    .extend(batch.entries.iter().map(|entry| entry.id.term));
            }
            LogOp::Purge(up_to) if up_to.index <= self.purged.index => {}
            LogOp::Purge(up_to) => {
                if self.id_at(up_to.index) == Some(*up_to) {
                    let gone =
                        usize::try_from(up_to.index.0 - self.purged.index.0).unwrap_or(usize::MAX);
                    self.terms.drain(..gone);
                } else {
                    self.terms.clear();
                }
                self.purged = *up_to;
            }
        }
    }
}

#[derive(Debug)]
struct Platter {
    store: MemoryStore,
    durable: Durable,
    /// Done as far as the node knows, and gone after a crash. Only planted faults put anything here.
    unsynced: Vec<LogOp>,
    planted: Option<Planted>,
    /// The next write ends in an error: done or not.
    failing: Option<bool>,
    /// There is no room.
    full: bool,
}

impl Platter {
    fn syncs(&self, op: &LogOp) -> bool {
        let LogOp::Write(batch) = op else { return true };
        match self.planted {
            Some(Planted::VoteNotSynced) => batch.hard_state.is_none(),
            Some(Planted::EntriesNotSynced) => batch.entries.is_empty(),
            _ => true,
        }
    }

    fn take(&mut self, op: LogOp) -> Result<(), StorageError> {
        if !self.syncs(&op) {
            self.unsynced.push(op);
            return Ok(());
        }
        self.flush()?;
        self.put(&op)
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        for op in std::mem::take(&mut self.unsynced) {
            self.put(&op)?;
        }
        Ok(())
    }

    fn put(&mut self, op: &LogOp) -> Result<(), StorageError> {
        match op {
            LogOp::Write(batch) => self.store.write(batch)?,
            LogOp::Purge(up_to) => self.store.purge(*up_to)?,
        }
        self.durable.take(op);
        Ok(())
    }
}

/// A log on a simulated disk. A clone is another handle to the same one.
#[derive(Clone, Debug)]
pub(crate) struct SimLog(Arc<Mutex<Platter>>);

impl SimLog {
    /// An empty one of this number; 0 for one whose node has promised nothing.
    pub(crate) fn new(planted: Option<Planted>, incarnation: u64) -> Self {
        let store = empty(incarnation);
        let platter = Platter {
            store,
            durable: Durable::default(),
            unsynced: Vec::new(),
            planted,
            failing: None,
            full: false,
        };
        Self(Arc::new(Mutex::new(platter)))
    }

    /// Looks at what is durable.
    pub(crate) fn durable<T>(&self, look: impl FnOnce(&Durable) -> T) -> T {
        look(&lock(&self.0).durable)
    }

    /// Makes the next write end in an error, after it was `done` or before.
    pub(crate) fn fail_next_write(&self, done: bool) {
        lock(&self.0).failing = Some(done);
    }

    /// Whether there is no room for anything.
    pub(crate) fn set_full(&self, full: bool) {
        lock(&self.0).full = full;
    }

    /// No error is to come any more.
    pub(crate) fn mend(&self) {
        let mut platter = lock(&self.0);
        platter.failing = None;
        platter.full = false;
    }

    /// The disk is replaced by an empty one.
    pub(crate) fn wipe(&self, incarnation: u64, snapshot: Index) {
        let mut platter = lock(&self.0);
        platter.unsynced.clear();
        platter.store = empty(incarnation);
        let former = std::mem::take(&mut platter.durable);
        platter.durable.former = Some((Box::new(former), snapshot));
    }

    /// Whether it holds all that its node has promised.
    pub(crate) fn is_whole(&self) -> bool {
        let loaded = lock(&self.0).store.load();
        loaded.is_ok_and(|stored| stored.memory == Memory::Whole)
    }

    /// The power goes.
    pub(crate) fn crash(&self) {
        let mut platter = lock(&self.0);
        platter.unsynced.clear();
        platter.failing = None;
        if platter.planted == Some(Planted::WipedDisk) {
            platter.store = MemoryStore::new();
            platter.durable = Durable::default();
        }
    }
}

impl LogStore for SimLog {
    fn load(&mut self) -> Result<StoredState, StorageError> {
        let mut platter = lock(&self.0);
        let mut stored = platter.store.load()?;
        if platter.planted == Some(Planted::StartsWithoutVote) {
            stored.hard_state = HardState::default();
        }
        if platter.planted == Some(Planted::ForgetsThatItForgot) {
            platter.store.admit()?;
            stored.memory = Memory::Whole;
        }
        if platter.planted == Some(Planted::StartsWithoutMembers) {
            stored.memberships.clear();
        }
        Ok(stored)
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        if platter.full {
            return Err(full());
        }
        match platter.failing.take() {
            Some(done) => {
                if done {
                    platter.take(LogOp::Write(batch.clone()))?;
                }
                Err(injected("cannot write"))
            }
            None => platter.take(LogOp::Write(batch.clone())),
        }
    }

    fn read(&self, from: Index, to: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        let mut platter = lock(&self.0);
        platter.flush()?;
        let mut entries = platter.store.read(from, to, max_bytes)?;
        if platter.planted == Some(Planted::ReadsAnotherEntry)
            && let Some(Entry {
                payload: Payload::Commands(commands),
                ..
            }) = entries.first_mut()
        {
            commands.reverse();
            commands.truncate(1);
        }
        Ok(entries)
    }

    fn purge(&mut self, up_to: LogId) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        if platter.full {
            return Err(full());
        }
        platter.take(LogOp::Purge(up_to))
    }

    fn admit(&mut self) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        platter.durable.former = None;
        platter.store.admit()
    }
}

fn empty(incarnation: u64) -> MemoryStore {
    match incarnation {
        0 => MemoryStore::new(),
        number => MemoryStore::of_incarnation(number),
    }
}

/// Snapshots on a simulated disk, read in small chunks so that a transfer takes several messages.
#[derive(Clone, Debug)]
pub(crate) struct SimSnapshots {
    shelf: Arc<Mutex<Shelf>>,
    chunk_bytes: usize,
    planted: Option<Planted>,
}

#[derive(Debug, Default)]
struct Shelf {
    store: MemorySnapshots,
    failing: bool,
}

impl SimSnapshots {
    pub(crate) fn new(chunk_bytes: usize, planted: Option<Planted>) -> Self {
        Self {
            shelf: Arc::default(),
            chunk_bytes,
            planted,
        }
    }

    /// Whether the next snapshots can't be taken: the disk is full.
    pub(crate) fn set_failing(&self, failing: bool) {
        lock(&self.shelf).failing = failing;
    }

    /// The disk is replaced by an empty one.
    pub(crate) fn wipe(&self) {
        lock(&self.shelf).store = MemorySnapshots::new();
    }

    /// The power goes.
    pub(crate) fn crash(&self) {
        if matches!(
            self.planted,
            Some(Planted::SnapshotNotSynced | Planted::WipedDisk)
        ) {
            lock(&self.shelf).store = MemorySnapshots::new();
        }
    }

    /// How far the newest one reaches.
    pub(crate) fn reach(&self) -> Index {
        let newest = self.newest().ok().flatten();
        newest.map_or(Index::ZERO, |meta| meta.last.index)
    }

    fn store(&self) -> MemorySnapshots {
        lock(&self.shelf).store.clone()
    }
}

impl SnapshotStore for SimSnapshots {
    fn newest(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        self.store().newest()
    }

    fn create(
        &self,
        last: LogId,
        time_ms: u64,
        membership: Option<&Membership>,
    ) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let forgets = self.planted == Some(Planted::SnapshotForgetsMembers);
        let membership = membership.filter(|_| !forgets);
        if lock(&self.shelf).failing {
            return Err(injected("cannot begin"));
        }
        if self.planted == Some(Planted::SnapshotHoldsMore) && last.index > Index(1) {
            return self.store().create(
                LogId::new(last.term, last.index.previous()),
                time_ms,
                membership,
            );
        }
        self.store().create(last, time_ms, membership)
    }

    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn Read + Send>, StorageError> {
        self.store().open(meta)
    }

    fn read_chunk(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Bytes, StorageError> {
        self.store()
            .read_chunk(meta, offset, max_bytes.min(self.chunk_bytes))
    }

    fn receive(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        data: &[u8],
    ) -> Result<Received, StorageError> {
        self.store().receive(meta, offset, data)
    }

    fn retain(&self, keep: &SnapshotMeta) -> Result<(), StorageError> {
        self.store().retain(keep)
    }
}

const INJECTED: &str = "injected";

fn injected(doing: &'static str) -> StorageError {
    StorageError::Io {
        doing,
        path: INJECTED.into(),
        source: io::Error::other(INJECTED),
    }
}

fn full() -> StorageError {
    StorageError::Full {
        doing: "cannot write",
        path: INJECTED.into(),
        source: io::ErrorKind::StorageFull.into(),
    }
}

/// Whether the simulation itself made this error.
pub(crate) fn is_injected(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { path, .. } if path.as_os_str() == INJECTED)
}

/// A panic elsewhere ends the run anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
