//! What peers send: frames with messages, and the first frame of a connection.

use bytes::Bytes;
use oarlock_tests::fuzz::FuzzTarget;
use task_queue_raft::entry::{ClusterState, Command, Entry, Payload, SnapshotMeta};
use task_queue_raft::identity::{History, NodeIdentity, RunHistory};
use task_queue_raft::ids::{Index, Lineage, LogId, StoreId, Term};
use task_queue_raft::message::{AppendEntries, Forward, InstallSnapshot, RaftRequest};
use task_queue_raft::node::frame::{self, FrameLength};
use task_queue_raft::node::hello::{
    Handshake, Hello, HelloExtension, HelloRefusal, HelloRefusalReason,
};
use task_queue_raft::raft::membership::{Member, MemberRole, Membership};

use super::with_checksum;

/// Largest frame.
const LIMIT: usize = 4 << 20;
/// Variants of requests and of responses, and more.
const VARIANTS: u8 = 16;

/// The body of a frame: a request or a response.
pub(super) struct Frame;

fn command(data: &'static [u8]) -> Command {
    Command {
        session: u64::MAX - 1,
        sequence: 300,
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
    let id = LogId::new(Term(3), Index(70_000));
    let entry = |payload| Entry {
        id,
        time_ms: 1_700_000_000_000,
        payload,
    };
    let append = AppendEntries {
        term: Term(3),
        leader_id: "n1".into(),
        previous: LogId::new(Term(3), Index(69_999)),
        entries: vec![
            entry(Payload::Noop),
            entry(Payload::Commands(vec![command(b"one"), command(b"")])),
            entry(Payload::Membership(members())),
        ],
        leader_commit: Index(69_999),
        round: 12,
    };
    let chunk = InstallSnapshot {
        term: Term(4),
        leader_id: "n1".into(),
        meta: SnapshotMeta {
            last: id,
            time_ms: 5,
            length: 9,
            checksum: 0xdead_beef,
            membership: None,
            cluster: ClusterState::default(),
        },
        offset: 3,
        data: Bytes::from_static(b"chunk"),
    };
    let forward = Forward {
        term: Term(4),
        commands: vec![command(b"forwarded")],
    };
    vec![
        RaftRequest::AppendEntries(append),
        RaftRequest::InstallMembers(chunk.clone(), members()),
        RaftRequest::InstallCluster(chunk, members(), ClusterState::default()),
        RaftRequest::Forward(forward),
    ]
}

impl FuzzTarget for Frame {
    fn name(&self) -> &'static str {
        "frame"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for request in requests() {
            let mut seed = Vec::new();
            frame::encode_request(&request, LIMIT, &mut seed).expect("a small request");
            seeds.push(seed);
        }
        // Each variant, with zeros and with ones.
        for variant in 0..VARIANTS {
            for value in [0, 1] {
                let mut message = vec![value; 24];
                message[0] = variant;
                let checksum = crc32c::crc32c(&message).to_be_bytes();
                seeds.push([&[0, 0, 0, 28][..], &message, &checksum].concat());
            }
        }
        seeds
    }

    fn run(&mut self, input: &[u8]) -> String {
        let Some((prefix, body)) = input.split_first_chunk::<4>() else {
            return "short".to_owned();
        };
        let length = frame::decode_length(*prefix, LIMIT);
        if let Ok(FrameLength::Body(length)) = &length {
            assert!(*length <= LIMIT);
        }
        let body = with_checksum(body, crc32c::crc32c);
        let request = frame::decode_request(&body);
        if let Ok(request) = &request {
            let mut again = Vec::new();
            frame::encode_request(request, LIMIT, &mut again).expect("a request that was decoded");
            assert_eq!(
                frame::decode_request(&again[4..]).as_ref().ok(),
                Some(request)
            );
        }
        let response = frame::decode_response(&body);
        if let Ok(response) = &response {
            let mut again = Vec::new();
            frame::encode_response(response, LIMIT, &mut again)
                .expect("a response that was decoded");
            assert_eq!(
                frame::decode_response(&again[4..]).as_ref().ok(),
                Some(response)
            );
        }
        let shown = |kind: Result<String, String>| kind.unwrap_or_else(|error| error);
        format!(
            "{} {} {}",
            shown(
                length
                    .map(|_| "length".to_owned())
                    .map_err(|error| error.to_string())
            ),
            shown(
                request
                    .map(|request| variant(&request))
                    .map_err(|error| chain(&error))
            ),
            shown(
                response
                    .map(|response| variant(&response))
                    .map_err(|error| chain(&error))
            ),
        )
    }
}

/// The name of a variant.
fn variant(message: &impl std::fmt::Debug) -> String {
    let text = format!("{message:?}");
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The first frame of a connection.
pub(super) struct HelloFrame;

impl FuzzTarget for HelloFrame {
    fn name(&self) -> &'static str {
        "hello"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let hello = Hello {
            cluster_id: "prod".into(),
            node_id: "node1".into(),
            peer_id: "node2".into(),
            client_addr: "10.0.0.1:8101".into(),
            extension: None,
        };
        let extension = HelloExtension {
            identity: NodeIdentity {
                store_id: StoreId(0x1122_3344_5566_7788),
                runs: RunHistory {
                    number: 9,
                    recent: vec![7, 6],
                },
                history: History {
                    lineage: Lineage(7),
                    has_log: true,
                },
                cluster_level: 1,
                known_level: 2,
            },
            peer_addr: "h:7101".into(),
        };
        let extended = Hello {
            extension: Some(extension),
            ..hello.clone()
        };
        let refusal = HelloRefusal::new(HelloRefusalReason::UnknownNode, "not a peer");
        [
            Handshake::Hello(hello),
            Handshake::Hello(extended),
            Handshake::Refusal(refusal),
        ]
        .map(|handshake| handshake.encode())
        .to_vec()
    }

    fn run(&mut self, input: &[u8]) -> String {
        let Some((prefix, body)) = input.split_first_chunk::<4>() else {
            return "short".to_owned();
        };
        let length = Handshake::decode_length(*prefix);
        let body = with_checksum(body, crc32c::crc32c);
        let decoded = Handshake::decode(&body);
        if let Ok(handshake) = &decoded {
            let again = handshake.encode();
            assert_eq!(Handshake::decode(&again[4..]).as_ref(), Ok(handshake));
        }
        let shown = match &decoded {
            Ok(handshake) => variant(handshake),
            Err(error) => error.to_string(),
        };
        format!("{} {shown}", length.is_ok())
    }
}
