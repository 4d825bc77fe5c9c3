//! Stores in memory, for tests, simulations and examples. The data is lost when the last handle is dropped.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::bounds::{self, LogBounds};
use super::snapshot::{DEFAULT_MAX_BYTES, check_length};
use super::{
    LogStore, Received, SnapshotStore, SnapshotWriter, StorageError, StoreState, StoredState,
    WriteBatch,
};
use crate::entry::{ClusterState, Entry, HardState, SnapshotMeta};
use crate::identity::{MetPeer, RunHistory, RunId};
use crate::ids::{Index, LogId, NodeId, StoreId};
use crate::raft::membership::Membership;

/// A log in memory. A clone is another handle to the same log, so a test can restart a node on it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    log: Arc<Mutex<MemoryLog>>,
}

#[derive(Clone, Debug, Default)]
struct MemoryLog {
    hard_state: HardState,
    purged: LogId,
    entries: VecDeque<Entry>,
    store_id: StoreId,
    state: StoreState,
    runs: RunHistory,
    met: Vec<(NodeId, MetPeer)>,
    granted_lease: Duration,
}

impl MemoryStore {
    /// An empty, complete log for a node that has never voted; it has no store id.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty log with this store id, in the state [`StoreState::New`].
    #[must_use]
    pub fn with_store_id(store_id: StoreId) -> Self {
        let store = Self::default();
        {
            let mut log = lock(&store.log);
            log.store_id = store_id;
            log.state = StoreState::New;
        }
        store
    }

    /// A copy of the store as it is now, for a test that puts an old state of a disk back.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            log: Arc::new(Mutex::new(lock(&self.log).clone())),
        }
    }

    /// Changes the state of the store, for example to simulate a repair.
    pub fn set_state(&self, state: StoreState) {
        lock(&self.log).state = state;
    }
}

impl LogStore for MemoryStore {
    fn load(&mut self) -> Result<StoredState, StorageError> {
        let log = lock(&self.log);
        let mut terms: Vec<(Index, _)> = Vec::new();
        let mut memberships = Vec::new();
        let mut clusters = Vec::new();
        for entry in &log.entries {
            if let Some(membership) = entry.payload.membership() {
                memberships.push((entry.id.index, membership.clone()));
            }
            let cluster = entry.payload.cluster();
            clusters.extend(cluster.map(|record| (entry.id.index, record.clone())));
            if terms.last().is_none_or(|(_, term)| *term != entry.id.term) {
                terms.push((entry.id.index, entry.id.term));
            }
        }
        let LogBounds { purged, last } = log.bounds();
        Ok(StoredState {
            hard_state: log.hard_state.clone(),
            purged,
            last,
            terms,
            memberships,
            clusters,
            store_id: log.store_id,
            state: log.state,
            runs: log.runs.clone(),
            met: log.met.clone(),
            granted_lease: log.granted_lease,
        })
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        let mut log = lock(&self.log);
        log.bounds().check_batch(batch)?;
        let keep = match batch.truncate_from {
            Some(from) => log.position(from),
            None => log.entries.len(),
        };
        let before = keep
            .checked_sub(1)
            .map_or(log.purged, |last| log.entries[last].id);
        bounds::check_terms(before, &batch.entries)?;

        log.entries.truncate(keep);
        log.entries.extend(batch.entries.iter().cloned());
        if let Some(hard_state) = &batch.hard_state {
            log.hard_state = hard_state.clone();
        }
        Ok(())
    }

    fn read(&self, from: Index, to: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        let log = lock(&self.log);
        log.bounds().check_read(from)?;
        let mut budget = max_bytes;
        let mut entries = Vec::new();
        for entry in log
            .entries
            .range(log.position(from)..)
            .take_while(|entry| entry.id.index <= to)
        {
            if entry.cost() > budget && !entries.is_empty() {
                break;
            }
            budget = budget.saturating_sub(entry.cost());
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn purge(&mut self, up_to: LogId) -> Result<(), StorageError> {
        let mut log = lock(&self.log);
        let bounds = log.bounds();
        if up_to == bounds.purged || up_to.index < bounds.purged.index {
            return Ok(());
        }
        if bounds.contains(up_to.index) && log.entries[log.position(up_to.index)].id == up_to {
            let gone = log.position(up_to.index) + 1;
            log.entries.drain(..gone);
        } else {
            log.entries.clear();
        }
        log.purged = up_to;
        Ok(())
    }

    fn mark_complete(&mut self) -> Result<(), StorageError> {
        lock(&self.log).state = StoreState::Complete;
        Ok(())
    }

    fn replace_store_id(&mut self, store_id: StoreId) -> Result<(), StorageError> {
        let mut log = lock(&self.log);
        log.store_id = store_id;
        log.state = StoreState::Incomplete;
        Ok(())
    }

    fn begin_run(&mut self, run: RunId) -> Result<(), StorageError> {
        let mut log = lock(&self.log);
        log.runs = log.runs.next(run);
        Ok(())
    }

    fn remember_peers(&mut self, met: &[(NodeId, MetPeer)]) -> Result<(), StorageError> {
        lock(&self.log).met = met.to_vec();
        Ok(())
    }

    fn record_lease(&mut self, longest: Duration) -> Result<(), StorageError> {
        lock(&self.log).granted_lease = longest;
        Ok(())
    }
}

impl MemoryLog {
    fn bounds(&self) -> LogBounds {
        let last = self.entries.back().map_or(self.purged, |entry| entry.id);
        LogBounds {
            purged: self.purged,
            last,
        }
    }

    /// The position of the entry at `index`, which must be after `purged`.
    fn position(&self, index: Index) -> usize {
        usize::try_from(index.0 - self.purged.index.0 - 1)
            .unwrap_or_else(|_| unreachable!("memory has more bytes than it keeps entries"))
    }
}

/// Snapshots in memory. A clone is another handle to the same snapshots.
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshots {
    table: Arc<Mutex<SnapshotTable>>,
}

#[derive(Clone, Debug, Default)]
struct SnapshotTable {
    complete: BTreeMap<Index, (SnapshotMeta, Bytes)>,
    transfer: Option<(SnapshotMeta, Vec<u8>)>,
    quarantined: Option<SnapshotMeta>,
}

impl MemorySnapshots {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of the store as it is now, as [`MemoryStore::copy`].
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            table: Arc::new(Mutex::new(lock(&self.table).clone())),
        }
    }

    /// The snapshot that was quarantined last, for tests.
    #[must_use]
    pub fn last_quarantined(&self) -> Option<SnapshotMeta> {
        lock(&self.table).quarantined.clone()
    }

    fn find(&self, meta: &SnapshotMeta) -> Result<Bytes, StorageError> {
        match lock(&self.table).complete.get(&meta.last.index) {
            Some((found, bytes)) if found == meta => Ok(bytes.clone()),
            _ => Err(StorageError::Io {
                doing: "cannot open the snapshot of entry",
                path: meta.last.to_string().into(),
                source: io::Error::from(io::ErrorKind::NotFound),
            }),
        }
    }
}

impl SnapshotStore for MemorySnapshots {
    fn newest(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        Ok(lock(&self.table)
            .complete
            .last_key_value()
            .map(|(_, (meta, _))| meta.clone()))
    }

    fn create(
        &self,
        last: LogId,
        time_ms: u64,
        membership: Option<&Membership>,
        cluster: ClusterState,
    ) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        Ok(Box::new(MemorySnapshotWriter {
            to: self.clone(),
            last,
            time_ms,
            membership: membership.cloned(),
            cluster,
            bytes: Vec::new(),
        }))
    }

    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn Read + Send>, StorageError> {
        Ok(Box::new(Cursor::new(self.find(meta)?)))
    }

    fn read_chunk(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Bytes, StorageError> {
        let bytes = self.find(meta)?;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let end = start.saturating_add(max_bytes).min(bytes.len());
        Ok(bytes.slice(start..end))
    }

    fn receive(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        data: &[u8],
    ) -> Result<Received, StorageError> {
        check_length(meta, DEFAULT_MAX_BYTES)?;
        if self.find(meta).is_ok() {
            return Ok(Received::Complete);
        }
        let mut table = lock(&self.table);
        let known = table.transfer.as_ref().is_some_and(|(of, _)| of == meta);
        if !known {
            if offset != 0 {
                return Ok(Received::Partial { next_offset: 0 });
            }
            table.transfer = Some((meta.clone(), Vec::new()));
        }
        table.append_chunk(offset, data)
    }

    fn quarantine(&self, meta: &SnapshotMeta) -> Result<(), StorageError> {
        self.find(meta)?;
        lock(&self.table).quarantined = Some(meta.clone());
        Ok(())
    }

    fn retain(&self, keep: &SnapshotMeta) -> Result<(), StorageError> {
        let mut table = lock(&self.table);
        table.complete.retain(|index, _| *index >= keep.last.index);
        if table
            .transfer
            .as_ref()
            .is_some_and(|(of, _)| of.last.index <= keep.last.index)
        {
            table.transfer = None;
        }
        Ok(())
    }
}

impl SnapshotTable {
    /// Adds a chunk to the transfer in progress; the last chunk completes the snapshot.
    fn append_chunk(&mut self, offset: u64, data: &[u8]) -> Result<Received, StorageError> {
        let Some((meta, bytes)) = &mut self.transfer else {
            return Ok(Received::Partial { next_offset: 0 });
        };
        let here = bytes.len() as u64;
        if offset != here {
            return Ok(Received::Partial { next_offset: here });
        }
        let now = here + data.len() as u64;
        if now > meta.length {
            self.transfer = None;
            return Ok(Received::Corrupt);
        }
        bytes.extend_from_slice(data);
        if now < meta.length {
            return Ok(Received::Partial { next_offset: now });
        }
        let complete = (meta.clone(), Bytes::from(std::mem::take(bytes)));
        self.transfer = None;
        if crc32c::crc32c(&complete.1) != complete.0.checksum {
            return Ok(Received::Corrupt);
        }
        self.complete.insert(complete.0.last.index, complete);
        Ok(Received::Complete)
    }
}

struct MemorySnapshotWriter {
    to: MemorySnapshots,
    last: LogId,
    time_ms: u64,
    membership: Option<Membership>,
    cluster: ClusterState,
    bytes: Vec<u8>,
}

impl Write for MemorySnapshotWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.bytes.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SnapshotWriter for MemorySnapshotWriter {
    fn finish(self: Box<Self>) -> Result<SnapshotMeta, StorageError> {
        let bytes = Bytes::from(self.bytes);
        let meta = SnapshotMeta {
            last: self.last,
            time_ms: self.time_ms,
            length: bytes.len() as u64,
            checksum: crc32c::crc32c(&bytes),
            membership: self.membership,
            cluster: self.cluster,
        };
        check_length(&meta, DEFAULT_MAX_BYTES)?;
        lock(&self.to.table)
            .complete
            .insert(meta.last.index, (meta.clone(), bytes));
        Ok(meta)
    }
}

/// Ignores poisoning: no change here consists of two steps that a panic could separate.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
