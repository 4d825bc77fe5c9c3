//! Planted faults in messages: a message is changed in transit, as if its sender or its receiver had the fault.

use task_queue_raft::entry::Payload;
use task_queue_raft::ids::{Index, LogId, NodeId};
use task_queue_raft::message::{
    AdminResponse, AppendEntriesResponse, AppendResult, Forward, ForwardRefusal, ForwardResponse,
    Message, RaftRequest, RaftResponse, RejoinGranted, TimeoutNow,
};
use task_queue_raft::raft::Core;

use super::planted::Planted;

/// A message that arrives, and from whom it seems to be.
pub(crate) type Arrival = (usize, Message);

/// The messages that arrive at node `to` instead of one from node `from`.
pub(crate) fn tamper(
    planted: Option<Planted>,
    nodes: usize,
    from: usize,
    to: usize,
    core: &Core,
    mut message: Message,
) -> Vec<Arrival> {
    let Some(planted) = planted else {
        return vec![(from, message)];
    };
    match &mut message {
        Message::Request(request) => tamper_request(planted, to, core, request),
        Message::Response(response) => tamper_response(planted, response),
    }
    if let (Message::Request(RaftRequest::TimeoutNow(_)), Planted::SkewedLeaderStays) =
        (&message, planted)
    {
        return Vec::new();
    }
    if let (Message::Request(RaftRequest::InstallMembers(chunk, _)), Planted::ChunkForgetsMembers) =
        (&message, planted)
    {
        let chunk = RaftRequest::InstallSnapshot(chunk.clone());
        return vec![(from, Message::Request(chunk))];
    }
    if let (Message::Request(RaftRequest::AppendEntries(append)), Planted::WelcomedTooEarly) =
        (&message, planted)
    {
        let welcome = RaftRequest::RejoinGranted(RejoinGranted {
            term: append.term,
            store_id: core.store_id(),
        });
        return vec![(from, Message::Request(welcome)), (from, message)];
    }
    let double = match (&message, planted) {
        (
            Message::Response(RaftResponse::AppendEntries(_) | RaftResponse::LeaseGranted(..)),
            Planted::LearnerCounts,
        ) if core
            .membership()
            .learners()
            .any(|id| number(id) == Some(from)) =>
        {
            let mut voters = core.membership().voters().filter_map(number);
            voters.find(|voter| *voter != to)
        }
        (Message::Response(RaftResponse::Clock(_)), Planted::ClockCountedTwice) => {
            (0..nodes).find(|other| *other != from && *other != to)
        }
        (Message::Response(RaftResponse::RequestVote(answer)), Planted::VoteCountedTwice)
            if answer.granted =>
        {
            (0..nodes).find(|other| *other != from && *other != to)
        }
        _ => None,
    };
    let copy = double.map(|other| (other, message.clone()));
    let anew = match &message {
        Message::Request(RaftRequest::Forward(forward)) if planted == Planted::ForwardedAnew => {
            Some((from, renumbered(forward)))
        }
        // As if the leader had sent it, and still trusted its lease. Only in every other term, or none would last.
        Message::Request(RaftRequest::AppendEntries(append))
            if planted == Planted::LeaseKeptAfterTransfer
                && append.round % 32 == 7
                && append.term.0 % 2 == 1
                && append.previous == core.log().last() =>
        {
            let order = TimeoutNow { term: append.term };
            Some((from, Message::Request(RaftRequest::TimeoutNow(order))))
        }
        _ => None,
    };
    std::iter::once((from, message))
        .chain(copy)
        .chain(anew)
        .collect()
}

/// The same commands under other numbers: the leader can't recognize them as duplicates.
fn renumbered(forward: &Forward) -> Message {
    let mut forward = forward.clone();
    for command in &mut forward.commands {
        command.sequence += 1 << 40;
    }
    Message::Request(RaftRequest::Forward(forward))
}

/// The response that a node assumes to its own message without receiving one.
pub(crate) fn imagined_answer(
    planted: Option<Planted>,
    core: &Core,
    to: &NodeId,
    message: &Message,
) -> Option<Message> {
    let answer = match (message, planted?) {
        (Message::Request(RaftRequest::AppendEntries(append)), Planted::NeedsNoAnswer) => {
            let result = AppendResult::Ignored;
            RaftResponse::AppendEntries(AppendEntriesResponse {
                term: append.term,
                round: append.round,
                result,
            })
        }
        (Message::Request(RaftRequest::AppendEntries(append)), Planted::OldVotersIgnored) => {
            let members = core.membership();
            if !members.is_voter(to) || members.is_new_voter(to) {
                return None;
            }
            let last = append.previous.index.0 + append.entries.len() as u64;
            RaftResponse::AppendEntries(AppendEntriesResponse {
                term: append.term,
                round: append.round,
                result: AppendResult::Matched(Index(last)),
            })
        }
        (Message::Request(RaftRequest::Admin(request)), Planted::OrderDoneTooEarly) => {
            RaftResponse::Admin(AdminResponse {
                term: request.term,
                id: request.id,
                outcome: Ok(core.log().committed()),
            })
        }
        (Message::Request(RaftRequest::Forward(forward)), Planted::RefusesWhatItTakes) => {
            let first = forward.commands.first()?;
            RaftResponse::Forward(ForwardResponse {
                term: forward.term,
                session: first.session,
                sequences: vec![first.sequence],
                reason: ForwardRefusal::NotLeader,
            })
        }
        _ => return None,
    };
    Some(Message::Response(answer))
}

fn tamper_request(planted: Planted, to: usize, core: &Core, request: &mut RaftRequest) {
    match (request, planted) {
        (RaftRequest::RequestVote(ask), Planted::PromiseBroken) => ask.transfer = true,
        (RaftRequest::RequestVote(ask), Planted::CandidateBoasts) => {
            ask.last = LogId::new(ask.term, Index(ask.last.index.0 + 100));
        }
        (RaftRequest::AppendEntries(append), Planted::CommitTooEarly) => {
            append.leader_commit = Index(append.previous.index.0 + append.entries.len() as u64);
        }
        (RaftRequest::AppendEntries(append), Planted::HistoryRewritten) => {
            let committed = core.log().committed();
            if append.previous.index < committed && append.round % 4 == 1 {
                append.entries.clear();
                append.previous = LogId::new(append.term, committed);
            }
        }
        (RaftRequest::AppendEntries(append), Planted::AcceptsAnyPredecessor) => {
            if let Some(term) = core.log().term_at(append.previous.index) {
                append.previous.term = term;
            }
        }
        (RaftRequest::AppendEntries(append), Planted::EntriesDiffer) if to == 1 => {
            for entry in &mut append.entries {
                if let Payload::Commands(commands) = &mut entry.payload {
                    commands.truncate(1);
                }
            }
        }
        (
            RaftRequest::InstallSnapshot(chunk) | RaftRequest::InstallMembers(chunk, _),
            Planted::SnapshotClaimsMore,
        ) => {
            chunk.meta.last.index = chunk.meta.last.index.next();
        }
        _ => {}
    }
}

fn tamper_response(planted: Planted, response: &mut RaftResponse) {
    match (response, planted) {
        (RaftResponse::RequestVote(answer), Planted::DenialBecomesGrant) if !answer.pre_vote => {
            answer.granted = true;
        }
        (RaftResponse::InstallSnapshot(answer), Planted::InstalledTooEarly) => {
            answer.installed = true;
        }
        (
            RaftResponse::AppendEntries(answer) | RaftResponse::LeaseGranted(answer, _),
            Planted::AcknowledgesTooMuch,
        ) => {
            if let AppendResult::Matched(index) = &mut answer.result {
                *index = index.next();
            }
        }
        (RaftResponse::ReadIndex(answer), Planted::ReadIndexTooLow) => {
            answer.index = answer.index.map(|index| Index(index.0.saturating_sub(8)));
        }
        _ => {}
    }
}

/// Number of a node, from its name.
fn number(id: &NodeId) -> Option<usize> {
    id.as_str().strip_prefix('n')?.parse().ok()
}
