//! The real database on a full disk: a write without space changes nothing, and the store stays usable.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ::redb::StorageBackend;
use bytes::Bytes;

use super::{append, identity};
use crate::entry::{Command, Entry, HardState, Payload};
use crate::ids::{Index, LogId, Term};
use crate::storage::redb::RedbStore;
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

    fn open(&self) -> RedbStore {
        RedbStore::open_on(self.clone(), Path::new("disk"), &identity()).unwrap()
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

/// An entry of two blocks.
fn large(index: u64) -> Entry {
    let command = Command {
        session: 1,
        sequence: index,
        data: Bytes::from(vec![u8::try_from(index % 251).unwrap(); 8000]),
    };
    Entry {
        id: LogId::new(Term(1), Index(index)),
        time_ms: index,
        payload: Payload::Commands(vec![command]),
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

/// Writes entries until the disk is full; returns the last one that was written.
fn fill(store: &mut RedbStore, from: u64) -> u64 {
    for index in from..1000 {
        match store.write(&append(vec![large(index)])) {
            Ok(()) => {}
            Err(StorageError::Full { .. }) => return index - 1,
            Err(error) => panic!("entry {index}: {error}"),
        }
    }
    panic!("the disk is never full");
}

#[test]
fn a_write_to_a_full_disk_changes_nothing_and_succeeds_once_there_is_space() {
    for blocks in [900, 933, 961, 998] {
        let disk = SmallDisk::of_blocks(blocks);
        let mut store = disk.open();
        let last = fill(&mut store, 1);
        assert!(last > 10, "{blocks} blocks have space for {last}");
        let full = store.load().unwrap();
        assert_eq!(full.last, LogId::new(Term(1), Index(last)));
        for _ in 0..3 {
            let again = store.write(&append(vec![large(last + 1)]));
            assert!(matches!(again, Err(StorageError::Full { .. })), "{again:?}");
        }
        assert_eq!(store.load().unwrap(), full);
        let read = store.read(Index(1), Index(last), u64::MAX).unwrap();
        assert_eq!(read, (1..=last).map(large).collect::<Vec<_>>());

        disk.set_blocks(blocks + 5000);
        store.write(&append(vec![large(last + 1)])).unwrap();
        store.write(&vote(7)).unwrap();
        let after = store.load().unwrap();
        drop(store);
        assert_eq!(disk.open().load().unwrap(), after);
        assert_eq!(after.last.index, Index(last + 1));
        assert_eq!(after.hard_state.term, Term(7));
    }
}

#[test]
fn a_sync_that_fails_on_a_full_disk_is_final() {
    let disk = SmallDisk::of_blocks(10_000);
    let mut store = disk.open();
    store.write(&append(vec![large(1)])).unwrap();
    disk.set_blocks(disk.taken());
    disk.0.lock().unwrap().late = true;
    let failed = (2..1000).find_map(|index| store.write(&append(vec![large(index)])).err());
    assert!(
        matches!(failed, Some(StorageError::Io { .. })),
        "{failed:?}"
    );
    disk.set_blocks(10_000);
    assert!(store.write(&vote(9)).is_err(), "it must be opened again");
}

#[test]
fn a_purge_on_a_full_disk_can_be_repeated_later() {
    let disk = SmallDisk::of_blocks(900);
    let mut store = disk.open();
    let last = fill(&mut store, 1);
    let up_to = LogId::new(Term(1), Index(last / 2));
    while let Err(error) = store.purge(up_to) {
        assert!(error.is_full(), "{error}");
        disk.set_blocks(disk.taken() + 1);
    }
    let state = store.load().unwrap();
    assert_eq!((state.purged, state.last.index), (up_to, Index(last)));
    let next = fill(&mut store, last + 1);
    assert!(next > last, "the purge frees space");
}
