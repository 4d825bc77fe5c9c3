//! How states, messages, entries and snapshots are written in a script's output.

use task_queue_raft::entry::{Entry, Payload};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, InstallSnapshot, InstallSnapshotResponse,
    Message, RaftRequest, RaftResponse, RequestVote, RequestVoteResponse,
};
use task_queue_raft::raft::membership::{Member, MemberRole, Membership};
use task_queue_raft::raft::progress::{Progress, ProgressState};
use task_queue_raft::raft::{Core, Role};
use task_queue_raft::storage::WriteBatch;

/// `1/3 "x" "y"`.
pub(super) fn entry(entry: &Entry) -> String {
    let payload = match &entry.payload {
        Payload::Commands(commands) => commands
            .iter()
            .map(|command| format!("{:?}", String::from_utf8_lossy(&command.data)))
            .collect::<Vec<_>>()
            .join(" "),
        Payload::Membership(membership) => members(membership),
        Payload::Cluster(record) => format!(
            "level {}, lineage {}, {}",
            record.level,
            record.lineage,
            members(&record.membership)
        ),
        Payload::Noop => "noop".to_owned(),
    };
    format!("{} {payload}", entry.id)
}

/// `members 1 2 3 4 (learner)`; who only votes has nothing behind its name.
pub(super) fn members(membership: &Membership) -> String {
    let member = |(id, member): (&NodeId, &Member)| {
        let role = match member.role {
            MemberRole::Voter => "",
            MemberRole::Learner => " (learner)",
            MemberRole::Incoming => " (incoming)",
            MemberRole::Leaving => " (leaving)",
            MemberRole::Demoted => " (becomes a learner)",
            MemberRole::Rejoining => " (returning)",
        };
        format!("{id}{role}")
    };
    let all: Vec<_> = membership.members().iter().map(member).collect();
    format!("members {}", all.join(", "))
}

/// `[1/3 "x", 1/4 noop]`.
pub(super) fn entries(all: &[Entry]) -> String {
    let all: Vec<_> = all.iter().map(entry).collect();
    format!("[{}]", all.join(", "))
}

/// A message as its sender and its receiver see it.
pub(super) fn message(message: &Message) -> String {
    match message {
        Message::Request(RaftRequest::AppendEntries(append)) => self::append(append),
        Message::Response(RaftResponse::AppendEntries(answer)) => appended(answer),
        Message::Response(RaftResponse::LeaseGranted(answer, ms)) => {
            format!("{}, promised {ms} ms", appended(answer))
        }
        Message::Request(RaftRequest::RequestVote(request)) => ask(request),
        Message::Response(RaftResponse::RequestVote(answer)) => vote(answer),
        Message::Request(RaftRequest::InstallSnapshot(chunk)) => self::chunk(chunk),
        Message::Response(RaftResponse::InstallSnapshot(answer)) => reached(answer),
        Message::Request(RaftRequest::ReadIndex(read)) => {
            format!("read #{}? t{}", read.id, read.term)
        }
        Message::Response(RaftResponse::ReadIndex(answer)) => {
            let index = answer
                .index
                .map_or("unknown".to_owned(), |index| index.to_string());
            format!("read #{} t{}, from {index}", answer.id, answer.term)
        }
        Message::Request(RaftRequest::InstallMembers(chunk, membership)) => {
            format!("{}, {}", self::chunk(chunk), members(membership))
        }
        Message::Request(RaftRequest::TimeoutNow(order)) => {
            format!("campaign now! t{}", order.term)
        }
        Message::Request(other) => format!("{other:?}"),
        Message::Response(other) => format!("{other:?}"),
    }
}

fn append(append: &AppendEntries) -> String {
    let round = match append.round {
        0 => String::new(),
        round => format!(", round {round}"),
    };
    format!(
        "append t{} after {} {}, commit {}{round}",
        append.term,
        append.previous,
        entries(&append.entries),
        append.leader_commit
    )
}

fn appended(answer: &AppendEntriesResponse) -> String {
    let round = match answer.round {
        0 => String::new(),
        round => format!(", round {round}"),
    };
    match answer.result {
        AppendResult::Matched(index) => {
            format!("append t{} matches up to {index}{round}", answer.term)
        }
        AppendResult::Mismatch { rejected, hint } => {
            format!(
                "append t{} mismatches at {rejected}, at most {hint}{round}",
                answer.term
            )
        }
        AppendResult::Ignored => format!("append is old, now t{}{round}", answer.term),
    }
}

fn ask(request: &RequestVote) -> String {
    let kind = if request.pre_vote { "pre-vote" } else { "vote" };
    let order = if request.transfer {
        ", by the leader's order"
    } else {
        ""
    };
    format!("{kind}? t{}, last {}{order}", request.term, request.last)
}

fn vote(answer: &RequestVoteResponse) -> String {
    let kind = if answer.pre_vote { "pre-vote" } else { "vote" };
    let granted = if answer.granted { "yes" } else { "no" };
    format!("{kind} t{}, {granted}", answer.term)
}

fn chunk(chunk: &InstallSnapshot) -> String {
    format!(
        "snapshot t{} of {}, bytes {}..{} of {}",
        chunk.term,
        chunk.meta.last,
        chunk.offset,
        chunk.offset + chunk.data.len() as u64,
        chunk.meta.length
    )
}

fn reached(answer: &InstallSnapshotResponse) -> String {
    let installed = if answer.installed { ", installed" } else { "" };
    format!(
        "snapshot t{} of {}, next byte {}{installed}",
        answer.term, answer.last, answer.next_offset
    )
}

/// What a write holds.
pub(super) fn batch(batch: &WriteBatch) -> String {
    let mut parts = Vec::new();
    if let Some(state) = &batch.hard_state {
        parts.push(format!(
            "t{} vote {}",
            state.term,
            name(state.vote.as_ref())
        ));
    }
    if let Some(from) = batch.truncate_from {
        parts.push(format!("without {from} and after"));
    }
    if !batch.entries.is_empty() {
        parts.push(entries(&batch.entries));
    }
    parts.join(", ")
}

/// `none` where there is none.
pub(super) fn name(node: Option<&NodeId>) -> &str {
    node.map_or("none", NodeId::as_str)
}

/// Role, term, vote and leader: what an election changes.
pub(super) fn role(core: &Core) -> String {
    let role = match core.role() {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    format!(
        "{role}, t{}, vote {}, leader {}",
        core.term(),
        name(core.vote()),
        name(core.leader())
    )
}

/// All of a node, and for a leader a line for each peer.
pub(super) fn state(core: &Core) -> Vec<String> {
    let log = core.log();
    let snapshot = core
        .snapshot()
        .map_or(String::new(), |meta| format!(", snapshot of {}", meta.last));
    let mut lines = vec![format!(
        "{}: {}; log {}..{}, stable {}, committed {}, applied {}{snapshot}",
        core.id(),
        role(core),
        log.purged(),
        log.last(),
        log.stable(),
        log.committed(),
        log.applied()
    )];
    if core.membership_index() > Index::ZERO {
        let committed = if core.is_membership_committed() {
            "committed"
        } else {
            "not committed"
        };
        lines.push(format!(
            "   {}, by entry {}, {committed}",
            members(core.membership()),
            core.membership_index()
        ));
    }
    lines.extend(core.peers().iter().map(|(id, peer)| progress(id, peer)));
    lines
}

fn progress(id: &NodeId, peer: &Progress) -> String {
    let how = match &peer.state {
        ProgressState::Probe { in_flight: None } => "probe".to_owned(),
        ProgressState::Probe { in_flight: Some(_) } => "probe, waits".to_owned(),
        ProgressState::Replicate { in_flight, .. } => {
            format!("replicate, {} in flight", in_flight.len())
        }
        ProgressState::Snapshot(transfer) => {
            format!(
                "snapshot of {}, byte {} of {}",
                transfer.meta.last, transfer.offset, transfer.meta.length
            )
        }
    };
    format!(
        "   {id}: {how}; matched {}, next {}, told commit {}",
        peer.matched, peer.next, peer.sent_commit
    )
}
