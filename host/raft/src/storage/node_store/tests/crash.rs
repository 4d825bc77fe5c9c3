//! The real store with crashes and failing disks: every acknowledged write is there afterwards.

use std::io;

use super::{append, noop, open_small};
use crate::entry::HardState;
use crate::ids::{Index, LogId, Term};
use crate::storage::node_store::NodeStore;
use crate::storage::segments::tests::disk::{
    CrashRandom, DiskContent, Operation, RecordingDisk, after_crash,
};
use crate::storage::{LogStore, StorageError, StoredState, WriteBatch};

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
    fn take(&self, store: &mut NodeStore) -> Result<(), StorageError> {
        match self {
            Self::Write(batch) => store.write(batch),
            Self::Purge(up_to) => store.purge(*up_to),
        }
    }
}

/// Runs the steps on a new disk; returns its state before them, the operations, and the log after each step.
fn life() -> (DiskContent, Vec<Operation>, Vec<StoredState>) {
    let disk = RecordingDisk::default();
    let mut store = open_small(&disk).unwrap();
    let mut states = vec![store.load().unwrap()];
    let start = disk.content();
    disk.take_operations();
    for step in steps() {
        step.take(&mut store).unwrap();
        disk.acknowledge();
        states.push(store.load().unwrap());
    }
    (start, disk.take_operations(), states)
}

/// The state after a write of which only term and vote are done.
fn with_vote_only(before: &StoredState, step: &StoreStep) -> Option<StoredState> {
    let StoreStep::Write(WriteBatch {
        hard_state: Some(hard_state),
        ..
    }) = step
    else {
        return None;
    };
    Some(StoredState {
        hard_state: hard_state.clone(),
        ..before.clone()
    })
}

/// The states in which a store may be found after so many steps were acknowledged.
fn allowed(states: &[StoredState], acknowledged: usize) -> Vec<StoredState> {
    let steps = steps();
    let mut allowed = states[acknowledged..states.len().min(acknowledged + 2)].to_vec();
    let step = steps.get(acknowledged);
    allowed.extend(step.and_then(|step| with_vote_only(&states[acknowledged], step)));
    allowed
}

fn acknowledged(operations: &[Operation]) -> usize {
    let is_acknowledged = |operation: &&Operation| matches!(operation, Operation::Acknowledged);
    operations.iter().filter(is_acknowledged).count()
}

/// Opens a store after a crash. It has lost nothing, and no write is doubtful.
fn recovered(disk: &RecordingDisk, what: &str, allowed: &[StoredState]) -> StoredState {
    let mut store = open_small(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(store.doubt(), None, "{what}");
    let found = store.load().unwrap();
    assert!(
        allowed.contains(&found),
        "{what}: {found:?} is none of {allowed:?}"
    );
    found
}

#[test]
fn a_crash_at_any_operation_keeps_what_was_acknowledged() {
    const SEEDS: u64 = 4;
    let (start, operations, states) = life();
    assert!(operations.len() > 50, "there are operations to crash at");
    for end in 0..=operations.len() {
        let allowed = allowed(&states, acknowledged(&operations[..end]));
        for seed in 0..SEEDS {
            let mut random = CrashRandom(seed << 32 | end as u64);
            let content = after_crash(&start, &operations[..end], || random.coin());
            let what = format!("crash at {end}, seed {seed}");
            let disk = RecordingDisk::with_content(content);
            let found = recovered(&disk, &what, &allowed);
            // It goes on, and what it writes is there after the next start.
            let next = noop(found.last.term.0 + 10, found.last.index.0 + 1);
            let mut store = open_small(&disk).unwrap();
            store.write(&append(vec![next.clone()])).unwrap();
            drop(store);
            let mut store = open_small(&disk).unwrap();
            assert_eq!(store.load().unwrap().last, next.id, "{what}");
        }
    }
}

#[test]
fn a_crash_while_a_crash_is_recovered_from_loses_nothing_either() {
    const SEEDS: u64 = 3;
    let (start, operations, states) = life();
    let mut recoveries = 0;
    let ends = (0..=operations.len()).flat_map(|end| [(end, 7), (end, 8)]);
    for (end, first) in ends {
        let allowed = allowed(&states, acknowledged(&operations[..end]));
        let mut random = CrashRandom(first << 32 | end as u64);
        let torn = after_crash(&start, &operations[..end], || random.coin());
        let disk = RecordingDisk::with_content(torn.clone());
        let found = recovered(&disk, "the first recovery", &allowed);
        let again = disk.take_operations();
        recoveries += usize::from(
            again
                .iter()
                .any(|operation| matches!(operation, Operation::Write(file, ..) if *file > 0)),
        );
        for cut in 0..=again.len() {
            for seed in 0..SEEDS {
                let mut random = CrashRandom(seed << 32 | cut as u64);
                let content = after_crash(&torn, &again[..cut], || random.coin());
                let what = format!("crash at {end}, and at {cut} of the recovery, seed {seed}");
                let disk = RecordingDisk::with_content(content);
                recovered(&disk, &what, std::slice::from_ref(&found));
            }
        }
    }
    assert!(
        recoveries > 1,
        "only {recoveries} recoveries write to the log"
    );
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
        let disk = RecordingDisk::with_content(start.clone());
        let Ok(mut store) = open_small(&disk) else {
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
        let disk = RecordingDisk::with_content(disk.content());
        let what = format!("operation {at}");
        recovered(&disk, &what, &allowed(&states, acknowledged));
    }
    assert!(failures > 40, "only {failures} failures");
}

fn run_until_failure(store: &mut NodeStore) -> (usize, Option<StorageError>) {
    for (acknowledged, step) in steps().iter().enumerate() {
        if let Err(error) = step.take(store) {
            return (acknowledged, Some(error));
        }
    }
    (steps().len(), None)
}
