//! A simulated disk under the production store, with the faults of disks. Unsynced sectors are lost one by one, and writes are
//! torn. Operations fail, and the disk can be full. Bits flip, and writes are misdirected or missing.
//!
//! The disk has a database, which is file 0, and the segments of the log. A write is missing only if it is older than the last ones:
//! a store can't distinguish a newest write that was never done from one that a power failure prevented. In the database,
//! other corruption does not hit the newest writes either, because its header has bits without a checksum.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use task_queue_raft::storage::segments::{SegmentFile, SegmentFiles};

use super::rng::Rng;

/// The unit that a disk writes atomically.
const SECTOR: usize = 512;
/// The unit that the database writes.
const PAGE: usize = 4096;
/// Number of earlier contents of a sector that are kept.
const VERSIONS: usize = 8;
/// Commits for which a sector counts as just written: the last one, and the one that it would be taken for.
const FRESH: u64 = 2;
/// The number of the database.
const DATABASE: u32 = 0;

/// A sector: the number of its file, and its number in the file.
type SectorId = (u32, usize);

/// What happened to a disk, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DiskCounts {
    /// Power failures after which some unsynced sectors were kept.
    pub(crate) torn: u64,
    /// Power failures after which all of them were lost.
    pub(crate) lost: u64,
    /// Operations that failed.
    pub(crate) errors: u64,
    /// Flipped bits, misdirected writes, missing writes.
    pub(crate) damages: u64,
}

/// A disk. A clone is a handle to the same disk.
#[derive(Clone, Debug)]
pub(crate) struct ByteDisk(Arc<Mutex<Sectors>>);

#[derive(Debug)]
struct Sectors {
    files: BTreeMap<u32, DiskFile>,
    rng: Rng,
    /// What stood before in each sector that was written since the last sync of its file, the oldest first.
    unsynced: BTreeMap<SectorId, Vec<Vec<u8>>>,
    /// Length of the database at its last sync.
    synced_length: usize,
    commits: u64,
    /// Before which commit each sector was written, and what stood there before.
    written: BTreeMap<SectorId, (u64, Vec<u8>)>,
    /// So many operations go well, and the next one fails.
    failing_in: Option<u64>,
    /// The next crash is a power failure.
    power_goes: bool,
    full: bool,
    /// The process that used it has ended: its operations are ignored.
    dead: bool,
    /// An error was reported since it was opened.
    blamed: bool,
    damaged: bool,
    forgets_syncs: bool,
    /// The next sync of a segment does nothing: a planted fault.
    forgets_next_sync: bool,
    counts: DiskCounts,
}

/// A file of the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct DiskFile {
    pub(super) bytes: Vec<u8>,
    /// It has its final name. The database always has.
    pub(super) published: bool,
}

impl ByteDisk {
    /// An empty disk. If it ignores syncs, it reports success without syncing: a planted fault.
    pub(crate) fn new(rng: Rng, forgets_syncs: bool) -> Self {
        Self(Arc::new(Mutex::new(Sectors {
            files: BTreeMap::new(),
            rng,
            unsynced: BTreeMap::new(),
            synced_length: 0,
            commits: 0,
            written: BTreeMap::new(),
            failing_in: None,
            power_goes: false,
            full: false,
            dead: false,
            blamed: false,
            damaged: false,
            forgets_syncs,
            forgets_next_sync: false,
            counts: DiskCounts::default(),
        })))
    }

    /// A process begins to use it.
    pub(crate) fn revive(&self) {
        let mut sectors = self.lock();
        sectors.dead = false;
        sectors.blamed = false;
    }

    /// The process ends immediately, at any operation.
    pub(crate) fn die(&self) {
        let mut sectors = self.lock();
        sectors.dead = true;
        sectors.failing_in = None;
    }

    /// The process has crashed. At a power failure each unsynced sector is kept or lost.
    pub(crate) fn crash(&self) {
        let mut sectors = self.lock();
        if sectors.rng.chance(500) || sectors.power_goes {
            sectors.power_goes = false;
            sectors.lose_power();
        }
    }

    /// Everything written so far was acknowledged.
    pub(crate) fn committed(&self) {
        self.lock().commits += 1;
    }

    /// Replaces the disk by an intact, empty one.
    pub(crate) fn wipe(&self) {
        let mut sectors = self.lock();
        sectors.files.clear();
        sectors.unsynced.clear();
        sectors.written.clear();
        sectors.synced_length = 0;
        sectors.failing_in = None;
        sectors.forgets_next_sync = false;
        sectors.damaged = false;
    }

    /// A number for what the store would draw at random.
    pub(super) fn number(&self) -> u64 {
        self.lock().rng.number() | 1
    }

    /// The next sync of a segment reports success and does nothing: a planted fault.
    pub(super) fn forget_next_sync(&self) {
        self.lock().forgets_next_sync = true;
    }

    /// Changes the segments without an operation, for planted faults.
    pub(super) fn change_segments(&self, change: impl FnOnce(&mut BTreeMap<u32, DiskFile>)) {
        let sectors = &mut *self.lock();
        let database = sectors.files.remove(&DATABASE);
        change(&mut sectors.files);
        sectors
            .files
            .extend(database.map(|database| (DATABASE, database)));
    }

    /// One of the next operations fails, or is the last one before a power failure.
    pub(crate) fn fail_soon(&self) {
        let mut sectors = self.lock();
        sectors.power_goes = sectors.rng.chance(600);
        sectors.failing_in = Some(sectors.rng.pick(&[0, 1, 2, 4, 8, 16]));
    }

    /// From now on there is no space for more, or there is again.
    pub(crate) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// No further errors occur. Corruption remains.
    pub(crate) fn mend(&self) {
        let mut sectors = self.lock();
        sectors.failing_in = None;
        sectors.power_goes = false;
        sectors.full = false;
    }

    /// Whether it has reported an error since it was opened.
    pub(crate) fn is_to_blame(&self) -> bool {
        self.lock().blamed
    }

    /// Whether its content differs from what was written.
    pub(crate) fn is_damaged(&self) -> bool {
        self.lock().damaged
    }

    /// Corrupts older content; returns a description, or `None` if there is none.
    pub(crate) fn rot(&self) -> Option<String> {
        let mut sectors = self.lock();
        let times = sectors.rng.between(4, 16);
        let rotten: Vec<_> = (0..times).filter_map(|_| sectors.rot()).collect();
        (!rotten.is_empty()).then(|| rotten.join("; "))
    }

    pub(crate) fn counts(&self) -> DiskCounts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, Sectors> {
        // A panic elsewhere ends the run anyway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sectors {
    /// Whether an operation may be done.
    fn admit(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the process is gone"));
        }
        match &mut self.failing_in {
            Some(0) => {
                self.failing_in = None;
                self.blamed = true;
                self.counts.errors += 1;
                Err(io::Error::other("the disk has failed"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn put(&mut self, file: u32, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        let bytes = &mut self.files.entry(file).or_default().bytes;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let id = (file, sector);
            let before = self.sector(id).to_vec();
            self.written.insert(id, (self.commits, before.clone()));
            let versions = self.unsynced.entry(id).or_default();
            if versions.len() < VERSIONS {
                versions.push(before);
            }
        }
        if let Some(found) = self.files.get_mut(&file) {
            found.bytes[offset..end].copy_from_slice(data);
        }
    }

    fn bytes(&self, file: u32) -> &[u8] {
        self.files.get(&file).map_or(&[], |found| &found.bytes)
    }

    fn sector(&self, (file, sector): SectorId) -> &[u8] {
        let bytes = self.bytes(file);
        let start = (sector * SECTOR).min(bytes.len());
        let end = (start + SECTOR).min(bytes.len());
        &bytes[start..end]
    }

    fn restore(&mut self, (file, sector): SectorId, contents: &[u8]) {
        let Some(found) = self.files.get_mut(&file) else {
            return;
        };
        let start = (sector * SECTOR).min(found.bytes.len());
        let end = (start + contents.len()).min(found.bytes.len());
        found.bytes[start..end].copy_from_slice(&contents[..end - start]);
    }

    fn sync(&mut self, file: u32) {
        if self.forgets_syncs {
            return;
        }
        self.unsynced.retain(|(other, _), _| *other != file);
        if file == DATABASE {
            self.synced_length = self.bytes(DATABASE).len();
        }
    }

    /// Each unsynced sector gets its newest content or one since the last sync.
    fn lose_power(&mut self) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let (mut kept, mut lost) = (0, 0);
        let odds = self.rng.pick(&[0, 500, 900]);
        for (sector, versions) in unsynced {
            if self.rng.chance(odds) {
                kept += 1;
                continue;
            }
            lost += 1;
            let version = self.rng.place(versions.len());
            self.restore(sector, &versions[version]);
        }
        let synced = self.synced_length;
        if kept == 0
            && let Some(database) = self.files.get_mut(&DATABASE)
        {
            database.bytes.truncate(database.bytes.len().min(synced));
        }
        self.counts.torn += u64::from(kept > 0 && lost > 0);
        self.counts.lost += u64::from(kept == 0 && lost > 0);
        self.sync(DATABASE);
    }

    /// Corrupts a sector of the database or, as often, one of the log: there also one of the newest.
    fn rot(&mut self) -> Option<String> {
        let old = self.commits.saturating_sub(FRESH);
        let is_old = |(commit, _): &(u64, Vec<u8>)| *commit < old;
        let in_log = self.rng.chance(500);
        let newest = self.rng.chance(300);
        let mut all: Vec<SectorId> = Vec::new();
        for (id, written) in &self.written {
            let fits = if in_log {
                id.0 != DATABASE && (!newest || !is_old(written))
            } else {
                id.0 == DATABASE && is_old(written)
            };
            if fits {
                all.push(*id);
            }
        }
        let sector = *all.get(self.rng.place(all.len()))?;
        let kinds = if self.written.get(&sector).is_some_and(is_old) {
            3
        } else {
            2
        };
        let text = match self.rng.below(kinds) {
            0 => self.flip(sector),
            1 => self.overwrite(sector, &all),
            _ => {
                let (_, before) = self.written.get(&sector)?.clone();
                self.restore(sector, &before);
                format!("the write to sector {sector:?} was never done")
            }
        };
        self.damaged = true;
        self.counts.damages += 1;
        Some(text)
    }

    fn flip(&mut self, sector: SectorId) -> String {
        let length = self.sector(sector).len();
        let (at, bit) = (self.rng.place(length), self.rng.below(8));
        let mut contents = self.sector(sector).to_vec();
        if let Some(byte) = contents.get_mut(at) {
            *byte ^= 1 << bit;
        }
        self.restore(sector, &contents);
        format!("bit {bit} of byte {at} of sector {sector:?} flips")
    }

    /// A page overwrites another one, where that one may be corrupted.
    fn overwrite(&mut self, sector: SectorId, among: &[SectorId]) -> String {
        const SECTORS: usize = PAGE / SECTOR;
        let (page, source) = (sector.1 / SECTORS, among[self.rng.place(among.len())]);
        let from = source.1 / SECTORS;
        for place in 0..SECTORS {
            let to = (sector.0, page * SECTORS + place);
            if among.binary_search(&to).is_ok() {
                let contents = self.sector((source.0, from * SECTORS + place)).to_vec();
                self.restore(to, &contents);
            }
        }
        format!(
            "page {from} of file {} is written to the place of page {page} of file {}",
            source.0, sector.0
        )
    }

    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.admit()?;
        let start = place(offset)?;
        let found = self.bytes(file).get(start..start + out.len());
        out.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// If it fails, the data to be synced may be lost, and the next sync succeeds, as on Linux.
    fn try_sync(&mut self, file: u32) -> io::Result<()> {
        if let Err(error) = self.admit() {
            if !self.dead {
                self.lose_power();
            }
            return Err(error);
        }
        if file != DATABASE && std::mem::take(&mut self.forgets_next_sync) {
            return Ok(());
        }
        self.sync(file);
        Ok(())
    }

    /// One that fails may have done its first half. A full disk may have no space for a new copy of an old page of the database; a
    /// segment has its space.
    fn write(&mut self, file: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = place(offset)?;
        let needs_space = file == DATABASE || self.bytes(file).len() < offset + data.len();
        if self.full && !self.dead && needs_space {
            self.blamed = true;
            return Err(ErrorKind::StorageFull.into());
        }
        if let Err(error) = self.admit() {
            if !self.dead {
                self.put(file, offset, &data[..data.len() / 2 / SECTOR * SECTOR]);
            }
            return Err(error);
        }
        self.put(file, offset, data);
        Ok(())
    }

    fn create(&mut self, file: u32, bytes: u64) -> io::Result<()> {
        self.admit()?;
        if self.full {
            self.blamed = true;
            return Err(ErrorKind::StorageFull.into());
        }
        let created = DiskFile {
            bytes: vec![0; place(bytes)?],
            published: false,
        };
        self.forget(file);
        self.files.insert(file, created);
        Ok(())
    }

    /// The file with this number is another one, or none.
    fn forget(&mut self, file: u32) {
        self.files.remove(&file);
        self.unsynced.retain(|(other, _), _| *other != file);
        self.written.retain(|(other, _), _| *other != file);
    }
}

impl StorageBackend for ByteDisk {
    fn len(&self) -> io::Result<u64> {
        let mut sectors = self.lock();
        sectors.admit()?;
        Ok(sectors.bytes(DATABASE).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.lock().read(DATABASE, offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut sectors = self.lock();
        sectors.admit()?;
        let length = place(length)?;
        if sectors.full && length > sectors.bytes(DATABASE).len() {
            sectors.blamed = true;
            return Err(ErrorKind::StorageFull.into());
        }
        let database = sectors.files.entry(DATABASE).or_default();
        database.bytes.resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.lock().try_sync(DATABASE)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.lock().write(DATABASE, offset, data)
    }
}

/// The name of a segment is durable as soon as it has it.
impl SegmentFiles for ByteDisk {
    fn list(&self) -> io::Result<Vec<u32>> {
        let mut sectors = self.lock();
        sectors.admit()?;
        let is_unfinished =
            |(file, found): &(&u32, &DiskFile)| **file != DATABASE && !found.published;
        let unfinished: Vec<u32> = sectors
            .files
            .iter()
            .filter(is_unfinished)
            .map(|(file, _)| *file)
            .collect();
        unfinished.into_iter().for_each(|file| sectors.forget(file));
        let all = sectors.files.keys().copied();
        Ok(all.filter(|file| *file != DATABASE).collect())
    }

    fn open(&self, file: u32) -> io::Result<Arc<dyn SegmentFile>> {
        self.lock().admit()?;
        let disk = self.clone();
        Ok(Arc::new(SimSegment { disk, file }))
    }

    fn create(&self, file: u32, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        self.lock().create(file, bytes)?;
        let disk = self.clone();
        Ok(Arc::new(SimSegment { disk, file }))
    }

    fn publish(&self, file: u32) -> io::Result<()> {
        let mut sectors = self.lock();
        sectors.admit()?;
        let found = sectors.files.get_mut(&file).ok_or(ErrorKind::NotFound)?;
        found.published = true;
        Ok(())
    }

    fn remove(&self, file: u32) -> io::Result<()> {
        let mut sectors = self.lock();
        sectors.admit()?;
        sectors.forget(file);
        Ok(())
    }

    fn path(&self, file: u32) -> PathBuf {
        PathBuf::from(format!("segment {file}"))
    }
}

/// A segment on a simulated disk.
#[derive(Debug)]
struct SimSegment {
    disk: ByteDisk,
    file: u32,
}

impl SegmentFile for SimSegment {
    fn length(&self) -> io::Result<u64> {
        let mut sectors = self.disk.lock();
        sectors.admit()?;
        Ok(sectors.bytes(self.file).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.lock().read(self.file, offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.lock().write(self.file, offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock().try_sync(self.file)
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| ErrorKind::InvalidInput.into())
}
