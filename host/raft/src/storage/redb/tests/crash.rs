//! The real database with crashes and failing disks: every acknowledged write is there afterwards.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ::redb::StorageBackend;

use super::{append, identity, noop};
use crate::entry::HardState;
use crate::ids::{Index, LogId, Term};
use crate::storage::redb::RedbStore;
use crate::storage::{LogStore, StorageError, StoredState, WriteBatch};

/// An operation on the disk.
#[derive(Clone, Debug)]
enum Operation {
    Write(u64, Vec<u8>),
    SetLength(u64),
    Sync,
    /// Not an operation of the disk: a step of the test was acknowledged.
    Acknowledged,
}

/// A disk in memory that records every operation. A clone is the same disk.
#[derive(Clone, Debug, Default)]
struct RecordingDisk {
    inner: Arc<Mutex<RecordingDiskState>>,
}

#[derive(Debug, Default)]
struct RecordingDiskState {
    bytes: Vec<u8>,
    operations: Vec<Operation>,
    /// How many more operations succeed before all fail, and how.
    failing: Option<(usize, io::ErrorKind)>,
}

impl RecordingDisk {
    fn with_bytes(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.inner.lock().unwrap().bytes = bytes;
        disk
    }

    fn open(&self) -> Result<RedbStore, StorageError> {
        RedbStore::open_on(self.clone(), Path::new("disk"), &identity())
    }

    fn acknowledge(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.operations.push(Operation::Acknowledged);
    }

    fn fail_after(&self, operations: usize, kind: io::ErrorKind) {
        self.inner.lock().unwrap().failing = Some((operations, kind));
    }

    fn bytes(&self) -> Vec<u8> {
        self.inner.lock().unwrap().bytes.clone()
    }

    fn perform(&self, operation: Operation) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        if let Some((left, kind)) = &mut inner.failing {
            if *left == 0 {
                return Err((*kind).into());
            }
            *left -= 1;
        }
        operation.perform(&mut inner.bytes);
        inner.operations.push(operation);
        Ok(())
    }
}

impl Operation {
    fn perform(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                let end = start + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }
            Self::SetLength(length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
            Self::Sync | Self::Acknowledged => {}
        }
    }
}

impl StorageBackend for RecordingDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let found = inner.bytes.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.perform(Operation::SetLength(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.perform(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.perform(Operation::Write(offset, data.to_vec()))
    }
}

/// One step of a node's life.
enum StoreStep {
    Write(WriteBatch),
    Purge(LogId),
}

fn steps() -> Vec<StoreStep> {
    let vote = |term, vote: &str| {
        Some(HardState {
            term: Term(term),
            vote: Some(vote.into()),
        })
    };
    let id = |term, index| LogId::new(Term(term), Index(index));
    let cut = |term: u64, from: u64, to: u64| WriteBatch {
        hard_state: vote(term, "node-2"),
        truncate_from: Some(Index(from)),
        entries: (from..=to).map(|index| noop(term, index)).collect(),
    };
    vec![
        StoreStep::Write(WriteBatch {
            hard_state: vote(1, "node-1"),
            ..WriteBatch::default()
        }),
        StoreStep::Write(append((1..=3).map(|index| noop(1, index)).collect())),
        StoreStep::Write(append((4..=300).map(|index| noop(1, index)).collect())),
        StoreStep::Purge(id(1, 150)),
        StoreStep::Write(cut(2, 280, 290)),
        StoreStep::Write(append(vec![noop(2, 291)])),
        StoreStep::Write(cut(3, 151, 160)),
        StoreStep::Purge(id(9, 500)),
        StoreStep::Write(append(vec![noop(9, 501)])),
    ]
}

impl StoreStep {
    fn take(&self, store: &mut RedbStore) -> Result<(), StorageError> {
        match self {
            Self::Write(batch) => store.write(batch),
            Self::Purge(up_to) => store.purge(*up_to),
        }
    }
}

/// Runs the steps on a new disk; returns its state before them, the operations, and the log after each step.
fn life() -> (Vec<u8>, Vec<Operation>, Vec<StoredState>) {
    let disk = RecordingDisk::default();
    let mut store = disk.open().unwrap();
    let mut states = vec![store.load().unwrap()];
    let start = disk.bytes();
    disk.inner.lock().unwrap().operations.clear();
    for step in steps() {
        step.take(&mut store).unwrap();
        disk.acknowledge();
        states.push(store.load().unwrap());
    }
    let operations = disk.inner.lock().unwrap().operations.clone();
    (start, operations, states)
}

/// A random generator with a fixed seed.
struct CrashRandom(u64);

impl CrashRandom {
    fn coin(&mut self) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 63 == 1
    }
}

/// A possible content of the disk after a crash: everything that was synced, and a random part of the other sectors.
fn after_crash(start: &[u8], operations: &[Operation], random: &mut CrashRandom) -> Vec<u8> {
    const SECTOR: usize = 512;
    let is_sync = |operation: &Operation| matches!(operation, Operation::Sync);
    let synced = operations
        .iter()
        .rposition(is_sync)
        .map_or(0, |last| last + 1);
    let mut bytes = start.to_vec();
    for operation in &operations[..synced] {
        operation.perform(&mut bytes);
    }
    for operation in &operations[synced..] {
        match operation {
            Operation::Write(offset, data) => {
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    if random.coin() {
                        let at = offset + (number * SECTOR) as u64;
                        Operation::Write(at, sector.to_vec()).perform(&mut bytes);
                    }
                }
            }
            other => other.perform(&mut bytes),
        }
    }
    bytes
}

#[test]
fn a_crash_at_any_operation_keeps_what_was_acknowledged() {
    const SEEDS: u64 = 4;
    let (start, operations, states) = life();
    assert!(operations.len() > 50, "there are operations to crash at");
    for end in 0..=operations.len() {
        let is_acknowledged = |operation: &&Operation| matches!(operation, Operation::Acknowledged);
        let acknowledged = operations[..end].iter().filter(is_acknowledged).count();
        for seed in 0..SEEDS {
            let mut random = CrashRandom(seed << 32 | end as u64);
            let bytes = after_crash(&start, &operations[..end], &mut random);
            let found = RecordingDisk::with_bytes(bytes)
                .open()
                .and_then(|mut store| store.load());
            let found =
                found.unwrap_or_else(|error| panic!("crash at {end}, seed {seed}: {error}"));
            // The step in progress is applied completely or not at all.
            let allowed = &states[acknowledged..states.len().min(acknowledged + 2)];
            assert!(
                allowed.contains(&found),
                "crash at {end}, seed {seed}, {acknowledged} steps acknowledged: {found:?} is none of {allowed:?}"
            );
        }
    }
}

#[test]
fn after_a_disk_failure_at_any_operation_the_store_refuses_writes_and_loses_nothing() {
    let (start, operations, states) = life();
    let mut failures = 0;
    for (at, kind) in (0..operations.len()).zip(
        [io::ErrorKind::StorageFull, io::ErrorKind::Other]
            .into_iter()
            .cycle(),
    ) {
        let disk = RecordingDisk::with_bytes(start.clone());
        let Ok(mut store) = disk.open() else {
            panic!("the disk is intact")
        };
        disk.fail_after(at, kind);
        let (acknowledged, error) = run_until_failure(&mut store);
        let Some(error) = error else { continue };
        failures += 1;
        match &error {
            StorageError::Io { source, .. } | StorageError::Full { source, .. } => {
                assert_eq!(source.kind(), kind, "{error}");
            }
            other => {
                panic!("operation {at}: expected the error of the operating system, got: {other}")
            }
        }
        let again = store
            .write(&append(vec![noop(99, 1)]))
            .map_err(|error| error.to_string());
        assert!(
            again.is_err(),
            "operation {at}: a store that failed was written again"
        );
        drop(store);
        let found = RecordingDisk::with_bytes(disk.bytes())
            .open()
            .unwrap()
            .load()
            .unwrap();
        let allowed = &states[acknowledged..states.len().min(acknowledged + 2)];
        assert!(
            allowed.contains(&found),
            "operation {at}: {found:?} is none of {allowed:?}"
        );
    }
    assert!(failures > 40, "only {failures} failures");
}

fn run_until_failure(store: &mut RedbStore) -> (usize, Option<StorageError>) {
    for (acknowledged, step) in steps().iter().enumerate() {
        if let Err(error) = step.take(store) {
            return (acknowledged, Some(error));
        }
    }
    (steps().len(), None)
}
