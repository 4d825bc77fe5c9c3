//! Who belongs to the cluster: a configuration is an entry of the log, and holds from the moment a node appends it
//! (Raft paper §6, dissertation §4.1).
//!
//! Voters change by joint consensus (dissertation §4.3): while a change of voters is under way, both the old and the
//! new ones have to agree, each by a majority of its own, on elections and on entries. The leader makes the second
//! entry, which ends that state, by itself. Learners get the log and neither vote nor count.

mod change;
mod leader;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::entry::SnapshotMeta;
use crate::ids::{Index, NodeId};
use crate::raft::quorum::{VoteResult, reached, vote_result};

pub use change::{Change, ChangeError, ChangeProgress, MemberSpec};

/// The most nodes that a cluster may have, learners included.
pub const MAX_MEMBERS: usize = 64;
/// The longest address of a member, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 512;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRole {
    /// Gets the log, and neither votes nor counts.
    Learner,
    /// Votes and counts. During a change: among the old voters and the new ones.
    Voter,
    /// Among the new voters only: the change makes it one.
    Incoming,
    /// Among the old voters only: the change removes it.
    Leaving,
    /// Among the old voters only: the change makes it a learner.
    Demoted,
    /// Was a voter, and lost its store. Gets the log, and neither votes nor counts; once it has caught up the leader
    /// makes it a voter again.
    Rejoining,
}

impl MemberRole {
    fn is_new_voter(self) -> bool {
        matches!(self, Self::Voter | Self::Incoming)
    }

    fn votes(self) -> bool {
        !matches!(self, Self::Learner | Self::Rejoining)
    }

    fn is_old_voter(self) -> bool {
        matches!(self, Self::Voter | Self::Leaving | Self::Demoted)
    }

    /// Whether a change of voters is under way where someone has it.
    fn is_joint(self) -> bool {
        matches!(self, Self::Incoming | Self::Leaving | Self::Demoted)
    }

    fn settled(self) -> Option<Self> {
        match self {
            Self::Voter | Self::Incoming => Some(Self::Voter),
            Self::Learner | Self::Demoted => Some(Self::Learner),
            Self::Rejoining => Some(Self::Rejoining),
            Self::Leaving => None,
        }
    }
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where its peers reach it, `host:port`; empty where only the start configuration knows.
    pub address: String,
    /// Number of the store that it votes by; 0 where that is not known. A learner's is noted once it becomes a voter.
    pub store_id: u64,
    /// What it is.
    pub role: MemberRole,
}

/// A configuration of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    members: BTreeMap<NodeId, Member>,
}

impl Membership {
    /// A configuration of these members.
    #[must_use]
    pub fn new(members: BTreeMap<NodeId, Member>) -> Self {
        Self { members }
    }

    /// A configuration in which all of these vote. An address that is missing is left open.
    pub fn of_voters<'a>(
        voters: impl IntoIterator<Item = &'a NodeId>,
        addresses: &BTreeMap<NodeId, String>,
    ) -> Self {
        let member = |id: &NodeId| {
            let member = Member {
                address: addresses.get(id).cloned().unwrap_or_default(),
                store_id: 0,
                role: MemberRole::Voter,
            };
            (id.clone(), member)
        };
        Self::new(voters.into_iter().map(member).collect())
    }

    /// Says where those are reached of whom that was left open.
    pub(super) fn fill_in_addresses(&mut self, addresses: &BTreeMap<NodeId, String>) {
        for (id, member) in &mut self.members {
            if let Some(known) = addresses.get(id).filter(|_| member.address.is_empty()) {
                member.address.clone_from(known);
            }
        }
    }

    /// All nodes of the cluster.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// Whether it names this node.
    #[must_use]
    pub fn contains(&self, id: &NodeId) -> bool {
        self.members.contains_key(id)
    }

    /// Those who may vote and be elected: during a change the old voters and the new ones.
    pub fn voters(&self) -> impl Iterator<Item = &NodeId> {
        self.with(MemberRole::votes)
    }

    /// Those who only get the log.
    pub fn learners(&self) -> impl Iterator<Item = &NodeId> {
        self.with(|role| !role.votes())
    }

    /// Whether this node may vote and be elected.
    #[must_use]
    pub fn is_voter(&self, id: &NodeId) -> bool {
        self.role(id).is_some_and(MemberRole::votes)
    }

    /// Whether this node votes once the change under way is through.
    #[must_use]
    pub fn is_new_voter(&self, id: &NodeId) -> bool {
        self.role(id).is_some_and(MemberRole::is_new_voter)
    }

    /// Whether a change of voters is under way: old and new ones have to agree.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.members.values().any(|member| member.role.is_joint())
    }

    /// The configuration that ends a change under way; itself if none is.
    #[must_use]
    pub fn settled(&self) -> Self {
        let settle = |(id, member): (&NodeId, &Member)| {
            let role = member.role.settled()?;
            Some((
                id.clone(),
                Member {
                    role,
                    ..member.clone()
                },
            ))
        };
        Self::new(self.members.iter().filter_map(settle).collect())
    }

    /// The highest value that a majority has reached; during a change, a majority of the old voters and one of the
    /// new ones. The default where there are no voters.
    pub fn reached<T: Ord + Copy + Default>(&self, value: impl Fn(&NodeId) -> T) -> T {
        let of = |counts: fn(MemberRole) -> bool| reached(self.with(counts).map(&value).collect());
        let new = of(MemberRole::is_new_voter);
        if self.is_joint() {
            new.min(of(MemberRole::is_old_voter))
        } else {
            new
        }
    }

    /// How a vote stands. Votes of others than voters don't count.
    #[must_use]
    pub fn vote_result(&self, votes: &BTreeMap<NodeId, bool>) -> VoteResult {
        let of = |counts: fn(MemberRole) -> bool| {
            let voters: Vec<&NodeId> = self.with(counts).collect();
            let said = |what: bool| {
                let said = voters.iter().filter(|id| votes.get(**id) == Some(&what));
                said.count()
            };
            vote_result(voters.len(), said(true), said(false))
        };
        let new = of(MemberRole::is_new_voter);
        if !self.is_joint() {
            return new;
        }
        match (new, of(MemberRole::is_old_voter)) {
            (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
            (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
            _ => VoteResult::Pending,
        }
    }

    /// Whether it can be a cluster's: somebody votes, before and after the change, and it keeps the bounds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let votes = |counts: fn(MemberRole) -> bool| self.with(counts).next().is_some();
        let short = |member: &Member| member.address.len() <= MAX_ADDRESS_BYTES;
        votes(MemberRole::is_new_voter)
            && votes(MemberRole::is_old_voter)
            && self.members.len() <= 2 * MAX_MEMBERS
            && self.members.values().all(short)
    }

    fn role(&self, id: &NodeId) -> Option<MemberRole> {
        self.members.get(id).map(|member| member.role)
    }

    fn with(&self, wanted: impl Fn(MemberRole) -> bool) -> impl Iterator<Item = &NodeId> {
        let wanted = move |(id, member): (_, &Member)| wanted(member.role).then_some(id);
        self.members.iter().filter_map(wanted)
    }
}

/// The configurations that a log holds. The last one is in force, committed or not; where it is truncated, the one
/// before it is again (dissertation §4.1).
#[derive(Clone, Debug)]
pub(super) struct Configurations {
    /// Of a cluster whose log has never said anything else.
    start: Membership,
    /// What was in force at the snapshot, or the start's.
    base: (Index, Membership),
    later: VecDeque<(Index, Membership)>,
}

impl Configurations {
    /// From what a store holds. The start configuration counts only where the log and the snapshot say nothing.
    pub(super) fn new(
        start: Membership,
        snapshot: Option<&SnapshotMeta>,
        stored: &[(Index, Membership)],
    ) -> Self {
        let mut configurations = Self {
            base: (Index::ZERO, start.clone()),
            start,
            later: stored.iter().cloned().collect(),
        };
        if let Some(meta) = snapshot {
            configurations.install(meta, true);
        }
        configurations
    }

    /// The one in force.
    pub(super) fn current(&self) -> &Membership {
        self.later.back().map_or(&self.base.1, |(_, last)| last)
    }

    /// The last one among the entries up to `committed`.
    pub(super) fn committed(&self, committed: Index) -> &Membership {
        let known = self.later.iter().rev();
        let known = known.skip_while(|(index, _)| *index > committed);
        known
            .map(|(_, membership)| membership)
            .next()
            .unwrap_or(&self.base.1)
    }

    /// Index of its entry; 0 for the start's.
    pub(super) fn index(&self) -> Index {
        self.later.back().map_or(self.base.0, |(index, _)| *index)
    }

    /// The one whose entry is at this index, where it is known.
    pub(super) fn at(&self, index: Index) -> Option<&Membership> {
        let mut known = [&self.base].into_iter().chain(&self.later);
        known
            .find(|(at, _)| *at == index && index > Index::ZERO)
            .map(|(_, membership)| membership)
    }

    pub(super) fn append(&mut self, index: Index, membership: Membership) {
        self.later.push_back((index, membership));
    }

    /// The entries from `from` on are gone.
    pub(super) fn truncate(&mut self, from: Index) {
        while self.later.back().is_some_and(|(index, _)| *index >= from) {
            self.later.pop_back();
        }
    }

    /// The log continues behind a snapshot; what it holds behind that stays if `keeps_later`.
    pub(super) fn install(&mut self, meta: &SnapshotMeta, keeps_later: bool) {
        let at = meta.last.index;
        match &meta.membership {
            Some(membership) => self.base = (at, membership.clone()),
            None => self.base = (Index::ZERO, self.start.clone()),
        }
        self.later.retain(|(index, _)| keeps_later && *index > at);
    }

    /// Entries up to here never change: the last configuration among them is all that is needed of them.
    pub(super) fn compact(&mut self, up_to: Index) {
        while self.later.get(1).is_some_and(|(index, _)| *index <= up_to) {
            if let Some(oldest) = self.later.pop_front() {
                self.base = oldest;
            }
        }
    }
}
