//! What nodes say to each other: the seed's three requests and their responses, and what this project adds.
//!
//! Requests travel from the node that opened a connection, responses back on the same one.
//! Each message names its sender's term; one from an older term is answered so that its sender learns of the newer one.

mod check;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entry::{Command, Entry, SnapshotMeta};
use crate::ids::{Index, LogId, NodeId, Term};
use crate::raft::membership::{Change, ChangeError, Membership};

pub use check::MessageError;

/// Asks something of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftRequest {
    /// Heartbeat and replication (Raft paper §5.3).
    AppendEntries(AppendEntries),
    /// A candidate, or one that would like to be, asks for a vote (§5.2; pre-vote: dissertation §9.6).
    RequestVote(RequestVote),
    /// A chunk of a snapshot (§7).
    InstallSnapshot(InstallSnapshot),
    /// A follower asks from which index a read is linearizable (dissertation §6.4).
    ReadIndex(ReadIndex),
    /// A follower hands its clients' commands to the leader.
    Forward(Forward),
    /// The leader tells a caught-up peer to campaign at once (dissertation §3.10).
    TimeoutNow(TimeoutNow),
    /// A chunk of a snapshot, and who belonged to the cluster then (dissertation §5.1).
    InstallMembers(InstallSnapshot, Membership),
    /// A follower hands an operator's order to the leader.
    Admin(ForwardedAdminRequest),
    /// A node whose store is empty asks whether the cluster is as new as itself.
    BootstrapProbe(BootstrapProbe),
    /// The leader tells a node that has lost its store that its answers count again as its log says.
    RejoinGranted(RejoinGranted),
}

/// Answers a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftResponse {
    /// Success, or failure with mismatch info.
    AppendEntries(AppendEntriesResponse),
    /// Granted or denied.
    RequestVote(RequestVoteResponse),
    /// How far the snapshot has come.
    InstallSnapshot(InstallSnapshotResponse),
    /// The index that the read has to wait for.
    ReadIndex(ReadIndexResponse),
    /// Commands that the leader did not take. Those that it took are answered by being applied.
    Forward(ForwardResponse),
    /// What became of an order.
    Admin(AdminResponse),
    /// Whether the cluster is new.
    BootstrapProbe(BootstrapProbeResponse),
    /// The responder's store holds none of the promises that its node may have made: this is no acknowledgement.
    StoreMismatch(StoreMismatch),
    /// As `AppendEntries`, by a node that votes for nobody else for so many milliseconds after the request came
    /// (dissertation §6.4.1).
    LeaseGranted(AppendEntriesResponse, u64),
}

/// A message of either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// From the node that opened the connection.
    Request(RaftRequest),
    /// Back to it.
    Response(RaftResponse),
}

/// See [`RaftRequest::AppendEntries`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// Who leads it.
    pub leader_id: NodeId,
    /// The entry right before `entries`.
    pub previous: LogId,
    /// New entries, in order and without a gap; none for a heartbeat.
    pub entries: Vec<Entry>,
    /// How far the leader has committed.
    pub leader_commit: Index,
    /// Number of the leader's heartbeat round, which the response repeats: it proves leadership for reads.
    pub round: u64,
}

/// See [`RaftResponse::AppendEntries`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendEntriesResponse {
    /// The responder's term.
    pub term: Term,
    /// The round of the request.
    pub round: u64,
    /// What became of it.
    pub result: AppendResult,
}

/// What became of an AppendEntries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendResult {
    /// The follower's log equals the leader's up to here, on its disk.
    Matched(Index),
    /// The follower's log does not hold `rejected`.
    Mismatch {
        /// `previous` of the request, so that a late answer is known as such.
        rejected: LogId,
        /// Where to try next: no entry after this one can match. The follower has skipped the whole
        /// conflicting term (Raft paper §5.3, last paragraphs).
        hint: LogId,
    },
    /// The request is from an older term.
    Ignored,
}

/// See [`RaftRequest::RequestVote`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestVote {
    /// The term that the candidate asks to lead; in a pre-vote the one it would ask for.
    pub term: Term,
    /// Who asks.
    pub candidate_id: NodeId,
    /// The candidate's last entry.
    pub last: LogId,
    /// Only asks whether it could win. Changes nothing at the voter.
    pub pre_vote: bool,
    /// The leader asked for this campaign, so voters don't hold on to it.
    pub transfer: bool,
}

/// See [`RaftResponse::RequestVote`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestVoteResponse {
    /// The voter's term; in a granted pre-vote the term of the request.
    pub term: Term,
    /// Whether it is a yes.
    pub granted: bool,
    /// Answers a pre-vote.
    pub pre_vote: bool,
}

/// See [`RaftRequest::InstallSnapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallSnapshot {
    /// The leader's term.
    pub term: Term,
    /// Who leads it.
    pub leader_id: NodeId,
    /// Which snapshot.
    pub meta: SnapshotMeta,
    /// Where `data` belongs.
    pub offset: u64,
    /// A part of its bytes.
    pub data: Bytes,
}

/// See [`RaftResponse::InstallSnapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallSnapshotResponse {
    /// The responder's term.
    pub term: Term,
    /// Which snapshot.
    pub last: LogId,
    /// How many of its bytes are on the responder's disk: the next chunk starts here.
    pub next_offset: u64,
    /// The snapshot is in place, and the log continues behind it.
    pub installed: bool,
}

/// See [`RaftRequest::ReadIndex`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadIndex {
    /// The follower's term.
    pub term: Term,
    /// Number of the request. Two runs of the follower never share one: a late answer to the former run is none
    /// to this one.
    pub id: u64,
}

/// See [`RaftResponse::ReadIndex`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadIndexResponse {
    /// The leader's term.
    pub term: Term,
    /// Number of the request.
    pub id: u64,
    /// The read may be answered once this index is applied; none if the responder can't vouch for it.
    pub index: Option<Index>,
}

/// See [`RaftRequest::Forward`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The follower's term.
    pub term: Term,
    /// What its clients ask for.
    pub commands: Vec<Command>,
}

/// See [`RaftResponse::Forward`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardResponse {
    /// The responder's term.
    pub term: Term,
    /// Session of the commands.
    pub session: u64,
    /// Those that it did not take.
    pub sequences: Vec<u64>,
    /// Why.
    pub reason: ForwardRefusal,
}

/// Why a leader did not take a forwarded command. It is not in the log and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardRefusal {
    /// It no longer leads.
    NotLeader,
    /// It has as much under way as it allows.
    Overloaded,
    /// Its disk is full, and nobody else leads.
    DiskFull,
}

/// See [`RaftRequest::TimeoutNow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutNow {
    /// The leader's term.
    pub term: Term,
}

/// What an operator may ask of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// Another membership.
    Change(Change),
    /// Another leader: this one, or whichever voter is the most up to date.
    Transfer(Option<NodeId>),
    /// A snapshot for this node, of this entry or of a later one: its machine is to get another state.
    SendSnapshot(NodeId, Index),
}

/// Why an order was not carried out, or may not have been.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminError {
    /// The members stay as they are.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The leader stays.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// No leader was found in time. Nothing was changed.
    #[error("no leader was found in time; nothing was changed: try again shortly")]
    NoLeader,
    /// No outcome in time.
    #[error("no outcome in time; it may still be carried out: asking again does no harm")]
    TimedOut,
    /// As many orders wait as may.
    #[error("too many orders wait for an outcome; try again shortly")]
    Overloaded,
    /// The node is stopping.
    #[error("the node is stopping; it may still be carried out: asking again does no harm")]
    Stopped,
    /// No snapshot is sent.
    #[error(transparent)]
    Snapshot(#[from] SendSnapshotError),
}

/// Why a node is sent no snapshot.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum SendSnapshotError {
    /// Only a leader sends any.
    #[error("this node does not lead")]
    NotLeader,
    /// It is no peer of the leader.
    #[error("{node} is not a member; add it first")]
    UnknownNode {
        /// Which node.
        node: NodeId,
    },
}

/// Why leadership stays where it is.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferError {
    /// Only a leader gives leadership away.
    #[error("this node does not lead")]
    NotLeader,
    /// It could not be elected.
    #[error("{node} is not a voter; name one, or none to take the most up-to-date one")]
    NotAVoter {
        /// Which node.
        node: NodeId,
    },
    /// There is nobody else.
    #[error("there is no other voter; add one first")]
    NoOtherVoter,
    /// Leadership is on its way to another one.
    #[error("leadership is being transferred to {to} already; wait until it is done")]
    Busy {
        /// To whom.
        to: NodeId,
    },
    /// It took longer than an election timeout. The leader takes commands again.
    #[error("{to} did not take over within an election timeout; is it running, and up to date?")]
    GaveUp {
        /// Who should have.
        to: NodeId,
    },
}

/// See [`RaftRequest::Admin`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedAdminRequest {
    /// The follower's term.
    pub term: Term,
    /// Number of the order at that node. Two runs of it never share one.
    pub id: u64,
    /// How long somebody waits for it, in milliseconds.
    pub timeout_ms: u64,
    /// What is asked.
    pub request: AdminRequest,
}

/// See [`RaftResponse::Admin`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminResponse {
    /// The responder's term.
    pub term: Term,
    /// Number of the order.
    pub id: u64,
    /// The index at which it was in force, or why it is not.
    pub outcome: Result<Index, AdminError>,
}

/// See [`RaftRequest::BootstrapProbe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapProbe {
    /// Number of the asker's store.
    pub store_id: u64,
    /// Number of the asker's run: an answer to a former run is none to this one.
    pub run: u64,
    /// Whom it would found a cluster with, itself among them.
    pub initial_members: Vec<NodeId>,
    /// The entry that its members are from; 0/0 where its log has not said anything of them.
    pub members_at: LogId,
}

/// See [`RaftResponse::BootstrapProbe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapProbeResponse {
    /// Number of the asker's store, as it asked.
    pub to_store_id: u64,
    /// Number of the asker's run, as it asked.
    pub to_run: u64,
    /// Number of the responder's store.
    pub store_id: u64,
    /// Number of the responder's run.
    pub run: u64,
    /// What the responder knows.
    pub verdict: BootstrapVerdict,
}

/// Whether a cluster is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootstrapVerdict {
    /// As far as the responder knows: its own store is empty as well.
    New,
    /// It was founded with these members, and the asker's store is among theirs.
    Bootstrapped(Membership),
    /// It is not, and the entry that the asker's members are from is committed.
    Committed(LogId),
    /// It is not: the asker has been a member with another store.
    NotNew,
    /// The responder would found another cluster, with other members.
    OtherMembers,
}

/// See [`RaftRequest::RejoinGranted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejoinGranted {
    /// The leader's term.
    pub term: Term,
    /// Number of the store that is welcome.
    pub store_id: u64,
}

/// See [`RaftResponse::StoreMismatch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMismatch {
    /// The responder's term.
    pub term: Term,
    /// Number of the responder's store.
    pub store_id: u64,
}
