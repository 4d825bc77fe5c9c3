use bytes::Bytes;

use super::*;
use crate::entry::{ClusterState, Command, Entry, Payload, SnapshotMeta};
use crate::ids::{Index, LogId, NodeId, StoreId, Term};
use crate::message::check::MessageError;
use crate::message::*;
use crate::raft::membership::change::{Change, ChangeError};
use crate::raft::membership::{Member, MemberRole, Membership};

/// A small generator with a fixed seed (xorshift64*), so that a failure repeats.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 56) as u8).collect()
    }
}

fn command(sequence: u64, data: &'static [u8]) -> Command {
    Command {
        session: u64::MAX - 1,
        sequence,
        data: Bytes::from_static(data),
    }
}

fn members() -> Membership {
    let voter = Member {
        address: "h:1".to_owned(),
        store_id: StoreId(300),
        role: MemberRole::Voter,
    };
    Membership::new([("n2".into(), voter)].into())
}

fn requests() -> Vec<RaftRequest> {
    let node = NodeId::from("node1");
    let id = LogId::new(Term(3), Index(70_000));
    let entries = vec![
        Entry {
            id,
            time_ms: 1_700_000_000_000,
            payload: Payload::Noop,
        },
        Entry {
            id: LogId::new(Term(3), Index(70_001)),
            time_ms: 1_700_000_000_001,
            payload: Payload::Commands(vec![command(1, b"one"), command(2, b"")]),
        },
    ];
    let meta = SnapshotMeta {
        last: id,
        time_ms: 5,
        length: 9,
        checksum: 0xdead_beef,
        membership: None,
        cluster: ClusterState::default(),
    };
    let append = AppendEntries {
        term: Term(3),
        leader_id: node.clone(),
        previous: LogId::new(Term(3), Index(69_999)),
        entries,
        leader_commit: Index(69_999),
        round: 12,
    };
    let chunk = InstallSnapshot {
        term: Term(4),
        leader_id: node.clone(),
        meta,
        offset: 3,
        data: Bytes::from_static(b"chunk"),
    };
    vec![
        RaftRequest::AppendEntries(append),
        RaftRequest::RequestVote(RequestVote {
            term: Term(4),
            candidate_id: node.clone(),
            last: id,
            pre_vote: true,
            transfer: false,
        }),
        RaftRequest::InstallSnapshot(chunk.clone()),
        RaftRequest::ReadIndex(ReadIndex {
            term: Term(4),
            id: 8,
        }),
        RaftRequest::Forward(Forward {
            term: Term(4),
            commands: vec![command(7, b"forwarded")],
        }),
        RaftRequest::TimeoutNow(TimeoutNow { term: Term(4) }),
        RaftRequest::InstallMembers(chunk, members()),
        RaftRequest::Admin(ForwardedAdminRequest {
            term: Term(4),
            id: 9,
            timeout_ms: 1000,
            request: AdminRequest::Change(Change::Replace {
                old: "n1".into(),
                new: "n2".into(),
                address: "h:1".to_owned(),
            }),
        }),
        RaftRequest::Admin(ForwardedAdminRequest {
            term: Term(4),
            id: 10,
            timeout_ms: 1000,
            request: AdminRequest::Transfer(None),
        }),
        RaftRequest::Admin(ForwardedAdminRequest {
            term: Term(4),
            id: 11,
            timeout_ms: 1000,
            request: AdminRequest::SendSnapshot("n1".into(), Index(7)),
        }),
    ]
}

fn responses() -> Vec<RaftResponse> {
    let id = LogId::new(Term(3), Index(70_000));
    let append = |result| {
        RaftResponse::AppendEntries(AppendEntriesResponse {
            term: Term(3),
            round: 12,
            result,
        })
    };
    vec![
        append(AppendResult::Matched(Index(5))),
        append(AppendResult::Mismatch {
            rejected: id,
            hint: LogId::new(Term(2), Index(9)),
        }),
        append(AppendResult::Ignored),
        RaftResponse::RequestVote(RequestVoteResponse {
            term: Term(4),
            granted: true,
            pre_vote: false,
        }),
        RaftResponse::InstallSnapshot(InstallSnapshotResponse {
            term: Term(4),
            last: id,
            next_offset: 5,
            installed: false,
        }),
        RaftResponse::ReadIndex(ReadIndexResponse {
            term: Term(4),
            id: 8,
            index: Some(Index(3)),
        }),
        RaftResponse::Forward(ForwardResponse {
            term: Term(4),
            session: 1,
            sequences: vec![1, 2, 300],
            reason: ForwardRefusal::Overloaded,
        }),
        RaftResponse::Admin(AdminResponse {
            term: Term(4),
            id: 9,
            outcome: Ok(Index(300)),
        }),
        RaftResponse::Admin(AdminResponse {
            term: Term(4),
            id: 9,
            outcome: Err(ChangeError::NotCaughtUp {
                node: "n2".into(),
                behind: 12,
            }
            .into()),
        }),
    ]
}

fn frame_of(request: &RaftRequest) -> Vec<u8> {
    let mut out = Vec::new();
    encode_request(request, MAX_FRAME_BYTES, &mut out).unwrap();
    out
}

/// The body of a frame with a valid checksum around any bytes.
fn sealed(message: &[u8]) -> Vec<u8> {
    let mut body = message.to_vec();
    body.extend_from_slice(&crc32c::crc32c(message).to_be_bytes());
    body
}

#[test]
fn each_request_and_response_decodes_to_what_was_encoded() {
    for request in requests() {
        let frame = frame_of(&request);
        let (prefix, body) = frame.split_first_chunk().unwrap();
        assert_eq!(
            decode_length(*prefix, MAX_FRAME_BYTES).unwrap(),
            FrameLength::Body(body.len())
        );
        assert_eq!(decode_request(body).unwrap(), request);
    }
    for response in responses() {
        let mut frame = Vec::new();
        encode_response(&response, MAX_FRAME_BYTES, &mut frame).unwrap();
        assert_eq!(decode_response(&frame[LENGTH_BYTES..]).unwrap(), response);
    }
}

#[test]
fn a_frame_has_the_documented_bytes() {
    let frame = frame_of(&RaftRequest::ReadIndex(ReadIndex {
        term: Term(4),
        id: 300,
    }));
    // Variant 3, term 4, id 300 as 251 and a little-endian u16.
    let message = [3, 4, 251, 44, 1];
    assert_eq!(frame[..LENGTH_BYTES], [0, 0, 0, 9]);
    assert_eq!(frame[LENGTH_BYTES..], sealed(&message));
}

#[test]
fn later_messages_have_the_documented_bytes() {
    let entry = Entry {
        id: LogId::new(Term(3), Index(5)),
        time_ms: 6,
        payload: Payload::Membership(members()),
    };
    let append = AppendEntries {
        term: Term(3),
        leader_id: "n1".into(),
        previous: LogId::new(Term(3), Index(4)),
        entries: vec![entry],
        leader_commit: Index(4),
        round: 1,
    };
    let members = [1, 2, b'n', b'2', 3, b'h', b':', b'1', 251, 44, 1, 1];
    let message = [
        &[0, 3, 2, b'n', b'1', 3, 4, 1, 3, 5, 6, 2][..],
        &members,
        &[4, 1],
    ];
    let frame = frame_of(&RaftRequest::AppendEntries(append));
    assert_eq!(frame[LENGTH_BYTES..], sealed(&message.concat()));

    let order = ForwardedAdminRequest {
        term: Term(4),
        id: 9,
        timeout_ms: 100,
        request: AdminRequest::Transfer(Some("n2".into())),
    };
    let message = [7, 4, 9, 100, 1, 1, 2, b'n', b'2'];
    assert_eq!(
        frame_of(&RaftRequest::Admin(order))[LENGTH_BYTES..],
        sealed(&message)
    );
}

#[test]
fn frames_are_appended_in_sequence() {
    let mut out = Vec::new();
    for request in requests() {
        encode_request(&request, MAX_FRAME_BYTES, &mut out).unwrap();
    }
    let mut rest = &out[..];
    let mut read = Vec::new();
    while let Some((prefix, tail)) = rest.split_first_chunk() {
        let FrameLength::Body(length) = decode_length(*prefix, MAX_FRAME_BYTES).unwrap() else {
            panic!("a message became a keep-alive");
        };
        read.push(decode_request(&tail[..length]).unwrap());
        rest = &tail[length..];
    }
    assert_eq!(read, requests());
}

#[test]
fn a_message_over_the_limit_is_refused_and_leaves_the_buffer_unchanged() {
    let request = &requests()[0];
    let length = frame_of(request).len() - LENGTH_BYTES;
    let mut out = b"before".to_vec();
    let error = encode_request(request, length - 1, &mut out).unwrap_err();
    assert!(
        matches!(error, FrameError::TooLong { length: l, limit } if l == length && limit == length - 1)
    );
    assert_eq!(out, b"before");
    encode_request(request, length, &mut out).unwrap();
}

#[test]
fn a_length_over_the_limit_or_too_short_for_a_message_is_refused() {
    assert!(matches!(
        decode_length([0, 0, 0, 0], 100),
        Ok(FrameLength::KeepAlive)
    ));
    assert!(matches!(
        decode_length([0, 0, 0, 100], 100),
        Ok(FrameLength::Body(100))
    ));
    assert!(matches!(
        decode_length([0, 0, 0, 101], 100),
        Err(FrameError::TooLong {
            length: 101,
            limit: 100
        })
    ));
    assert!(matches!(
        decode_length([255; 4], MAX_FRAME_BYTES),
        Err(FrameError::TooLong { .. })
    ));
    for length in 1..=4 {
        assert!(matches!(
            decode_length([0, 0, 0, length], 100),
            Err(FrameError::TooShort { .. })
        ));
    }
}

#[test]
fn every_truncation_is_an_error() {
    for request in requests() {
        let frame = frame_of(&request);
        let body = &frame[LENGTH_BYTES..];
        for cut in 0..body.len() {
            assert!(
                decode_request(&body[..cut]).is_err(),
                "{request:?} cut to {cut}"
            );
            // Also with a valid checksum for the shorter content.
            let cut = cut.saturating_sub(CHECKSUM_BYTES);
            let shorter = &body[..cut];
            assert!(
                decode_request(&sealed(shorter)).is_err(),
                "{request:?} sealed at {cut}"
            );
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    for request in requests() {
        let frame = frame_of(&request);
        let mut body = frame[LENGTH_BYTES..].to_vec();
        for bit in 0..body.len() * 8 {
            body[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(decode_request(&body), Err(FrameError::Checksum { .. })),
                "{request:?} bit {bit}"
            );
            body[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn bytes_after_the_message_are_an_error() {
    for request in requests() {
        let frame = frame_of(&request);
        let mut message = frame[LENGTH_BYTES..frame.len() - CHECKSUM_BYTES].to_vec();
        message.push(0);
        assert!(matches!(
            decode_request(&sealed(&message)),
            Err(FrameError::TrailingBytes { extra: 1 })
        ));
    }
}

#[test]
fn random_bytes_with_a_valid_checksum_are_an_error_or_a_valid_message() {
    let mut random = Xorshift(0x0a71_0c4b);
    let (mut refused, mut read) = (0, 0);
    for _ in 0..20_000 {
        let length = (random.next() % 200) as usize;
        let mut message = random.bytes(length);
        if let Some(first) = message.first_mut() {
            *first %= 7; // Mostly a known variant, so that its fields are decoded too.
        }
        match decode_request(&sealed(&message)) {
            Ok(request) => {
                read += 1;
                assert_eq!(
                    decode_request(&frame_of(&request)[LENGTH_BYTES..]).unwrap(),
                    request
                );
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        refused > 1_000 && read > 0,
        "refused {refused}, read {read}: these bytes test too little"
    );
}

#[test]
fn a_false_length_inside_a_frame_is_an_error() {
    // InstallSnapshot whose data claims 2^40 bytes.
    let mut message = vec![2, 4, 1, b'n', 3, 7, 5, 9, 1, 0, 253];
    message.extend_from_slice(&(1_u64 << 40).to_le_bytes());
    assert!(matches!(
        decode_request(&sealed(&message)),
        Err(FrameError::Decode(DecodeError::LimitExceeded))
    ));
}

#[test]
fn a_frame_of_many_small_commands_fits_its_decoding_limit() {
    // Each command has three bytes on the wire and counts for far more in memory.
    let commands = (0..400_000)
        .map(|_| Command {
            session: 1,
            sequence: 1,
            data: Bytes::new(),
        })
        .collect();
    let request = RaftRequest::Forward(Forward {
        term: Term(1),
        commands,
    });
    let frame = frame_of(&request);
    assert_eq!(decode_request(&frame[LENGTH_BYTES..]).unwrap(), request);
}

#[test]
fn a_message_with_contradicting_fields_is_an_error() {
    let mut requests = requests();
    let RaftRequest::AppendEntries(append) = &mut requests[0] else {
        panic!("the first one is an AppendEntries");
    };
    append.previous.index = Index(5);
    let frame = frame_of(&requests[0]);
    let error = decode_request(&frame[LENGTH_BYTES..]).unwrap_err();
    assert!(
        matches!(error, FrameError::Senseless(MessageError::Gap { .. })),
        "{error}"
    );
}
/// Frames of the first version, explained in `host/docs/formats-wire.md`. Every version with the same protocol number
/// must read and write exactly these bytes.
const REQUESTS: [&str; 10] = [
    // AppendEntries: term 3, "node1", previous 3/69999, two entries, commit 69999, round 12.
    "00000053 00 03 056e6f646531 03 fc6f110100 02
     03 fc70110100 fd0068e5cf8b010000 00
     03 fc71110100 fd0168e5cf8b010000 01 02
     fdfeffffffffffffff 01 036f6e65
     fdfeffffffffffffff 02 00
     fc6f110100 0c 69905952",
    // RequestVote: term 4, "node1", last 3/70000, a pre-vote, no transfer.
    "00000014 01 04 056e6f646531 03 fc70110100 01 00 5d04656f",
    // InstallSnapshot: term 4, "node1", of 3/70000, time 5, length 9, checksum, offset 3, "chunk".
    "00000020 02 04 056e6f646531 03 fc70110100 05 09 fcefbeadde 03 056368756e6b a8841274",
    // ReadIndex: term 4, id 8.
    "00000007 03 04 08 4e195a1a",
    // Forward: term 4, one command.
    "0000001b 04 04 01 fdfeffffffffffffff 07 09666f72776172646564 a1c34f1c",
    // TimeoutNow: term 4.
    "00000006 05 04 6bd31966",
    // InstallMembers: the InstallSnapshot above, and the one voter n2 at h:1 with store 300.
    "0000002c 06 04 056e6f646531 03 fc70110100 05 09 fcefbeadde 03 056368756e6b 01 026e32 03683a31 fb2c01 01 cb6ce3be",
    // Request 9 of term 4, a timeout of 1000 ms: replace n1 by n2 at h:1.
    "00000016 07 04 09 fbe803 00 04 026e31 026e32 03683a31 a01f9427",
    // Request 10: transfer, to anyone.
    "0000000c 07 04 0a fbe803 01 00 09dda321",
    // Request 11: a snapshot for n1, of entry 7 or of a later one.
    "0000000f 07 04 0b fbe803 02 026e31 07 b3b8ce3e",
];
const RESPONSES: [&str; 9] = [
    // AppendEntries: term 3, round 12; matched 5, mismatch at 3/70000 with hint 2/9, ignored.
    "00000009 00 03 0c 00 05 b42e71cf",
    "00000010 00 03 0c 01 03 fc70110100 02 09 66ba6eed",
    "00000008 00 03 0c 02 90ec5927",
    // RequestVote: term 4, granted, no pre-vote.
    "00000008 01 04 01 00 185edd12",
    // InstallSnapshot: term 4, of 3/70000, next offset 5, not installed.
    "0000000e 02 04 03 fc70110100 05 00 cca05ca9",
    // ReadIndex: term 4, id 8, index 3.
    "00000009 03 04 08 01 03 4ec0a274",
    // Forward: term 4, session 1, three sequences, overloaded.
    "0000000e 04 04 01 03 01 02 fb2c01 01 857758ef",
    // Request 9 of term 4: in effect at 300.
    "0000000b 05 04 09 00 fb2c01 68fb9de9",
    // Request 9 of term 4: n2 is 12 behind.
    "0000000e 05 04 09 01 00 02 026e32 0c 9ce1cb34",
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let text = |pair: &[u8]| String::from_utf8(pair.to_vec()).unwrap();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&text(pair), 16).unwrap())
        .collect()
}

#[test]
fn each_request_has_the_documented_bytes() {
    for (request, bytes) in requests().iter().zip(REQUESTS) {
        assert_eq!(frame_of(request), hex(bytes), "{request:?}");
        assert_eq!(
            decode_request(&hex(bytes)[LENGTH_BYTES..]).unwrap(),
            *request
        );
    }
    assert_eq!(requests().len(), REQUESTS.len());
}

#[test]
fn each_response_has_the_documented_bytes() {
    for (response, bytes) in responses().iter().zip(RESPONSES) {
        let mut frame = Vec::new();
        encode_response(response, MAX_FRAME_BYTES, &mut frame).unwrap();
        assert_eq!(frame, hex(bytes), "{response:?}");
        assert_eq!(
            decode_response(&hex(bytes)[LENGTH_BYTES..]).unwrap(),
            *response
        );
    }
    assert_eq!(responses().len(), RESPONSES.len());
}
