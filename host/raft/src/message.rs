//! The messages between nodes.
//!
//! A request is sent by the node that opened the connection, and its response returns on the same connection. A message carries
//! the term of its sender. The response to a message of an older term carries the newer term.
//!
//! Messages are encoded by position: the order of variants and fields is part of the wire format.

pub mod check;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entry::{ClusterRecord, ClusterState, Command, Entry, SnapshotMeta};
use crate::ids::{Index, LogId, NodeId, StoreId, Term};
use crate::raft::membership::Membership;
use crate::raft::membership::change::{Change, ChangeError};

/// A request to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftRequest {
    /// Heartbeat and replication (Raft paper §5.3).
    AppendEntries(AppendEntries),
    /// A candidate or pre-candidate requests a vote (§5.2; pre-vote: dissertation §9.6).
    RequestVote(RequestVote),
    /// A chunk of a snapshot (§7).
    InstallSnapshot(InstallSnapshot),
    /// A follower requests the index from which a read is linearizable (dissertation §6.4).
    ReadIndex(ReadIndex),
    /// A follower sends commands of its clients to the leader.
    Forward(Forward),
    /// The leader requests that a peer campaigns at once (dissertation §3.10).
    TimeoutNow(TimeoutNow),
    /// A chunk of a snapshot, with the configuration at its last entry (dissertation §5.1).
    InstallMembers(InstallSnapshot, Membership),
    /// A follower sends the request of an operator to the leader.
    Admin(ForwardedAdminRequest),
    /// The probe of a node that is not eligible to vote, which finds out whether the cluster is new.
    BootstrapProbe(BootstrapProbe),
    /// The leader counts the acknowledgements of a node that has lost its store.
    RejoinGranted(RejoinGranted),
    /// The leader requests the clock of a peer. Since protocol version 2.
    Clock(ClockRequest),
    /// The sender knows a later store or a later run of the receiver.
    StoreReplaced(StoreReplaced),
    /// A chunk of a snapshot, with the configuration, level and lineage at its last entry. Only above level 0.
    InstallCluster(InstallSnapshot, Membership, ClusterState),
}

/// The response to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftResponse {
    /// Success, or the point of mismatch.
    AppendEntries(AppendEntriesResponse),
    /// Granted or denied.
    RequestVote(RequestVoteResponse),
    /// The progress of the transfer.
    InstallSnapshot(InstallSnapshotResponse),
    /// The index from which the read is linearizable.
    ReadIndex(ReadIndexResponse),
    /// Commands that the leader rejected. There is no response for accepted ones: the follower applies them itself.
    Forward(ForwardResponse),
    /// The result of an operator's request.
    Admin(AdminResponse),
    /// Whether the cluster is new.
    BootstrapProbe(BootstrapProbeResponse),
    /// The store of the sender lacks its earlier votes and acknowledgements. This is no acknowledgement.
    StoreMismatch(StoreMismatch),
    /// As `AppendEntries`, and the sender does not vote for another node for this number of milliseconds after it received the
    /// request (dissertation §6.4.1).
    LeaseGranted(AppendEntriesResponse, u64),
    /// The sender's clock: in response to the leader's request, and before each response to a vote request. Since protocol
    /// version 2.
    Clock(ClockReport),
}

impl RaftRequest {
    /// The lowest version of the protocol that has this message. On a connection of an older version, the sender drops it:
    /// Raft tolerates the loss of any message.
    #[must_use]
    pub fn min_protocol(&self) -> u16 {
        match self {
            Self::AppendEntries(append) => {
                let is_newer = |entry: &Entry| entry.payload.cluster().is_some();
                1 + u16::from(append.entries.iter().any(is_newer))
            }
            Self::Admin(request) => {
                1 + u16::from(matches!(request.request, AdminRequest::RaiseLevel))
            }
            Self::RequestVote(_)
            | Self::InstallSnapshot(_)
            | Self::ReadIndex(_)
            | Self::Forward(_)
            | Self::TimeoutNow(_)
            | Self::InstallMembers(..)
            | Self::BootstrapProbe(_)
            | Self::RejoinGranted(_) => 1,
            Self::Clock(_) | Self::StoreReplaced(_) | Self::InstallCluster(..) => 2,
        }
    }
}

impl RaftResponse {
    /// As [`RaftRequest::min_protocol`].
    #[must_use]
    pub fn min_protocol(&self) -> u16 {
        match self {
            Self::Admin(response) => {
                1 + u16::from(matches!(response.outcome, Err(AdminError::Raise(_))))
            }
            Self::BootstrapProbe(response) => {
                1 + u16::from(matches!(response.verdict, BootstrapVerdict::Begun(_)))
            }
            Self::AppendEntries(_)
            | Self::RequestVote(_)
            | Self::InstallSnapshot(_)
            | Self::ReadIndex(_)
            | Self::Forward(_)
            | Self::StoreMismatch(_)
            | Self::LeaseGranted(..) => 1,
            Self::Clock(_) => 2,
        }
    }
}

/// A message of either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Sent by the node that opened the connection.
    Request(RaftRequest),
    /// Sent back on the same connection.
    Response(RaftResponse),
}

/// See [`RaftRequest::AppendEntries`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendEntries {
    /// The term of the leader.
    pub term: Term,
    /// The leader.
    pub leader_id: NodeId,
    /// The entry before `entries`.
    pub previous: LogId,
    /// New entries, in order and without a gap. Empty for a heartbeat.
    pub entries: Vec<Entry>,
    /// The commit index of the leader.
    pub leader_commit: Index,
    /// The leader's heartbeat round. The response repeats it, which confirms the leadership for reads.
    pub round: u64,
}

/// See [`RaftResponse::AppendEntries`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendEntriesResponse {
    /// The term of the sender.
    pub term: Term,
    /// The round of the request.
    pub round: u64,
    /// The result.
    pub result: AppendResult,
}

/// The result of an AppendEntries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendResult {
    /// The follower's log is equal to the leader's up to this index, and durable.
    Matched(Index),
    /// The follower's log does not contain `rejected`.
    Mismatch {
        /// `previous` of the request. It identifies a late response.
        rejected: LogId,
        /// The next entry to try: no later one can match. The follower skips a whole conflicting term (Raft paper §5.3, last
        /// paragraphs).
        hint: LogId,
    },
    /// The request is from an older term.
    Ignored,
}

/// See [`RaftRequest::RequestVote`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestVote {
    /// The term of the candidate; in a pre-vote, the next term.
    pub term: Term,
    /// The candidate.
    pub candidate_id: NodeId,
    /// The last entry of the candidate.
    pub last: LogId,
    /// A pre-vote. It does not change the state of the voter.
    pub pre_vote: bool,
    /// The leader requested the election, so voters do not protect it.
    pub transfer: bool,
}

/// See [`RaftResponse::RequestVote`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestVoteResponse {
    /// The term of the voter; in a granted pre-vote, the term of the request.
    pub term: Term,
    /// Whether the vote is granted.
    pub granted: bool,
    /// The request was a pre-vote.
    pub pre_vote: bool,
}

/// See [`RaftRequest::InstallSnapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallSnapshot {
    /// The term of the leader.
    pub term: Term,
    /// The leader.
    pub leader_id: NodeId,
    /// The snapshot.
    pub meta: SnapshotMeta,
    /// Offset of `data`, in bytes.
    pub offset: u64,
    /// The bytes of the chunk.
    pub data: Bytes,
}

/// See [`RaftResponse::InstallSnapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallSnapshotResponse {
    /// The term of the sender.
    pub term: Term,
    /// The snapshot.
    pub last: LogId,
    /// Number of durable bytes: the next chunk starts here.
    pub next_offset: u64,
    /// The snapshot is installed, and the log continues after it.
    pub installed: bool,
}

/// See [`RaftRequest::ReadIndex`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadIndex {
    /// The term of the follower.
    pub term: Term,
    /// Number of the request. Numbers of two runs of a follower differ, so a late response to an earlier run is ignored.
    pub id: u64,
}

/// See [`RaftResponse::ReadIndex`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadIndexResponse {
    /// The term of the leader.
    pub term: Term,
    /// Number of the request.
    pub id: u64,
    /// The read is linearizable once this index is applied. None: the sender cannot confirm it.
    pub index: Option<Index>,
}

/// See [`RaftRequest::Forward`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The term of the follower.
    pub term: Term,
    /// The commands.
    pub commands: Vec<Command>,
}

/// See [`RaftResponse::Forward`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardResponse {
    /// The term of the sender.
    pub term: Term,
    /// Session of the commands.
    pub session: u64,
    /// Sequence numbers of the rejected commands.
    pub sequences: Vec<u64>,
    /// The reason.
    pub reason: ForwardRefusal,
}

/// Why a leader rejected a forwarded command. The command is not in the log and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardRefusal {
    /// The node is not the leader.
    NotLeader,
    /// A limit of the leader is reached.
    Overloaded,
    /// The disk of the leader is full, and no other node is leader.
    DiskFull,
}

/// See [`RaftRequest::TimeoutNow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutNow {
    /// The term of the leader.
    pub term: Term,
}

/// A request of an operator to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// Change the members.
    Change(Change),
    /// Transfer leadership to this node; `None`: to the voter with the most complete log.
    Transfer(Option<NodeId>),
    /// Send this node a snapshot of this entry or of a later one. Its machine replaces its state with it.
    SendSnapshot(NodeId, Index),
    /// Raise the cluster level to the highest one that the leader knows.
    RaiseLevel,
}

/// Why a request of an operator failed, or may have failed.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminError {
    /// The members are unchanged.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The leader is unchanged.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// No leader was found before the timeout. Nothing has changed.
    #[error("no leader was found before the timeout, and nothing has changed; try again shortly")]
    NoLeader,
    /// No result before the timeout.
    #[error(
        "no result before the timeout; the request may still take effect, and repeating it is safe"
    )]
    TimedOut,
    /// Too many requests wait.
    #[error("too many requests of operators wait; try again shortly")]
    Overloaded,
    /// The node is stopping.
    #[error(
        "the node is stopping; the request may still take effect, and repeating it on another node is safe"
    )]
    Stopped,
    /// No snapshot is sent.
    #[error(transparent)]
    Snapshot(#[from] SendSnapshotError),
    /// The cluster level is unchanged.
    #[error(transparent)]
    Raise(#[from] RaiseError),
}

/// Why the cluster level was not raised.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaiseError {
    /// Only a leader raises the level.
    #[error("this node is not the leader")]
    NotLeader,
    /// A change of the members is in progress.
    #[error("a change of the members is in progress; wait until it is done")]
    Busy,
    /// A member does not know the level, or the leader has not received its hello.
    #[error(
        "{node} has not shown that it knows cluster level {level}; start this release on it, wait until it is connected, and raise the level again"
    )]
    UnknownLevel {
        /// The member.
        node: NodeId,
        /// The level.
        level: u32,
    },
    /// A limit of the leader is reached.
    #[error("overloaded: too many {what}; try again shortly")]
    Overloaded {
        /// The limited resource, for the error text.
        what: String,
    },
}

/// Why no snapshot is sent to a node.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum SendSnapshotError {
    /// Only a leader sends snapshots.
    #[error("this node is not the leader")]
    NotLeader,
    /// The node is not a peer of the leader.
    #[error("{node} is not a member; add it first")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
}

/// Why leadership was not transferred.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferError {
    /// Only a leader transfers leadership.
    #[error("this node is not the leader")]
    NotLeader,
    /// The target is not a voter.
    #[error("{node} is not a voter; name a voter, or none for the one with the most complete log")]
    NotAVoter {
        /// The node.
        node: NodeId,
    },
    /// There is no other voter.
    #[error("there is no other voter; add one first")]
    NoOtherVoter,
    /// A transfer to another node is in progress.
    #[error("leadership is being transferred to {to} already; wait until it is done")]
    Busy {
        /// Its target.
        to: NodeId,
    },
    /// The transfer took longer than an election timeout. The leader accepts commands again.
    #[error(
        "{to} did not become leader within an election timeout; check that it runs and has caught up"
    )]
    GaveUp {
        /// The target.
        to: NodeId,
    },
}

/// See [`RaftRequest::Admin`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedAdminRequest {
    /// The term of the follower.
    pub term: Term,
    /// Number of the request at that node. Numbers of two runs differ.
    pub id: u64,
    /// How long the operator waits for the result, in milliseconds.
    pub timeout_ms: u64,
    /// The request.
    pub request: AdminRequest,
}

/// See [`RaftResponse::Admin`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminResponse {
    /// The term of the sender.
    pub term: Term,
    /// Number of the request.
    pub id: u64,
    /// The index at which it took effect, or the error.
    pub outcome: Result<Index, AdminError>,
}

/// See [`RaftRequest::BootstrapProbe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapProbe {
    /// Id of the sender's store.
    pub store_id: StoreId,
    /// Number of the sender's run. A response to an earlier run is ignored.
    pub run: u64,
    /// The initial members in its settings, including itself.
    pub initial_members: Vec<NodeId>,
    /// The entry of the configuration in its log; 0/0 if there is none.
    pub members_at: LogId,
}

/// See [`RaftResponse::BootstrapProbe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapProbeResponse {
    /// Store id of the probe.
    pub to_store_id: StoreId,
    /// Run of the probe.
    pub to_run: u64,
    /// Id of the sender's store.
    pub store_id: StoreId,
    /// Number of the sender's run.
    pub run: u64,
    /// What the sender knows.
    pub verdict: BootstrapVerdict,
}

/// Whether a cluster is new, as far as the sender knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootstrapVerdict {
    /// It may be: the store of the sender is empty as well.
    New,
    /// It was bootstrapped with this configuration, which contains the store of the probe.
    Bootstrapped(Membership),
    /// It is not, and this entry, which the probe named, is committed.
    Committed(LogId),
    /// It is not: the prober was a member with another store.
    NotNew,
    /// The sender was started with other initial members.
    OtherMembers,
    /// It was bootstrapped with this record, whose configuration contains the store of the probe.
    Begun(ClusterRecord),
}

/// See [`RaftRequest::RejoinGranted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejoinGranted {
    /// The term of the leader.
    pub term: Term,
    /// Id of the store whose acknowledgements count.
    pub store_id: StoreId,
}

/// See [`RaftResponse::StoreMismatch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMismatch {
    /// The term of the sender.
    pub term: Term,
    /// Id of the sender's store.
    pub store_id: StoreId,
}

/// See [`RaftRequest::Clock`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRequest {
    /// The term of the leader.
    pub term: Term,
    /// Number of the request in this run of the leader, from 1 on. The report repeats it.
    pub number: u64,
    /// How the receiver's clock differs from the cluster's clock. `None`: the leader does not know it yet.
    pub offset: Option<ClockOffset>,
}

/// How the clock in a report differs from the cluster's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Number of the report in this term.
    pub report: u64,
    /// The clock of the report minus the cluster's clock, in milliseconds.
    pub ms: i64,
}

/// See [`RaftResponse::Clock`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReport {
    /// The term of the request.
    pub term: Term,
    /// Number of the request, or [`ClockReport::WITH_VOTE`].
    pub number: u64,
    /// The sender's wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
}

impl ClockReport {
    /// Number of a report that comes with the response to a vote request.
    pub const WITH_VOTE: u64 = 0;
}

/// See [`RaftRequest::StoreReplaced`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReplaced {
    /// The store of the receiver that is outdated.
    pub store_id: StoreId,
    /// The run of the receiver in which it used that store. A report about an earlier run is ignored.
    pub run: u64,
}
