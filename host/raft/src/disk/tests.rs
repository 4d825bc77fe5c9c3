use super::*;
use crate::entry::{ClusterState, HardState, Payload};
use crate::ids::{Index, Term};
use crate::storage::memory::{MemorySnapshots, MemoryStore};
use std::io::Write;

fn id(index: u64) -> LogId {
    LogId::new(Term(1), Index(index))
}

fn entries(indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    indexes
        .map(|index| Entry {
            id: id(index),
            time_ms: 0,
            payload: Payload::Noop,
        })
        .collect()
}

fn batch(indexes: std::ops::RangeInclusive<u64>) -> WriteBatch {
    let hard_state = Some(HardState {
        term: Term(1),
        vote: None,
    });
    WriteBatch {
        hard_state,
        truncate_from: None,
        entries: entries(indexes),
    }
}

fn disk() -> (Disk, MemoryStore, Arc<MemorySnapshots>) {
    let (log, snapshots) = (MemoryStore::new(), Arc::new(MemorySnapshots::new()));
    (
        Disk::new(Box::new(log.clone()), snapshots.clone()),
        log,
        snapshots,
    )
}

fn read(disk: &mut Disk, from: u64, to: u64) -> Vec<Entry> {
    let (from, to) = (Index(from), Index(to));
    let task = LogRead {
        reader: ReadFor::Apply,
        from,
        to,
        max_bytes: u64::MAX,
    };
    match disk.run(DiskTask::Read(task)).unwrap() {
        DiskDone::Read(ReadFor::Apply, entries) => entries,
        other => panic!("entries were expected, not {other:?}"),
    }
}

#[test]
fn a_written_batch_can_be_read_and_its_id_is_reported() {
    let (mut disk, mut log, _) = disk();
    let done = disk.run(DiskTask::Write(7, batch(1..=3))).unwrap();
    assert!(matches!(done, DiskDone::Written(7)));
    assert_eq!(log.load().unwrap().last, id(3));
    assert_eq!(read(&mut disk, 2, 9), entries(2..=3));
}

#[test]
fn a_write_that_does_not_fit_the_log_is_an_error() {
    let (mut disk, _, _) = disk();
    let error = disk.run(DiskTask::Write(1, batch(2..=3))).unwrap_err();
    assert!(matches!(error, StorageError::OutOfRange { .. }), "{error}");
}

#[test]
fn entries_that_were_purged_since_the_request_are_no_error() {
    let (mut disk, _, _) = disk();
    disk.run(DiskTask::Write(1, batch(1..=5))).unwrap();
    assert!(matches!(
        disk.run(DiskTask::Purge(id(3))).unwrap(),
        DiskDone::NoReply
    ));
    assert_eq!(read(&mut disk, 2, 5), []);
    assert_eq!(read(&mut disk, 4, 5), entries(4..=5));
    assert_eq!(read(&mut disk, 6, 7), []);
}

#[test]
fn a_snapshot_is_sent_and_received_in_chunks() {
    let (mut sender, _, shelf) = disk();
    let state = vec![7; CHUNK_BYTES + 10];
    let mut writer = shelf
        .create(id(9), 0, None, ClusterState::default())
        .unwrap();
    writer.write_all(&state).unwrap();
    let meta = writer.finish().unwrap();

    let (mut receiver, _, received) = disk();
    let mut offset = 0;
    let mut chunks = Vec::new();
    loop {
        let task = DiskTask::ReadChunk {
            to: "b".into(),
            meta: meta.clone(),
            offset,
        };
        let DiskDone::Chunk {
            data: Some(data), ..
        } = sender.run(task).unwrap()
        else {
            panic!("a chunk was expected");
        };
        chunks.push(data.len());
        let task = DiskTask::Receive {
            meta: meta.clone(),
            offset,
            data,
        };
        match receiver.run(task).unwrap() {
            DiskDone::Received(_, Received::Partial { next_offset }) => offset = next_offset,
            DiskDone::Received(_, Received::Complete) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(chunks, [CHUNK_BYTES, 10]);
    assert_eq!(received.newest().unwrap(), Some(meta));
}

#[test]
fn a_missing_snapshot_has_no_chunk_and_is_no_error() {
    let (mut disk, _, shelf) = disk();
    let mut metas = Vec::new();
    for index in [3, 6] {
        let mut writer = shelf
            .create(id(index), 0, None, ClusterState::default())
            .unwrap();
        writer.write_all(b"state").unwrap();
        metas.push(writer.finish().unwrap());
    }
    assert!(matches!(
        disk.run(DiskTask::Retain(metas[1].clone())).unwrap(),
        DiskDone::Retained
    ));
    let mut chunk = |meta: &SnapshotMeta| {
        let task = DiskTask::ReadChunk {
            to: "b".into(),
            meta: meta.clone(),
            offset: 0,
        };
        match disk.run(task).unwrap() {
            DiskDone::Chunk { data, .. } => data,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        (chunk(&metas[0]), chunk(&metas[1])),
        (None, Some(Bytes::from_static(b"state")))
    );
}
