//! A simulated disk under the production log database, with the faults of disks. Unsynced sectors are lost one by one, and
//! writes are torn. Operations fail, and the disk can be full. Bits flip, and writes are misdirected or missing.
//!
//! Corruption never hits the writes of the last commits. A store that syncs once per commit can't distinguish it from a torn
//! write, and the database uses the commit before as the newest one (decision 0022).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::rng::Rng;

/// The unit that a disk writes atomically.
const SECTOR: usize = 512;
/// The unit that the database writes.
const PAGE: usize = 4096;
/// Number of earlier contents of a sector that are kept.
const VERSIONS: usize = 8;
/// Commits for which a sector counts as just written: the last one, and the one that it would be taken for.
const FRESH: u64 = 2;

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
    bytes: Vec<u8>,
    rng: Rng,
    /// What stood before in each sector that was written since the last sync, the oldest first.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
    synced_length: usize,
    commits: u64,
    /// Before which commit each sector was written, and what stood there before.
    written: BTreeMap<usize, (u64, Vec<u8>)>,
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
    counts: DiskCounts,
}

impl ByteDisk {
    /// An empty disk. If it ignores syncs, it reports success without syncing: a planted fault.
    pub(crate) fn new(rng: Rng, forgets_syncs: bool) -> Self {
        Self(Arc::new(Mutex::new(Sectors {
            bytes: Vec::new(),
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
        sectors.bytes.clear();
        sectors.unsynced.clear();
        sectors.written.clear();
        sectors.synced_length = 0;
        sectors.failing_in = None;
        sectors.damaged = false;
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

    fn put(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let before = self.sector(sector).to_vec();
            self.written.insert(sector, (self.commits, before.clone()));
            let versions = self.unsynced.entry(sector).or_default();
            if versions.len() < VERSIONS {
                versions.push(before);
            }
        }
        self.bytes[offset..end].copy_from_slice(data);
    }

    fn sector(&self, sector: usize) -> &[u8] {
        let start = (sector * SECTOR).min(self.bytes.len());
        let end = (start + SECTOR).min(self.bytes.len());
        &self.bytes[start..end]
    }

    fn restore(&mut self, sector: usize, contents: &[u8]) {
        let start = (sector * SECTOR).min(self.bytes.len());
        let end = (start + contents.len()).min(self.bytes.len());
        self.bytes[start..end].copy_from_slice(&contents[..end - start]);
    }

    fn sync(&mut self) {
        if self.forgets_syncs {
            return;
        }
        self.unsynced.clear();
        self.synced_length = self.bytes.len();
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
        if kept == 0 && self.bytes.len() > self.synced_length {
            self.bytes.truncate(self.synced_length);
        }
        self.counts.torn += u64::from(kept > 0 && lost > 0);
        self.counts.lost += u64::from(kept == 0 && lost > 0);
        self.sync();
    }

    fn rot(&mut self) -> Option<String> {
        let old = self.commits.saturating_sub(FRESH);
        let old: Vec<usize> = self
            .written
            .iter()
            .filter(|(_, (commit, _))| *commit < old)
            .map(|(sector, _)| *sector)
            .collect();
        let sector = *old.get(self.rng.place(old.len()))?;
        let text = match self.rng.below(3) {
            0 => self.flip(sector),
            1 => self.overwrite(sector, &old),
            _ => {
                let (_, before) = self.written.get(&sector)?.clone();
                self.restore(sector, &before);
                format!("the write to sector {sector} was never done")
            }
        };
        self.damaged = true;
        self.counts.damages += 1;
        Some(text)
    }

    fn flip(&mut self, sector: usize) -> String {
        let length = self.sector(sector).len();
        let (at, bit) = (sector * SECTOR + self.rng.place(length), self.rng.below(8));
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
        format!("bit {bit} of byte {at} flips")
    }

    /// A page overwrites another one, if that one is old.
    fn overwrite(&mut self, sector: usize, old: &[usize]) -> String {
        const SECTORS: usize = PAGE / SECTOR;
        let page = sector / SECTORS;
        let from = old[self.rng.place(old.len())] / SECTORS;
        for place in 0..SECTORS {
            let (to, from) = (page * SECTORS + place, from * SECTORS + place);
            if old.binary_search(&to).is_ok() {
                let contents = self.sector(from).to_vec();
                self.restore(to, &contents);
            }
        }
        format!("page {from} is written to the place of page {page}")
    }
}

impl StorageBackend for ByteDisk {
    fn len(&self) -> io::Result<u64> {
        let mut sectors = self.lock();
        sectors.admit()?;
        Ok(sectors.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut sectors = self.lock();
        sectors.admit()?;
        let start = place(offset)?;
        let found = sectors.bytes.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut sectors = self.lock();
        sectors.admit()?;
        let length = place(length)?;
        if sectors.full && length > sectors.bytes.len() {
            sectors.blamed = true;
            return Err(ErrorKind::StorageFull.into());
        }
        sectors.bytes.resize(length, 0);
        Ok(())
    }

    /// If it fails, the data to be synced may be lost, and the next sync succeeds, as on Linux.
    fn sync_data(&self) -> io::Result<()> {
        let mut sectors = self.lock();
        if let Err(error) = sectors.admit() {
            if !sectors.dead {
                sectors.lose_power();
            }
            return Err(error);
        }
        sectors.sync();
        Ok(())
    }

    /// One that fails may have done its first half. A full disk may have no space for a new copy of an old page.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut sectors = self.lock();
        let offset = place(offset)?;
        if sectors.full && !sectors.dead {
            sectors.blamed = true;
            return Err(ErrorKind::StorageFull.into());
        }
        if let Err(error) = sectors.admit() {
            if !sectors.dead {
                sectors.put(offset, &data[..data.len() / 2 / SECTOR * SECTOR]);
            }
            return Err(error);
        }
        sectors.put(offset, data);
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| ErrorKind::InvalidInput.into())
}
