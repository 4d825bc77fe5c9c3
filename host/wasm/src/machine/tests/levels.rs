//! Which records and parts of a snapshot belong to which cluster level: the table in decision record 0029.

use bytes::Bytes;
use task_queue_raft::CLUSTER_LEVEL;

use crate::machine::host_state;
use crate::machine::state::ReplicatedState;
use crate::records::chunks::ChunkWriter;
use crate::records::digest::Sha256;
use crate::records::envelope::{Envelope, EnvelopeError};
use crate::records::snapshot_error::MachineSnapshotError;
use crate::records::wire;

const RECORD: &str = include_str!("../../../../docs/decisions/0029-cluster-level.md");
const CHANGELOG: &str = include_str!("../../../../../CHANGELOG.md");

/// Rows of levels that a release has, as they are in the table. A released level never changes: another node may have it.
const RELEASED: [&str; 0] = [];

/// The rows of the table, from level 1 on.
fn rows() -> Vec<&'static str> {
    let rows = RECORD.lines().filter(|line| {
        let first = line
            .strip_prefix("| ")
            .and_then(|line| line.split(' ').next());
        first.is_some_and(|level| level.parse::<u32>().is_ok_and(|level| level > 0))
    });
    rows.collect()
}

/// The numbers in a column of all rows.
fn numbers(column: usize) -> Vec<u8> {
    let cells = rows()
        .into_iter()
        .map(|row| row.split('|').nth(column).unwrap());
    let numbers = cells.flat_map(|cell| {
        cell.split(", ")
            .map(|number| number.trim().parse().unwrap())
    });
    let mut numbers: Vec<u8> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// The kinds of version 3 that this build decodes.
fn known_kinds() -> Vec<u8> {
    let is_known = |kind: &u8| {
        let decoded = Envelope::decode(&Bytes::copy_from_slice(&[3, *kind]));
        decoded != Err(EnvelopeError::RecordKind { found: *kind })
    };
    (0..=u8::MAX).filter(is_known).collect()
}

/// The parts of the host's state that this build decodes.
fn known_parts() -> Vec<u8> {
    let is_known = |kind: &u8| {
        let mut part = vec![*kind];
        wire::put_bytes(&mut part, b"").unwrap();
        let mut sink = ChunkWriter::new(100);
        sink.write(&part).unwrap();
        let decoded = host_state::decode(
            &mut sink.finish().reader(),
            &mut ReplicatedState::first(Sha256::of(b"m")),
        );
        !matches!(decoded, Err(MachineSnapshotError::HostState { .. }))
    };
    (0..=u8::MAX).filter(is_known).collect()
}

const HINT: &str = "a new kind belongs to a level that no release has: add it to the row of that level in decision record \
                    0029, raise CLUSTER_LEVEL if the level is new, and write the kind from that level on only";

#[test]
fn each_kind_of_record_and_part_belongs_to_a_level_in_the_decision_record() {
    assert_eq!(known_kinds(), numbers(2), "{HINT}");
    assert_eq!(known_parts(), numbers(3), "{HINT}");
    let levels: Vec<u32> = rows()
        .iter()
        .map(|row| row.split('|').nth(1).unwrap().trim().parse().unwrap())
        .collect();
    assert_eq!(levels, (1..=CLUSTER_LEVEL).collect::<Vec<_>>(), "{HINT}");
}

#[test]
fn the_row_of_a_released_level_does_not_change() {
    for (row, released) in rows().iter().zip(RELEASED) {
        assert_eq!(*row, released, "{HINT}");
    }
    let unreleased = rows().len() - RELEASED.len();
    assert!(unreleased <= 1, "{HINT}");
    let has_release = CHANGELOG
        .lines()
        .any(|line| line.starts_with("## [") && line != "## [Unreleased]");
    assert!(
        !has_release || !RELEASED.is_empty(),
        "CHANGELOG.md has a release: copy the rows of its levels from decision record 0029 to RELEASED"
    );
}
