//! Planted faults of the log: before a node starts, the segments on its disk are changed so that a check of the log finds nothing. The
//! node then behaves as if its code lacked the check. The bytes are described in `host/docs/formats.md`.

use std::collections::BTreeMap;

use task_queue_raft::storage::segments::sector::{
    CONTENT_BYTES, SECTOR_BYTES, SectorPlace, SectorTag, open_sector, seal_sector,
};

use super::disk::{ByteDisk, DiskFile};
use super::planted::Planted;

/// Length of the head of a write.
const HEAD: usize = 66;
/// Length of its checksum.
const CHECKSUM: usize = 4;

/// Changes the segments of a disk as the planted fault needs it.
pub(crate) fn forge(disk: &ByteDisk, planted: Planted) {
    let change: fn(&mut Segments<'_>) -> Option<()> = match planted {
        Planted::StaleRecordTaken => take_stale,
        Planted::TornWriteTaken => complete_torn,
        Planted::ChainNotChecked => cut_at_first_gap,
        _ => return,
    };
    disk.change_segments(|files| {
        if let Some(mut segments) = Segments::of(files) {
            change(&mut segments);
        }
    });
}

/// A sector: the number of its file, and its number in the file.
type At = (u32, u32);

/// The segments in use, in order.
struct Segments<'a> {
    files: &'a mut BTreeMap<u32, DiskFile>,
    log_id: u64,
    /// File and sequence of each.
    used: Vec<(u32, u32)>,
}

/// A write that begins at a sector.
#[derive(Clone, Copy)]
struct Start {
    at: At,
    tag: SectorTag,
    sectors: u32,
}

impl<'a> Segments<'a> {
    /// `None` if a header is corrupt.
    fn of(files: &'a mut BTreeMap<u32, DiskFile>) -> Option<Self> {
        let mut used = Vec::new();
        let mut log_id = 0;
        for (file, found) in files.iter().filter(|(_, found)| found.published) {
            let header = found.bytes.get(..SECTOR_BYTES)?;
            log_id = u64::from_be_bytes(header[12..20].try_into().ok()?);
            let place = SectorPlace {
                log_id,
                file: *file,
                sector: 0,
            };
            let sequence = open_sector(place, header)?.sequence;
            used.extend((sequence != 0).then_some((*file, sequence)));
        }
        used.sort_unstable_by_key(|(_, sequence)| *sequence);
        Some(Self {
            files,
            log_id,
            used,
        })
    }

    fn place(&self, (file, sector): At) -> SectorPlace {
        SectorPlace {
            log_id: self.log_id,
            file,
            sector,
        }
    }

    fn bytes(&self, (file, sector): At) -> &[u8] {
        let at = sector as usize * SECTOR_BYTES;
        let found = self.files.get(&file);
        found.map_or(&[], |found| &found.bytes[at..at + SECTOR_BYTES])
    }

    /// The tag of a sector; `None` if it is corrupt.
    fn tag(&self, at: At) -> Option<SectorTag> {
        open_sector(self.place(at), self.bytes(at))
    }

    fn put(&mut self, at: At, tag: SectorTag, content: &[u8]) {
        let mut sector = content.to_vec();
        sector.resize(SECTOR_BYTES, 0);
        seal_sector(self.place(at), tag, &mut sector);
        let start = at.1 as usize * SECTOR_BYTES;
        if let Some(found) = self.files.get_mut(&at.0) {
            found.bytes[start..start + SECTOR_BYTES].copy_from_slice(&sector);
        }
    }

    fn sectors_of(&self, file: u32) -> u32 {
        let length = self.files.get(&file).map_or(0, |found| found.bytes.len());
        u32::try_from(length / SECTOR_BYTES).unwrap_or(0)
    }

    /// All sectors of the segments in use but their headers, in order, and the sequence of their segment.
    fn all(&self) -> Vec<(At, u32)> {
        let sectors = |(file, sequence): &(u32, u32)| {
            let (file, sequence) = (*file, *sequence);
            (1..self.sectors_of(file)).map(move |sector| ((file, sector), sequence))
        };
        self.used.iter().flat_map(sectors).collect()
    }

    /// The write that begins at a sector with this tag; `None` if none begins there.
    fn start(&self, at: At, tag: SectorTag) -> Option<Start> {
        let content = self.bytes(at);
        let is_head = content[0] == 1 && content[2..6] == tag.sequence.to_be_bytes();
        let length = HEAD + number(&content[62..66]) + CHECKSUM;
        let sectors = u32::try_from(length.div_ceil(CONTENT_BYTES)).ok()?;
        let fits = at.1 + sectors <= self.sectors_of(at.0);
        (is_head && fits).then_some(Start { at, tag, sectors })
    }

    /// The last write of which there is anything, if its beginning is there.
    fn last(&self) -> Option<Start> {
        let own = |(at, sequence): (At, u32)| {
            let tag = self.tag(at)?;
            (tag.sequence == sequence).then_some((at, tag))
        };
        let found: Vec<(At, SectorTag)> = self.all().into_iter().filter_map(own).collect();
        let (_, newest) = found.last()?;
        let (at, tag) = found.iter().find(|(_, tag)| tag == newest)?;
        self.start(*at, *tag)
    }

    fn is_whole(&self, start: Start) -> bool {
        let (file, first) = start.at;
        (first..first + start.sectors).all(|sector| self.tag((file, sector)) == Some(start.tag))
    }

    fn content(&self, start: Start) -> Vec<u8> {
        let (file, first) = start.at;
        let sectors = first..first + start.sectors;
        sectors
            .flat_map(|sector| self.bytes((file, sector))[..CONTENT_BYTES].to_vec())
            .collect()
    }

    /// Writes a write with this content, and makes its checksums right.
    fn put_write(&mut self, start: Start, tag: SectorTag, mut content: Vec<u8>) {
        let end = HEAD + number(&content[62..66]);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&content[14..18]), &content[..end]);
        content[end..end + CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        for (sector, content) in (start.at.1..).zip(content.chunks(CONTENT_BYTES)) {
            self.put((start.at.0, sector), tag, content);
        }
    }
}

/// The sectors that a torn write lacks are taken as they are.
fn complete_torn(segments: &mut Segments<'_>) -> Option<()> {
    let last = segments.last()?;
    if !segments.is_whole(last) {
        let content = segments.content(last);
        segments.put_write(last, last.tag, content);
    }
    Some(())
}

/// What the former life of a segment has left behind the last write is taken for the next one.
fn take_stale(segments: &mut Segments<'_>) -> Option<()> {
    let last = segments.last().filter(|last| segments.is_whole(*last))?;
    let (file, end) = (last.at.0, last.at.1 + last.sectors);
    let room = segments.sectors_of(file).checked_sub(end)?;
    // The rest of the last page was cleared.
    let stale = (end..end + room).find_map(|sector| {
        let tag = segments.tag((file, sector))?;
        let is_stale = tag.sequence != 0 && tag.sequence != last.tag.sequence;
        let start = segments.start((file, sector), tag)?;
        (is_stale && segments.is_whole(start)).then_some(start)
    })?;
    let next_to_last = Start {
        at: (file, end),
        ..stale
    };
    let before = segments.content(last);
    let checksum = HEAD + number(&before[62..66]);
    let mut content = segments.content(stale);
    let next = u64::from_be_bytes(before[6..14].try_into().ok()?) + 1;
    content[2..6].copy_from_slice(&last.tag.sequence.to_be_bytes());
    content[6..14].copy_from_slice(&next.to_be_bytes());
    content[14..18].copy_from_slice(&before[checksum..checksum + CHECKSUM]);
    content[18..34].copy_from_slice(&before[18..34]);
    let tag = SectorTag {
        sequence: last.tag.sequence,
        write: last.tag.write.wrapping_add(1),
    };
    segments.put_write(next_to_last, tag, content);
    Some(())
}

/// Everything from the first write on that is missing or corrupt is removed, if there is something after it.
fn cut_at_first_gap(segments: &mut Segments<'_>) -> Option<()> {
    let all = segments.all();
    let mut current: Option<(usize, Start)> = None;
    let mut gap = None;
    for (position, (at, sequence)) in all.iter().enumerate() {
        let tag = segments.tag(*at);
        let follows = match (tag, current) {
            (None, _) => false,
            (Some(tag), _) if tag.sequence != *sequence => true,
            (Some(tag), None) => {
                current = Some((position, segments.start(*at, tag)?));
                true
            }
            (Some(tag), Some((_, start))) if tag == start.tag => true,
            (Some(tag), Some((_, start))) => {
                let is_next = tag.write == start.tag.write.wrapping_add(1);
                if is_next {
                    current = Some((position, segments.start(*at, tag)?));
                }
                is_next
            }
        };
        if !follows {
            gap = Some(position);
            break;
        }
    }
    let gap = gap?;
    let first = match current {
        Some((position, start)) if gap < position + start.sectors as usize => position,
        _ => gap,
    };
    let is_used = |(at, sequence): &(At, u32)| {
        segments
            .tag(*at)
            .is_some_and(|tag| tag.sequence == *sequence)
    };
    if !all[gap..].iter().any(is_used) {
        return None;
    }
    for (at, _) in &all[first..] {
        segments.put(*at, SectorTag::default(), &[]);
    }
    Some(())
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}
