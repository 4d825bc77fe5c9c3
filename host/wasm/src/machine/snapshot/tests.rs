use bytes::Bytes;

use super::*;
use crate::guest::module::Description;
use crate::machine::keys::StoredReply;
use crate::records::chunks::ChunkWriter;
use crate::records::upgrade::{AbortCause, CheckResult, MigrationRoute, UpgradeBegin, UpgradeEnd};
use crate::settings::ReplicatedSettings;
use crate::testing::at;
use crate::upgrade::state::{PastUpgrades, PendingUpgrade, UpgradeState};

fn module() -> Sha256 {
    Sha256::of(b"module")
}

fn module_bytes() -> ModuleBytes {
    ModuleBytes {
        sha256: module(),
        bytes: Bytes::from_static(b"module"),
    }
}

fn limits() -> MachineLimits {
    MachineLimits::default()
}

fn replicated() -> ReplicatedState {
    let mut replicated = ReplicatedState {
        applied: at(42),
        wake_at_ms: 77,
        events: 5,
        failures: 6,
        ..ReplicatedState::first(module())
    };
    let reply = StoredReply::Accepted(Bytes::from_static(b"reply"));
    replicated
        .keys
        .store("key".to_owned(), module(), reply, 41_000, &limits());
    replicated.deferred.wait(7, None);
    replicated.deferred.wait(8, Some("key".to_owned()));
    (replicated.upgrades.history, replicated.upgrades.pending) = upgrades();
    replicated
}

/// A history with each kind of end, and a staged upgrade.
fn upgrades() -> (PastUpgrades, Option<PendingUpgrade>) {
    let begin = |sha256| UpgradeBegin {
        sha256,
        bytes: 3,
        wait_ms: 60_000,
        dry_run: false,
        by: "ann".to_owned(),
    };
    let mut history = PastUpgrades::of(Sha256::of(b"the first"));
    let ends = [
        (b"an older1", UpgradeEnd::Activated),
        (b"tried out", UpgradeEnd::DryRunPassed),
        (b"no good 1", UpgradeEnd::because(AbortCause::StatesDiffer)),
    ];
    for (index, (sha256, end)) in (1..).zip(ends) {
        let pending = PendingUpgrade::new(begin(Sha256::of(sha256)), at(index));
        let description = (end == UpgradeEnd::Activated).then(Description::unnamed);
        history.push(pending.ended(end, at(index + 1), description.as_ref()));
    }
    let mut pending = PendingUpgrade::new(begin(Sha256::of(b"new")), at(40));
    pending.module.extend_from_slice(b"new");
    pending.staged = Some((Index(41), MigrationRoute::Snapshot));
    let ready = CheckResult::Ready {
        tried_at: Index(41),
        route: MigrationRoute::Snapshot,
        state: Sha256::of(b"state"),
    };
    pending.reports.insert("node1".to_owned(), ready);
    let message = "no room".to_owned();
    let refused = CheckResult::Refused { message };
    pending.reports.insert("node2".to_owned(), refused);
    (history, Some(pending))
}

fn chunks(bytes: usize) -> SnapshotChunks {
    let mut writer = ChunkWriter::new(u64::MAX);
    let data: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
    writer.write(&data).unwrap();
    writer.finish()
}

fn written(replicated: &ReplicatedState, guest: &SnapshotChunks) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, &module_bytes(), 3, replicated, guest).unwrap();
    bytes
}

fn read_back(bytes: &[u8]) -> Result<MachineSnapshot, MachineSnapshotError> {
    read(&mut &bytes[..], Some(module()), &limits())
}

#[test]
fn a_written_snapshot_is_read_back() {
    for replicated in [replicated(), ReplicatedState::first(module())] {
        for length in [0, 1, 1 << 20, 2_500_000] {
            let guest = chunks(length);
            let bytes = written(&replicated, &guest);
            let snapshot = read_back(&bytes).unwrap();
            assert_eq!(snapshot.written_by, 3);
            assert_eq!(snapshot.module, module());
            assert_eq!(snapshot.module_bytes.as_deref(), Some(&b"module"[..]));
            assert_eq!(snapshot.replicated, replicated);
            assert_eq!(snapshot.guest.bytes(), length as u64);
            assert!(snapshot.guest.iter().eq(guest.iter()));
            assert_eq!(written(&snapshot.replicated, &snapshot.guest), bytes);
        }
    }
}

#[test]
fn a_snapshot_of_the_first_version_is_read() {
    let bytes = include_bytes!("../../../testdata/snapshot-v1.bin");
    let snapshot = read_back(bytes).unwrap();
    assert_eq!((snapshot.module, snapshot.written_by), (module(), 3));
    assert_eq!(snapshot.module_bytes, None);
    let mut before = replicated();
    before.upgrades = UpgradeState::default();
    assert_eq!(snapshot.replicated, before);
    assert!(snapshot.guest.iter().eq(chunks(300).iter()));
    for length in 0..bytes.len() {
        assert!(read_back(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_node_started_with_an_earlier_module_accepts_the_snapshot() {
    let bytes = written(&replicated(), &chunks(10));
    for before in [b"the first", b"an older1"] {
        let snapshot = read(&mut bytes.as_slice(), Some(Sha256::of(before)), &limits()).unwrap();
        assert_eq!(snapshot.module, module());
    }
    let tried_out = Sha256::of(b"tried out");
    assert!(matches!(
        read(&mut bytes.as_slice(), Some(tried_out), &limits()),
        Err(MachineSnapshotError::OtherModule { .. })
    ));
}

#[test]
fn a_module_with_another_digest_than_the_header_is_detected() {
    let wrong = ModuleBytes {
        bytes: Bytes::from_static(b"another"),
        ..module_bytes()
    };
    let mut bytes = Vec::new();
    write(&mut bytes, &wrong, 3, &replicated(), &chunks(10)).unwrap();
    let error = read_back(&bytes).unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
}

/// The state at cluster level 0 and at level 1, which have different formats.
fn both_levels() -> [ReplicatedState; 2] {
    let settings = Some(ReplicatedSettings::proposed(&limits()));
    let level_1 = ReplicatedState {
        settings,
        ..replicated()
    };
    [replicated(), level_1]
}

#[test]
fn each_changed_bit_is_detected() {
    for replicated in both_levels() {
        let bytes = written(&replicated, &chunks(300));
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut corrupt = bytes.clone();
                corrupt[position] ^= 1 << bit;
                let error = read_back(&corrupt).expect_err("it is corrupt");
                if position < 7 {
                    assert!(matches!(error, MachineSnapshotError::NotASnapshot));
                }
            }
        }
    }
}

#[test]
fn each_truncation_is_detected() {
    for replicated in both_levels() {
        let bytes = written(&replicated, &chunks(300));
        for length in 0..bytes.len() {
            assert!(read_back(&bytes[..length]).is_err(), "{length} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(read_back(&longer).is_err());
    }
}

#[test]
fn level_0_has_format_2_and_level_1_has_format_3() {
    for (replicated, format) in both_levels().into_iter().zip([2, 3]) {
        let bytes = written(&replicated, &chunks(300));
        assert_eq!(bytes[7], format);
        assert_eq!(read_back(&bytes).unwrap().replicated, replicated);
    }
}

#[test]
fn a_part_of_the_host_state_that_is_not_known_is_refused() {
    let [_, mut level_1] = both_levels();
    let mut part = vec![200];
    wire::put_bytes(&mut part, b"new").unwrap();
    let mut sink = ChunkWriter::new(100);
    sink.write(&part).unwrap();
    let mut section = sink.finish().reader();
    assert!(matches!(
        host_state::decode(&mut section, &mut level_1),
        Err(MachineSnapshotError::HostState { found: 200 })
    ));
}

/// The range of each frame.
fn frames(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut frames = Vec::new();
    let mut start = 8;
    while start < bytes.len() {
        let length = u32::from_le_bytes(bytes[start + 1..start + 5].try_into().unwrap());
        let end = start + 5 + length as usize + 4;
        frames.push(start..end);
        start = end;
    }
    frames
}

#[test]
fn reordered_missing_and_duplicate_frames_are_detected() {
    let bytes = written(&replicated(), &chunks(3 << 20));
    let frames = frames(&bytes);
    assert_eq!(
        frames.len(),
        9,
        "header, keys, deferred, module, upgrades, three, end"
    );
    let with = |order: &[usize]| {
        let mut changed = bytes[..8].to_vec();
        for &frame in order {
            changed.extend_from_slice(&bytes[frames[frame].clone()]);
        }
        read_back(&changed)
    };
    assert!(with(&[0, 1, 2, 3, 4, 5, 6, 7, 8]).is_ok());
    for order in [
        [0, 1, 2, 3, 4, 6, 5, 7, 8].as_slice(),
        &[0, 2, 1, 3, 4, 5, 6, 7, 8],
        &[0, 1, 2, 4, 3, 5, 6, 7, 8],
        &[0, 1, 2, 4, 5, 6, 7, 8],
        &[0, 1, 2, 3, 5, 6, 7, 8],
        &[0, 1, 2, 3, 4, 5, 6, 8],
        &[0, 1, 2, 3, 4, 5, 6, 7],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 1, 2, 3, 4, 5, 5, 6, 7, 8],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 8],
        &[],
    ] {
        assert!(with(order).is_err(), "{order:?}");
    }
}

#[test]
fn another_modules_snapshot_is_refused_by_name() {
    let bytes = written(&replicated(), &chunks(10));
    let other = Sha256::of(b"other");
    match read(&mut bytes.as_slice(), Some(other), &limits()) {
        Err(MachineSnapshotError::OtherModule { found, expected }) => {
            assert_eq!((found, expected), (module(), other));
        }
        result => panic!("{result:?}"),
    }
}

#[test]
fn a_guests_part_over_the_limit_is_refused() {
    let limits = MachineLimits {
        snapshot_bytes: 299,
        ..limits()
    };
    let bytes = written(&replicated(), &chunks(300));
    assert!(matches!(
        read(&mut bytes.as_slice(), Some(module()), &limits),
        Err(MachineSnapshotError::TooLarge { limit: 299 })
    ));
}

#[test]
fn a_false_frame_length_allocates_no_memory() {
    let mut bytes = written(&replicated(), &chunks(10));
    bytes[9..13].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        read_back(&bytes),
        Err(MachineSnapshotError::Corrupt { frame: 0, .. })
    ));
}

#[test]
fn other_files_are_refused() {
    for bytes in [b"".as_slice(), b"short", b"\0asm\x01\0\0\0", &[0xff; 100]] {
        assert!(read_back(bytes).is_err());
    }
}

#[test]
fn sections_with_trailing_bytes_are_refused() {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    let mut frames = SnapshotFrameWriter::new(&mut bytes);
    let mut header = frames.section(Section::Header);
    write_header(&mut header, module(), 3, &replicated()).unwrap();
    header.write_all(b"more").unwrap();
    header.finish().unwrap();
    let error = read_back(&bytes).unwrap_err();
    assert!(error.to_string().contains("trailing bytes"), "{error}");
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_io_error_is_returned() {
    let error = write(&mut Broken, &module_bytes(), 3, &replicated(), &chunks(1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
