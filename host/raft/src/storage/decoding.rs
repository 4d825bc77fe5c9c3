//! Decodes records of any bytes, for tests with hostile input. It needs the feature `testing`.

use std::fmt::Debug;
use std::time::Duration;

use super::schema::{
    check_entry, decode_entry, decode_hard_state, decode_identity, decode_lease, decode_log_id,
    decode_met, decode_origin, decode_runs, decode_snapshot_header, decode_store_init,
    encode_entry, encode_hard_state, encode_lease, encode_log_id, encode_runs,
    encode_snapshot_header,
};
use crate::entry::{ClusterState, Command, Entry, HardState, Payload, SnapshotMeta};
use crate::identity::RunHistory;
use crate::ids::{Index, LogId, StoreId, Term};
use crate::raft::membership::{Member, MemberRole, Membership};

/// Kinds of records.
pub const KINDS: u8 = 10;
/// The key of all records but entries and headers.
const KEY: &str = "key";
const INDEX: Index = Index(7);

/// Decodes a record of a kind below [`KINDS`]. Returns the kind of what it contains, or the error.
///
/// # Panics
/// Two decoders of the same record disagree.
#[must_use]
pub fn decode(kind: u8, record: &[u8]) -> String {
    match kind {
        0 => decode_log_entry(record),
        1 => shown(decode_snapshot_header(record)),
        2 => shown(decode_hard_state(KEY, record)),
        3 => shown(decode_log_id(KEY, record)),
        4 => shown(decode_identity(KEY, record)),
        5 => shown(decode_store_init(KEY, record)),
        6 => shown(decode_runs(KEY, record)),
        7 => shown(decode_met(KEY, record)),
        8 => shown(decode_lease(KEY, record)),
        _ => shown(decode_origin(KEY, record)),
    }
}

fn decode_log_entry(record: &[u8]) -> String {
    let (decoded, checked) = (decode_entry(INDEX, record), check_entry(INDEX, record));
    assert_eq!(
        decoded.as_ref().map(|entry| entry.id).ok(),
        checked.as_ref().map(|entry| entry.id).ok(),
        "a start and a read disagree: {decoded:?}"
    );
    if let Ok(entry) = &decoded {
        let mut again = Vec::new();
        encode_entry(entry, &mut again).expect("an entry that was decoded");
        assert_eq!(decode_entry(INDEX, &again).as_ref(), Ok(entry));
    }
    shown(decoded)
}

fn shown<T: Debug, E: Debug>(decoded: Result<T, E>) -> String {
    let text = match decoded {
        Ok(value) => format!("{value:?}"),
        Err(error) => return format!("{error:?}"),
    };
    // Names in a value don't make it another outcome.
    text.chars().filter(|c| c.is_uppercase()).collect()
}

/// A record with the right checksum.
#[must_use]
pub fn sealed(kind: u8, content: &[u8]) -> Vec<u8> {
    let key = match kind {
        0 => INDEX.0.to_be_bytes().to_vec(),
        1 => Vec::new(),
        _ => KEY.as_bytes().to_vec(),
    };
    let mut record = content.to_vec();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&key), &record);
    record.extend_from_slice(&checksum.to_be_bytes());
    record
}

/// Valid records, each with its kind.
///
/// # Panics
/// Never: they are within all limits.
#[must_use]
pub fn examples() -> Vec<(u8, Vec<u8>)> {
    let id = LogId::new(Term(3), INDEX);
    let voter = Member {
        address: "h:1".to_owned(),
        store_id: StoreId(300),
        role: MemberRole::Voter,
    };
    let members = Membership::new([("n2".into(), voter)].into());
    let command = Command {
        session: 1,
        sequence: 2,
        data: "command".into(),
    };
    let payloads = [
        Payload::Noop,
        Payload::Commands(vec![command.clone(), command]),
        Payload::Membership(members.clone()),
    ];
    let mut examples = Vec::new();
    for payload in payloads {
        let mut record = Vec::new();
        let entry = Entry {
            id,
            time_ms: 5,
            payload,
        };
        encode_entry(&entry, &mut record).expect("a small entry");
        examples.push((0, record));
    }
    for membership in [None, Some(members)] {
        let meta = SnapshotMeta {
            last: id,
            time_ms: 5,
            length: 9,
            checksum: 7,
            membership,
            cluster: ClusterState::default(),
        };
        examples.push((1, encode_snapshot_header(&meta)));
    }
    let state = HardState {
        term: Term(4),
        vote: Some("n1".into()),
    };
    let state = encode_hard_state(KEY, &state).expect("a short name");
    let runs = RunHistory {
        number: 9,
        recent: vec![7, 6],
    };
    examples.extend([
        (2, state),
        (3, encode_log_id(KEY, id)),
        (6, encode_runs(KEY, &runs)),
        (8, encode_lease(KEY, Duration::from_secs(1))),
    ]);
    examples
}
