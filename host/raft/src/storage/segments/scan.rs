//! Reads the whole log at the start.
//!
//! Behind the last complete write, each sector is one of these:
//!
//! | sector | means |
//! |---|---|
//! | intact, of an earlier life of the file, or not used yet | nothing was written here |
//! | intact, of the write that comes next | this write was torn by a crash: its sync has not returned, so it was not acknowledged |
//! | intact, of a write after that one | the write in between was acknowledged, and is corrupt: [`StorageError::Corrupt`] |
//! | corrupt | a write may have been here, and may have been acknowledged: the end of the log is doubtful |
//!
//! So only the end of the log can be doubtful, and with one corrupt sector only the last write (Alagappan et al., "Protocol-Aware
//! Recovery for Consensus-Based Storage", FAST '18).

use std::collections::VecDeque;

use super::files::SegmentFiles;
use super::index::{EntryPlace, LogIndex};
use super::record::{HEAD_BYTES, WriteBody, WriteHead};
use super::sector::{CONTENT_BYTES, SECTOR_BYTES, SectorTag, open_sector};
use super::segment::{LogSegment, open_segment};
use crate::ids::LogId;
use crate::storage::files::failed;
use crate::storage::schema::RecordError;
use crate::storage::{StorageError, schema};

/// What a log contains.
#[derive(Debug)]
pub(super) struct ScannedLog {
    pub(super) index: LogIndex,
    /// Number of the last write; 0: there is none.
    pub(super) number: u64,
    /// Checksum of the last write.
    pub(super) checksum: u32,
    /// The segments with the log. The last one has the last write.
    pub(super) used: VecDeque<LogSegment>,
    /// Prepared segments without a write.
    pub(super) ahead: VecDeque<LogSegment>,
    pub(super) spare: Vec<LogSegment>,
    /// Segments whose entries are purged. A crash has kept them from being given back.
    pub(super) purged: Vec<LogSegment>,
    /// Sectors behind the last write that are corrupt or of a torn write: file and number.
    pub(super) leftovers: Vec<(u32, u32)>,
    /// Why the last write may be missing.
    pub(super) doubt: Option<String>,
}

/// The number of the write that a tag shows, compared with another one. Numbers are compared by their low 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Before,
    Same,
    After,
}

/// Reads and checks every segment.
pub(super) fn scan(files: &dyn SegmentFiles, log_id: u64) -> Result<ScannedLog, StorageError> {
    let numbers = files
        .list()
        .map_err(failed("cannot list", &files.path(0)))?;
    let mut segments = Vec::new();
    for file in numbers {
        let segment = open_segment(files, file, Some(log_id))?;
        // What a process that has crashed wrote may be in memory only, and must not be lost once it counts.
        let synced = segment.file.sync();
        synced.map_err(failed("cannot sync", &files.path(file)))?;
        segments.push(segment);
    }
    let (spare, mut used): (Vec<_>, Vec<_>) = segments
        .into_iter()
        .partition(|segment| segment.header.sequence == 0);
    used.sort_unstable_by_key(|segment| segment.header.sequence);
    check_twins(files, &used)?;
    let purged = split_purged(&mut used);
    check_end(files, &used, &spare)?;

    let mut replay = Replay::new(files, used[0].header.sequence);
    let mut ends = Vec::new();
    let mut tail = 0;
    for (position, segment) in used.iter_mut().enumerate() {
        let bytes = read_all(files, segment)?;
        let writes = replay.take_segment(segment, &bytes)?;
        let end = replay.end_of(segment, &bytes);
        if let Some(sector) = end.later {
            return Err(replay.lost(segment, sector));
        }
        if writes > 0 {
            replay.check_passed(&ends)?;
            ends.clear();
            tail = position;
        }
        ends.push(end);
    }
    if replay.number == 0 && used[0].header.sequence > 1 {
        return Err(corrupt(
            files,
            used[0].header.file,
            "it has no write".to_owned(),
        ));
    }
    let index = replay.finish()?;
    note_highest(&index, &mut used);
    let ahead = used.split_off(tail + 1);
    Ok(ScannedLog {
        index,
        number: replay.number,
        checksum: replay.checksum,
        used: used.into(),
        ahead: ahead.into(),
        spare,
        purged,
        leftovers: ends.iter().flat_map(SegmentEnd::leftovers).collect(),
        doubt: ends.iter().find_map(|end| end.doubt(files)),
    })
}

/// Takes out the segments before the last gap in the sequences. Purged segments are given back in order, but removing a file
/// becomes durable later than a new header, so an earlier one may be there again after a crash. If a segment in the gap had entries that
/// are not purged, [`Replay::finish`] finds that they are missing.
fn split_purged(used: &mut Vec<LogSegment>) -> Vec<LogSegment> {
    let gap = used.windows(2).rposition(|pair| {
        let [first, second] = pair else { return false };
        first.header.sequence.checked_add(1) != Some(second.header.sequence)
    });
    let kept = used.split_off(gap.map_or(0, |gap| gap + 1));
    std::mem::replace(used, kept)
}

/// No two segments in use have the same sequence.
fn check_twins(files: &dyn SegmentFiles, used: &[LogSegment]) -> Result<(), StorageError> {
    let twins = used.windows(2).find_map(|pair| match pair {
        [first, second] if first.header.sequence == second.header.sequence => Some(second.header),
        _ => None,
    });
    match twins {
        None => Ok(()),
        Some(header) => {
            let reason = format!("another file is segment {} too", header.sequence);
            Err(corrupt(files, header.file, reason))
        }
    }
}

/// There is a segment in use, and no spare one has data that is newer than all of them.
fn check_end(
    files: &dyn SegmentFiles,
    used: &[LogSegment],
    spare: &[LogSegment],
) -> Result<(), StorageError> {
    let Some(last) = used.last() else {
        return Err(StorageError::Corrupt {
            record: format!("the log {}", files.path(0).with_file_name("").display()),
            reason: "it has no segment in use".to_owned(),
        });
    };
    for segment in spare {
        let mut sector = [0; SECTOR_BYTES];
        let at = SECTOR_BYTES as u64;
        let read = segment.file.read(at, &mut sector);
        read.map_err(failed("cannot read", &files.path(segment.header.file)))?;
        let tag = open_sector(segment.header.place(1), &sector).unwrap_or_default();
        if tag.sequence > last.header.sequence {
            let reason = format!(
                "its header tells that it is not in use, and it has data of segment {}",
                tag.sequence
            );
            return Err(corrupt(files, segment.header.file, reason));
        }
    }
    Ok(())
}

/// The highest index of an entry in each segment.
fn note_highest(index: &LogIndex, used: &mut [LogSegment]) {
    let first = used.first().map_or(0, |segment| segment.header.sequence);
    for (entry, place) in index.places() {
        if let Some(segment) = used.get_mut((place.sequence - first) as usize) {
            segment.highest = segment.highest.max(entry);
        }
    }
}

fn read_all(files: &dyn SegmentFiles, segment: &LogSegment) -> Result<Vec<u8>, StorageError> {
    // The length of the file was compared with this.
    let mut bytes = vec![0; segment.header.sectors as usize * SECTOR_BYTES];
    let read = segment.file.read(0, &mut bytes);
    read.map_err(failed("cannot read", &files.path(segment.header.file)))?;
    Ok(bytes)
}

fn corrupt(files: &dyn SegmentFiles, file: u32, reason: String) -> StorageError {
    StorageError::Corrupt {
        record: format!("the log file {}", files.path(file).display()),
        reason,
    }
}

/// What comes after the last write of a segment.
#[derive(Debug)]
struct SegmentEnd {
    file: u32,
    /// A sector of a write after the next one.
    later: Option<u32>,
    /// Sectors of the next write.
    torn: Vec<u32>,
    corrupt: Vec<u32>,
}

impl SegmentEnd {
    fn leftovers(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let sectors = self.torn.iter().chain(&self.corrupt);
        sectors.map(|sector| (self.file, *sector))
    }

    fn doubt(&self, files: &dyn SegmentFiles) -> Option<String> {
        let sector = self.corrupt.first()?;
        Some(format!(
            "sector {sector} of {}, behind the last write that can be read, is corrupt",
            files.path(self.file).display()
        ))
    }
}

/// The state while the segments are read, in order.
struct Replay<'a> {
    files: &'a dyn SegmentFiles,
    index: LogIndex,
    /// The purged entry, as the last write names it. The first writes that are found may come after it or before it.
    purged: LogId,
    /// Number of the last write; `None` before the first one, if the segments before it are gone.
    last: Option<u64>,
    number: u64,
    checksum: u32,
    content: Vec<u8>,
}

/// What is at a place where a write may begin.
enum Found {
    /// No complete write.
    End,
    Write(WriteHead),
}

impl<'a> Replay<'a> {
    fn new(files: &'a dyn SegmentFiles, first_sequence: u32) -> Self {
        Self {
            files,
            index: LogIndex::default(),
            purged: LogId::default(),
            last: (first_sequence == 1).then_some(0),
            number: 0,
            checksum: 0,
            content: Vec::new(),
        }
    }

    /// Reads the writes of a segment; returns how many there are.
    fn take_segment(
        &mut self,
        segment: &mut LogSegment,
        bytes: &[u8],
    ) -> Result<u64, StorageError> {
        let mut writes = 0;
        while let Found::Write(head) = self.next_write(segment, bytes)? {
            self.take_write(segment, &head)?;
            segment.next += head.sectors();
            writes += 1;
        }
        Ok(writes)
    }

    /// Reads the write at the next sector of the segment. Its bytes are in `content`.
    fn next_write(&mut self, segment: &LogSegment, bytes: &[u8]) -> Result<Found, StorageError> {
        let header = segment.header;
        if segment.next >= header.sectors {
            return Ok(Found::End);
        }
        let Some(tag) = tag_at(segment, bytes, segment.next) else {
            return Ok(Found::End);
        };
        let expected = self.last.map_or(tag.write, |last| low(last + 1));
        if tag.sequence > header.sequence && segment.next == 1 {
            let reason = format!(
                "its header tells that it is segment {}, and it has data of segment {}",
                header.sequence, tag.sequence
            );
            return Err(corrupt(self.files, header.file, reason));
        }
        if tag.sequence != header.sequence || tag.write != expected {
            return Ok(Found::End);
        }
        let head = WriteHead::decode(content_of(bytes, segment.next));
        let head = head.map_err(|error| self.unreadable(segment, error))?;
        let fits = head.sectors() <= segment.room()
            && head.sequence == header.sequence
            && low(head.number) == tag.write
            && self.last.is_none_or(|last| last + 1 == head.number);
        if !fits {
            return Err(self.broken(segment, "its head contradicts its place"));
        }
        self.content.clear();
        for sector in segment.next..segment.next + head.sectors() {
            if tag_at(segment, bytes, sector) != Some(tag) {
                return Ok(Found::End);
            }
            self.content.extend_from_slice(content_of(bytes, sector));
        }
        Ok(Found::Write(head))
    }

    /// Adds a write to the log.
    fn take_write(&mut self, segment: &LogSegment, head: &WriteHead) -> Result<(), StorageError> {
        let content = std::mem::take(&mut self.content);
        let result = self.take_content(segment, head, &content);
        self.content = content;
        result
    }

    fn take_content(
        &mut self,
        segment: &LogSegment,
        head: &WriteHead,
        content: &[u8],
    ) -> Result<(), StorageError> {
        let body = WriteBody::open(head, content).filter(|body| body.is_intact);
        let Some(body) = body else {
            return Err(self.broken(segment, "its checksum is wrong"));
        };
        if self.last.is_some() && head.previous != self.checksum {
            return Err(self.broken(segment, "it does not follow the write before it"));
        }
        self.begin_write(segment, head)?;
        let mut count = 0;
        for entry in body.entries() {
            let (id, offset, record) = entry.map_err(|error| self.unreadable(segment, error))?;
            self.take_entry(segment, id, offset, record)?;
            count += 1;
        }
        if count != head.count {
            return Err(self.broken(segment, "its count of entries is wrong"));
        }
        self.purge(segment, head)?;
        self.last = Some(head.number);
        self.number = head.number;
        self.checksum = body.checksum;
        Ok(())
    }

    /// Removes what the write removes, and compares the last entry with the one that the write follows.
    fn begin_write(&mut self, segment: &LogSegment, head: &WriteHead) -> Result<(), StorageError> {
        let first = self.index.purged().index;
        let removes_unknown = head.truncate_from.is_some_and(|from| from <= first);
        if self.last.is_none() || removes_unknown && first > self.purged.index {
            // The segments before this one were used again: their entries are purged, or removed. Entries that this write follows were
            // in them, and have been purged since.
            self.index.reset(head.before);
        }
        if let Some(from) = head.truncate_from {
            self.index.truncate(from);
        }
        if self.index.last() != head.before {
            let reason = format!(
                "it follows entry {}, and the log ends with entry {}",
                head.before,
                self.index.last()
            );
            return Err(self.broken(segment, &reason));
        }
        Ok(())
    }

    fn take_entry(
        &mut self,
        segment: &LogSegment,
        id: LogId,
        offset: u32,
        record: &[u8],
    ) -> Result<(), StorageError> {
        let name = || format!("entry {}", id.index);
        let last = self.index.last();
        let checked = schema::check_entry(id.index, record);
        let checked =
            checked.map_err(|error| error.of(name(), &self.files.path(segment.header.file)))?;
        if id.index != last.index.next() || id.term < last.term || checked.id != id {
            let reason = format!("it is entry {} and follows entry {last}", checked.id);
            let record = name();
            return Err(StorageError::Corrupt { record, reason });
        }
        let place = EntryPlace {
            sequence: segment.header.sequence,
            sector: segment.next,
            offset,
            bytes: u32::try_from(record.len()).unwrap_or(u32::MAX),
        };
        self.index
            .push(id, place, checked.membership, checked.cluster);
        Ok(())
    }

    fn purge(&mut self, segment: &LogSegment, head: &WriteHead) -> Result<(), StorageError> {
        if head.purged.index < self.purged.index {
            return Err(self.broken(segment, "the log was purged further before it"));
        }
        self.purged = head.purged;
        if head.reset {
            self.index.reset(head.purged);
        }
        let is_in_log = head.purged.index >= self.index.purged().index;
        if is_in_log && self.index.id_at(head.purged.index) != Some(head.purged) {
            return Err(self.broken(segment, "it purges an entry that the log does not contain"));
        }
        if is_in_log {
            self.index.purge(head.purged);
        }
        Ok(())
    }

    /// Whether everything after the purged entry was found.
    fn finish(&mut self) -> Result<LogIndex, StorageError> {
        let found = self.index.purged();
        if found != self.purged {
            return Err(StorageError::Corrupt {
                record: format!("entry {}", self.purged.index.next()),
                reason: format!("the log begins after entry {found}: it is missing"),
            });
        }
        Ok(std::mem::take(&mut self.index))
    }

    /// What comes after the last complete write of a segment.
    fn end_of(&self, segment: &LogSegment, bytes: &[u8]) -> SegmentEnd {
        let mut end = SegmentEnd {
            file: segment.header.file,
            later: None,
            torn: Vec::new(),
            corrupt: Vec::new(),
        };
        for sector in segment.next..segment.header.sectors {
            match tag_at(segment, bytes, sector) {
                None => end.corrupt.push(sector),
                Some(tag) if tag.sequence == segment.header.sequence => match self.order(tag) {
                    Order::Before => {}
                    Order::Same => end.torn.push(sector),
                    Order::After => {
                        end.later.get_or_insert(sector);
                    }
                },
                Some(_) => {}
            }
        }
        end
    }

    /// The place of a sector's write, compared with the write that comes next.
    fn order(&self, tag: SectorTag) -> Order {
        let Some(last) = self.last else {
            // Nothing was found before: this has lost its beginning.
            return Order::After;
        };
        match tag.write.wrapping_sub(low(last + 1)) {
            0 => Order::Same,
            after if after < 1 << 31 => Order::After,
            _ => Order::Before,
        }
    }

    /// The segments before one with writes end where they should: a torn write is removed before the next one is written.
    fn check_passed(&self, ends: &[SegmentEnd]) -> Result<(), StorageError> {
        let torn = ends.iter().find(|end| !end.torn.is_empty());
        match torn {
            None => Ok(()),
            Some(end) => {
                let reason = "a part of a write is missing, and later writes exist".to_owned();
                Err(corrupt(self.files, end.file, reason))
            }
        }
    }

    /// A write is missing or corrupt, and was acknowledged: a later one exists.
    fn lost(&self, segment: &LogSegment, later: u32) -> StorageError {
        let reason = format!(
            "the write after entry {} is corrupt or missing (at sector {}), and a later write exists (at sector {later})",
            self.index.last(),
            segment.next
        );
        corrupt(self.files, segment.header.file, reason)
    }

    fn broken(&self, segment: &LogSegment, what: &str) -> StorageError {
        let reason = format!("the write at sector {}: {what}", segment.next);
        corrupt(self.files, segment.header.file, reason)
    }

    fn unreadable(&self, segment: &LogSegment, error: RecordError) -> StorageError {
        let file = segment.header.file;
        let record = format!(
            "the write at sector {} of {}",
            segment.next,
            self.files.path(file).display()
        );
        error.of(record, &self.files.path(file))
    }
}

/// The tag of a sector; `None` if it is corrupt.
fn tag_at(segment: &LogSegment, bytes: &[u8], sector: u32) -> Option<SectorTag> {
    let at = sector as usize * SECTOR_BYTES;
    open_sector(
        segment.header.place(sector),
        bytes.get(at..at + SECTOR_BYTES)?,
    )
}

fn content_of(bytes: &[u8], sector: u32) -> &[u8] {
    let at = sector as usize * SECTOR_BYTES;
    bytes.get(at..at + CONTENT_BYTES).unwrap_or_default()
}

/// The low 32 bits of the number of a write.
pub(super) fn low(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

const _: () = assert!(
    HEAD_BYTES <= CONTENT_BYTES,
    "a head fits into the first sector"
);
