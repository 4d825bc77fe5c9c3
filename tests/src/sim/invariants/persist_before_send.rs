//! Persistent state is "updated on stable storage before responding to RPCs" (Figure 2): the term,
//! the vote and the log that a message claims are on its sender's disk when the message is sent.
//!
//! A leader may send entries while it writes them (dissertation §10.2.1), and messages without such a claim may be sent at
//! any time: pre-votes, ReadIndex requests, forwarded commands.

use task_queue_raft::ids::{Index, NodeId, Term};
use task_queue_raft::message::{
    AppendResult, BootstrapVerdict, Message, RaftRequest, RaftResponse,
};

use super::DiskView;
use crate::sim::violation::{Violation, ensure};

/// A message's claims about its sender.
#[derive(Default)]
struct Claim<'a> {
    term: Term,
    vote: Option<&'a NodeId>,
    log_up_to: Index,
}

pub(crate) fn check(
    from: &NodeId,
    to: &NodeId,
    message: &Message,
    disk: &DiskView<'_>,
) -> Result<(), Violation> {
    let Some(claim) = claim(from, to, message) else {
        return Ok(());
    };
    let reach = disk.snapshots.reach();
    disk.log.durable(|durable| {
        let state = &durable.hard_state;
        // In a later term, what was true in an earlier one may have changed since the message was made.
        let later = state.term > claim.term;
        let vote = later || claim.vote.is_none() || state.vote.as_ref() == claim.vote;
        let log = later || durable.last().index.max(reach) >= claim.log_up_to;
        ensure(state.term >= claim.term && vote && log, "persist before send (Figure 2)", || {
            format!("{from} tells {to} {message:?}, and on its disk are {state:?} and entries up to {}", durable.last())
        })
    })
}

fn claim<'a>(from: &'a NodeId, to: &'a NodeId, message: &Message) -> Option<Claim<'a>> {
    let claim = match message {
        Message::Request(RaftRequest::AppendEntries(append)) => Claim {
            term: append.term,
            ..Claim::default()
        },
        Message::Request(
            RaftRequest::InstallSnapshot(chunk)
            | RaftRequest::InstallMembers(chunk, _)
            | RaftRequest::InstallCluster(chunk, ..),
        ) => Claim {
            term: chunk.term,
            ..Claim::default()
        },
        Message::Request(RaftRequest::RequestVote(ask)) if !ask.pre_vote => Claim {
            term: ask.term,
            vote: Some(from),
            ..Claim::default()
        },
        Message::Response(RaftResponse::RequestVote(answer)) if !answer.pre_vote => Claim {
            term: answer.term,
            vote: answer.granted.then_some(to),
            ..Claim::default()
        },
        Message::Response(
            RaftResponse::AppendEntries(answer) | RaftResponse::LeaseGranted(answer, _),
        ) => {
            let log_up_to = match answer.result {
                AppendResult::Matched(index) => index,
                AppendResult::Mismatch { .. } | AppendResult::Ignored => Index::ZERO,
            };
            Claim {
                term: answer.term,
                log_up_to,
                ..Claim::default()
            }
        }
        Message::Response(RaftResponse::InstallSnapshot(answer)) => {
            let log_up_to = if answer.installed {
                answer.last.index
            } else {
                Index::ZERO
            };
            Claim {
                term: answer.term,
                log_up_to,
                ..Claim::default()
            }
        }
        Message::Request(RaftRequest::RejoinGranted(welcome)) => Claim {
            term: welcome.term,
            ..Claim::default()
        },
        Message::Response(RaftResponse::StoreMismatch(answer)) => Claim {
            term: answer.term,
            ..Claim::default()
        },
        Message::Response(RaftResponse::BootstrapProbe(answer))
            if matches!(
                answer.verdict,
                BootstrapVerdict::Bootstrapped(_) | BootstrapVerdict::Begun(_)
            ) =>
        {
            Claim {
                log_up_to: Index(1),
                ..Claim::default()
            }
        }
        Message::Response(RaftResponse::ReadIndex(answer)) => Claim {
            term: answer.term,
            ..Claim::default()
        },
        _ => return None,
    };
    Some(claim)
}
