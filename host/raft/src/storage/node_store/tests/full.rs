//! The real store on a full disk: a write without space changes nothing, and the store stays usable.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ::redb::StorageBackend;

use super::{SMALL, append, identity, noop};
use crate::entry::HardState;
use crate::identity::MetPeer;
use crate::ids::{Index, LogId, NodeId, StoreId, Term};
use crate::storage::node_store::{NodeStore, StoreInit};
use crate::storage::segments::SegmentFiles;
use crate::storage::segments::tests::disk::RecordingDisk;
use crate::storage::{LogStore, StorageError, WriteBatch};

const BLOCK: u64 = 4096;

/// A disk in memory with a limited number of blocks. A block counts once it is written; length is free, as in a sparse
/// file.
#[derive(Clone, Debug, Default)]
struct SmallDisk(Arc<Mutex<SmallDiskState>>);

#[derive(Debug, Default)]
struct SmallDiskState {
    bytes: Vec<u8>,
    taken: BTreeSet<u64>,
    blocks: usize,
    /// Writes succeed on a full disk, and the sync fails.
    late: bool,
    /// A block over the limit was written.
    over: bool,
}

impl SmallDisk {
    fn of_blocks(blocks: usize) -> Self {
        let disk = Self::default();
        disk.set_blocks(blocks);
        disk
    }

    fn set_blocks(&self, blocks: usize) {
        self.0.lock().unwrap().blocks = blocks;
    }

    fn taken(&self) -> usize {
        self.0.lock().unwrap().taken.len()
    }

    fn open(&self, segments: &RecordingDisk) -> NodeStore {
        let files: Arc<dyn SegmentFiles> = Arc::new(segments.clone());
        let medium = (self.clone(), files);
        let init = StoreInit::default();
        NodeStore::open_or_create_on(medium, Path::new("disk"), &identity(), init, (7, SMALL))
            .unwrap()
    }
}

impl StorageBackend for SmallDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let found = inner.bytes.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.bytes.resize(usize::try_from(length).unwrap(), 0);
        inner.taken.retain(|block| block * BLOCK < length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        if std::mem::take(&mut inner.over) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let inner = &mut *self.0.lock().unwrap();
        // Block by block: the blocks that fit are written.
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let block = at / BLOCK;
            let left = usize::try_from((block + 1) * BLOCK - at).unwrap();
            if !inner.taken.contains(&block) {
                if inner.taken.len() >= inner.blocks && !inner.late {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                inner.over |= inner.taken.len() >= inner.blocks;
                inner.taken.insert(block);
            }
            let part = &data[done..data.len().min(done + left)];
            let start = usize::try_from(at).unwrap();
            inner.bytes[start..start + part.len()].copy_from_slice(part);
            done += part.len();
        }
        Ok(())
    }
}

fn vote(term: u64) -> WriteBatch {
    WriteBatch {
        hard_state: Some(HardState {
            term: Term(term),
            vote: Some("a".into()),
        }),
        ..WriteBatch::default()
    }
}

/// Peers whose record has several blocks.
fn peers(count: u64) -> Vec<(NodeId, MetPeer)> {
    let peer = |number: u64| {
        let met = MetPeer {
            store_id: StoreId(number),
            number,
            run: number,
            replaced: vec![StoreId(number); 8],
        };
        (
            NodeId::from(format!("peer-{number}-{}", "x".repeat(900))),
            met,
        )
    };
    (1..=count).map(peer).collect()
}

/// Records more and more peers until the disk is full; returns how many were recorded.
fn fill(store: &mut NodeStore, from: u64) -> u64 {
    for count in from..2000 {
        match store.remember_peers(&peers(count)) {
            Ok(()) => {}
            Err(StorageError::Full { .. }) => return count - 1,
            Err(error) => panic!("{count} peers: {error}"),
        }
    }
    panic!("the disk is never full");
}

#[test]
fn a_record_on_a_full_disk_changes_nothing_and_is_written_once_there_is_space() {
    for blocks in [900, 933, 961, 998] {
        let (disk, segments) = (SmallDisk::of_blocks(blocks), RecordingDisk::default());
        let mut store = disk.open(&segments);
        let count = fill(&mut store, 1);
        assert!(count > 10, "{blocks} blocks have space for {count}");
        let full = store.load().unwrap();
        assert_eq!(full.met.len() as u64, count);
        for _ in 0..3 {
            let again = store.remember_peers(&peers(count + 1));
            assert!(matches!(again, Err(StorageError::Full { .. })), "{again:?}");
        }
        assert_eq!(store.load().unwrap(), full);
        // Entries need no space in the database.
        store.write(&append(vec![noop(1, 1)])).unwrap();

        disk.set_blocks(blocks + 5000);
        store.write(&vote(7)).unwrap();
        let after = store.load().unwrap();
        drop(store);
        assert_eq!(disk.open(&segments).load().unwrap(), after);
        assert_eq!(after.last, LogId::new(Term(1), Index(1)));
        assert_eq!(after.hard_state.term, Term(7));
    }
}

#[test]
fn a_sync_that_fails_on_a_full_disk_is_final() {
    let disk = SmallDisk::of_blocks(10_000);
    let mut store = disk.open(&RecordingDisk::default());
    store.write(&vote(1)).unwrap();
    disk.set_blocks(disk.taken());
    disk.0.lock().unwrap().late = true;
    let failed = (2..1000).find_map(|count| store.remember_peers(&peers(count)).err());
    assert!(
        matches!(failed, Some(StorageError::Io { .. })),
        "{failed:?}"
    );
    disk.set_blocks(10_000);
    assert!(store.write(&vote(9)).is_err(), "it must be opened again");
}

#[test]
fn a_batch_with_a_vote_and_entries_on_a_full_disk_changes_nothing() {
    let (disk, segments) = (SmallDisk::of_blocks(10_000), RecordingDisk::default());
    let mut store = disk.open(&segments);
    store.write(&append(vec![noop(1, 1)])).unwrap();
    segments.set_full(true);
    let mut last = 1;
    let full = loop {
        let batch = WriteBatch {
            entries: (last + 1..=last + 40).map(|index| noop(1, index)).collect(),
            ..vote(last)
        };
        let before = store.load().unwrap();
        match store.write(&batch) {
            Ok(()) => last += 40,
            Err(error) => {
                assert_eq!(store.load().unwrap(), before);
                break error;
            }
        }
    };
    assert!(matches!(full, StorageError::Full { .. }), "{full}");
    segments.set_full(false);
    store.write(&append(vec![noop(1, last + 1)])).unwrap();
}
