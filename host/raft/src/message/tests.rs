use bytes::Bytes;

use super::check::MessageError;
use super::*;
use crate::entry::{ClusterState, Payload};

fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

fn append(term: u64, previous: LogId, entries: &[LogId]) -> Message {
    let entries = entries.iter().map(|&id| Entry {
        id,
        time_ms: 0,
        payload: Payload::Noop,
    });
    Message::Request(RaftRequest::AppendEntries(AppendEntries {
        term: Term(term),
        leader_id: "a".into(),
        previous,
        entries: entries.collect(),
        leader_commit: Index::ZERO,
        round: 0,
    }))
}

fn chunk(length: u64, offset: u64, data: &'static [u8]) -> Message {
    Message::Request(RaftRequest::InstallSnapshot(InstallSnapshot {
        term: Term(2),
        leader_id: "a".into(),
        meta: SnapshotMeta {
            last: id(2, 9),
            time_ms: 0,
            length,
            checksum: 0,
            membership: None,
            cluster: ClusterState::default(),
        },
        offset,
        data: Bytes::from_static(data),
    }))
}

#[test]
fn consecutive_entries_are_valid() {
    assert_eq!(append(3, id(1, 4), &[id(1, 5), id(3, 6)]).check(), Ok(()));
    assert_eq!(append(3, id(0, 0), &[]).check(), Ok(()));
}

#[test]
fn a_gap_between_entries_is_invalid() {
    let gap = |expected, found| {
        Err(MessageError::Gap {
            expected: Index(expected),
            found: Index(found),
        })
    };
    assert_eq!(append(3, id(1, 4), &[id(1, 6)]).check(), gap(5, 6));
    assert_eq!(
        append(3, id(1, 4), &[id(1, 5), id(1, 5)]).check(),
        gap(6, 5)
    );
    assert_eq!(append(3, id(1, 4), &[id(1, 0)]).check(), gap(5, 0));
}

#[test]
fn decreasing_terms_and_terms_above_the_leaders_are_invalid() {
    let older = append(3, id(2, 4), &[id(1, 5)]);
    assert_eq!(older.check(), Err(MessageError::Term(id(1, 5))));
    let newer = append(3, id(2, 4), &[id(4, 5)]);
    assert_eq!(newer.check(), Err(MessageError::Term(id(4, 5))));
    let previous = append(3, id(4, 4), &[]);
    assert_eq!(previous.check(), Err(MessageError::Term(id(4, 4))));
}

#[test]
fn overflowing_numbers_are_invalid() {
    let over = Err(MessageError::Range(u64::MAX));
    assert_eq!(append(u64::MAX, id(0, 0), &[]).check(), over);
    assert_eq!(append(1, id(1, u64::MAX), &[]).check(), over);
    let vote = |term, last| {
        let vote = RequestVote {
            term: Term(term),
            candidate_id: "a".into(),
            last,
            pre_vote: false,
            transfer: false,
        };
        Message::Request(RaftRequest::RequestVote(vote)).check()
    };
    assert_eq!(vote(7, id(6, 8)), Ok(()));
    assert_eq!(vote(u64::MAX, id(6, 8)), over);
    assert_eq!(vote(7, id(u64::MAX, 8)), over);
    assert_eq!(vote(7, id(6, u64::MAX)), over);
    let matched = AppendEntriesResponse {
        term: Term(1),
        round: u64::MAX,
        result: AppendResult::Matched(Index(u64::MAX)),
    };
    assert_eq!(
        Message::Response(RaftResponse::AppendEntries(matched)).check(),
        over
    );
}

#[test]
fn a_chunk_beyond_the_end_of_its_snapshot_is_invalid() {
    assert_eq!(chunk(5, 0, b"12345").check(), Ok(()));
    assert_eq!(chunk(5, 5, b"").check(), Ok(()));
    assert_eq!(chunk(5, 1, b"12345").check(), Err(MessageError::Chunk));
    assert_eq!(chunk(5, 6, b"").check(), Err(MessageError::Chunk));
    assert_eq!(
        chunk(5, u64::MAX, b"1").check(),
        Err(MessageError::Range(u64::MAX))
    );
}
