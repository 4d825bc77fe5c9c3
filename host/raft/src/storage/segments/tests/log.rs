//! The log on a disk in memory: what a write costs, how segments are used again, and every corrupt or torn sector.

use std::sync::Arc;

use bytes::Bytes;

use super::disk::{DiskContent, Operation, RecordingDisk};
use crate::entry::{Command, Entry, Payload};
use crate::ids::{Index, LogId, Term};
use crate::storage::StorageError;
use crate::storage::segments::sector::{
    SECTOR_BYTES, SectorPlace, SectorTag, open_sector, seal_sector,
};
use crate::storage::segments::{LogAppend, SegmentLog, SegmentPreparation, SegmentRules};

const LOG_ID: u64 = 77;
/// Each segment has 16 sectors, and the last eight only take purges.
const RULES: SegmentRules = SegmentRules {
    first_bytes: 8192,
    max_bytes: 8192,
    spare_max: 2,
};

fn new() -> RecordingDisk {
    let disk = RecordingDisk::default();
    SegmentLog::create(&disk, LOG_ID, RULES).unwrap();
    disk
}

fn open(disk: &RecordingDisk) -> Result<SegmentLog, StorageError> {
    SegmentLog::open(
        Arc::new(disk.clone()),
        LOG_ID,
        RULES,
        SegmentPreparation::Inline,
    )
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

/// An entry with so many bytes of data.
fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let command = Command {
        session: 1,
        sequence: index,
        data: Bytes::from(vec![u8::try_from(index % 251).unwrap(); bytes]),
    };
    Entry {
        id: id(term, index),
        time_ms: index,
        payload: Payload::Commands(vec![command]),
    }
}

fn append(log: &mut SegmentLog, entries: &[Entry]) -> Result<(), StorageError> {
    log.begin_append(entries)?;
    log.append(LogAppend {
        truncate_from: None,
        entries,
    })
}

fn replace(log: &mut SegmentLog, from: u64, entries: &[Entry]) {
    log.begin_append(entries).unwrap();
    let change = LogAppend {
        truncate_from: Some(Index(from)),
        entries,
    };
    log.append(change).unwrap();
}

/// The purged entry, and all entries.
type Contents = (LogId, Vec<Entry>);

fn contents(log: &SegmentLog) -> Result<Contents, StorageError> {
    let bounds = log.bounds();
    let entries = log.read(bounds.first(), bounds.last.index, u64::MAX)?;
    Ok((bounds.purged, entries))
}

/// A log with several segments, a truncation, and writes of several sectors. Returns its contents before and after the last write.
fn filled(last: &[Entry]) -> (RecordingDisk, Contents, Contents) {
    let disk = new();
    let mut log = open(&disk).unwrap();
    for index in 1..=20 {
        append(&mut log, &[entry(1, index, 300 * (index as usize % 4))]).unwrap();
    }
    replace(&mut log, 15, &[entry(2, 15, 10), entry(2, 16, 1200)]);
    log.purge(id(1, 6)).unwrap();
    append(&mut log, &[entry(2, 17, 2), entry(3, 18, 900)]).unwrap();
    let before = contents(&log).unwrap();
    append(&mut log, last).unwrap();
    let after = contents(&log).unwrap();
    assert!(disk.content().len() > 3, "several segments");
    (disk, before, after)
}

fn last_write() -> Vec<Entry> {
    vec![entry(3, 19, 700), entry(3, 20, 1300)]
}

fn tag_at(content: &DiskContent, file: u32, sector: u32) -> Option<SectorTag> {
    let at = sector as usize * SECTOR_BYTES;
    let place = SectorPlace {
        log_id: LOG_ID,
        file,
        sector,
    };
    open_sector(place, &content[&file].bytes[at..at + SECTOR_BYTES])
}

/// All sectors but the headers, and to what each belongs.
fn sectors(disk: &RecordingDisk) -> Vec<(u32, u32, SectorTag)> {
    let content = disk.content();
    let mut found = Vec::new();
    for (file, bytes) in &content {
        for sector in 1..u32::try_from(bytes.bytes.len() / SECTOR_BYTES).unwrap() {
            found.push((*file, sector, tag_at(&content, *file, sector).unwrap()));
        }
    }
    found
}

fn put_sector(disk: &RecordingDisk, file: u32, sector: u32, with: &[u8]) {
    disk.change(file, |bytes| {
        let at = sector as usize * SECTOR_BYTES;
        bytes[at..at + SECTOR_BYTES].copy_from_slice(with);
    });
}

fn unused(file: u32, sector: u32) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR_BYTES];
    let place = SectorPlace {
        log_id: LOG_ID,
        file,
        sector,
    };
    seal_sector(place, SectorTag::default(), &mut bytes);
    bytes
}

#[test]
fn a_write_of_many_entries_is_one_write_and_one_sync_of_whole_pages() {
    let disk = new();
    let mut log = open(&disk).unwrap();
    append(&mut log, &[entry(1, 1, 100)]).unwrap();
    disk.take_operations();
    for first in [2, 8] {
        let entries: Vec<Entry> = (first..first + 6)
            .map(|index| entry(1, index, 100))
            .collect();
        append(&mut log, &entries).unwrap();
        let operations = disk.take_operations();
        let [
            Operation::Write(file, offset, data),
            Operation::Sync(synced),
        ] = &operations[..]
        else {
            panic!("one write and one sync: {operations:?}");
        };
        assert_eq!(file, synced);
        assert_eq!((offset % 4096, data.len() % 4096), (0, 0), "whole pages");
    }
}

#[test]
fn segments_are_used_again_without_a_new_file_and_the_next_one_is_always_ready() {
    let disk = new();
    let mut log = open(&disk).unwrap();
    for index in 1..=300 {
        append(&mut log, &[entry(1, index, 600)]).unwrap();
        if index % 3 == 0 {
            log.purge(id(1, index - 2)).unwrap();
        }
    }
    let stats = log.stats();
    assert!(stats.begun() > 50, "{stats:?}");
    assert_eq!(stats.waited(), 0, "{stats:?}");
    assert!(stats.created() < 10, "{stats:?}");
    assert!(stats.spare() <= 2 && stats.used() < 8, "{stats:?}");
    let before = contents(&log).unwrap();
    drop(log);
    assert_eq!(contents(&open(&disk).unwrap()).unwrap(), before);
    assert!(disk.content().len() < 10, "files are removed");
}

#[test]
fn a_truncation_behind_the_first_known_entry_is_read_after_its_segments_were_used_again() {
    let disk = new();
    let mut log = open(&disk).unwrap();
    for index in 1..=12 {
        append(&mut log, &[entry(1, index, 900)]).unwrap();
    }
    // In a segment that begins with entries after the ones that are removed here.
    replace(&mut log, 3, &[entry(2, 3, 1)]);
    for index in 4..=14 {
        append(&mut log, &[entry(2, index, 1)]).unwrap();
    }
    log.purge(id(2, 11)).unwrap();
    let before = contents(&log).unwrap();
    drop(log);
    let mut log = open(&disk).unwrap();
    assert_eq!(contents(&log).unwrap(), before);
    log.purge(id(9, 50)).unwrap();
    append(&mut log, &[entry(9, 51, 1)]).unwrap();
    let before = contents(&log).unwrap();
    drop(log);
    assert_eq!(contents(&open(&disk).unwrap()).unwrap(), before);
}

#[test]
fn a_write_that_is_longer_than_a_segment_gets_one_of_its_own_which_is_not_kept() {
    let disk = new();
    let mut log = open(&disk).unwrap();
    append(&mut log, &[entry(1, 1, 10)]).unwrap();
    append(&mut log, &[entry(1, 2, 50_000)]).unwrap();
    append(&mut log, &[entry(1, 3, 10)]).unwrap();
    let before = contents(&log).unwrap();
    drop(log);
    let mut log = open(&disk).unwrap();
    assert_eq!(contents(&log).unwrap(), before);
    for index in 4..=30 {
        append(&mut log, &[entry(1, index, 900)]).unwrap();
    }
    log.purge(id(1, 29)).unwrap();
    assert!(disk.content().values().all(|file| file.bytes.len() == 8192));
}

#[test]
fn a_full_disk_refuses_a_write_that_needs_a_new_segment_and_a_purge_makes_space() {
    let disk = new();
    let mut log = open(&disk).unwrap();
    append(&mut log, &[entry(1, 1, 900)]).unwrap();
    disk.set_full(true);
    let mut last = 1;
    let full = loop {
        match append(&mut log, &[entry(1, last + 1, 900)]) {
            Ok(()) => last += 1,
            Err(error) => break error,
        }
    };
    assert!(full.is_full(), "{full}");
    assert!(last > 3, "prepared segments are used: {last}");
    let before = contents(&log).unwrap();
    assert!(append(&mut log, &[entry(1, last + 1, 900)]).is_err());
    assert_eq!(contents(&log).unwrap(), before);

    log.purge(id(1, last - 1)).unwrap();
    append(&mut log, &[entry(1, last + 1, 900)]).unwrap();
    let before = contents(&log).unwrap();
    drop(log);
    assert_eq!(contents(&open(&disk).unwrap()).unwrap(), before);
}

#[test]
fn any_part_of_a_torn_write_is_dropped_and_the_log_goes_on() {
    let (disk, before, _) = filled(&last_write());
    let newest = sectors(&disk)
        .iter()
        .map(|(_, _, tag)| (tag.sequence, tag.write))
        .max();
    let own: Vec<_> = sectors(&disk)
        .into_iter()
        .filter(|(_, _, tag)| Some((tag.sequence, tag.write)) == newest)
        .collect();
    assert!(own.len() >= 4, "{own:?}");
    for lost in 1_u32..1 << own.len() {
        let torn = RecordingDisk::with_content(disk.content());
        for (number, (file, sector, _)) in own.iter().enumerate() {
            if lost & 1 << number != 0 {
                put_sector(&torn, *file, *sector, &unused(*file, *sector));
            }
        }
        let mut log = open(&torn).unwrap();
        assert_eq!(log.doubt(), None, "part {lost:b}");
        assert_eq!(contents(&log).unwrap(), before, "part {lost:b}");
        // A shorter write in its place, which is torn in turn: nothing of the first one may be taken for a part of it.
        append(&mut log, &[entry(3, 19, 1)]).unwrap();
        let after = contents(&log).unwrap();
        drop(log);
        assert_eq!(
            contents(&open(&torn).unwrap()).unwrap(),
            after,
            "part {lost:b}"
        );
    }
}

/// How a sector can be wrong.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Content,
    Tag,
    Checksum,
    Zeros,
    /// Another sector of the log was written here.
    Misdirected,
    /// The write of this sector was never done.
    NeverDone,
}

impl Damage {
    const ALL: [Self; 6] = [
        Self::Content,
        Self::Tag,
        Self::Checksum,
        Self::Zeros,
        Self::Misdirected,
        Self::NeverDone,
    ];

    fn strike(self, disk: &RecordingDisk, file: u32, sector: u32) {
        let other = if sector > 1 { sector - 1 } else { sector + 1 };
        disk.change(file, |bytes| {
            let at = sector as usize * SECTOR_BYTES;
            let from = other as usize * SECTOR_BYTES;
            match self {
                Self::Content => bytes[at + 40] ^= 0x10,
                Self::Tag => bytes[at + 503] ^= 1,
                Self::Checksum => bytes[at + 509] ^= 0x80,
                Self::Zeros => bytes[at..at + SECTOR_BYTES].fill(0),
                Self::Misdirected => bytes.copy_within(from..from + SECTOR_BYTES, at),
                Self::NeverDone => {
                    let content = unused(file, sector);
                    bytes[at..at + SECTOR_BYTES].copy_from_slice(&content);
                }
            }
        });
    }
}

#[test]
fn every_corrupt_sector_is_found_and_only_the_last_write_is_doubtful() {
    for last in [last_write(), vec![entry(3, 19, 3)]] {
        let (disk, before, after) = filled(&last);
        let all = sectors(&disk);
        let live = |tag: &SectorTag| (tag.sequence, tag.write);
        let newest = all.iter().map(|(_, _, tag)| live(tag)).max().unwrap();
        let headers = sequences(&disk);
        for (file, sector, tag) in all {
            for damage in Damage::ALL {
                let what = format!("{damage:?} of sector {sector} of file {file}, {tag:?}");
                let damaged = RecordingDisk::with_content(disk.content());
                damage.strike(&damaged, file, sector);
                let result = open(&damaged);
                let is_used = tag.sequence != 0 && tag.sequence == headers[&file];
                if is_used && live(&tag) != newest {
                    let error = result.map(|log| contents(&log)).unwrap_err();
                    assert!(
                        matches!(error, StorageError::Corrupt { .. }),
                        "{what}: {error}"
                    );
                } else if is_used && matches!(damage, Damage::NeverDone) {
                    // As after a crash: this is what a disk must not do.
                    let log = result.unwrap();
                    assert_eq!(
                        (log.doubt(), contents(&log).unwrap()),
                        (None, before.clone()),
                        "{what}"
                    );
                } else if is_used {
                    let log = result.unwrap();
                    assert!(log.doubt().is_some(), "{what}");
                    assert_eq!(contents(&log).unwrap(), before, "{what}");
                } else {
                    // Where nothing was written: nothing is lost, and a corrupt sector behind the end may be doubtful.
                    assert_eq!(contents(&result.unwrap()).unwrap(), after, "{what}");
                }
            }
        }
    }
}

/// The sequence of each file.
fn sequences(disk: &RecordingDisk) -> std::collections::BTreeMap<u32, u32> {
    let content = disk.content();
    let sequence = |file: u32| tag_at(&content, file, 0).unwrap().sequence;
    content
        .keys()
        .map(|file| (*file, sequence(*file)))
        .collect()
}

#[test]
fn a_corrupt_header_a_missing_file_and_one_of_another_log_are_found() {
    let (disk, _, _) = filled(&last_write());
    let sequences = sequences(&disk);
    let highest = sequences.values().max().copied();
    for (file, sequence) in sequences {
        for at in [0, 9, 15, 27, 500, 510] {
            let damaged = RecordingDisk::with_content(disk.content());
            damaged.change(file, |bytes| bytes[at] ^= 4);
            let error = open(&damaged).unwrap_err();
            assert!(
                matches!(error, StorageError::Corrupt { .. }),
                "byte {at} of {file}: {error}"
            );
        }
        let mut content = disk.content();
        content.remove(&file);
        let opened = open(&RecordingDisk::with_content(content));
        if sequence != 0 && Some(sequence) != highest {
            let error = opened.unwrap_err();
            assert!(
                matches!(error, StorageError::Corrupt { .. }),
                "without {file}: {error}"
            );
        }
    }
    let other = SegmentLog::open(
        Arc::new(disk),
        LOG_ID + 1,
        RULES,
        SegmentPreparation::Inline,
    );
    assert!(
        matches!(other, Err(StorageError::Corrupt { .. })),
        "{other:?}"
    );
}

/// A removal becomes durable later than the header of a segment that is given back after it.
#[test]
fn a_removed_segment_that_is_there_again_after_a_crash_is_given_back_again() {
    let disk = RecordingDisk::default();
    let rules = SegmentRules {
        max_bytes: 16_384,
        ..RULES
    };
    SegmentLog::create(&disk, LOG_ID, rules).unwrap();
    let open = |disk: &RecordingDisk| {
        SegmentLog::open(
            Arc::new(disk.clone()),
            LOG_ID,
            rules,
            SegmentPreparation::Inline,
        )
    };
    let mut log = open(&disk).unwrap();
    for index in 1..=30 {
        append(&mut log, &[entry(1, index, 900)]).unwrap();
    }
    let first = disk.content()[&1].clone();
    log.purge(id(1, 25)).unwrap();
    let before = contents(&log).unwrap();
    drop(log);
    let mut content = disk.content();
    assert!(!content.contains_key(&1), "it was too short to be kept");
    content.insert(1, first);
    let disk = RecordingDisk::with_content(content);
    assert_eq!(contents(&open(&disk).unwrap()).unwrap(), before);
    assert!(!disk.content().contains_key(&1));
    // A gap that hides entries is found.
    let mut content = disk.content();
    let used = sequences(&disk);
    let missing = used.iter().filter(|(_, sequence)| **sequence != 0);
    let (file, _) = missing.min_by_key(|(_, sequence)| **sequence).unwrap();
    content.remove(file);
    let error = open(&RecordingDisk::with_content(content)).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

#[test]
fn two_files_with_the_same_sequence_are_found() {
    let (disk, _, _) = filled(&last_write());
    let (used, _) = sequences(&disk)
        .into_iter()
        .max_by_key(|(_, sequence)| *sequence)
        .unwrap();
    let header = tag_at(&disk.content(), used, 0).unwrap();
    let mut twin = disk.content()[&used].clone();
    for sector in 0..twin.bytes.len() / SECTOR_BYTES {
        let bytes = &mut twin.bytes[sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES];
        let place = |file| SectorPlace {
            log_id: LOG_ID,
            file,
            sector: u32::try_from(sector).unwrap(),
        };
        let tag = open_sector(place(used), bytes).unwrap();
        if sector == 0 {
            bytes[20..24].copy_from_slice(&99_u32.to_be_bytes());
        }
        seal_sector(place(99), tag, bytes);
    }
    let mut content = disk.content();
    content.insert(99, twin);
    let error = open(&RecordingDisk::with_content(content)).unwrap_err();
    let text = format!("another file is segment {} too", header.sequence);
    assert!(error.to_string().contains(&text), "{error}");
}

#[test]
fn a_doubtful_log_goes_on_only_after_that_is_accepted() {
    let (disk, before, _) = filled(&last_write());
    let (file, sector, _) = newest_sector(&disk);
    Damage::Content.strike(&disk, file, sector);
    for _ in 0..2 {
        let log = open(&disk).unwrap();
        let doubt = log.doubt().expect("the last write is corrupt");
        assert!(
            doubt.contains(&format!("sector {sector} of log/{file}")),
            "{doubt}"
        );
    }
    let mut log = open(&disk).unwrap();
    log.accept_doubt().unwrap();
    append(&mut log, &[entry(4, 19, 5)]).unwrap();
    drop(log);
    let log = open(&disk).unwrap();
    assert_eq!(log.doubt(), None);
    let (purged, mut entries) = contents(&log).unwrap();
    assert_eq!(entries.pop(), Some(entry(4, 19, 5)));
    assert_eq!((purged, entries), before);
}

/// A sector of the last write.
fn newest_sector(disk: &RecordingDisk) -> (u32, u32, SectorTag) {
    let newest = sectors(disk).into_iter();
    newest
        .max_by_key(|(_, _, tag)| (tag.sequence, tag.write))
        .unwrap()
}

#[test]
fn a_segment_that_returns_to_an_earlier_content_does_not_fit_the_chain() {
    let disk = new();
    let mut log = open(&disk).unwrap();
    for index in 1..=3 {
        append(&mut log, &[entry(1, index, 10)]).unwrap();
    }
    let early = disk.content();
    for index in 4..=12 {
        append(&mut log, &[entry(1, index, 900)]).unwrap();
    }
    drop(log);
    disk.change(1, |bytes| bytes.clone_from(&early[&1].bytes));
    let error = open(&disk).unwrap_err();
    assert!(
        error.to_string().contains("a later write exists"),
        "{error}"
    );
}

#[test]
fn a_write_with_another_predecessor_does_not_fit_the_chain() {
    // Two logs with the same numbers: a write of one is put into the other.
    let make = |time| {
        let disk = new();
        let mut log = open(&disk).unwrap();
        for index in 1..=2 {
            let mut entry = entry(1, index, 10);
            entry.time_ms = time + index;
            append(&mut log, &[entry]).unwrap();
        }
        disk
    };
    let (disk, other) = (make(0), make(100));
    let content = other.content();
    let at = 2 * SECTOR_BYTES;
    put_sector(&disk, 1, 2, &content[&1].bytes[at..at + SECTOR_BYTES]);
    let error = open(&disk).unwrap_err();
    assert!(error.to_string().contains("does not follow"), "{error}");
}

#[test]
fn a_segment_whose_header_lost_its_last_write_is_found() {
    let disk = new();
    let mut log = open(&disk).unwrap();
    for index in 1..=60 {
        append(&mut log, &[entry(1, index, 900)]).unwrap();
        if index % 5 == 0 {
            log.purge(id(1, index - 1)).unwrap();
        }
    }
    drop(log);
    let sequences = sequences(&disk);
    let (file, sequence, _) = newest_sector(&disk);
    let _ = sequence;
    assert!(sequences[&file] > 3);
    let mut header = disk.content()[&file].bytes[..SECTOR_BYTES].to_vec();
    header[24..28].fill(0);
    let place = SectorPlace {
        log_id: LOG_ID,
        file,
        sector: 0,
    };
    seal_sector(place, SectorTag::default(), &mut header);
    put_sector(&disk, file, 0, &header);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}
