//! The consensus core: what happened goes in, what is to be done comes out.
//!
//! [`Core`] is a pure function of its inputs. Time is an argument, randomness a seeded generator, and disk,
//! network and state machine are asked for in a [`Ready`] and answer as inputs:
//!
//! | input | when |
//! |---|---|
//! | [`Core::tick`] | the time that [`Core::next_deadline`] named has come |
//! | [`Core::step`] | a message arrived |
//! | [`Core::propose`], [`Core::read`] | a client asks |
//! | [`Core::change_members`], [`Core::transfer_leadership`] | an operator asks |
//! | [`Core::forget_leader`] | someone knows that the leader is gone |
//! | [`Core::persisted`], [`Core::entries_read`], [`Core::applied`] | the disk or the state machine is done |
//! | [`Core::write_refused`] | the disk is full |
//! | [`Core::snapshot_taken`], [`Core::chunk_read`], [`Core::chunk_received`] | a snapshot has moved on |
//! | [`Core::reinstall`], [`Core::send_snapshot`] | a machine's state is to be replaced by a leader's |
//! | [`Core::store_completed`] | the store has noted that it holds all that the node has promised |
//!
//! After any of them [`Core::ready`] says what to do. The rules are those of the Raft paper (Ongaro, Ousterhout:
//! "In Search of an Understandable Consensus Algorithm", extended version; "§" without a name means it) and of
//! Ongaro's dissertation.

pub mod admission;
mod digest;
mod disk_full;
pub mod durable;
mod election;
mod lease;
pub mod membership;
pub mod progress;
pub mod quorum;
mod read_index;
pub mod ready;
pub mod reinstall;
mod replication;
mod rng;
mod snapshot;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use thiserror::Error;

use crate::entry::{Command, Entry, HardState, Payload, SnapshotMeta};
use crate::ids::{Index, LogId, NodeId, Term};
use crate::log::RaftLog;
use crate::message::{Message, RaftRequest, RaftResponse};

use admission::Admission;
use disk_full::RefusedWrite;
use durable::{StoredState, WriteBatch};
use lease::Lease;
use membership::{Configurations, Membership};
use progress::Progress;
use read_index::Reads;
use ready::{LogRead, OutgoingMessage, ReadFor, ReadState, Ready, SnapshotTask, WriteId};
use reinstall::Reinstall;
use rng::Rng;
use snapshot::RateLimiter;
use transfer::LeadershipTransfer;

/// What the core is told once.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// This node.
    pub id: NodeId,
    /// The voters that a new cluster begins with, this node among them; none for a node that waits to be added.
    /// Once the log or a snapshot names the members, those count.
    pub voters: BTreeSet<NodeId>,
    /// Where they are reached, as far as that is known.
    pub addresses: BTreeMap<NodeId, String>,
    /// A follower waits between this long …
    pub election_timeout_min: Duration,
    /// … and this long for a leader before it campaigns.
    pub election_timeout_max: Duration,
    /// A leader is heard at least this often.
    pub heartbeat_interval: Duration,
    /// The log never holds more entries than this; past it proposals are refused until a snapshot has made room.
    pub max_log_entries: u64,
    /// A snapshot is taken after this many applied entries.
    pub snapshot_threshold: u64,
    /// A leader that a majority has promised not to vote for another one answers reads without asking it again, where
    /// no two nodes' clocks differ in speed by more than this many percent. None: it asks for each read.
    pub lease_drift_percent: Option<u32>,
    /// Bounds of memory and of messages.
    pub limits: Limits,
    /// Seed of the generator that draws election timeouts.
    pub seed: u64,
}

/// Bounds of memory and of messages.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Entries of one AppendEntries, in bytes of [`Entry::cost`]; a larger single entry travels alone.
    pub message_bytes: u64,
    /// Messages with entries under way to one peer.
    pub in_flight_messages: usize,
    /// Their entries together, in bytes.
    pub in_flight_bytes: u64,
    /// Entries that a leader has appended and not yet committed, in bytes.
    pub uncommitted_bytes: u64,
    /// Entries kept in memory that could be read from the disk as well, in bytes.
    pub cache_bytes: u64,
    /// Entries handed to the state machine and not yet applied.
    pub unapplied_entries: u64,
    /// The same, in bytes. One entry always fits.
    pub unapplied_bytes: u64,
    /// Reads that wait for the leader's confirmation.
    pub pending_reads: usize,
    /// A learner that lacks no more committed entries than this has caught up.
    pub promote_lag: u64,
    /// Chunks of a snapshot under way to one peer.
    pub in_flight_chunks: usize,
    /// Bytes of snapshots that leave in a second, to all peers together. None: as fast as they are taken.
    pub snapshot_bytes_per_second: Option<u64>,
    /// A peer that waits for no commit hears of one with the next entries, or so much later. Zero: at once.
    pub commit_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            message_bytes: MIB,
            in_flight_messages: 64,
            in_flight_bytes: 16 * MIB,
            uncommitted_bytes: 64 * MIB,
            cache_bytes: 64 * MIB,
            unapplied_entries: 1024,
            unapplied_bytes: 64 * MIB,
            pending_reads: 65_536,
            promote_lag: 64,
            in_flight_chunks: 4,
            snapshot_bytes_per_second: None,
            commit_delay: Duration::ZERO,
        }
    }
}

/// What a node is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader or waits for one.
    Follower,
    /// Asks whether it could win an election (dissertation §9.6).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// Why a proposal was not taken. It is not in the log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProposeError {
    /// Only a leader takes proposals.
    #[error("this node does not lead")]
    NotLeader,
    /// Another node is about to lead.
    #[error("leadership is being transferred")]
    Transferring,
    /// This leader's disk has no room, and no other node has taken over.
    #[error("the leader's disk is full")]
    DiskFull,
    /// As much as allowed is under way.
    #[error("too much is under way: {what}; try again shortly")]
    Overloaded {
        /// Which bound was met.
        what: &'static str,
    },
}

/// A write that the disk is busy with.
#[derive(Clone, Debug)]
struct WriteInFlight {
    id: WriteId,
    up_to: Index,
    since: Duration,
    /// What it has taken, to be taken again where the disk has no room for it.
    taken: RefusedWrite,
}

/// The consensus state of one node.
#[derive(Clone, Debug)]
pub struct Core {
    config: CoreConfig,
    rng: Rng,
    now: Duration,

    /// Number of this node's store; 0 where that has none.
    store_id: u64,
    /// The store does not hold what the node has promised: it has no say.
    admission: Option<Admission>,
    /// Peers that have said that their stores hold none of their promises, and the numbers of these stores.
    replaced_stores: BTreeMap<NodeId, u64>,
    hard_state: HardState,
    hard_state_written: bool,
    /// The write that holds it.
    hard_state_write: WriteId,
    log: RaftLog,
    role: Role,
    leader: Option<NodeId>,

    /// When a follower or candidate gives up waiting; for a leader, when it next checks that it has a majority.
    election_deadline: Duration,
    /// When a follower last heard from its leader.
    leader_heard_at: Option<Duration>,
    /// When a leader speaks next.
    heartbeat_deadline: Duration,

    /// Who answered the candidate, and how.
    votes: BTreeMap<NodeId, bool>,
    /// The write that holds the candidate's vote for itself; it counts once that is durable.
    own_vote_after: Option<WriteId>,
    /// The campaign was asked for by the leader.
    transfer: bool,
    /// The leader is giving its leadership away.
    transferring: Option<LeadershipTransfer>,
    configurations: Configurations,
    /// Whom the network was told of last.
    contacts: BTreeMap<NodeId, String>,

    /// The peers, as a leader sees them.
    peers: BTreeMap<NodeId, Progress>,
    /// When those peers are told of a commit that have not heard of it by then.
    tell_commit_at: Option<Duration>,
    /// First index of the leader's own term.
    term_start: Index,
    uncommitted: VecDeque<(Index, u64)>,
    uncommitted_bytes: u64,
    reads: Reads,
    lease: Lease,

    snapshot: Option<SnapshotMeta>,
    snapshot_under_way: bool,
    /// Of chunks to peers.
    pace: RateLimiter,
    /// The machine is restoring this one; then the older ones may go.
    restoring: Option<SnapshotMeta>,
    /// No snapshot is asked for before this: the last try failed.
    snapshot_retry_at: Duration,
    /// The machine's state is to be replaced by a leader's, and how often it was.
    reinstall: Option<Reinstall>,
    reinstalled: u64,
    apply_read_under_way: bool,
    /// Last index and size in bytes of what the state machine has been handed and has not yet applied.
    handed: VecDeque<(Index, u64)>,
    handed_bytes: u64,

    write_in_flight: Option<WriteInFlight>,
    next_write: WriteId,
    /// The disk was full at the last write, which is tried again then.
    full_until: Option<Duration>,

    out: Ready,
}

impl Core {
    /// A node that starts as a follower, from what its disk holds (§5.2).
    ///
    /// `snapshot` is the newest one; the state machine has been restored from it. `last_time_ms` is the time of
    /// the last entry in the log.
    #[must_use]
    pub fn new(
        config: CoreConfig,
        stored: &StoredState,
        snapshot: Option<SnapshotMeta>,
        last_time_ms: u64,
        now: Duration,
    ) -> Self {
        let start = snapshot
            .as_ref()
            .map_or(Index::ZERO, |meta| meta.last.index);
        let mut log = RaftLog::new(
            stored.purged,
            stored.last,
            last_time_ms,
            &stored.terms,
            start.max(stored.purged.index),
            config.limits.cache_bytes,
        );
        let start_members = Membership::of_voters(&config.voters, &config.addresses);
        let mut configurations =
            Configurations::new(start_members, snapshot.as_ref(), &stored.memberships);
        let mut purge = None;
        if let Some(meta) = snapshot
            .as_ref()
            .filter(|meta| !log.holds(meta.last) && meta.last.index > stored.purged.index)
        {
            // The node stopped between receiving a snapshot and putting its log behind it.
            log.install(meta);
            configurations.install(meta, false);
            log.applied = meta.last.index;
            purge = Some(meta.last);
        }
        let mut core = Self {
            rng: Rng::new(config.seed),
            now,
            store_id: stored.store_id,
            admission: None,
            replaced_stores: BTreeMap::new(),
            hard_state: stored.hard_state.clone(),
            hard_state_written: true,
            hard_state_write: 0,
            log,
            role: Role::Follower,
            leader: None,
            election_deadline: now,
            leader_heard_at: None,
            heartbeat_deadline: now,
            votes: BTreeMap::new(),
            own_vote_after: None,
            transfer: false,
            transferring: None,
            configurations,
            contacts: BTreeMap::new(),
            peers: BTreeMap::new(),
            tell_commit_at: None,
            term_start: Index::ZERO,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            reads: Reads::default(),
            lease: Lease::default(),
            snapshot,
            snapshot_under_way: false,
            pace: RateLimiter::default(),
            restoring: None,
            snapshot_retry_at: now,
            reinstall: None,
            reinstalled: 0,
            apply_read_under_way: false,
            handed: VecDeque::new(),
            handed_bytes: 0,
            write_in_flight: None,
            next_write: 1,
            full_until: None,
            out: Ready {
                purge,
                ..Ready::default()
            },
            config,
        };
        // A snapshot can reach the disk before the term that it came with.
        core.observe_term(core.log.last().term);
        // The node may have stopped between taking a snapshot and purging the log behind it.
        core.compact();
        if core.membership().members().keys().ne([&core.config.id]) {
            // Alone, there is no leader to wait for.
            core.rearm_election();
            core.abstain_at_first();
        }
        core.tell_contacts();
        core.begin_admission(stored.state);
        core
    }

    /// This node.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.config.id
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The latest term that it has seen.
    #[must_use]
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// Whom it voted for in that term.
    #[must_use]
    pub fn vote(&self) -> Option<&NodeId> {
        self.hard_state.vote.as_ref()
    }

    /// Who leads, as far as it knows.
    #[must_use]
    pub fn leader(&self) -> Option<&NodeId> {
        self.leader.as_ref()
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &RaftLog {
        &self.log
    }

    /// The members of the cluster, as the last entry about them says, committed or not.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.configurations.current()
    }

    /// Index of the entry that the membership is from; 0 where the log has not said anything of it.
    #[must_use]
    pub fn membership_index(&self) -> Index {
        self.configurations.index()
    }

    /// Whether that entry is known to be committed.
    #[must_use]
    pub fn is_membership_committed(&self) -> bool {
        self.configurations.index() <= self.log.committed
    }

    /// The newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    /// The peers as this leader sees them; empty elsewhere.
    #[must_use]
    pub fn peers(&self) -> &BTreeMap<NodeId, Progress> {
        &self.peers
    }

    /// Entries of a leader that wait for a majority, in number.
    #[must_use]
    pub fn uncommitted_entries(&self) -> usize {
        self.uncommitted.len()
    }

    /// Whether a leader has committed an entry of its own term: only then does it know what is committed (§8).
    #[must_use]
    pub fn has_committed_in_term(&self) -> bool {
        self.role == Role::Leader && self.log.committed >= self.term_start
    }

    /// When [`Core::tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        let own = self.role_deadline();
        // While it is tried again there is nothing to do but wait for the disk.
        let retry = self.full_until.filter(|_| self.write_in_flight.is_none());
        retry.map_or(own, |until| own.min(until))
    }

    fn role_deadline(&self) -> Duration {
        match self.role {
            Role::Leader => {
                let transfer = self.transferring.as_ref().map(|transfer| transfer.deadline);
                let own = self.heartbeat_deadline.min(self.election_deadline);
                let others = [transfer, self.tell_commit_at, self.chunk_deadline()];
                others.into_iter().flatten().fold(own, Duration::min)
            }
            _ => {
                let question = self.next_question();
                question.map_or(self.election_deadline, |at| self.election_deadline.min(at))
            }
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.reads.expire(
            self.now,
            self.config.election_timeout_min,
            &mut self.out.reads,
        );
        if self.role == Role::Leader {
            self.tick_leader();
        } else if self.now >= self.election_deadline {
            self.campaign_or_wait();
        }
        self.ask_whether_new();
    }

    /// Takes a message in.
    pub fn step(&mut self, now: Duration, from: &NodeId, message: Message) {
        self.now = self.now.max(now);
        // A request may come from a node that this one does not know yet (dissertation §4.1); an answer is one to a
        // question that was asked of a member.
        let stranger = matches!(message, Message::Response(_))
            && !self.membership().contains(from)
            && !self.peers.contains_key(from);
        if stranger || *from == self.config.id || message.check().is_err() {
            return;
        }
        match message {
            Message::Request(request) => self.step_request(from, request),
            Message::Response(response) => self.step_response(from, response),
        }
    }

    fn step_request(&mut self, from: &NodeId, request: RaftRequest) {
        match request {
            RaftRequest::AppendEntries(append) => self.on_append_entries(from, append),
            RaftRequest::RequestVote(vote) => self.on_request_vote(from, &vote),
            RaftRequest::InstallSnapshot(chunk) => self.on_install_snapshot(from, chunk),
            RaftRequest::ReadIndex(read) => self.on_read_index(from, &read),
            RaftRequest::TimeoutNow(order) => self.on_timeout_now(from, order.term),
            RaftRequest::InstallMembers(mut chunk, membership) => {
                chunk.meta.membership = Some(membership);
                self.on_install_snapshot(from, chunk);
            }
            RaftRequest::BootstrapProbe(question) => self.on_bootstrap_probe(from, &question),
            RaftRequest::RejoinGranted(welcome) => self.on_rejoin_granted(from, &welcome),
            // The driver's: the core knows commands and orders only once they are asked of it here.
            RaftRequest::Forward(_) | RaftRequest::Admin(_) => {}
        }
    }

    fn step_response(&mut self, from: &NodeId, response: RaftResponse) {
        match response {
            RaftResponse::AppendEntries(answer) => self.on_append_response(from, &answer),
            RaftResponse::LeaseGranted(answer, ms) => {
                self.on_lease_granted(from, &answer, ms);
                self.on_append_response(from, &answer);
            }
            RaftResponse::RequestVote(answer) => self.on_vote_response(from, &answer),
            RaftResponse::InstallSnapshot(answer) => self.on_snapshot_response(from, &answer),
            RaftResponse::ReadIndex(answer) => self.on_read_response(&answer),
            RaftResponse::BootstrapProbe(answer) => self.on_bootstrap_response(from, answer),
            RaftResponse::StoreMismatch(answer) => self.on_store_mismatch(from, &answer),
            RaftResponse::Forward(_) | RaftResponse::Admin(_) => {}
        }
    }

    /// Appends an entry with these commands to a leader's log, stamped with its clock made monotonic.
    ///
    /// # Errors
    /// Where this node doesn't lead, or a bound is met.
    pub fn propose(
        &mut self,
        now: Duration,
        wall_ms: u64,
        commands: Vec<Command>,
    ) -> Result<LogId, ProposeError> {
        self.now = self.now.max(now);
        self.check_room()?;
        Ok(self.append_own(wall_ms, Payload::Commands(commands)))
    }

    /// Whether a proposal would be taken.
    ///
    /// # Errors
    /// As [`Core::propose`].
    pub fn check_room(&self) -> Result<(), ProposeError> {
        if self.role != Role::Leader {
            return Err(ProposeError::NotLeader);
        }
        if self.transferring.is_some() {
            return Err(ProposeError::Transferring);
        }
        self.check_bounds()
    }

    fn check_bounds(&self) -> Result<(), ProposeError> {
        if self.is_disk_full() {
            return Err(ProposeError::DiskFull);
        }
        if self.uncommitted_bytes >= self.config.limits.uncommitted_bytes {
            return Err(ProposeError::Overloaded {
                what: "entries that wait for a majority",
            });
        }
        if self.log.len() >= self.config.max_log_entries {
            return Err(ProposeError::Overloaded {
                what: "entries that wait for a snapshot",
            });
        }
        Ok(())
    }

    /// The write of this number is on the disk.
    pub fn persisted(&mut self, now: Duration, id: WriteId) {
        self.now = self.now.max(now);
        let Some(write) = self.write_in_flight.take_if(|write| write.id == id) else {
            return;
        };
        self.full_until = None;
        self.log.write_done(write.up_to);
        if self.own_vote_after.is_some_and(|needed| needed <= id) {
            self.own_vote_after = None;
            self.count_own_vote();
        }
        if self.role == Role::Leader {
            self.advance_commit();
        }
        self.update_eligibility();
    }

    /// Entries that were asked for are here.
    pub fn entries_read(&mut self, now: Duration, reader: &ReadFor, entries: Vec<Entry>) {
        self.now = self.now.max(now);
        match reader {
            ReadFor::Apply => {
                self.apply_read_under_way = false;
                // A snapshot may have overtaken the read.
                if self.applies_next(&entries) {
                    self.hand_over(entries);
                }
            }
            ReadFor::Peer(peer) => self.send_read_entries(peer, entries),
        }
    }

    /// The state machine has applied all entries up to here, or restored a snapshot of them.
    pub fn applied(&mut self, now: Duration, index: Index) {
        self.now = self.now.max(now);
        self.log.applied = self.log.applied.max(index.min(self.log.applying));
        while self.handed.front().is_some_and(|&(last, _)| last <= index) {
            self.handed_bytes -= self.handed.pop_front().map_or(0, |(_, size)| size);
        }
        self.retain_restored(index);
        self.reinstall_applied(index);
    }

    /// What is to be done now.
    pub fn ready(&mut self) -> Ready {
        self.replicate_to_all();
        self.gather_reinstall();
        self.gather_apply();
        self.gather_snapshot();
        self.gather_chunks();
        if self.write_in_flight.is_none() && self.has_room_for_write() {
            self.out.write = self.gather_write();
        }
        std::mem::take(&mut self.out)
    }

    fn gather_write(&mut self) -> Option<(WriteId, WriteBatch)> {
        if !self.needs_write() {
            return None;
        }
        let written = self.log.written();
        let (truncate_from, entries) = self.log.take_write();
        let hard_state = (!self.hard_state_written).then(|| self.hard_state.clone());
        let id = self.next_write;
        self.next_write += 1;
        if hard_state.is_some() {
            self.hard_state_written = true;
            self.hard_state_write = id;
        }
        self.write_in_flight = Some(WriteInFlight {
            id,
            up_to: self.log.last().index,
            since: self.now,
            taken: RefusedWrite {
                written,
                truncate_from,
                hard_state: hard_state.is_some(),
            },
        });
        Some((
            id,
            WriteBatch {
                hard_state,
                truncate_from,
                entries,
            },
        ))
    }

    /// Hands what is committed and on this disk to the state machine, within a bound.
    fn gather_apply(&mut self) {
        let limits = &self.config.limits;
        let limit = Index(self.log.applied.0 + limits.unapplied_entries);
        let to = self.log.committed.min(self.log.stable()).min(limit);
        let from = self.log.applying.next();
        let room = limits.unapplied_bytes.saturating_sub(self.handed_bytes);
        if from > to || room == 0 || self.apply_read_under_way || self.awaits_state() {
            return;
        }
        if let Some(entries) = self.log.cached(from, to, room) {
            self.hand_over(entries);
        } else {
            self.apply_read_under_way = true;
            let max_bytes = limits.message_bytes.min(room);
            self.out.log_reads.push(LogRead {
                reader: ReadFor::Apply,
                from,
                to,
                max_bytes,
            });
        }
    }

    fn hand_over(&mut self, entries: Vec<Entry>) {
        if let Some(last) = entries.last() {
            self.log.applying = last.id.index;
            let size = entries.iter().map(Entry::cost).sum();
            self.handed.push_back((last.id.index, size));
            self.handed_bytes += size;
        }
        self.out.apply.extend(entries);
    }

    /// Whether something is to be made durable.
    fn needs_write(&self) -> bool {
        !self.hard_state_written || self.log.needs_write()
    }

    /// The write that everything said so far depends on.
    fn durable_after(&self) -> WriteId {
        if self.needs_write() {
            self.next_write
        } else {
            self.write_in_flight.as_ref().map_or(0, |write| write.id)
        }
    }

    fn send(&mut self, to: &NodeId, message: Message, after: WriteId) {
        self.out.messages.push(OutgoingMessage {
            to: to.clone(),
            message,
            after,
        });
    }

    fn request(&mut self, to: &NodeId, request: RaftRequest, after: WriteId) {
        self.send(to, Message::Request(request), after);
    }

    /// Answers once all that this node has accepted so far is durable.
    fn respond(&mut self, to: &NodeId, response: RaftResponse) {
        let after = self.durable_after();
        self.send(to, Message::Response(response), after);
    }

    /// Answers once the term is durable. The answer vouches for nothing in the log that is not.
    fn respond_in_term(&mut self, to: &NodeId, response: RaftResponse) {
        let after = if self.hard_state_written {
            self.hard_state_write
        } else {
            self.next_write
        };
        self.send(to, Message::Response(response), after);
    }

    /// Learns of a term: a newer one makes any node a follower (§5.1).
    fn observe_term(&mut self, term: Term) {
        if term > self.hard_state.term {
            self.become_follower(term, None);
        }
    }

    fn become_follower(&mut self, term: Term, leader: Option<NodeId>) {
        if self.role == Role::Leader || self.leader != leader || term > self.hard_state.term {
            self.reads.fail_all(&mut self.out.reads);
        }
        if term > self.hard_state.term {
            self.hard_state = HardState { term, vote: None };
            self.hard_state_written = false;
        }
        if self.role != Role::Follower {
            self.role = Role::Follower;
            self.forget_leadership();
            self.rearm_election();
        }
        self.leader = leader;
    }

    fn forget_leadership(&mut self) {
        self.votes.clear();
        self.own_vote_after = None;
        self.transfer = false;
        self.transferring = None;
        self.peers.clear();
        self.tell_commit_at = None;
        self.uncommitted.clear();
        self.uncommitted_bytes = 0;
        self.tell_contacts();
    }

    /// Draws a new timeout at random, so that two nodes seldom campaign at once (§5.2).
    fn rearm_election(&mut self) {
        let (min, max) = (
            self.config.election_timeout_min,
            self.config.election_timeout_max,
        );
        let spread = u64::try_from(max.saturating_sub(min).as_micros()).unwrap_or(u64::MAX);
        self.election_deadline =
            self.now + min + Duration::from_micros(self.rng.below(spread.saturating_add(1)));
    }

    /// The settled reads and everything else are consistent; for tests and simulation.
    pub fn check(&self) {
        self.log.check();
        assert!(self.role != Role::Leader || self.leader.as_ref() == Some(&self.config.id));
        assert!(self.peers.values().all(|peer| peer.matched < peer.next));
    }

    /// Reads whose number this node gave out.
    fn settle(&mut self, id: u64, index: Option<Index>) {
        self.out.reads.push(ReadState { id, index });
    }

    fn snapshot_task(&mut self, task: SnapshotTask) {
        self.out.snapshots.push(task);
    }
}
