//! The contract of a snapshot store, one check per rule. Each check uses later entries than the previous one.

use std::io::{Read, Write};

use crate::entry::{ClusterState, SnapshotMeta};
use crate::ids::{Index, LogId, Term};
use crate::storage::{Received, SnapshotStore, StorageError};

type OpenSnapshots<'a> = &'a mut dyn FnMut() -> Box<dyn SnapshotStore>;

/// Runs every check, in order.
pub(super) fn check(open: OpenSnapshots<'_>) {
    a_new_store_has_no_snapshot(open);
    a_snapshot_is_read_after_reopening(open);
    an_unfinished_snapshot_is_never_visible(open);
    the_newest_snapshot_has_the_highest_index(open);
    chunks_add_up_to_the_snapshot(open);
    an_empty_snapshot_is_valid(open);
    a_transfer_completes_the_snapshot(open);
    an_interrupted_transfer_continues_where_it_stopped(open);
    a_chunk_at_the_wrong_offset_changes_nothing(open);
    corrupt_bytes_are_discarded(open);
    another_transfer_replaces_the_one_in_progress(open);
    a_snapshot_over_the_limit_is_refused(open);
    retaining_a_snapshot_removes_older_ones(open);
    a_missing_snapshot_is_not_opened(open);
}

fn id(index: u64) -> LogId {
    LogId::new(Term(1 + index / 100), Index(index))
}

/// Bytes that depend on the seed.
fn bytes(seed: u64, length: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn meta(index: u64, data: &[u8]) -> SnapshotMeta {
    let length = data.len() as u64;
    SnapshotMeta {
        last: id(index),
        time_ms: 1_000 * index,
        length,
        checksum: crc32c::crc32c(data),
        membership: None,
        cluster: ClusterState::default(),
    }
}

fn take(store: &dyn SnapshotStore, index: u64, data: &[u8]) -> SnapshotMeta {
    let mut writer = store
        .create(id(index), 1_000 * index, None, ClusterState::default())
        .expect("a snapshot begins");
    for part in data.chunks(7_777) {
        writer.write_all(part).expect("a part is written");
    }
    let taken = writer.finish().expect("the snapshot is finished");
    assert_eq!(taken, meta(index, data), "what was taken");
    taken
}

fn expect_contents(store: &dyn SnapshotStore, meta: &SnapshotMeta, expected: &[u8]) {
    let mut found = Vec::new();
    let mut reader = store.open(meta).expect("the snapshot opens");
    reader
        .read_to_end(&mut found)
        .expect("the snapshot is read");
    assert!(
        found == expected,
        "the snapshot of entry {} has other bytes than were written",
        meta.last
    );
}

fn newest(open: OpenSnapshots<'_>) -> Option<SnapshotMeta> {
    open().newest().expect("the newest is known")
}

fn receive(store: &dyn SnapshotStore, meta: &SnapshotMeta, offset: u64, data: &[u8]) -> Received {
    store
        .receive(meta, offset, data)
        .expect("a chunk is stored")
}

fn partial(next_offset: u64) -> Received {
    Received::Partial { next_offset }
}

fn a_new_store_has_no_snapshot(open: OpenSnapshots<'_>) {
    assert_eq!(
        newest(open),
        None,
        "a new store has no snapshot; is the store new?"
    );
}

fn a_snapshot_is_read_after_reopening(open: OpenSnapshots<'_>) {
    let data = bytes(1, 200_000);
    let taken = take(&*open(), 10, &data);
    assert_eq!(newest(open), Some(taken.clone()), "after reopening");
    expect_contents(&*open(), &taken, &data);

    let again = bytes(2, 100);
    let replaced = take(&*open(), 10, &again);
    assert_eq!(
        newest(open),
        Some(replaced.clone()),
        "a second snapshot of the same entry replaces the first"
    );
    expect_contents(&*open(), &replaced, &again);
    assert!(
        open().open(&taken).is_err(),
        "the first one is removed then"
    );
}

fn an_unfinished_snapshot_is_never_visible(open: OpenSnapshots<'_>) {
    let before = newest(open);
    let store = open();
    let mut writer = store
        .create(id(20), 1, None, ClusterState::default())
        .expect("a snapshot begins");
    writer
        .write_all(&bytes(3, 1000))
        .expect("a part is written");
    assert_eq!(
        store.newest().expect("the newest"),
        before,
        "while one is being taken"
    );
    drop(writer);
    assert_eq!(
        store.newest().expect("the newest"),
        before,
        "after it was dropped"
    );
    drop(store);
    assert_eq!(newest(open), before, "after reopening");
}

fn the_newest_snapshot_has_the_highest_index(open: OpenSnapshots<'_>) {
    let newer = take(&*open(), 130, &bytes(4, 50));
    let older = take(&*open(), 99, &bytes(5, 50));
    assert_eq!(newest(open), Some(newer), "not the one that was taken last");
    expect_contents(&*open(), &older, &bytes(5, 50));
}

fn chunks_add_up_to_the_snapshot(open: OpenSnapshots<'_>) {
    let data = bytes(6, 10_000);
    let store = open();
    let taken = take(&*store, 140, &data);
    let mut found = Vec::new();
    loop {
        let chunk = store
            .read_chunk(&taken, found.len() as u64, 999)
            .expect("a chunk");
        assert!(
            chunk.len() <= 999,
            "a chunk of {} bytes, where 999 were the most",
            chunk.len()
        );
        if chunk.is_empty() {
            break;
        }
        found.extend_from_slice(&chunk);
    }
    assert!(found == data, "the chunks together are not the snapshot");
    assert!(
        store
            .read_chunk(&taken, u64::MAX, 999)
            .expect("a chunk")
            .is_empty(),
        "nothing is beyond the end"
    );
}

fn an_empty_snapshot_is_valid(open: OpenSnapshots<'_>) {
    let taken = take(&*open(), 150, &[]);
    expect_contents(&*open(), &taken, &[]);
    let sent = meta(151, &[]);
    assert_eq!(
        receive(&*open(), &sent, 0, &[]),
        Received::Complete,
        "an empty snapshot is complete at once"
    );
    expect_contents(&*open(), &sent, &[]);
}

fn a_transfer_completes_the_snapshot(open: OpenSnapshots<'_>) {
    let data = bytes(7, 3_000);
    let sent = meta(160, &data);
    let store = open();
    let before = store.newest().expect("the newest");
    assert_eq!(
        receive(&*store, &sent, 0, &data[..1_000]),
        partial(1_000),
        "after the first chunk"
    );
    assert_eq!(
        store.newest().expect("the newest"),
        before,
        "a part is not a snapshot"
    );
    assert!(store.open(&sent).is_err(), "a part can't be opened");
    assert_eq!(
        receive(&*store, &sent, 1_000, &data[1_000..2_500]),
        partial(2_500),
        "after the second"
    );
    assert_eq!(
        receive(&*store, &sent, 2_500, &data[2_500..]),
        Received::Complete,
        "after the last"
    );
    assert_eq!(
        receive(&*store, &sent, 2_500, &data[2_500..]),
        Received::Complete,
        "the last one once more"
    );
    assert_eq!(
        receive(&*store, &sent, 0, &data[..10]),
        Received::Complete,
        "the first one once more"
    );
    expect_contents(&*store, &sent, &data);
    drop(store);
    assert_eq!(newest(open), Some(sent), "after reopening");
}

fn an_interrupted_transfer_continues_where_it_stopped(open: OpenSnapshots<'_>) {
    let data = bytes(8, 5_000);
    let sent = meta(170, &data);
    assert_eq!(
        receive(&*open(), &sent, 0, &data[..2_000]),
        partial(2_000),
        "before the interruption"
    );
    let store = open();
    assert_eq!(
        receive(&*store, &sent, 0, &data[..2_000]),
        partial(2_000),
        "the sender learns where it stopped"
    );
    assert_eq!(
        receive(&*store, &sent, 2_000, &data[2_000..4_000]),
        partial(4_000),
        "after the interruption"
    );
    drop(store);
    assert_eq!(
        receive(&*open(), &sent, 4_000, &data[4_000..]),
        Received::Complete,
        "after another interruption"
    );
    expect_contents(&*open(), &sent, &data);
}

fn a_chunk_at_the_wrong_offset_changes_nothing(open: OpenSnapshots<'_>) {
    let data = bytes(9, 3_000);
    let sent = meta(180, &data);
    let store = open();
    assert_eq!(
        receive(&*store, &sent, 500, &data[500..600]),
        partial(0),
        "one that doesn't begin at the start"
    );
    assert_eq!(
        receive(&*store, &sent, 0, &data[..1_000]),
        partial(1_000),
        "the first"
    );
    assert_eq!(
        receive(&*store, &sent, 0, &data[..1_000]),
        partial(1_000),
        "the first again"
    );
    assert_eq!(
        receive(&*store, &sent, 2_000, &data[2_000..]),
        partial(1_000),
        "one too far"
    );
    assert_eq!(
        receive(&*store, &sent, 900, &data[900..2_000]),
        partial(1_000),
        "one that overlaps"
    );
    assert_eq!(
        receive(&*store, &sent, 1_000, &[]),
        partial(1_000),
        "an empty one"
    );
    assert_eq!(
        receive(&*store, &sent, 1_000, &data[1_000..]),
        Received::Complete,
        "the rest"
    );
    expect_contents(&*store, &sent, &data);
}

fn corrupt_bytes_are_discarded(open: OpenSnapshots<'_>) {
    let data = bytes(10, 2_000);
    let sent = meta(190, &data);
    let store = open();
    let before = store.newest().expect("the newest");
    let mut wrong = data.clone();
    wrong[700] ^= 1;
    assert_eq!(
        receive(&*store, &sent, 0, &wrong[..1_000]),
        partial(1_000),
        "the checksum covers all bytes"
    );
    assert_eq!(
        receive(&*store, &sent, 1_000, &wrong[1_000..]),
        Received::Corrupt,
        "one bit is wrong"
    );
    assert_eq!(
        store.newest().expect("the newest"),
        before,
        "corrupt bytes are not kept"
    );
    assert_eq!(
        receive(&*store, &sent, 1_000, &data[1_000..]),
        partial(0),
        "it starts at 0 again"
    );
    let longer = [&data[..], b"more"].concat();
    assert_eq!(
        receive(&*store, &sent, 0, &longer),
        Received::Corrupt,
        "more bytes than it has"
    );
    assert_eq!(
        receive(&*store, &sent, 0, &data),
        Received::Complete,
        "correct in the end"
    );
    expect_contents(&*store, &sent, &data);
}

fn another_transfer_replaces_the_one_in_progress(open: OpenSnapshots<'_>) {
    let (first, second) = (bytes(11, 2_000), bytes(12, 2_000));
    // First of the same entry, as two leaders may make it, then of another one.
    for other in [200, 201] {
        let (sent, newer) = (meta(200, &first), meta(other, &second));
        let store = open();
        assert_eq!(
            receive(&*store, &sent, 0, &first[..1_000]),
            partial(1_000),
            "the first one"
        );
        assert_eq!(
            receive(&*store, &newer, 1_000, &second[1_000..]),
            partial(0),
            "the middle of an unknown one"
        );
        assert_eq!(
            receive(&*store, &newer, 0, &second[..500]),
            partial(500),
            "the start of another one"
        );
        assert_eq!(
            receive(&*store, &sent, 1_000, &first[1_000..]),
            partial(0),
            "the first one was discarded"
        );
        assert_eq!(
            receive(&*store, &newer, 500, &second[500..]),
            Received::Complete,
            "the other one"
        );
        expect_contents(&*store, &newer, &second);
    }
}

fn a_snapshot_over_the_limit_is_refused(open: OpenSnapshots<'_>) {
    let sent = SnapshotMeta {
        length: u64::MAX,
        ..meta(210, &[])
    };
    match open().receive(&sent, 0, b"start") {
        Err(StorageError::TooLarge { .. }) => {}
        other => panic!(
            "a snapshot of {} bytes must be too large, and is: {other:?}",
            u64::MAX
        ),
    }
}

fn retaining_a_snapshot_removes_older_ones(open: OpenSnapshots<'_>) {
    let data = bytes(13, 1_000);
    let store = open();
    let older = take(&*store, 220, &data);
    let kept = take(&*store, 230, &data);
    let newer = take(&*store, 240, &data);
    let overtaken = meta(225, &data);
    assert_eq!(
        receive(&*store, &overtaken, 0, &data[..10]),
        partial(10),
        "a transfer"
    );
    store.retain(&kept).expect("older ones are removed");
    assert!(store.open(&older).is_err(), "the older one is removed");
    expect_contents(&*store, &kept, &data);
    expect_contents(&*store, &newer, &data);
    assert_eq!(
        receive(&*store, &overtaken, 10, &data[10..20]),
        partial(0),
        "the older transfer is removed"
    );

    let ahead = meta(260, &data);
    assert_eq!(
        receive(&*store, &ahead, 0, &data[..10]),
        partial(10),
        "a transfer of a newer one"
    );
    store.retain(&newer).expect("older ones are removed");
    assert_eq!(
        receive(&*store, &ahead, 10, &data[10..]),
        Received::Complete,
        "it continues"
    );
    drop(store);
    assert_eq!(newest(open), Some(ahead), "after reopening");
}

fn a_missing_snapshot_is_not_opened(open: OpenSnapshots<'_>) {
    let store = open();
    let absent = meta(300, b"never taken");
    assert!(
        store.open(&absent).is_err(),
        "a snapshot that was never taken is not opened"
    );
    assert!(
        store.read_chunk(&absent, 0, 10).is_err(),
        "and has no chunks"
    );
    let taken = take(&*store, 310, b"other bytes");
    let other = SnapshotMeta {
        checksum: taken.checksum ^ 1,
        ..taken
    };
    assert!(
        store.open(&other).is_err(),
        "another snapshot of the same entry is not this one"
    );
    assert!(
        store.read_chunk(&other, 0, 10).is_err(),
        "and its chunks are not this one's"
    );
}
