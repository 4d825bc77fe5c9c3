//! The consensus core: Raft as a pure state machine.
//!
//! [`Core`] does no IO and reads no clock. Time is an argument, and randomness comes from a seeded generator. Disk, network
//! and state machine are requested in a [`Ready`] and report their results as inputs. The rules are those of the Raft paper
//! (Ongaro, Ousterhout: "In Search of an Understandable Consensus Algorithm", extended version) and of Ongaro's
//! dissertation. "§" without a name refers to the paper.
//!
//! # Order of calls
//!
//! Call one or more inputs, then [`Core::ready`], and execute what it returns; repeat. When nothing happens, call
//! [`Core::tick`] at [`Core::next_deadline`]. Every input takes `now`, which must not decrease.
//!
//! | class | methods |
//! |---|---|
//! | time | [`Core::tick`], [`Core::note_wall_clock`] |
//! | messages | [`Core::peer_hello`], [`Core::step`] |
//! | requests of clients | [`Core::propose`], [`Core::propose_as`], [`Core::read`], [`Core::note_client_activity`] |
//! | requests of operators | [`Core::change_members`], [`Core::raise_level`], [`Core::transfer_leadership`], [`Core::send_snapshot`], [`Core::reinstall`], [`Core::take_snapshot`], [`Core::forget_leader`] |
//! | results of the disk | [`Core::persisted`], [`Core::write_refused`], [`Core::entries_read`], [`Core::chunk_read`], [`Core::chunk_received`], [`Core::store_completed`], [`Core::store_replaced`] |
//! | results of the state machine | [`Core::applied`], [`Core::snapshot_taken`] |
//! | output | [`Core::ready`], [`Core::next_deadline`] |
//! | observation | all methods that take `&self` |
//!
//! # Modules
//!
//! | module | content |
//! |---|---|
//! | `role` | the four roles, and the state of each |
//! | `election` | pre-vote, votes, becoming a leader (§5.2, §5.4.1) |
//! | `replication`, `follower` | AppendEntries on both sides, commitment (§5.3, §5.4.2) |
//! | [`clock`], `log_time` | the clocks of the voters, and the time of the log |
//! | [`progress`] | the leader's record of a peer's log |
//! | [`membership`], `configurations`, `reconfiguration` | members and joint consensus (dissertation §4) |
//! | `read_index`, `lease` | linearizable reads without log entries (dissertation §6.4) |
//! | `compaction`, `snapshot` | log compaction and snapshot transfer (§7) |
//! | `transfer` | leadership transfer (dissertation §3.10) |
//! | [`voting`], `bootstrap`, `rejoin` | the rules for nodes whose stores do not contain their earlier votes |
//! | `eligibility`, `rejoining` | the code of these rules |
//! | `met`, `replaced` | hellos of peers, which stores count, a node whose store is outdated |
//! | [`level`], `clusters` | the cluster level and the lineage |
//! | [`fault`], `stopping` | reasons for which the core stops |
//! | [`reinstall`], `replace_state` | replaces the state of a state machine that has diverged |
//! | `writes`, `disk_full`, `reserve` | writes to the log store; a full disk; the limits of the log |

mod bootstrap;
pub mod clock;
mod clusters;
mod compaction;
mod config;
mod configurations;
mod digest;
mod disk_full;
pub mod durable;
mod election;
mod eligibility;
pub mod fault;
mod follower;
mod lease;
pub mod level;
mod log_time;
pub mod membership;
mod met;
mod met_peers;
mod outstanding;
pub mod progress;
pub mod quorum;
mod rate_limiter;
mod read_index;
mod reads;
pub mod ready;
mod reconfiguration;
pub mod reinstall;
mod rejoin;
mod rejoining;
mod replace_state;
mod replaced;
mod replication;
mod reserve;
mod rng;
mod role;
mod snapshot;
mod snapshot_check;
mod snapshot_condition;
mod stopping;
#[cfg(test)]
mod tests;
mod transfer;
pub mod voting;
mod writes;

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use crate::entry::{Entry, HardState, SnapshotMeta};
use crate::identity::{RunHistory, Sender};
use crate::ids::{Index, NodeId, StoreId, Term};
use crate::log::RaftLog;
use crate::message::{Message, RaftRequest, RaftResponse};
use clock::Clocks;
use clusters::Clusters;
use configurations::Configurations;
use durable::{StoredState, WriteBatch};
use fault::CoreFault;
use membership::Membership;
use met_peers::{Announced, MetPeers};
use outstanding::Outstanding;
use progress::Progress;
use rate_limiter::RateLimiter;
use reads::ForwardedReads;
use ready::{LogRead, OutgoingMessage, ReadFor, ReadState, Ready, SnapshotTask, WriteId};
use reinstall::Reinstallation;
use rejoin::ReplacedStores;
use rng::Rng;
use role::{KnownLeader, RoleState};
use snapshot_condition::SnapshotChecks;
use voting::Ineligible;
use writes::{RefusedWrite, Writes};

pub use config::{CoreConfig, Limits};
pub use role::Role;

/// Why a proposal was rejected. The commands are not in the log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProposeError {
    /// Only a leader accepts proposals.
    #[error("this node is not the leader")]
    NotLeader,
    /// The leader is transferring leadership to another node.
    #[error("leadership is being transferred")]
    Transferring,
    /// The log has no time yet, and the clocks of a majority are not known yet.
    #[error("the leader waits for the clocks of a majority")]
    TimeUnknown,
    /// The disk of the leader is full, and no other node has become leader.
    #[error("the leader's disk is full")]
    DiskFull,
    /// A limit is reached.
    #[error("overloaded: too many {what}; try again shortly")]
    Overloaded {
        /// The limited resource, for the error text.
        what: &'static str,
    },
}

/// The consensus state of one node. The module's docs give the order of calls.
#[derive(Clone, Debug)]
pub struct Core {
    /// Settings. Constant.
    config: CoreConfig,
    /// Draws election timeouts.
    rng: Rng,
    /// Time of the latest input. Never decreases.
    now: Duration,

    // ----- persistent state (Raft paper, Figure 2) -----
    /// Current term and vote, as they are or will be on the disk. The term never decreases, and within a term the vote is
    /// set at most once.
    hard_state: HardState,
    /// Whether a write contains the current `hard_state`.
    hard_state_written: bool,
    /// The write that contains it, if `hard_state_written`; 0 if it was on the disk at the start.
    hard_state_write: WriteId,
    /// The log. Committed entries never change.
    log: RaftLog,
    /// The configurations in the log. The last one is in effect, committed or not.
    configurations: Configurations,
    /// Levels and lineages in the log.
    clusters: Clusters,
    /// Id of this node's store. It changes only where the store is outdated.
    store_id: StoreId,
    /// None once the store contains all of this node's votes and acknowledgements. Until then, the node does not vote.
    ineligible: Option<Ineligible>,
    /// The store is outdated, and its new id is not durable yet.
    replacing_store: bool,
    /// The runs of the store. Constant.
    runs: RunHistory,
    /// The peers that this node has met, and their stores.
    met: MetPeers,
    /// What the hello of this node contains, as last given to the network.
    announced: Announced,
    /// Why this core has stopped, if it has.
    fault: Option<CoreFault>,
    /// The driver knows the fault.
    fault_reported: bool,

    // ----- role -----
    /// The role, and the state that exists only in it.
    role: RoleState,
    /// When a node that is not the leader starts its next pre-vote. A leader does not use it.
    election_deadline: Duration,
    /// This node has granted a lease: it does not vote before this time, except in a leadership transfer.
    lease_granted_until: Duration,
    /// When the leases of earlier runs have ended, if they may be longer than those of this run.
    earlier_leases_end: Option<Duration>,
    /// The last heartbeat round. Grows over all terms of this run, so a round belongs to one term only.
    round: u64,
    /// Reads that this node sent to its leader. A node that becomes the leader by a transfer keeps them until they time out.
    forwarded_reads: ForwardedReads,
    /// Members that reported a store other than the one in the configuration.
    replaced_stores: ReplacedStores,
    /// The clocks of this node and of its peers.
    clocks: Clocks,
    /// Addresses of the peers, as last given to the network.
    contacts: BTreeMap<NodeId, String>,

    // ----- disk -----
    /// The writes to the log store; at most one is in flight.
    writes: Writes,

    // ----- state machine and snapshots -----
    /// Entries that the state machine has received and not yet applied: those in `log.applied..log.applying`.
    unapplied: Outstanding,
    /// Entries for the state machine are being read from the disk.
    apply_read_in_flight: bool,
    /// The newest complete snapshot, taken or received. The log is purged at most up to it.
    snapshot: Option<SnapshotMeta>,
    /// Whether that one is still what was written.
    checks: SnapshotChecks,
    /// A snapshot of this node's state is being taken.
    taking_snapshot: bool,
    /// How often the disk is still to remove older snapshots. No other is taken before, or they would pile up.
    retaining: u32,
    /// The last snapshot failed. No other is taken before this time.
    snapshot_retry_at: Duration,
    /// The snapshot that the machine is restoring. Older ones are kept until it is done.
    restoring: Option<SnapshotMeta>,
    /// Chunks of snapshots that the disk is still to write.
    receiving: usize,
    /// Limits the snapshot chunks that this node sends.
    chunk_rate: RateLimiter,
    /// The replacement of a diverged state.
    reinstallation: Reinstallation,

    /// The output that the next [`Core::ready`] returns.
    out: Ready,
}

impl Core {
    /// A node that starts as a follower (§5.2), from the content of its disk.
    ///
    /// `snapshot` is the newest snapshot; the state machine must have restored it. `last_time_ms` is the time of the last
    /// entry in the log.
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
        let mut clusters = Clusters::new(snapshot.as_ref(), &stored.clusters);
        let mut purge = None;
        if let Some(meta) = snapshot
            .as_ref()
            .filter(|meta| !log.holds(meta.last) && meta.last.index > stored.purged.index)
        {
            // The node stopped after it received a snapshot and before it purged its log.
            log.install(meta);
            configurations.install(meta, false);
            clusters.install(meta, false);
            log.applied = meta.last.index;
            purge = Some(meta.last);
        }
        let mut core = Self {
            rng: Rng::new(config.seed),
            now,
            hard_state: stored.hard_state.clone(),
            hard_state_written: true,
            hard_state_write: 0,
            log,
            configurations,
            clusters,
            store_id: stored.store_id,
            ineligible: None,
            replacing_store: false,
            runs: stored.runs.clone(),
            met: MetPeers::new(&stored.met),
            announced: Announced::default(),
            fault: None,
            fault_reported: false,
            role: RoleState::Follower { leader: None },
            election_deadline: now,
            lease_granted_until: Duration::ZERO,
            earlier_leases_end: None,
            round: 0,
            forwarded_reads: ForwardedReads::default(),
            replaced_stores: ReplacedStores::default(),
            clocks: Clocks::new(config.max_clock_skew, last_time_ms, now),
            contacts: BTreeMap::new(),
            writes: Writes::default(),
            unapplied: Outstanding::default(),
            apply_read_in_flight: false,
            snapshot,
            checks: SnapshotChecks::new(now, config.limits.snapshot_check_interval),
            taking_snapshot: false,
            retaining: 0,
            receiving: 0,
            snapshot_retry_at: now,
            restoring: None,
            chunk_rate: RateLimiter::default(),
            reinstallation: Reinstallation::default(),
            out: Ready {
                purge,
                ..Ready::default()
            },
            config,
        };
        // A snapshot can reach the disk before the term of its leader does.
        core.observe_term(core.log.last().term);
        // The node may have stopped after it took a snapshot and before it purged its log.
        core.compact();
        if !core.is_alone() {
            core.rearm_election();
        }
        core.withhold_vote_at_start(stored.granted_lease);
        core.update_contacts();
        core.check_store_state(stored.state);
        core.check_named_store();
        core.check_level(core.clusters.current().level);
        core.take_identity_change();
        core
    }

    // ----- observation -----

    /// This node.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.config.id
    }

    /// The role of this node.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.kind()
    }

    /// The latest term that this node has seen.
    #[must_use]
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// The candidate that received this node's vote in the current term.
    #[must_use]
    pub fn vote(&self) -> Option<&NodeId> {
        self.hard_state.vote.as_ref()
    }

    /// The leader of the current term, if this node knows it.
    #[must_use]
    pub fn leader(&self) -> Option<&NodeId> {
        match &self.role {
            RoleState::Follower { leader } => leader.as_ref().map(|leader| &leader.id),
            RoleState::PreCandidate { .. } | RoleState::Candidate { .. } => None,
            RoleState::Leader(_) => Some(&self.config.id),
        }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &RaftLog {
        &self.log
    }

    /// The configuration in effect: the last one in the log, committed or not.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.configurations.current()
    }

    /// Index of the entry of that configuration; 0 if the log contains none.
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

    /// The peers of a leader; empty on another node.
    #[must_use]
    pub fn peers(&self) -> &BTreeMap<NodeId, Progress> {
        static NONE: BTreeMap<NodeId, Progress> = BTreeMap::new();
        self.role.as_leader().map_or(&NONE, |leader| &leader.peers)
    }

    /// Number of uncommitted entries of a leader; 0 on another node.
    #[must_use]
    pub fn uncommitted_entries(&self) -> usize {
        let leader = self.role.as_leader();
        leader.map_or(0, |leader| leader.uncommitted.len())
    }

    /// Whether this node is a leader that has committed an entry of its term. Only then does it know which entries are
    /// committed (§8).
    #[must_use]
    pub fn has_committed_in_term(&self) -> bool {
        let leader = self.role.as_leader();
        leader.is_some_and(|leader| self.log.committed >= leader.term_start)
    }

    /// When this node starts its next election, or, as the leader, next checks that it has a majority; for tests.
    #[must_use]
    pub fn election_deadline(&self) -> Duration {
        let leader = self.role.as_leader();
        leader.map_or(self.election_deadline, |leader| {
            leader.quorum_check_deadline
        })
    }

    /// Panics if an invariant is broken; for tests and simulation.
    pub fn check(&self) {
        self.log.check();
        assert!(self.peers().values().all(|peer| peer.matched < peer.next));
        assert!(!self.peers().contains_key(&self.config.id));
    }

    /// Whether this node is the only member.
    fn is_alone(&self) -> bool {
        self.membership().members().keys().eq([&self.config.id])
    }

    // ----- time -----

    /// When [`Core::tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        if self.fault.is_some() {
            return Duration::MAX;
        }
        let own = self.role_deadline();
        let others = [self.writes.retry_deadline(), self.snapshot_check_deadline()];
        others.into_iter().flatten().fold(own, Duration::min)
    }

    fn role_deadline(&self) -> Duration {
        let Some(leader) = self.role.as_leader() else {
            let probe = self.probe_deadline();
            return probe.map_or(self.election_deadline, |at| self.election_deadline.min(at));
        };
        let transfer = leader.transfer.as_ref().map(|transfer| transfer.deadline);
        let own = leader.heartbeat_deadline.min(leader.quorum_check_deadline);
        let others = [
            transfer,
            leader.commit_notice_deadline,
            self.chunk_deadline(leader),
        ];
        others.into_iter().flatten().fold(own, Duration::min)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.fault.is_some() {
            return;
        }
        self.forwarded_reads.expire(
            self.now,
            self.config.election_timeout_min,
            &mut self.out.reads,
        );
        if self.role.is_leader() {
            self.tick_leader();
        } else if self.now >= self.election_deadline {
            self.campaign_or_wait();
        }
        self.end_earlier_leases();
        self.send_bootstrap_probes();
    }

    // ----- messages -----

    /// A message has arrived. An invalid message is dropped.
    pub fn step(&mut self, now: Duration, from: &Sender, message: Message) {
        self.now = self.now.max(now);
        let sender = from;
        let from = &sender.id;
        // A request may come from a node that is not in this node's configuration yet (dissertation §4.1). A response comes
        // from a member, or from a peer that was removed a moment ago.
        let unexpected = matches!(message, Message::Response(_))
            && !self.membership().contains(from)
            && self.role.peer(from).is_none();
        let stopped = self.fault.is_some();
        if unexpected || *from == self.config.id || message.check().is_err() || stopped {
            return;
        }
        match message {
            // From any member: it makes this node only more careful.
            Message::Request(RaftRequest::StoreReplaced(report)) => {
                if self.membership().contains(from) {
                    self.on_store_replaced(&report);
                }
            }
            _ if !self.is_current(sender) => {}
            Message::Request(request) => self.step_request(sender, request),
            Message::Response(response) => {
                if self.admits_response(sender, &response) {
                    self.step_response(sender, response);
                }
            }
        }
    }

    fn step_request(&mut self, sender: &Sender, request: RaftRequest) {
        let from = &sender.id;
        match request {
            RaftRequest::AppendEntries(append) => self.on_append_entries(from, append),
            RaftRequest::RequestVote(vote) => self.on_request_vote(sender, &vote),
            RaftRequest::InstallSnapshot(chunk) => self.on_install_snapshot(from, chunk),
            RaftRequest::ReadIndex(read) => self.on_read_index(from, &read),
            RaftRequest::TimeoutNow(request) => self.on_timeout_now(from, request.term),
            RaftRequest::InstallMembers(mut chunk, membership) => {
                chunk.meta.membership = Some(membership);
                self.on_install_snapshot(from, chunk);
            }
            RaftRequest::InstallCluster(mut chunk, membership, cluster) => {
                chunk.meta.membership = Some(membership);
                chunk.meta.cluster = cluster;
                self.on_install_snapshot(from, chunk);
            }
            RaftRequest::BootstrapProbe(probe) => self.on_bootstrap_probe(from, &probe),
            RaftRequest::RejoinGranted(granted) => self.on_rejoin_granted(from, &granted),
            RaftRequest::Clock(request) => self.on_clock_request(from, &request),
            // The driver handles these. They reach the core as `propose`, `change_members` and so on.
            RaftRequest::Forward(_) | RaftRequest::Admin(_) => {}
            // Handled before.
            RaftRequest::StoreReplaced(_) => {}
        }
    }

    fn step_response(&mut self, sender: &Sender, response: RaftResponse) {
        let from = &sender.id;
        match response {
            RaftResponse::AppendEntries(response) => self.on_append_response(sender, &response),
            RaftResponse::LeaseGranted(response, ms) => {
                self.on_lease_granted(from, &response, ms);
                self.on_append_response(sender, &response);
            }
            RaftResponse::RequestVote(response) => self.on_vote_response(from, &response),
            RaftResponse::InstallSnapshot(response) => {
                self.on_snapshot_response(sender, &response);
            }
            RaftResponse::ReadIndex(response) => self.on_read_response(&response),
            RaftResponse::BootstrapProbe(response) => self.on_bootstrap_response(from, response),
            RaftResponse::StoreMismatch(response) => self.on_store_mismatch(from, &response),
            RaftResponse::Clock(report) => self.on_clock_report(from, &report),
            RaftResponse::Forward(_) | RaftResponse::Admin(_) => {}
        }
    }

    // ----- results of the disk and of the state machine -----

    /// The write of this number is durable.
    pub fn persisted(&mut self, now: Duration, id: WriteId) {
        self.now = self.now.max(now);
        let Some(write) = self.writes.end(id) else {
            return;
        };
        self.writes.full_until = None;
        self.log.write_done(write.up_to);
        self.count_durable_vote(id);
        if self.role.is_leader() {
            self.advance_commit();
        }
        self.update_eligibility();
    }

    /// Entries that [`Ready::log_reads`] requested have been read.
    pub fn entries_read(&mut self, now: Duration, reader: &ReadFor, entries: Vec<Entry>) {
        self.now = self.now.max(now);
        match reader {
            ReadFor::Apply => {
                self.apply_read_in_flight = false;
                // A snapshot may have been installed since the read began.
                let next = self.log.applying.next();
                let wanted = entries.first().is_some_and(|entry| entry.id.index == next);
                if wanted && !self.reinstallation.awaits_state() {
                    self.hand_to_machine(entries);
                }
            }
            ReadFor::Peer(peer) => self.send_read_entries(peer, entries),
        }
    }

    /// The state machine has applied all entries up to `index`, or restored a snapshot that contains them.
    pub fn applied(&mut self, now: Duration, index: Index) {
        self.now = self.now.max(now);
        self.log.applied = self.log.applied.max(index.min(self.log.applying));
        self.unapplied.complete(index);
        self.retain_restored(index);
        self.reinstallation.applied(index);
    }

    // ----- output -----

    /// Returns the work of the driver. The driver must do all of it, in the order that its documentation gives.
    pub fn ready(&mut self) -> Ready {
        if let Some(fault) = &self.fault {
            let fault = Some(fault.clone()).filter(|_| !self.fault_reported);
            self.fault_reported = true;
            self.out = Ready::default();
            return Ready {
                fault,
                ..Ready::default()
            };
        }
        self.note_log_time();
        self.replicate_to_all();
        self.advance_reinstall();
        self.collect_entries_to_apply();
        self.take_snapshot_if_due();
        self.check_snapshot_if_due();
        self.collect_chunks();
        if self.writes.in_flight.is_none() && self.may_write() {
            self.out.write = self.begin_write();
        }
        self.out.identity = self.take_identity_change();
        std::mem::take(&mut self.out)
    }

    /// The next write: term and vote if they changed, and the entries that are not on the disk.
    fn begin_write(&mut self) -> Option<(WriteId, WriteBatch)> {
        if !self.needs_write() {
            return None;
        }
        let written = self.log.written();
        let (truncate_from, entries) = self.log.take_write();
        let hard_state = (!self.hard_state_written).then(|| self.hard_state.clone());
        let undo = RefusedWrite {
            written,
            truncate_from,
            hard_state: hard_state.is_some(),
        };
        let id = self.writes.begin(self.log.last().index, self.now, undo);
        if hard_state.is_some() {
            self.hard_state_written = true;
            self.hard_state_write = id;
        }
        let batch = WriteBatch {
            hard_state,
            truncate_from,
            entries,
        };
        Some((id, batch))
    }

    /// Gives committed and durable entries to the state machine, up to a limit.
    fn collect_entries_to_apply(&mut self) {
        let limits = &self.config.limits;
        let limit = Index(self.log.applied.0 + limits.unapplied_entries);
        let to = self.log.committed.min(self.log.stable()).min(limit);
        let from = self.log.applying.next();
        let room = limits
            .unapplied_bytes
            .saturating_sub(self.unapplied.bytes());
        let blocked = self.apply_read_in_flight || self.reinstallation.awaits_state();
        if from > to || room == 0 || blocked {
            return;
        }
        if let Some(entries) = self.log.cached(from, to, room) {
            self.hand_to_machine(entries);
        } else {
            self.apply_read_in_flight = true;
            let max_bytes = limits.message_bytes.min(room);
            self.out.log_reads.push(LogRead {
                reader: ReadFor::Apply,
                from,
                to,
                max_bytes,
            });
        }
    }

    fn hand_to_machine(&mut self, entries: Vec<Entry>) {
        if let Some(last) = entries.last() {
            self.log.applying = last.id.index;
            let size = entries.iter().map(Entry::cost).sum();
            self.unapplied.push(last.id.index, size);
        }
        self.out.apply.extend(entries);
    }

    /// Whether term, vote or log differ from what was given to the disk.
    fn needs_write(&self) -> bool {
        !self.hard_state_written || self.log.needs_write()
    }

    /// The first write after which the current state is durable.
    fn durable_after(&self) -> WriteId {
        if self.needs_write() {
            self.writes.next
        } else {
            let write = self.writes.in_flight.as_ref();
            write.map_or(0, |write| write.id)
        }
    }

    fn send(&mut self, to: &NodeId, message: Message, after: WriteId) {
        self.out.messages.push(OutgoingMessage {
            to: to.clone(),
            message,
            after,
        });
    }

    /// Sends a request once the write `after` is durable; 0 means immediately.
    fn request(&mut self, to: &NodeId, request: RaftRequest, after: WriteId) {
        self.send(to, Message::Request(request), after);
    }

    /// Sends a response once the whole current state is durable.
    fn respond(&mut self, to: &NodeId, response: RaftResponse) {
        let after = self.durable_after();
        self.send(to, Message::Response(response), after);
    }

    /// Sends a response once the current term is durable. It must not acknowledge an entry that is not durable.
    fn respond_in_term(&mut self, to: &NodeId, response: RaftResponse) {
        let after = if self.hard_state_written {
            self.hard_state_write
        } else {
            self.writes.next
        };
        self.send(to, Message::Response(response), after);
    }

    fn resolve_read(&mut self, id: u64, index: Option<Index>) {
        self.out.reads.push(ReadState { id, index });
    }

    fn add_snapshot_task(&mut self, task: SnapshotTask) {
        self.out.snapshots.push(task);
    }

    // ----- terms and roles -----

    /// A message carries this term. A newer term makes any node a follower (§5.1).
    fn observe_term(&mut self, term: Term) {
        if term > self.hard_state.term {
            self.become_follower(term, None);
        }
    }

    /// Follows `leader` in `term`, which is the current term or a newer one; without a leader, waits for one or for the
    /// election timeout.
    fn become_follower(&mut self, term: Term, leader: Option<KnownLeader>) {
        let is_new_term = term > self.hard_state.term;
        let same_leader = self.leader() == leader.as_ref().map(|leader| &leader.id);
        if self.role.is_leader() || !same_leader || is_new_term {
            self.fail_reads();
        }
        if is_new_term {
            self.hard_state = HardState { term, vote: None };
            self.hard_state_written = false;
        }
        let was_follower = self.role() == Role::Follower;
        self.role = RoleState::Follower { leader };
        if !was_follower {
            self.update_contacts();
            self.rearm_election();
        }
    }

    /// Draws a random election timeout, so that two nodes rarely campaign at the same time (§5.2).
    fn rearm_election(&mut self) {
        let (min, max) = (
            self.config.election_timeout_min,
            self.config.election_timeout_max,
        );
        let spread = u64::try_from(max.saturating_sub(min).as_micros()).unwrap_or(u64::MAX);
        self.election_deadline =
            self.now + min + Duration::from_micros(self.rng.below(spread.saturating_add(1)));
    }
}
