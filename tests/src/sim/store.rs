//! The stores of a simulated node, with the faults of a disk.
//!
//! In most runs the log is the production memory store. A finished operation is durable. A crash loses the waiting tasks;
//! the one in flight is either done or lost. In the other runs the log is the production store on a simulated disk, which
//! may stop in the middle of a write. In both cases this module records what was acknowledged, and a reopened log must
//! contain it. Planted faults violate this.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use task_queue_raft::entry::{ClusterState, Entry, HardState, Payload, SnapshotMeta};
use task_queue_raft::identity::{MetPeer, RunId};
use task_queue_raft::ids::{Index, LogId, NodeId, StoreId};
use task_queue_raft::raft::membership::Membership;
use task_queue_raft::storage::memory::{MemorySnapshots, MemoryStore};
use task_queue_raft::storage::node_store::{Identity, StoreInit};
use task_queue_raft::storage::{
    LogStore, Received, SnapshotStore, SnapshotWriter, StorageError, StoreState, StoredState,
    WriteBatch,
};

use super::disk::ByteDisk;
use super::durable::LogOp;
use super::log_engine::{Engine, INJECTED, empty, init_of, injected};
use super::planted::Planted;
use super::rng::Rng;

pub(crate) use super::durable::Durable;

/// Changes of a log that corrupt sectors at its end may hide: more than the sectors of two pages.
const EARLIER_MAX: usize = 64;

#[derive(Debug)]
struct Platter {
    engine: Engine,
    durable: Durable,
    /// In flight at an error or a crash: done or not.
    doubtful: Option<LogOp>,
    /// What was durable before each of the last changes of the log: it may be all that is left if the end of the log is corrupt.
    earlier: VecDeque<Durable>,
    /// The node goes on without the end of the log, which is corrupt. Until where its snapshots reach.
    excluded: Option<Index>,
    /// What was acknowledged and is not there any more.
    loss: Option<String>,
    /// Whether it holds all votes and acknowledgements of its node.
    store_state: StoreState,
    /// It is an old copy, and its node has not rejoined with it.
    stale: bool,
    /// Reported as done, but lost at a crash. Only planted faults have such operations.
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
        // After an error the store refuses what comes, so the first one is the one in doubt.
        self.doubtful.get_or_insert_with(|| op.clone());
        let done = match op {
            LogOp::Write(batch) => self.engine.store()?.write(batch),
            LogOp::Purge(up_to) => {
                if self.planted == Some(Planted::RecycledTooEarly) {
                    // The segments are used again although the purge is not durable.
                    if let Some(disk) = self.engine.disk() {
                        disk.forget_next_sync();
                    }
                }
                self.engine.store()?.purge(*up_to)
            }
        };
        if done.as_ref().is_err_and(StorageError::is_full) {
            // It reports that nothing of it is there.
            self.doubtful = None;
        }
        done?;
        if op.changes_log() && self.engine.disk().is_some() {
            self.earlier.push_back(self.durable.clone());
            if self.earlier.len() > EARLIER_MAX {
                self.earlier.pop_front();
            }
        }
        self.durable.take(op);
        self.doubtful = None;
        if let Some(disk) = self.engine.disk() {
            disk.committed();
        }
        Ok(())
    }

    /// Compares what the log holds with what was acknowledged: nothing else than what was in flight may differ.
    fn settle(&mut self, stored: &StoredState) {
        let mut found = Durable::of(stored);
        let acknowledged = std::mem::take(&mut self.durable);
        found.former.clone_from(&acknowledged.former);
        self.store_state = stored.state;
        let mut allowed = vec![acknowledged.clone()];
        let doubtful = self.doubtful.take();
        if let Some(op) = &doubtful {
            allowed.extend(acknowledged.with_vote_of(op));
            let mut done = acknowledged.clone();
            done.take(op);
            allowed.push(done);
        }
        let excluded = self.excluded.take();
        if excluded.is_some() {
            let with = |before: &Durable, hard_state: &HardState| Durable {
                hard_state: hard_state.clone(),
                former: acknowledged.former.clone(),
                ..before.clone()
            };
            let lost: Vec<_> = allowed
                .iter()
                .flat_map(|state| {
                    let earlier = self.earlier.iter();
                    earlier.map(|before| with(before, &state.hard_state))
                })
                .collect();
            allowed.extend(lost);
        }
        let same_log =
            |before: &Durable| (before.purged, &before.terms) == (found.purged, &found.terms);
        if let Some(place) = self.earlier.iter().position(same_log) {
            self.earlier.truncate(place);
        }
        if !allowed.contains(&found) {
            self.loss = Some(format!(
                "it holds {found:?}, and {acknowledged:?} was acknowledged; {doubtful:?} was in flight"
            ));
        }
        if let Some(snapshot) = excluded
            && found != acknowledged
            && found.former.is_none()
        {
            found.former = Some((Box::new(acknowledged), snapshot));
        }
        self.durable = found;
        if self.store_state == StoreState::Complete && !self.stale {
            self.durable.former = None;
        }
    }

    fn wipe(&mut self, init: StoreInit, snapshot: Index) {
        self.unsynced.clear();
        self.doubtful = None;
        self.earlier.clear();
        self.store_state = init.state;
        self.stale = false;
        self.engine.wipe(init);
        let former = std::mem::take(&mut self.durable);
        self.durable.former = Some((Box::new(former), snapshot));
    }
}

/// A copy of a log.
#[derive(Debug)]
pub(crate) struct SavedLog {
    log: MemoryStore,
    durable: Durable,
    store_id: StoreId,
    run: u64,
}

impl SavedLog {
    /// Whether a node that remembers this of the copy's node recognizes the copy as outdated.
    pub(crate) fn is_known_as_old(&self, met: &MetPeer) -> bool {
        met.replaced.contains(&self.store_id)
            || met.store_id == self.store_id && met.number > self.run
    }
}

/// A log on a simulated disk. A clone is another handle to the same one.
#[derive(Clone, Debug)]
pub(crate) struct SimLog(Arc<Mutex<Platter>>);

impl SimLog {
    /// In memory: an empty one of this number; 0 for one whose node has acknowledged nothing.
    pub(crate) fn new(planted: Option<Planted>, store_id: u64) -> Self {
        Self::on(Engine::Memory(empty(store_id)), planted)
    }

    /// In a database of this node, on a disk with chances of its own.
    pub(crate) fn database(
        node: &NodeId,
        rng: Rng,
        planted: Option<Planted>,
        store_id: u64,
    ) -> Self {
        let engine = Engine::Database {
            store: None,
            disk: ByteDisk::new(rng, planted == Some(Planted::SyncForgotten)),
            identity: Identity {
                node_id: node.clone(),
                cluster_id: "simulation".to_owned(),
            },
            init: init_of(store_id, StoreState::New),
            made: false,
        };
        Self::on(engine, planted)
    }

    fn on(engine: Engine, planted: Option<Planted>) -> Self {
        let platter = Platter {
            engine,
            durable: Durable::default(),
            doubtful: None,
            earlier: VecDeque::new(),
            excluded: None,
            loss: None,
            stale: false,
            store_state: StoreState::New,
            unsynced: Vec::new(),
            planted,
            failing: None,
            full: false,
        };
        Self(Arc::new(Mutex::new(platter)))
    }

    /// A process begins to use it.
    pub(crate) fn open(&self) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        let planted = platter.planted;
        let opened = platter.engine.open(planted);
        let forgets = platter.planted == Some(Planted::DamageForgotten);
        if forgets && matches!(opened, Err(StorageError::Corrupt { .. })) {
            platter.engine.wipe(StoreInit::default());
            return platter.engine.open(planted);
        }
        opened
    }

    /// Why the last write of the log may be missing, although it may have been acknowledged.
    pub(crate) fn doubt(&self) -> Option<String> {
        lock(&self.0).engine.doubt()
    }

    /// The node goes on without that write, as another store.
    pub(crate) fn exclude_loss(
        &self,
        store_id: StoreId,
        snapshot: Index,
    ) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        platter.excluded = Some(snapshot);
        if let Engine::Database {
            store: Some(store),
            disk,
            ..
        } = &mut platter.engine
        {
            store.exclude_loss(store_id)?;
            disk.committed();
        }
        Ok(())
    }

    /// The node goes on as if nothing was missing: a planted fault.
    pub(crate) fn ignore_loss(&self) -> Result<(), StorageError> {
        match &mut lock(&self.0).engine {
            Engine::Database {
                store: Some(store), ..
            } => store.accept_loss(),
            _ => Ok(()),
        }
    }

    /// How what was found when it was opened last differs from what was acknowledged.
    pub(crate) fn loss(&self) -> Option<String> {
        lock(&self.0).loss.clone()
    }

    /// Its disk, where it has one of bytes.
    pub(crate) fn disk(&self) -> Option<ByteDisk> {
        lock(&self.0).engine.disk().cloned()
    }

    /// Whether the simulation itself made this error.
    pub(crate) fn is_injected(&self, error: &StorageError) -> bool {
        let own = matches!(
            error,
            StorageError::Io { path, .. } | StorageError::Full { path, .. }
                if path.as_os_str() == INJECTED
        );
        own || self.disk().is_some_and(|disk| disk.is_to_blame())
    }

    /// Whether this error is correct: it reports corruption, and the content is corrupt.
    pub(crate) fn is_corrupt(&self, error: &StorageError) -> bool {
        matches!(error, StorageError::Corrupt { .. })
            && self.disk().is_some_and(|disk| disk.is_damaged())
    }

    /// Looks at what is durable.
    pub(crate) fn durable<T>(&self, look: impl FnOnce(&Durable) -> T) -> T {
        look(&lock(&self.0).durable)
    }

    /// Makes the next write end in an error, after it was `done` or before; or one of the next operations of a disk
    /// of bytes.
    pub(crate) fn fail_next_write(&self, done: bool) {
        let mut platter = lock(&self.0);
        match platter.engine.disk() {
            Some(disk) => disk.fail_soon(),
            None => platter.failing = Some(done),
        }
    }

    /// Whether there is no room for anything.
    pub(crate) fn set_full(&self, full: bool) {
        let mut platter = lock(&self.0);
        match platter.engine.disk() {
            Some(disk) => disk.set_full(full),
            None => platter.full = full,
        }
    }

    /// No error is to come any more.
    pub(crate) fn mend(&self) {
        let mut platter = lock(&self.0);
        platter.failing = None;
        platter.full = false;
        if let Some(disk) = platter.engine.disk() {
            disk.mend();
        }
    }

    /// The disk is replaced by an empty one.
    pub(crate) fn wipe(&self, store_id: u64, snapshot: Index) {
        lock(&self.0).wipe(init_of(store_id, StoreState::New), snapshot);
    }

    /// The node has found damage, sets its files aside and begins with an empty store.
    pub(crate) fn set_aside(&self, store_id: u64, snapshot: Index) {
        lock(&self.0).wipe(init_of(store_id, StoreState::Incomplete), snapshot);
    }

    /// A copy of what it holds now, and the number of the run in which it was made. None of a disk of bytes.
    pub(crate) fn copy(&self) -> Option<SavedLog> {
        let platter = lock(&self.0);
        let Engine::Memory(store) = &platter.engine else {
            return None;
        };
        let log = store.copy();
        let stored = log.clone().load().ok()?;
        Some(SavedLog {
            log,
            durable: platter.durable.clone(),
            store_id: stored.store_id,
            run: stored.runs.number,
        })
    }

    /// The disk is replaced by an old copy of itself or of an earlier one.
    pub(crate) fn put_back(&self, saved: &SavedLog, snapshot: Index) {
        let mut platter = lock(&self.0);
        platter.unsynced.clear();
        platter.doubtful = None;
        platter.stale = true;
        platter.engine = Engine::Memory(saved.log.copy());
        let former = std::mem::replace(&mut platter.durable, saved.durable.clone());
        platter.durable.former = Some((Box::new(former), snapshot));
    }

    /// Whether it is an old copy, and its node has not rejoined with it.
    pub(crate) fn is_stale(&self) -> bool {
        lock(&self.0).stale
    }

    /// What its node remembers of a peer.
    pub(crate) fn met(&self, peer: &NodeId) -> Option<MetPeer> {
        let mut platter = lock(&self.0);
        let stored = platter.engine.store().ok()?.load().ok()?;
        let met = stored.met.into_iter().find(|(id, _)| id == peer);
        met.map(|(_, met)| met)
    }

    /// The process has crashed, perhaps with a power failure.
    pub(crate) fn crash(&self) {
        let mut platter = lock(&self.0);
        platter.unsynced.clear();
        platter.failing = None;
        platter.engine.crash();
        if platter.planted == Some(Planted::WipedDisk) {
            platter.engine.wipe(StoreInit::default());
            platter.durable = Durable::default();
            platter.doubtful = None;
        }
    }
}

impl LogStore for SimLog {
    fn load(&mut self) -> Result<StoredState, StorageError> {
        let mut platter = lock(&self.0);
        let mut stored = platter.engine.store()?.load()?;
        platter.settle(&stored);
        if platter.planted == Some(Planted::StartsWithoutVote) {
            stored.hard_state = HardState::default();
        }
        if platter.planted == Some(Planted::ForgetsThatItForgot) {
            platter.engine.store()?.mark_complete()?;
            stored.state = StoreState::Complete;
            platter.store_state = StoreState::Complete;
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
        let mut entries = platter.engine.store()?.read(from, to, max_bytes)?;
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

    fn replace_store_id(&mut self, store_id: StoreId) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        platter.engine.store()?.replace_store_id(store_id)?;
        platter.store_state = StoreState::Incomplete;
        if let Some(disk) = platter.engine.disk() {
            disk.committed();
        }
        Ok(())
    }

    fn begin_run(&mut self, run: RunId) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        platter.engine.store()?.begin_run(run)?;
        if let Some(disk) = platter.engine.disk() {
            disk.committed();
        }
        Ok(())
    }

    fn remember_peers(&mut self, met: &[(NodeId, MetPeer)]) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        platter.engine.store()?.remember_peers(met)?;
        if let Some(disk) = platter.engine.disk() {
            disk.committed();
        }
        Ok(())
    }

    fn record_lease(&mut self, longest: Duration) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        if platter.planted == Some(Planted::LeaseLengthForgotten) {
            return Ok(());
        }
        platter.engine.store()?.record_lease(longest)?;
        if let Some(disk) = platter.engine.disk() {
            disk.committed();
        }
        Ok(())
    }

    fn mark_complete(&mut self) -> Result<(), StorageError> {
        let mut platter = lock(&self.0);
        platter.engine.store()?.mark_complete()?;
        platter.store_state = StoreState::Complete;
        platter.stale = false;
        platter.durable.former = None;
        if let Some(disk) = platter.engine.disk() {
            disk.committed();
        }
        Ok(())
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
    /// The last attempt to take one has failed.
    failed: bool,
    /// The one that is no longer what was written. A new one of the same entry replaces it.
    rotten: Option<SnapshotMeta>,
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

    /// Whether the last one could not be taken: until one is, nothing shortens the log.
    pub(crate) fn has_failed(&self) -> bool {
        lock(&self.shelf).failed
    }

    /// The newest one rots. Returns whether there is one.
    pub(crate) fn rot(&self) -> bool {
        let newest = self.newest().ok().flatten();
        let found = newest.is_some();
        lock(&self.shelf).rotten = newest;
        found
    }

    /// Whether this one has rotted.
    pub(crate) fn is_rotten(&self, meta: &SnapshotMeta) -> bool {
        lock(&self.shelf).rotten.as_ref() == Some(meta)
    }

    /// The disk is replaced by an empty one.
    pub(crate) fn wipe(&self) {
        self.replace(MemorySnapshots::new());
    }

    fn replace(&self, store: MemorySnapshots) {
        let mut shelf = lock(&self.shelf);
        (shelf.store, shelf.rotten) = (store, None);
    }

    /// A copy of what it holds now.
    pub(crate) fn copy(&self) -> MemorySnapshots {
        lock(&self.shelf).store.copy()
    }

    /// The disk is replaced by an old copy.
    pub(crate) fn put_back(&self, saved: &MemorySnapshots) {
        self.replace(saved.copy());
    }

    /// The power goes. What was rotten can be read again: a start with a rotten snapshot is refused, and is not simulated.
    pub(crate) fn crash(&self) {
        lock(&self.shelf).rotten = None;
        if matches!(
            self.planted,
            Some(Planted::SnapshotNotSynced | Planted::WipedDisk)
        ) {
            self.wipe();
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
        cluster: ClusterState,
    ) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let forgets = self.planted == Some(Planted::SnapshotForgetsMembers);
        let membership = membership.filter(|_| !forgets);
        let mut shelf = lock(&self.shelf);
        shelf.failed = shelf.failing;
        if shelf.failing {
            return Err(injected("cannot begin"));
        }
        shelf.rotten.take_if(|rotten| rotten.last == last);
        drop(shelf);
        if self.planted == Some(Planted::SnapshotHoldsMore) && last.index > Index(1) {
            return self.store().create(
                LogId::new(last.term, last.index.previous()),
                time_ms,
                membership,
                cluster,
            );
        }
        self.store().create(last, time_ms, membership, cluster)
    }

    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn Read + Send>, StorageError> {
        self.store().open(meta)
    }

    fn check(&self, meta: &SnapshotMeta) -> Result<(), StorageError> {
        if self.is_rotten(meta) && self.planted != Some(Planted::RotNotFound) {
            return Err(StorageError::Corrupt {
                record: format!("the snapshot of entry {}", meta.last),
                reason: "it has rotted".to_owned(),
            });
        }
        self.store().check(meta)
    }

    fn read_chunk(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Bytes, StorageError> {
        let max_bytes = max_bytes.min(self.chunk_bytes);
        let chunk = self.store().read_chunk(meta, offset, max_bytes)?;
        if !self.is_rotten(meta) || chunk.is_empty() {
            return Ok(chunk);
        }
        let mut rotten = chunk.to_vec();
        rotten[0] ^= 1;
        Ok(rotten.into())
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

fn full() -> StorageError {
    StorageError::Full {
        doing: "cannot write",
        path: INJECTED.into(),
        source: io::ErrorKind::StorageFull.into(),
    }
}

/// A panic elsewhere ends the run anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
