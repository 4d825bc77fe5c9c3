//! Outcomes of commands and queries.

use thiserror::Error;

use crate::ids::{Index, NodeId};

/// A command that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<R> {
    /// Index of its entry.
    pub index: Index,
    /// The state machine's reply.
    pub reply: R,
}

/// Why a command or a query failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SubmitError {
    /// This node is not the leader, and the caller did not allow it to forward the command.
    #[error("this node is not the leader; {}", leader.as_ref().map_or_else(|| "no leader is known: try again shortly".to_owned(), |leader| format!("send the command to {leader}")))]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
    /// No leader with a majority was found before the deadline. The command was not applied.
    #[error(
        "no leader with a majority was found in time; the command was not carried out: try again shortly"
    )]
    NoLeader,
    /// A limit on requests in flight was reached. The command was not applied.
    #[error(
        "too many requests are in flight ({what}); the command was not carried out: try again shortly"
    )]
    Overloaded {
        /// Which limit.
        what: &'static str,
    },
    /// The command has more bytes than allowed. It was not applied.
    #[error("the command has {bytes} bytes, and the limit is {limit}: make it smaller")]
    TooLarge {
        /// Size of the command.
        bytes: u64,
        /// Largest size allowed.
        limit: u64,
    },
    /// The leader's disk is full, and no other node has become the leader. The command was not applied.
    #[error(
        "the leader's disk is full and no other node could take over; the command was not carried out: make room on it, and try again"
    )]
    DiskFull,
    /// The deadline passed while the outcome was open. The command may or may not be applied.
    #[error(
        "no outcome in time; the command may or may not have been carried out: read the state before you try again"
    )]
    TimedOut,
    /// A snapshot of the leader has replaced the entries that the command may be in, so this node can't learn the outcome. The
    /// command may or may not be applied.
    #[error(
        "this node lagged and got a snapshot, so it can't tell the outcome; the command may or may not have been carried out: read the state before you try again"
    )]
    OutcomeLost,
    /// The node is stopping. The command may or may not be applied.
    #[error(
        "the node is stopping; the command may or may not have been carried out: read the state on another node"
    )]
    Stopped,
}

/// How recent the state must be that a query reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// All queries and commands form one sequence: a query reads the effects of each command that was completed before
    /// it.
    #[default]
    Linearizable,
    /// The state of this node, which may be old.
    Stale,
}
