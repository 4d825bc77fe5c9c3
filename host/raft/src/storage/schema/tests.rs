use std::path::Path;

use bytes::Bytes;

use super::entry::{CheckedEntry, MAX_ENTRY_BYTES, entry_key, record_bytes};
use super::record::{CHECKSUM_BYTES, seal};
use super::*;
use crate::entry::{ClusterRecord, ClusterState, Command, Entry, HardState, Payload, SnapshotMeta};
use crate::identity::{MetPeer, RunHistory};
use crate::ids::{Index, Lineage, LogId, NodeId, StoreId, Term};
use crate::raft::membership::{MAX_ADDRESS_BYTES, MAX_MEMBERS, Member, MemberRole, Membership};
use crate::storage::StoreState;

/// The bytes in `host/docs/formats.md`, made by another program.
const ENTRY: &str = "
    01 0000000000000007 0000018bcfe5687b 01 00000002
    1122334455667788 0000000000000001 00000005 68656c6c6f
    1122334455667788 0000000000000002 00000000
    5c765765";
const NOOP_ENTRY: &str = "01 0000000000000001 0000000000000000 00 ad92ecff";
const VOTED: &str = "01 0000000000000009 01 00000006 6e6f64652d32 c2d7b21c";
const NOT_VOTED: &str = "01 0000000000000000 00 d21bd56b";
const PURGED: &str = "01 0000000000000003 000000000000002a c368fc43";
const IDENTITY: &str = "01 00000001 00000006 6e6f64652d31 00000004 74657374 849261b4";
const SNAPSHOT_HEADER: &str = "
    4f41524c534e4150 00000001 0000000000000003 000000000000002a
    0000018bcfe5687b 0000000000000005 66db68df fd1eb185";

const MEMBERS_ENTRY: &str = "
    01 0000000000000007 0000018bcfe5687b 02 00000002
    00000002 6e31 00000006 683a37313031 1122334455667788 01
    00000002 6e32 00000000 0000000000000000 00
    23052411";
const MEMBERS_SNAPSHOT_HEADER: &str = "
    4f41524c534e4150 00000002 0000000000000003 000000000000002a
    0000018bcfe5687b 0000000000000005 66db68df f95d5592
    00000030 00000002 00000002 6e31 00000006 683a37313031 1122334455667788 01
    00000002 6e32 00000000 0000000000000000 00 b3be489d";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn entry() -> Entry {
    let command = |sequence, data| Command {
        session: 0x1122_3344_5566_7788,
        sequence,
        data: Bytes::from_static(data),
    };
    Entry {
        id: LogId::new(Term(7), Index(300)),
        time_ms: 1_700_000_000_123,
        payload: Payload::Commands(vec![command(1, b"hello"), command(2, b"")]),
    }
}

fn noop() -> Entry {
    Entry {
        id: LogId::new(Term(1), Index(1)),
        time_ms: 0,
        payload: Payload::Noop,
    }
}

fn members() -> Membership {
    let member = |address: &str, store_id, role| Member {
        address: address.to_owned(),
        store_id,
        role,
    };
    let voter = member("h:7101", StoreId(0x1122_3344_5566_7788), MemberRole::Voter);
    let learner = member("", StoreId::NONE, MemberRole::Learner);
    Membership::new([("n1".into(), voter), ("n2".into(), learner)].into())
}

fn members_entry() -> Entry {
    Entry {
        id: LogId::new(Term(7), Index(301)),
        time_ms: 1_700_000_000_123,
        payload: Payload::Membership(members()),
    }
}

fn cluster_entry() -> Entry {
    Entry {
        id: LogId::new(Term(0), Index(1)),
        time_ms: 0,
        payload: Payload::Cluster(Box::new(ClusterRecord {
            level: 1,
            lineage: Lineage(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            membership: members(),
            settings: Bytes::from_static(b"settings"),
        })),
    }
}

fn encoded(entry: &Entry) -> Vec<u8> {
    let mut record = b"previous content".to_vec();
    encode_entry(entry, &mut record).unwrap();
    record
}

fn snapshot() -> SnapshotMeta {
    SnapshotMeta {
        last: LogId::new(Term(3), Index(42)),
        time_ms: 1_700_000_000_123,
        length: 5,
        checksum: crc32c::crc32c(b"state"),
        membership: None,
        cluster: ClusterState::default(),
    }
}

/// A record with a valid checksum and any content.
fn sealed(key: &[u8], content: &str) -> Vec<u8> {
    let mut record = hex(content);
    seal(key, &mut record);
    record
}

#[test]
fn an_entry_has_the_documented_bytes() {
    assert_eq!(encoded(&entry()), hex(ENTRY));
    assert_eq!(decode_entry(Index(300), &hex(ENTRY)), Ok(entry()));
    assert_eq!(encoded(&noop()), hex(NOOP_ENTRY));
    assert_eq!(decode_entry(Index(1), &hex(NOOP_ENTRY)), Ok(noop()));
}

#[test]
fn term_and_vote_have_the_documented_bytes() {
    let voted = HardState {
        term: Term(9),
        vote: Some("node-2".into()),
    };
    for (state, bytes) in [(voted, VOTED), (HardState::default(), NOT_VOTED)] {
        assert_eq!(encode_hard_state("hard_state", &state).unwrap(), hex(bytes));
        assert_eq!(decode_hard_state("hard_state", &hex(bytes)), Ok(state));
    }
}

#[test]
fn the_purged_entry_has_the_documented_bytes() {
    let id = LogId::new(Term(3), Index(42));
    assert_eq!(encode_log_id("purged", id), hex(PURGED));
    assert_eq!(decode_log_id("purged", &hex(PURGED)), Ok(id));
}

#[test]
fn the_store_state_has_the_documented_bytes() {
    let bytes = "01 1122334455667788 01 ec7e5522";
    let init = StoreInit {
        store_id: StoreId(0x1122_3344_5566_7788),
        state: StoreState::New,
    };
    assert_eq!(encode_store_init("memory", init), hex(bytes));
    assert_eq!(decode_store_init("memory", &hex(bytes)), Ok(init));
    for state in [StoreState::Complete, StoreState::Incomplete] {
        let init = StoreInit { state, ..init };
        let record = encode_store_init("memory", init);
        assert_eq!(decode_store_init("memory", &record), Ok(init));
    }
    let other = sealed(b"memory", "01 1122334455667788 03");
    assert_eq!(
        decode_store_init("memory", &other),
        Err(RecordError::Kind(3)),
        "an unknown value is not taken for complete"
    );
}

#[test]
fn a_rejoining_member_is_decoded() {
    let member = Member {
        address: "h:7101".to_owned(),
        store_id: StoreId(7),
        role: MemberRole::Rejoining,
    };
    let returning = Membership::new([("n1".into(), member)].into());
    let entry = Entry {
        payload: Payload::Membership(returning),
        ..noop()
    };
    assert_eq!(decode_entry(Index(1), &encoded(&entry)), Ok(entry));
}

#[test]
fn the_identity_has_the_documented_bytes() {
    let identity = Identity {
        node_id: "node-1".into(),
        cluster_id: "test".to_owned(),
    };
    assert_eq!(
        encode_identity("identity", 1, &identity).unwrap(),
        hex(IDENTITY)
    );
    assert_eq!(
        decode_identity("identity", &hex(IDENTITY)),
        Ok((1, identity))
    );
}

#[test]
fn a_snapshot_header_has_the_documented_bytes() {
    let bytes: [u8; SNAPSHOT_HEADER_BYTES] = hex(SNAPSHOT_HEADER).try_into().unwrap();
    assert_eq!(encode_snapshot_header(&snapshot()), bytes);
    assert_eq!(decode_snapshot_header(&bytes), Ok(snapshot()));
}

#[test]
fn every_flipped_bit_of_a_record_is_detected() {
    let record = hex(ENTRY);
    for at in 0..record.len() {
        for bit in 0..8 {
            let mut corrupt = record.clone();
            corrupt[at] ^= 1 << bit;
            let found = decode_entry(Index(300), &corrupt);
            assert_eq!(found, Err(RecordError::Checksum), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_snapshot_header_is_detected() {
    let header = encode_snapshot_header(&snapshot());
    for at in 0..header.len() {
        let mut corrupt = header.clone();
        corrupt[at] ^= 0x10;
        let expected = if at < 8 {
            RecordError::Magic
        } else {
            RecordError::Checksum
        };
        assert_eq!(decode_snapshot_header(&corrupt), Err(expected), "byte {at}");
    }
}

#[test]
fn every_truncated_record_is_detected() {
    let record = hex(ENTRY);
    for length in 0..record.len() {
        assert!(
            decode_entry(Index(300), &record[..length]).is_err(),
            "{length} bytes"
        );
    }
}

#[test]
fn a_record_under_another_key_is_not_decoded() {
    assert_eq!(
        decode_entry(Index(301), &hex(ENTRY)),
        Err(RecordError::Checksum)
    );
    assert_eq!(
        decode_hard_state("identity", &hex(VOTED)),
        Err(RecordError::Checksum)
    );
    assert_eq!(
        decode_log_id("other", &hex(PURGED)),
        Err(RecordError::Checksum)
    );
}

#[test]
fn a_record_of_a_later_version_is_not_reported_as_corrupt() {
    let later = sealed(&300_u64.to_be_bytes(), "02 0000");
    assert_eq!(
        decode_entry(Index(300), &later),
        Err(RecordError::TooNew { found: 2, known: 1 })
    );
    let later = sealed(b"identity", "01 00000005 ffff");
    assert_eq!(
        decode_identity("identity", &later),
        Err(RecordError::TooNew { found: 5, known: 4 })
    );
    let error = RecordError::TooNew { found: 2, known: 1 }.of("entry 300", Path::new("raft.redb"));
    assert_eq!(
        error.to_string(),
        "raft.redb has format 2, and this version reads up to 1: run a newer release of oarlock"
    );
}

#[test]
fn content_with_a_valid_checksum_is_checked_too() {
    let key = 5_u64.to_be_bytes();
    let begin = "01 0000000000000001 0000000000000000";
    let cases = [
        ("04", RecordError::Kind(4)),
        // A cluster record without its bytes.
        ("03", RecordError::CutShort),
        ("03 00000001", RecordError::CutShort),
        // A configuration without its bytes.
        ("02", RecordError::CutShort),
        ("02 ffffffff", RecordError::CutShort),
        ("00 ff", RecordError::LeftOver(1)),
        // 4 billion commands in 0 bytes.
        ("01 ffffffff", RecordError::CutShort),
        // One command whose data is longer than the record.
        (
            "01 00000001 0000000000000001 0000000000000001 00000009 aa",
            RecordError::CutShort,
        ),
        ("01 00000001 0000000000000001", RecordError::CutShort),
    ];
    for (rest, expected) in cases {
        let record = sealed(&key, &format!("{begin} {rest}"));
        assert_eq!(decode_entry(Index(5), &record), Err(expected), "{rest}");
    }
    let not_text = sealed(b"hard_state", "01 0000000000000001 01 00000002 ff00");
    assert_eq!(
        decode_hard_state("hard_state", &not_text),
        Err(RecordError::Name)
    );
    let not_a_flag = sealed(b"hard_state", "01 0000000000000001 02");
    assert_eq!(
        decode_hard_state("hard_state", &not_a_flag),
        Err(RecordError::Kind(2))
    );
}

#[test]
fn an_entry_is_checked_as_strictly_as_it_is_decoded() {
    let read = |index, record: &[u8]| match decode_entry(index, record) {
        Ok(entry) => Ok(CheckedEntry {
            id: entry.id,
            membership: entry.payload.membership().cloned(),
            cluster: entry.payload.cluster().cloned(),
        }),
        Err(error) => Err(error.to_string()),
    };
    let check =
        |index, record: &[u8]| check_entry(index, record).map_err(|error| error.to_string());
    let mut refused = 0;
    for entry in [entry(), noop(), members_entry(), cluster_entry()] {
        let (index, record) = (entry.id.index, encoded(&entry));
        assert_eq!(check(index, &record), Ok(read(index, &record).unwrap()));
        let content = &record[..record.len() - CHECKSUM_BYTES];
        // Any content under a valid checksum: each byte changed, every truncation, one extra byte.
        let changed = (0..content.len()).flat_map(|at| {
            [0_u8, 1, 2, 3, 0x80, 0xff].map(|byte| {
                let mut content = content.to_vec();
                content[at] = byte;
                content
            })
        });
        let cut = (0..content.len()).map(|end| content[..end].to_vec());
        let longer = [[content, b"x"].concat()];
        for mut content in changed.chain(cut).chain(longer) {
            seal(&entry_key(index), &mut content);
            let read = read(index, &content);
            assert_eq!(check(index, &content), read, "{content:02x?}");
            refused += u32::from(read.is_err());
        }
    }
    assert!(refused > 100, "only {refused} were refused");
}

#[test]
fn the_computed_size_of_an_entry_is_right() {
    assert_eq!(record_bytes(&entry()), encoded(&entry()).len() as u64);
    assert_eq!(record_bytes(&noop()), encoded(&noop()).len() as u64);
}

#[test]
fn an_entry_over_the_limit_is_refused_by_name() {
    let data = Bytes::from(vec![0; usize::try_from(MAX_ENTRY_BYTES).unwrap() / 4]);
    let commands = (0..4).map(|sequence| Command {
        session: 0,
        sequence,
        data: data.clone(),
    });
    let entry = Entry {
        payload: Payload::Commands(commands.collect()),
        ..entry()
    };
    let error = encode_entry(&entry, &mut Vec::new()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("entry 300 has 268435562 bytes"),
        "{error}"
    );
}

#[test]
fn an_entry_with_members_has_the_documented_bytes() {
    assert_eq!(encoded(&members_entry()), hex(MEMBERS_ENTRY));
    assert_eq!(
        decode_entry(Index(301), &hex(MEMBERS_ENTRY)),
        Ok(members_entry())
    );
}

#[test]
fn a_snapshot_header_with_members_has_the_documented_bytes() {
    let meta = SnapshotMeta {
        membership: Some(members()),
        ..snapshot()
    };
    let header = encode_snapshot_header(&meta);
    assert_eq!(header, hex(MEMBERS_SNAPSHOT_HEADER));
    assert_eq!(snapshot_header_bytes(&meta), header.len() as u64);
    // The state machine's bytes follow the header.
    let file = [&header[..], b"state"].concat();
    assert_eq!(decode_snapshot_header(&file), Ok(meta));
}

#[test]
fn every_flipped_bit_and_truncation_of_the_members_is_detected() {
    let header = hex(MEMBERS_SNAPSHOT_HEADER);
    for at in SNAPSHOT_HEADER_BYTES..header.len() {
        let mut corrupt = header.clone();
        corrupt[at] ^= 0x10;
        assert!(decode_snapshot_header(&corrupt).is_err(), "byte {at}");
        assert_eq!(
            decode_snapshot_header(&header[..at]),
            Err(RecordError::CutShort),
            "{at} bytes"
        );
    }
    // The configuration of another snapshot is refused.
    let mut other = encode_snapshot_header(&SnapshotMeta {
        membership: Some(members()),
        length: 6,
        ..snapshot()
    });
    other.truncate(SNAPSHOT_HEADER_BYTES);
    other.extend_from_slice(&header[SNAPSHOT_HEADER_BYTES..]);
    assert_eq!(decode_snapshot_header(&other), Err(RecordError::Checksum));
}

#[test]
fn the_longest_configuration_fits_the_longest_header() {
    let member = |number| {
        let member = Member {
            address: "a".repeat(MAX_ADDRESS_BYTES),
            store_id: StoreId(u64::MAX),
            role: MemberRole::Voter,
        };
        (NodeId::from(format!("{number:0>255}")), member)
    };
    let meta = SnapshotMeta {
        membership: Some(Membership::new((0..2 * MAX_MEMBERS).map(member).collect())),
        ..snapshot()
    };
    let header = encode_snapshot_header(&meta);
    assert!(header.len() <= MAX_SNAPSHOT_HEADER_BYTES);
    assert_eq!(decode_snapshot_header(&header), Ok(meta));
}

#[test]
fn a_cluster_record_has_the_documented_bytes() {
    const CLUSTER_ENTRY: &str = "
        01 0000000000000000 0000000000000000 03 00000001
        00112233445566778899aabbccddeeff 00000008 73657474696e6773 00000002
        00000002 6e31 00000006 683a37313031 1122334455667788 01
        00000002 6e32 00000000 0000000000000000 00";
    let expected = sealed(&1_u64.to_be_bytes(), CLUSTER_ENTRY);
    assert_eq!(encoded(&cluster_entry()), expected);
    assert_eq!(decode_entry(Index(1), &expected), Ok(cluster_entry()));
}

#[test]
fn a_snapshot_above_level_0_has_the_documented_header() {
    let meta = SnapshotMeta {
        membership: Some(members()),
        cluster: ClusterState {
            level: 1,
            lineage: Lineage(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        },
        ..snapshot()
    };
    let fields = sealed(
        &[],
        "4f41524c534e4150 00000003 0000000000000003 000000000000002a
        0000018bcfe5687b 0000000000000005 66db68df",
    );
    let record = sealed(
        &fields,
        "00000044 00000001 00112233445566778899aabbccddeeff 00000002
        00000002 6e31 00000006 683a37313031 1122334455667788 01
        00000002 6e32 00000000 0000000000000000 00",
    );
    let expected = [fields, record].concat();
    assert_eq!(encode_snapshot_header(&meta), expected);
    assert_eq!(snapshot_header_bytes(&meta), expected.len() as u64);
    assert_eq!(decode_snapshot_header(&expected), Ok(meta));
}

#[test]
fn runs_and_met_peers_have_the_documented_bytes() {
    let runs = RunHistory {
        number: 9,
        recent: vec![7, 6],
    };
    let bytes = sealed(
        b"runs",
        "01 0000000000000009 00000002 0000000000000007 0000000000000006",
    );
    assert_eq!(encode_runs("runs", &runs), bytes);
    assert_eq!(decode_runs("runs", &bytes), Ok(runs));
    let false_count = sealed(b"runs", "01 0000000000000009 ffffffff");
    assert_eq!(
        decode_runs("runs", &false_count),
        Err(RecordError::CutShort)
    );

    let peer = MetPeer {
        store_id: StoreId(5),
        number: 9,
        run: 7,
        replaced: vec![StoreId(4)],
    };
    let met = vec![(NodeId::from("n1"), peer)];
    let bytes = sealed(
        b"met",
        "01 00000001 00000002 6e31 0000000000000005 0000000000000009 0000000000000007
        00000001 0000000000000004",
    );
    assert_eq!(encode_met("met", &met).unwrap(), bytes);
    assert_eq!(decode_met("met", &bytes), Ok(met));
}
