//! The bytes that `host/docs/formats.md` shows.

use std::sync::Arc;

use super::disk::RecordingDisk;
use crate::entry::{Entry, Payload};
use crate::ids::{Index, LogId, Term};
use crate::storage::segments::{LogAppend, SegmentLog, SegmentPreparation, SegmentRules};

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn the_first_write_of_a_log_has_the_documented_bytes() {
    let disk = RecordingDisk::default();
    let rules = SegmentRules {
        first_bytes: 8192,
        ..SegmentRules::default()
    };
    let log_id = 0x1122_3344_5566_7788;
    SegmentLog::create(&disk, log_id, rules).unwrap();
    let files = Arc::new(disk.clone());
    let mut log = SegmentLog::open(files, log_id, rules, SegmentPreparation::Inline).unwrap();
    let entries = [Entry {
        id: LogId::new(Term(1), Index(1)),
        time_ms: 0,
        payload: Payload::Noop,
    }];
    log.begin_append(&entries).unwrap();
    let change = LogAppend {
        truncate_from: None,
        entries: &entries,
    };
    log.append(change).unwrap();
    let content = disk.content();
    let sectors: Vec<&[u8]> = content[&1].bytes.chunks(512).collect();
    assert_eq!(
        (hex(&sectors[0][..32]), hex(&sectors[0][500..])),
        (HEADER.concat(), HEADER_TAG.to_owned())
    );
    assert!(sectors[0][32..500].iter().all(|byte| *byte == 0));
    assert_eq!(
        (hex(&sectors[1][..112]), hex(&sectors[1][500..])),
        (WRITE.concat(), WRITE_TAG.to_owned())
    );
    assert!(sectors[1][112..500].iter().all(|byte| *byte == 0));
    assert_eq!(hex(&sectors[2][500..]), UNUSED_TAG);
}

const HEADER: [&str; 3] = [
    "4f41524c4b4c4f47",
    "00000001",
    "1122334455667788000000010000000100000010",
];
const HEADER_TAG: &str = "0000000100000000a454d1fb";
const WRITE: [&str; 9] = [
    "0100",
    "00000001",
    "0000000000000001",
    "00000000",
    "00000000000000000000000000000000",
    "00000000000000000000000000000000",
    "0000000000000000000000010000002a",
    "000000000000000100000000000000010000001601000000000000000100000000",
    "0000000000ad92ecffd238b106",
];
const WRITE_TAG: &str = "0000000100000001de312b3d";
const UNUSED_TAG: &str = "0000000000000000a6f79f94";
