//! A disk in memory that records every operation. It has the files of a log, and a database as file 0.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ::redb::StorageBackend;

use crate::storage::segments::sector::SECTOR_BYTES;
use crate::storage::segments::{SegmentFile, SegmentFiles};

/// The number of the database.
pub(in crate::storage) const DATABASE: u32 = 0;

/// An operation on the disk.
#[derive(Clone, Debug)]
pub(in crate::storage) enum Operation {
    Write(u32, u64, Vec<u8>),
    SetLength(u32, u64),
    Sync(u32),
    Create(u32, u64),
    Publish(u32),
    Remove(u32),
    /// Not an operation of the disk: a step of the test was acknowledged.
    Acknowledged,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct DiskFile {
    pub(in crate::storage) published: bool,
    pub(in crate::storage) bytes: Vec<u8>,
}

/// The content of a disk.
pub(in crate::storage) type DiskContent = BTreeMap<u32, DiskFile>;

/// A disk. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub(in crate::storage) struct RecordingDisk {
    inner: Arc<Mutex<RecordingDiskState>>,
}

#[derive(Debug, Default)]
struct RecordingDiskState {
    content: DiskContent,
    operations: Vec<Operation>,
    /// How many more operations succeed before all fail, and how.
    failing: Option<(usize, ErrorKind)>,
    /// No file can be created.
    full: bool,
}

impl RecordingDisk {
    pub(in crate::storage) fn with_content(content: DiskContent) -> Self {
        let disk = Self::default();
        disk.inner.lock().unwrap().content = content;
        disk
    }

    pub(in crate::storage) fn acknowledge(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.operations.push(Operation::Acknowledged);
    }

    pub(in crate::storage) fn fail_after(&self, operations: usize, kind: ErrorKind) {
        self.inner.lock().unwrap().failing = Some((operations, kind));
    }

    pub(in crate::storage) fn set_full(&self, full: bool) {
        self.inner.lock().unwrap().full = full;
    }

    pub(in crate::storage) fn content(&self) -> DiskContent {
        self.inner.lock().unwrap().content.clone()
    }

    /// Changes a file without an operation.
    pub(in crate::storage) fn change(&self, file: u32, change: impl FnOnce(&mut Vec<u8>)) {
        let inner = &mut *self.inner.lock().unwrap();
        change(&mut inner.content.get_mut(&file).unwrap().bytes);
    }

    /// The operations since the last call.
    pub(in crate::storage) fn take_operations(&self) -> Vec<Operation> {
        std::mem::take(&mut self.inner.lock().unwrap().operations)
    }

    fn perform(&self, operation: Operation) -> io::Result<()> {
        let inner = &mut *self.inner.lock().unwrap();
        if let Some((left, kind)) = &mut inner.failing {
            if *left == 0 {
                return Err((*kind).into());
            }
            *left -= 1;
        }
        if inner.full && matches!(operation, Operation::Create(..)) {
            return Err(ErrorKind::StorageFull.into());
        }
        operation.perform(&mut inner.content)?;
        inner.operations.push(operation);
        Ok(())
    }

    fn read_file(&self, file: u32, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner.lock().unwrap();
        let found = inner.content.get(&file).ok_or(ErrorKind::NotFound)?;
        let start = usize::try_from(offset).unwrap();
        let bytes = found.bytes.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length_of(&self, file: u32) -> u64 {
        let inner = self.inner.lock().unwrap();
        let found = inner.content.get(&file);
        found.map_or(0, |found| found.bytes.len() as u64)
    }
}

impl Operation {
    fn perform(&self, content: &mut DiskContent) -> io::Result<()> {
        match self {
            Self::Write(file, offset, data) => {
                let bytes = &mut content.entry(*file).or_default().bytes;
                let start = usize::try_from(*offset).unwrap();
                let end = start + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }
            Self::SetLength(file, length) => {
                let bytes = &mut content.entry(*file).or_default().bytes;
                bytes.resize(usize::try_from(*length).unwrap(), 0);
            }
            Self::Create(file, length) => {
                let bytes = vec![0x5a; usize::try_from(*length).unwrap()];
                let created = DiskFile {
                    published: false,
                    bytes,
                };
                content.insert(*file, created);
            }
            Self::Publish(file) => {
                content.get_mut(file).ok_or(ErrorKind::NotFound)?.published = true;
            }
            Self::Remove(file) => drop(content.remove(file).ok_or(ErrorKind::NotFound)?),
            Self::Sync(_) | Self::Acknowledged => {}
        }
        Ok(())
    }
}

/// A possible content of the disk after a crash: what was synced, a part of the other sectors, and perhaps files that were removed
/// since the directory was synced, which publishing a file does. `keeps` decides on each.
pub(in crate::storage) fn after_crash(
    start: &DiskContent,
    operations: &[Operation],
    mut keeps: impl FnMut() -> bool,
) -> DiskContent {
    let mut content = start.clone();
    for (number, operation) in operations.iter().enumerate() {
        let is_listed = |later: &Operation| matches!(later, Operation::Publish(_));
        let is_lost = matches!(operation, Operation::Remove(_))
            && !operations[number..].iter().any(is_listed)
            && !keeps();
        if is_lost {
            continue;
        }
        let Operation::Write(file, offset, data) = operation else {
            operation.perform(&mut content).unwrap();
            continue;
        };
        let syncs = |later: &Operation| matches!(later, Operation::Sync(synced) if synced == file);
        let is_synced = operations[number..].iter().any(syncs);
        for (sector, bytes) in data.chunks(SECTOR_BYTES).enumerate() {
            if is_synced || keeps() {
                let at = offset + (sector * SECTOR_BYTES) as u64;
                let write = Operation::Write(*file, at, bytes.to_vec());
                write.perform(&mut content).unwrap();
            }
        }
    }
    content
}

/// A random generator with a fixed seed.
pub(in crate::storage) struct CrashRandom(pub(in crate::storage) u64);

impl CrashRandom {
    pub(in crate::storage) fn coin(&mut self) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 63 == 1
    }
}

impl StorageBackend for RecordingDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length_of(DATABASE))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_file(DATABASE, offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.perform(Operation::SetLength(DATABASE, length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.perform(Operation::Sync(DATABASE))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.perform(Operation::Write(DATABASE, offset, data.to_vec()))
    }
}

impl SegmentFiles for RecordingDisk {
    fn list(&self) -> io::Result<Vec<u32>> {
        let inner = &mut *self.inner.lock().unwrap();
        inner
            .content
            .retain(|file, found| *file == DATABASE || found.published);
        let files = inner.content.keys().copied();
        Ok(files.filter(|file| *file != DATABASE).collect())
    }

    fn open(&self, file: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let disk = self.clone();
        Ok(Arc::new(RecordedFile { disk, file }))
    }

    fn create(&self, file: u32, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        self.perform(Operation::Create(file, bytes))?;
        self.open(file)
    }

    fn publish(&self, file: u32) -> io::Result<()> {
        self.perform(Operation::Publish(file))
    }

    fn remove(&self, file: u32) -> io::Result<()> {
        self.perform(Operation::Remove(file))
    }

    fn path(&self, file: u32) -> PathBuf {
        PathBuf::from(format!("log/{file}"))
    }
}

#[derive(Debug)]
struct RecordedFile {
    disk: RecordingDisk,
    file: u32,
}

impl SegmentFile for RecordedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.length_of(self.file))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read_file(self.file, offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk
            .perform(Operation::Write(self.file, offset, data.to_vec()))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.perform(Operation::Sync(self.file))
    }
}
