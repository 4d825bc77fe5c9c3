use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use task_queue_raft::entry::{Command, Entry, Payload};
use task_queue_raft::ids::{Index, LogId, Term};
use task_queue_raft::storage::entry_record;
use tempfile::TempDir;

use super::*;
use crate::backup::{BackupWriter, Manifest};

const LINEAGE: &str = "00ff";
/// Each block is a segment of its own.
const SMALL: u64 = 1;
const LARGE: u64 = 1 << 20;

fn entry(index: u64) -> ArchivedEntry {
    let command = Command {
        session: 1,
        sequence: index,
        data: Bytes::from(format!("command {index}")),
    };
    let entry = Entry {
        id: LogId::new(Term(1 + index / 10), Index(index)),
        time_ms: 1000 * index,
        payload: if index.is_multiple_of(3) {
            Payload::Noop
        } else {
            Payload::Commands(vec![command])
        },
    };
    let mut record = Vec::new();
    entry_record::encode(&entry, &mut record).unwrap();
    ArchivedEntry {
        index,
        record: record.into(),
    }
}

fn entries(indexes: RangeInclusive<u64>) -> Vec<ArchivedEntry> {
    indexes.map(entry).collect()
}

fn manifest(index: u64, lineage: &str) -> Manifest {
    Manifest {
        cluster_id: "test".to_owned(),
        lineage: lineage.to_owned(),
        level: 1,
        node_id: "node1".to_owned(),
        term: 1 + index / 10,
        index,
        time_ms: 1000 * index,
        state_bytes: 5,
        members: Vec::new(),
        guest: "kv".to_owned(),
        guest_version: 1,
        release: "0.1.0".to_owned(),
    }
}

fn add_base(writer: &mut ArchiveWriter, index: u64, lineage: &str) -> Result<(), ArchiveError> {
    let manifest = manifest(index, lineage);
    let mut backup = BackupWriter::new(&manifest, Box::new(&b"state"[..])).unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next_piece().unwrap() {
        bytes.extend_from_slice(&piece);
    }
    fs::write(writer.unfinished_base(), &bytes).unwrap();
    writer.add_base(&manifest)
}

/// A base up to entry 4, then these blocks of entries.
fn archive_of(segment_bytes: u64, blocks: &[RangeInclusive<u64>]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ArchiveWriter::open(dir.path(), segment_bytes).unwrap();
    assert!(writer.is_empty());
    add_base(&mut writer, 4, LINEAGE).unwrap();
    for block in blocks {
        writer.append(&entries(block.clone())).unwrap();
    }
    dir
}

/// A base up to entry 4, then blocks with the entries 5 and 6, 7, and 8 to 12.
fn archive(segment_bytes: u64) -> TempDir {
    archive_of(segment_bytes, &[5..=6, 7..=7, 8..=12])
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|ext| ext != "lock"));
    paths
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect()
}

fn read_all(dir: &Path) -> Result<Vec<u64>, ArchiveError> {
    let (contents, count) = ArchiveContents::verify(dir)?;
    let mut indexes = Vec::new();
    for segment in &contents.segments {
        let mut reader = SegmentReader::open(&segment.path)?;
        while let Some(entries) = reader.next()? {
            indexes.extend(entries.iter().map(|entry| entry.id.index.0));
        }
    }
    assert_eq!(indexes.len() as u64, count);
    Ok(indexes)
}

fn ranges(dir: &Path) -> Vec<(u64, u64)> {
    let ranges = ArchiveContents::read(dir).unwrap().ranges().unwrap();
    ranges
        .iter()
        .map(|range| (range.from.index, range.to.index))
        .collect()
}

#[test]
fn entries_are_read_back_and_the_archive_goes_on_after_the_last_one() {
    for segment_bytes in [SMALL, LARGE] {
        let dir = archive(segment_bytes);
        assert_eq!(read_all(dir.path()).unwrap(), (5..=12).collect::<Vec<_>>());
        let mut writer = ArchiveWriter::open(dir.path(), segment_bytes).unwrap();
        let last = ArchivePosition {
            index: 12,
            term: 2,
            time_ms: 12_000,
        };
        assert_eq!((writer.last(), writer.lineage()), (last, LINEAGE));
        writer.append(&entries(13..=14)).unwrap();
        assert_eq!(read_all(dir.path()).unwrap(), (5..=14).collect::<Vec<_>>());
        assert_eq!(ranges(dir.path()), [(4, 14)]);
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    for segment_bytes in [SMALL, LARGE] {
        // Small, because each check reads all files.
        let dir = archive_of(segment_bytes, &[5..=5, 6..=7]);
        for (path, bytes) in files(dir.path()) {
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut wrong = bytes.clone();
                    wrong[at] ^= 1 << bit;
                    fs::write(&path, &wrong).unwrap();
                    let error = ArchiveContents::verify(dir.path());
                    let error = error
                        .err()
                        .unwrap_or_else(|| panic!("bit {bit} of byte {at} of {path:?}"));
                    let name = path.file_name().unwrap().to_string_lossy();
                    assert!(
                        error.to_string().contains(&*name) || error.to_string().contains("lineage"),
                        "{error}"
                    );
                }
            }
            fs::write(&path, &bytes).unwrap();
        }
        ArchiveContents::verify(dir.path()).unwrap();
    }
}

/// Only where a block of the newest segment ends, a cut leaves a shorter archive, which shows that it is shorter.
#[test]
fn a_cut_anywhere_is_refused_or_leaves_the_entries_before_it() {
    for segment_bytes in [SMALL, LARGE] {
        let dir = archive(segment_bytes);
        for (path, bytes) in files(dir.path()) {
            let mut shorter = Vec::new();
            for length in 0..bytes.len() {
                fs::write(&path, &bytes[..length]).unwrap();
                match read_all(dir.path()) {
                    Ok(indexes) => shorter.push(indexes.last().copied()),
                    Err(error) => assert!(
                        error.to_string().contains("entries-")
                            || error.to_string().contains("base-"),
                        "{error}"
                    ),
                }
            }
            let is_newest = path.ends_with("entries-00000000000000000005.log")
                && segment_bytes == LARGE
                || path.ends_with("entries-00000000000000000008.log");
            let expected: &[Option<u64>] = match (segment_bytes, is_newest) {
                (LARGE, true) => &[None, Some(6), Some(7)],
                // After its head, and before the block at its end.
                (_, true) => &[Some(7), Some(12)],
                _ => &[],
            };
            assert_eq!(shorter, expected, "{path:?}");
            fs::write(&path, &bytes).unwrap();
        }
    }
}

#[test]
fn the_writer_removes_an_incomplete_end_and_writes_the_same_again() {
    let dir = archive(LARGE);
    let path = dir.path().join("entries-00000000000000000005.log");
    let bytes = fs::read(&path).unwrap();
    let head = SegmentReader::open(&path).unwrap().offset();
    let head = usize::try_from(head).unwrap();
    let blocks = [5..=6, 7..=7, 8..=12];
    for length in head..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let mut writer = ArchiveWriter::open(dir.path(), LARGE).unwrap();
        let last = writer.last().index;
        assert!(fs::read(&path).unwrap().len() as u64 + writer.removed_bytes() == length as u64);
        for block in blocks.iter().filter(|block| *block.start() > last) {
            writer.append(&entries(block.clone())).unwrap();
        }
        drop(writer);
        assert_eq!(fs::read(&path).unwrap(), bytes, "cut at {length}");
    }
    // What a disk that is full or that lost power leaves instead of the last block.
    for garbage in [vec![0; 300], vec![1; 300], bytes[..head].to_vec()] {
        fs::write(&path, [&bytes[..], &garbage].concat()).unwrap();
        let writer = ArchiveWriter::open(dir.path(), LARGE).unwrap();
        assert_eq!(
            (writer.last().index, writer.removed_bytes()),
            (12, garbage.len() as u64)
        );
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn damage_before_a_complete_block_stops_the_writer_and_changes_nothing() {
    let dir = archive(LARGE);
    let path = dir.path().join("entries-00000000000000000005.log");
    let bytes = fs::read(&path).unwrap();
    let head = usize::try_from(SegmentReader::open(&path).unwrap().offset()).unwrap();
    // The blocks of the entries 5 to 7.
    let last_block = bytes.len() - {
        let mut reader = SegmentReader::open(&path).unwrap();
        reader.next().unwrap();
        reader.next().unwrap();
        bytes.len() - usize::try_from(reader.offset()).unwrap()
    };
    for at in head..last_block {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x10;
        fs::write(&path, &wrong).unwrap();
        let error = ArchiveWriter::open(dir.path(), LARGE).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Damaged { .. }),
            "{at}: {error}"
        );
        assert_eq!(fs::read(&path).unwrap(), wrong);
    }
}

#[test]
fn a_missing_file_is_named() {
    let dir = archive(SMALL);
    let path = dir.path().join("entries-00000000000000000007.log");
    fs::remove_file(&path).unwrap();
    let error = ArchiveContents::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("entries 7 to 7 are missing"), "{error}");
    assert!(ArchiveWriter::open(dir.path(), SMALL).is_err());

    // Without its base, nothing can be restored; without the first segment, only the base.
    let dir = archive(SMALL);
    fs::remove_file(dir.path().join("base-00000000000000000004.backup")).unwrap();
    assert_eq!(ranges(dir.path()), []);
    let dir = archive(SMALL);
    fs::remove_file(dir.path().join("entries-00000000000000000005.log")).unwrap();
    assert_eq!(ranges(dir.path()), [(4, 4)]);
}

#[test]
fn a_new_base_leaves_a_gap_that_is_shown() {
    let dir = archive(LARGE);
    let mut writer = ArchiveWriter::open(dir.path(), LARGE).unwrap();
    add_base(&mut writer, 20, LINEAGE).unwrap();
    assert_eq!(writer.last().index, 20);
    // It ends before the first entry after the base.
    drop(writer);
    assert_eq!(ranges(dir.path()), [(4, 12), (20, 20)]);
    let mut writer = ArchiveWriter::open(dir.path(), LARGE).unwrap();
    writer.append(&entries(21..=22)).unwrap();
    assert_eq!(ranges(dir.path()), [(4, 12), (20, 22)]);
    read_all(dir.path()).unwrap();

    // A base within the entries is no gap.
    let mut writer = ArchiveWriter::open(dir.path().join("other").as_path(), SMALL).unwrap();
    add_base(&mut writer, 4, LINEAGE).unwrap();
    writer.append(&entries(5..=6)).unwrap();
    add_base(&mut writer, 6, LINEAGE).unwrap();
    writer.append(&entries(7..=8)).unwrap();
    assert_eq!(ranges(&dir.path().join("other")), [(4, 8)]);
}

#[test]
fn what_does_not_follow_is_refused_and_not_written() {
    let dir = archive(LARGE);
    let before = files(dir.path());
    let mut writer = ArchiveWriter::open(dir.path(), LARGE).unwrap();
    let mut wrong = entry(13);
    wrong.index = 14;
    let mut damaged = entry(13);
    let mut bytes = damaged.record.to_vec();
    bytes[5] ^= 1;
    damaged.record = bytes.into();
    for refused in [entry(12), entry(14), wrong, damaged] {
        let error = writer.append(&[refused]).unwrap_err();
        assert!(
            matches!(error, ArchiveError::NoSuccessor { after: 12, .. }),
            "{error}"
        );
    }
    for (index, lineage) in [(20, "another"), (11, LINEAGE)] {
        let error = add_base(&mut writer, index, lineage).unwrap_err();
        assert!(matches!(error, ArchiveError::Foreign { .. }), "{error}");
    }
    drop(writer);
    ArchiveWriter::open(dir.path(), LARGE).unwrap();
    assert_eq!(files(dir.path()), before);
}

#[test]
fn two_writers_of_one_archive_are_refused() {
    let dir = archive(LARGE);
    let _first = ArchiveWriter::open(dir.path(), LARGE).unwrap();
    let error = ArchiveWriter::open(dir.path(), LARGE).unwrap_err();
    assert!(matches!(error, ArchiveError::InUse(_)), "{error}");
    // To read it is possible at the same time.
    read_all(dir.path()).unwrap();
}

#[test]
fn other_files_and_later_formats_are_named() {
    let dir = archive(SMALL);
    let path = dir.path().join("entries-00000000000000000007.log");
    let bytes = fs::read(&path).unwrap();
    let mut later = bytes.clone();
    later[11] = 2;
    for (content, expected) in [
        (&b"a file of someone else"[..], "not a segment"),
        (&later[..], "format 2"),
    ] {
        fs::write(&path, content).unwrap();
        let error = ArchiveContents::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // A segment under the name of another one.
    fs::write(
        &path,
        fs::read(dir.path().join("entries-00000000000000000008.log")).unwrap(),
    )
    .unwrap();
    let error = ArchiveContents::read(dir.path()).unwrap_err();
    assert!(matches!(error, ArchiveError::Foreign { .. }), "{error}");
}
