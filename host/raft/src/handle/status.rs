//! What a node publishes of its state.

use super::config::RaftConfig;
use crate::address::PeerAddress;
use crate::entry::SnapshotMeta;
use crate::ids::{Index, Lineage, NodeId, Term};
use crate::raft::clock::ClockStatus;
use crate::raft::membership::Membership;
use crate::raft::reinstall::Reinstall;
use crate::raft::voting::VotingStatus;
use crate::raft::{Core, Role};

/// State of a node after the last turn of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Id of the node.
    pub node_id: NodeId,
    /// Its role.
    pub role: Role,
    /// The latest term that it has seen.
    pub term: Term,
    /// The leader that it follows, or itself.
    pub leader: Option<NodeId>,
    /// Highest index that it knows to be committed.
    pub commit: Index,
    /// Highest index that its state machine has applied.
    pub applied: Index,
    /// First entry in its log.
    pub first: Index,
    /// Last entry in its log.
    pub last: Index,
    /// Highest index that is durable on its disk.
    pub stable: Index,
    /// Its newest snapshot.
    pub snapshot: Option<SnapshotMeta>,
    /// All voters.
    pub voters: Vec<NodeId>,
    /// All members, with their roles and addresses.
    pub membership: Membership,
    /// On a leader: the highest index that each peer has acknowledged.
    pub matched: Vec<(NodeId, Index)>,
    /// It leads, and has committed an entry of its term: it knows what is committed.
    pub has_committed_in_term: bool,
    /// The disk was full at the last write. The write is retried.
    pub disk_full: bool,
    /// Entries in its log above `max_log_entries`: the part of the reserve for control records that is in use.
    pub reserve_used: u64,
    /// It leads, and serves linearizable queries from its lease, without a message to a majority.
    pub has_lease: bool,
    /// Its clock, and the time of the log.
    pub clock: ClockStatus,
    /// Whether it is eligible to vote, and if not, why.
    pub voting: VotingStatus,
    /// Voters that restarted with empty stores and have not rejoined yet, as far as this node knows.
    pub voters_without_data: Vec<NodeId>,
    /// Progress of the replacement of the machine's state by the leader's, while it is in progress.
    pub reinstall: Option<Reinstall>,
    /// Number of such replacements since the start.
    pub reinstalled: u64,
    /// The entry of the leader's snapshot that the last of them has installed.
    pub reinstalled_at: Index,
    /// The newest snapshot is damaged on the disk. The node does not send it, and takes a new one.
    pub snapshot_damaged: bool,
    /// The level of the cluster, as far as this node knows it to be committed. 0: as the release before this one.
    pub cluster_level: u32,
    /// The lineage of the cluster; [`Lineage::NONE`] at level 0.
    pub lineage: Lineage,
}

impl Status {
    /// The status of a node that has not been started. It has what can be parsed of the settings: errors in them are
    /// reported at the start.
    pub(super) fn before_start(config: &RaftConfig, join: bool) -> Self {
        let address: Result<PeerAddress, _> = config.node_id.parse();
        let members = if join {
            Vec::new()
        } else {
            parsed_members(config)
        };
        let addresses = members
            .iter()
            .map(|peer| (peer.id.clone(), peer.host_port()))
            .collect();
        let membership = Membership::of_voters(members.iter().map(|peer| &peer.id), &addresses);
        Self {
            node_id: address.map_or_else(|_| config.node_id.as_str().into(), |address| address.id),
            role: Role::Follower,
            term: Term::ZERO,
            leader: None,
            commit: Index::ZERO,
            applied: Index::ZERO,
            first: Index(1),
            last: Index::ZERO,
            stable: Index::ZERO,
            snapshot: None,
            voters: membership.voters().cloned().collect(),
            membership,
            matched: Vec::new(),
            has_committed_in_term: false,
            disk_full: false,
            reserve_used: 0,
            has_lease: false,
            clock: ClockStatus::default(),
            voting: VotingStatus::Eligible,
            voters_without_data: Vec::new(),
            reinstall: None,
            reinstalled: 0,
            reinstalled_at: Index::ZERO,
            snapshot_damaged: false,
            cluster_level: 0,
            lineage: Lineage::NONE,
        }
    }

    /// Copies what has changed, and returns whether anything has. Runs after each turn of the driver, so what changes
    /// rarely is compared before it is copied.
    pub(super) fn update(&mut self, core: &Core) -> bool {
        let log = core.log();
        let mut changed = set(&mut self.role, core.role());
        changed |= set(&mut self.term, core.term());
        changed |= set(&mut self.commit, log.committed());
        changed |= set(&mut self.applied, log.applied());
        changed |= set(&mut self.first, log.purged().index.next());
        changed |= set(&mut self.last, log.last().index);
        changed |= set(&mut self.stable, log.stable());
        changed |= set(
            &mut self.has_committed_in_term,
            core.has_committed_in_term(),
        );
        changed |= set(&mut self.disk_full, core.is_disk_full());
        changed |= set(&mut self.reserve_used, core.reserve_used());
        changed |= set(&mut self.has_lease, core.lease_until().is_some());
        changed |= set(&mut self.clock, core.clock_status());
        changed |= set(&mut self.voting, core.voting_status());
        changed |= set(&mut self.voters_without_data, core.voters_without_data());
        changed |= set(&mut self.reinstall, core.reinstalling());
        changed |= set(&mut self.reinstalled, core.reinstalled());
        changed |= set(&mut self.reinstalled_at, core.reinstalled_at());
        changed |= set(&mut self.snapshot_damaged, core.is_snapshot_damaged());
        changed |= set(&mut self.cluster_level, core.cluster().level);
        changed |= set(&mut self.lineage, core.cluster().lineage);
        if self.node_id != *core.id() {
            self.node_id.clone_from(core.id());
            changed = true;
        }
        if self.leader.as_ref() != core.leader() {
            self.leader = core.leader().cloned();
            changed = true;
        }
        if self.snapshot.as_ref() != core.snapshot() {
            self.snapshot = core.snapshot().cloned();
            changed = true;
        }
        if self.membership != *core.membership() {
            self.membership = core.membership().clone();
            self.voters = self.membership.voters().cloned().collect();
            changed = true;
        }
        let matched = || core.peers().iter().map(|(id, peer)| (id, peer.matched));
        if !matched().eq(self.matched.iter().map(|(id, matched)| (id, *matched))) {
            self.matched = matched()
                .map(|(id, matched)| (id.clone(), matched))
                .collect();
            changed = true;
        }
        changed
    }
}

/// Sets a field, and returns whether its value has changed.
fn set<T: PartialEq>(field: &mut T, value: T) -> bool {
    let changed = *field != value;
    *field = value;
    changed
}

/// This node and its peers, as far as they can be parsed.
fn parsed_members(config: &RaftConfig) -> Vec<PeerAddress> {
    let texts = config.peers.iter().chain([&config.node_id]);
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Who leads, as far as a node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: Term,
    /// This node is the leader, and has committed an entry of its term.
    pub is_own: bool,
}

impl Leadership {
    /// Copies what has changed, and returns whether anything has.
    pub(super) fn update(&mut self, core: &Core) -> bool {
        let same = self.term == core.term()
            && self.leader.as_ref() == core.leader()
            && self.is_own == core.has_committed_in_term();
        if !same {
            *self = Self {
                leader: core.leader().cloned(),
                term: core.term(),
                is_own: core.has_committed_in_term(),
            };
        }
        !same
    }
}
