//! The log of segments: append, read, purge.

use std::collections::VecDeque;
use std::sync::Arc;

use super::files::SegmentFiles;
use super::index::{EntryPlace, LogIndex};
use super::pool::{Preparer, SegmentPool, SegmentPreparation, SegmentRules};
use super::record::{WriteBuffer, WriteHead};
use super::scan::{ScannedLog, low, scan};
use super::sector::{CONTENT_BYTES, SECTOR_BYTES, SectorTag, open_sector, seal_sector};
use super::segment::{
    LogSegment, PAGE_BYTES, PAGE_SECTORS, SegmentHeader, create_segment, open_segment,
};
use crate::entry::Entry;
use crate::ids::{Index, LogId};
use crate::storage::SegmentStats;
use crate::storage::bounds::LogBounds;
use crate::storage::files::failed;
use crate::storage::{StorageError, schema};

/// Sectors at the end of each segment in which only a purge is recorded: it must work when the disk is full, because it makes
/// segments free.
const PURGE_SECTORS: u32 = PAGE_SECTORS;

/// What a write changes.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::storage) struct LogAppend<'a> {
    /// Entries from here on are removed first.
    pub(in crate::storage) truncate_from: Option<Index>,
    /// Entries after the last one that is left.
    pub(in crate::storage) entries: &'a [Entry],
}

/// A durable log of entries.
#[derive(Debug)]
pub(in crate::storage) struct SegmentLog {
    files: Arc<dyn SegmentFiles>,
    rules: SegmentRules,
    index: LogIndex,
    /// Number of the last write.
    number: u64,
    /// Checksum of the last write.
    checksum: u32,
    /// The segments with the log, without a gap in their sequences. The last one is written to.
    used: VecDeque<LogSegment>,
    /// Prepared segments, which follow.
    ahead: VecDeque<LogSegment>,
    preparer: Preparer,
    /// The sectors of the page at which the next write begins: it is written again as a whole.
    page: Vec<u8>,
    buffer: WriteBuffer,
    sectors: Vec<u8>,
    stats: Arc<SegmentStats>,
    /// Why the last write may be missing, until it is decided that the log goes on without it.
    doubt: Option<String>,
    /// Sectors behind the last write that must be cleared before the next one.
    leftovers: Vec<(u32, u32)>,
}

impl SegmentLog {
    /// Creates an empty log in an empty place.
    pub(in crate::storage) fn create(
        files: &dyn SegmentFiles,
        log_id: u64,
        rules: SegmentRules,
    ) -> Result<(), StorageError> {
        let header = SegmentHeader {
            log_id,
            file: 1,
            sequence: 1,
            sectors: rules.first_sectors(),
        };
        create_segment(files, header).map(|_| ())
    }

    /// Whether a place contains a log with at least one write. For a place without a log id.
    pub(in crate::storage) fn has_data(files: &dyn SegmentFiles) -> Result<bool, StorageError> {
        let numbers = files
            .list()
            .map_err(failed("cannot list", &files.path(0)))?;
        for number in numbers {
            let segment = match open_segment(files, number, None) {
                Ok(segment) => segment,
                Err(StorageError::Corrupt { .. }) => return Ok(true),
                Err(error) => return Err(error),
            };
            let mut sector = [0; SECTOR_BYTES];
            let read = segment.file.read(SECTOR_BYTES as u64, &mut sector);
            read.map_err(failed("cannot read", &files.path(number)))?;
            if open_sector(segment.header.place(1), &sector) != Some(SectorTag::default()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens a log, and reads all of it.
    pub(in crate::storage) fn open(
        files: Arc<dyn SegmentFiles>,
        log_id: u64,
        rules: SegmentRules,
        preparation: SegmentPreparation,
    ) -> Result<Self, StorageError> {
        let ScannedLog {
            index,
            number,
            checksum,
            used,
            ahead,
            spare,
            purged,
            leftovers,
            doubt,
        } = scan(&*files, log_id)?;
        let stats = Arc::new(SegmentStats::default());
        let all = used.iter().chain(&ahead).chain(&spare).chain(&purged);
        let highest = all.map(|segment| segment.header.file).max();
        SegmentStats::set(&stats.spare, spare.len());
        let mut pool = SegmentPool {
            files: Arc::clone(&files),
            log_id,
            rules,
            spare,
            next_file: highest.unwrap_or(0) + 1,
            stats: Arc::clone(&stats),
        };
        for segment in purged {
            pool.release(segment)?;
        }
        let mut log = Self {
            files,
            rules,
            index,
            number,
            checksum,
            used,
            ahead,
            preparer: Preparer::new(pool, preparation),
            page: Vec::new(),
            buffer: WriteBuffer::default(),
            sectors: Vec::new(),
            stats,
            doubt,
            leftovers,
        };
        if log.doubt.is_none() {
            log.clear_leftovers()?;
        }
        log.read_page()?;
        log.note_used();
        Ok(log)
    }

    pub(in crate::storage) fn bounds(&self) -> LogBounds {
        self.index.bounds()
    }

    pub(in crate::storage) fn index(&self) -> &LogIndex {
        &self.index
    }

    pub(in crate::storage) fn stats(&self) -> Arc<SegmentStats> {
        Arc::clone(&self.stats)
    }

    /// Why the last write, which may have been acknowledged, may be missing.
    pub(in crate::storage) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// The log goes on without the write that may be missing.
    pub(in crate::storage) fn accept_doubt(&mut self) -> Result<(), StorageError> {
        self.clear_leftovers()?;
        self.doubt = None;
        self.read_page()
    }

    /// Encodes entries, and makes space for them. After [`StorageError::Full`] the log is unchanged.
    pub(in crate::storage) fn begin_append(
        &mut self,
        entries: &[Entry],
    ) -> Result<(), StorageError> {
        self.buffer.fill(entries)?;
        self.make_room(self.buffer.sectors(), PURGE_SECTORS)
    }

    /// Writes what [`SegmentLog::begin_append`] has encoded: one write, one sync. Any error is final.
    pub(in crate::storage) fn append(&mut self, change: LogAppend<'_>) -> Result<(), StorageError> {
        let before = match change.truncate_from {
            Some(from) => self.index.id_at(from.previous()).unwrap_or_default(),
            None => self.index.last(),
        };
        let place = self.write(WriteHead {
            before,
            truncate_from: change.truncate_from,
            count: u32::try_from(change.entries.len()).unwrap_or(u32::MAX),
            ..self.next_head()
        })?;
        if let Some(from) = change.truncate_from {
            self.index.truncate(from);
        }
        for (entry, (offset, bytes)) in change.entries.iter().zip(self.buffer.records()) {
            let place = EntryPlace {
                offset: *offset,
                bytes: *bytes,
                ..place
            };
            let membership = entry.payload.membership().cloned();
            let cluster = entry.payload.cluster().cloned();
            self.index.push(entry.id, place, membership, cluster);
        }
        if let (Some(segment), Some(last)) = (self.used.back_mut(), change.entries.last()) {
            segment.highest = segment.highest.max(last.id.index);
        }
        self.buffer.shrink();
        self.request_next()
    }

    /// Removes the entries up to `up_to`, or all if the log has another entry there. Segments become free only after that is
    /// durable.
    pub(in crate::storage) fn purge(&mut self, up_to: LogId) -> Result<(), StorageError> {
        let is_in_log = self.index.id_at(up_to.index) == Some(up_to);
        self.buffer.fill(&[])?;
        self.make_room(self.buffer.sectors(), 0)?;
        self.write(WriteHead {
            purged: up_to,
            reset: !is_in_log,
            ..self.next_head()
        })
        .map_err(StorageError::into_final)?;
        if is_in_log {
            self.index.purge(up_to);
        } else {
            self.index.reset(up_to);
            for segment in &mut self.used {
                segment.highest = Index::ZERO;
            }
        }
        self.release_purged().map_err(StorageError::into_final)
    }

    /// The entries from `from` on up to `to`: one, and then as many as fit into `max_bytes`.
    pub(in crate::storage) fn read(
        &self,
        from: Index,
        to: Index,
        max_bytes: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut budget = max_bytes;
        let mut next = from;
        while next <= to {
            let entry = self.read_entry(next)?;
            if entry.cost() > budget && !entries.is_empty() {
                break;
            }
            budget = budget.saturating_sub(entry.cost());
            entries.push(entry);
            next = next.next();
        }
        Ok(entries)
    }

    fn read_entry(&self, index: Index) -> Result<Entry, StorageError> {
        let corrupt = |reason: String| StorageError::Corrupt {
            record: format!("entry {index}"),
            reason,
        };
        let place = self.index.place(index);
        let place = place.ok_or_else(|| corrupt("it is missing".to_owned()))?;
        let first = self.used.front().map_or(0, |used| used.header.sequence);
        let segment = self.used.get((place.sequence - first) as usize);
        let segment = segment.ok_or_else(|| corrupt("its segment is missing".to_owned()))?;
        let path = self.files.path(segment.header.file);

        let skipped = place.offset as usize % CONTENT_BYTES;
        let length = place.bytes as usize;
        let start = place.sector + place.offset / CONTENT_BYTES as u32;
        let mut sectors = vec![0; (skipped + length).div_ceil(CONTENT_BYTES) * SECTOR_BYTES];
        let read = segment
            .file
            .read(u64::from(start) * SECTOR_BYTES as u64, &mut sectors);
        read.map_err(failed("cannot read", &path))?;
        let mut content = Vec::with_capacity(sectors.len());
        let mut tag = None;
        for (number, sector) in (start..).zip(sectors.chunks_exact(SECTOR_BYTES)) {
            let found = open_sector(segment.header.place(number), sector);
            let is_right = found.is_some_and(|found| found.sequence == place.sequence);
            if !is_right || tag.is_some_and(|tag| tag != found) {
                let file = path.display();
                return Err(corrupt(format!("sector {number} of {file} is corrupt")));
            }
            tag = Some(found);
            content.extend_from_slice(&sector[..CONTENT_BYTES]);
        }
        let record = &content[skipped..skipped + length];
        schema::decode_entry(index, record)
            .map_err(|error| error.of(format!("entry {index}"), &path))
    }

    fn next_head(&self) -> WriteHead {
        WriteHead {
            sequence: self.used.back().map_or(0, |used| used.header.sequence),
            number: self.number + 1,
            previous: self.checksum,
            purged: self.index.purged(),
            before: self.index.last(),
            reset: false,
            truncate_from: None,
            count: 0,
            bytes: self.buffer.entry_bytes(),
        }
    }

    /// Writes the buffer at the end of the log, and syncs it. Returns its first sector.
    fn write(&mut self, head: WriteHead) -> Result<EntryPlace, StorageError> {
        let Some(segment) = self.used.back_mut() else {
            unreachable!("a log has at least one segment in use");
        };
        let (bytes, checksum) = self.buffer.finish(&head);
        let first = segment.next;
        let tag = SectorTag {
            sequence: head.sequence,
            write: low(head.number),
        };
        let page_start = first / PAGE_SECTORS * PAGE_SECTORS;
        let out = &mut self.sectors;
        out.clear();
        out.extend_from_slice(&self.page);
        let mut next = first;
        for content in bytes.chunks(CONTENT_BYTES) {
            let start = out.len();
            out.extend_from_slice(content);
            out.resize(start + SECTOR_BYTES, 0);
            seal_sector(segment.header.place(next), tag, &mut out[start..]);
            next += 1;
        }
        // Whole pages, so that the kernel need not read what is there.
        let used = out.len();
        out.resize(used.next_multiple_of(PAGE_BYTES), 0);
        segment.header.clear(next, &mut out[used..]);

        let offset = u64::from(page_start) * SECTOR_BYTES as u64;
        let written = segment.file.write(offset, out);
        written.map_err(|error| {
            failed("cannot write", &self.files.path(segment.header.file))(error)
        })?;
        let synced = segment.file.sync();
        synced
            .map_err(|error| failed("cannot sync", &self.files.path(segment.header.file))(error))?;
        segment.next = next;
        self.number = head.number;
        self.checksum = checksum;
        let kept = next / PAGE_SECTORS * PAGE_SECTORS - page_start;
        self.page.clear();
        self.page
            .extend_from_slice(&out[kept as usize * SECTOR_BYTES..used]);
        if out.capacity() > 4 * PAGE_BYTES && out.len() < out.capacity() / 4 {
            out.shrink_to(out.len());
        }
        Ok(EntryPlace {
            sequence: head.sequence,
            sector: first,
            offset: 0,
            bytes: 0,
        })
    }

    /// Goes on to the next segment if the current one has no space for so many sectors and those kept free.
    fn make_room(&mut self, sectors: u32, kept_free: u32) -> Result<(), StorageError> {
        let needed = sectors.saturating_add(kept_free);
        loop {
            let Some(current) = self.used.back() else {
                unreachable!("a log has at least one segment in use");
            };
            if current.room() >= needed {
                return Ok(());
            }
            let length = current.header.sectors;
            if let Some(next) = self.ahead.pop_front() {
                SegmentStats::add(&self.stats.begun);
                let next_header = next.header.sector();
                self.used.push_back(next);
                self.page.clear();
                self.page.extend_from_slice(&next_header);
                self.note_used();
                continue;
            }
            let was_requested = self.preparer.is_pending;
            if !was_requested {
                let length = self.rules.next_sectors(length, needed.saturating_add(1));
                self.preparer.request(self.next_sequence(), length)?;
            }
            let (prepared, waited) = self.preparer.take();
            if waited || !was_requested {
                SegmentStats::add(&self.stats.waited);
            }
            match prepared {
                // The disk was full when the segment was requested: it may have space now.
                Err(error) if was_requested && error.is_full() => {}
                prepared => self.ahead.push_back(prepared?),
            }
        }
    }

    /// Requests the next segment ahead of need.
    fn request_next(&mut self) -> Result<(), StorageError> {
        if !self.ahead.is_empty() || self.preparer.is_pending {
            return Ok(());
        }
        let length = self.used.back().map_or(0, |used| used.header.sectors);
        let length = self.rules.next_sectors(length, 0);
        self.preparer.request(self.next_sequence(), length)
    }

    fn next_sequence(&self) -> u32 {
        let last = self.ahead.back().or(self.used.back());
        last.map_or(0, |segment| segment.header.sequence) + 1
    }

    fn release_purged(&mut self) -> Result<(), StorageError> {
        let purged = self.index.purged().index;
        while self.used.len() > 1
            && let Some(segment) = self.used.pop_front_if(|first| first.highest <= purged)
        {
            self.preparer.release(segment)?;
        }
        self.note_used();
        Ok(())
    }

    /// Clears what a torn or corrupt write has left behind the end, so that it is never taken for a part of a later write.
    fn clear_leftovers(&mut self) -> Result<(), StorageError> {
        let leftovers = std::mem::take(&mut self.leftovers);
        for segment in self.used.iter().chain(&self.ahead) {
            let header = segment.header;
            let mut own = leftovers
                .iter()
                .filter(|(file, _)| *file == header.file)
                .peekable();
            if own.peek().is_none() {
                continue;
            }
            let path = self.files.path(header.file);
            for (_, number) in own {
                let mut sector = [0; SECTOR_BYTES];
                header.clear(*number, &mut sector);
                let written = segment
                    .file
                    .write(u64::from(*number) * SECTOR_BYTES as u64, &sector);
                written.map_err(failed("cannot write", &path))?;
            }
            segment.file.sync().map_err(failed("cannot sync", &path))?;
        }
        Ok(())
    }

    /// Reads the sectors before the next write that are in its page.
    fn read_page(&mut self) -> Result<(), StorageError> {
        let Some(segment) = self.used.back() else {
            return Ok(());
        };
        let first = segment.next / PAGE_SECTORS * PAGE_SECTORS;
        self.page
            .resize((segment.next - first) as usize * SECTOR_BYTES, 0);
        let read = segment
            .file
            .read(u64::from(first) * SECTOR_BYTES as u64, &mut self.page);
        read.map_err(failed("cannot read", &self.files.path(segment.header.file)))
    }

    fn note_used(&self) {
        SegmentStats::set(&self.stats.used, self.used.len() + self.ahead.len());
    }
}
