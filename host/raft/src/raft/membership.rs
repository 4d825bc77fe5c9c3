//! The members of a cluster. A configuration is an entry of the log, and is in effect as soon as a node appends it (Raft paper §6,
//! dissertation §4.1).
//!
//! Voters change by joint consensus (dissertation §4.3): during the change, elections and commits need a majority of the old
//! voters and a majority of the new voters. The leader appends the second entry, which ends the joint configuration.
//! Learners receive the log, but neither vote nor count.

pub mod change;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, StoreId};
use crate::raft::quorum::{VoteResult, reached, vote_result};

/// Most members of a cluster, including learners.
pub const MAX_MEMBERS: usize = 64;
/// Longest address of a member, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 512;

/// The role of a member in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRole {
    /// Receives the log, but neither votes nor counts.
    Learner,
    /// Votes and counts. In a joint configuration: among the old and the new voters.
    Voter,
    /// Joint configuration: among the new voters only. It becomes a voter.
    Incoming,
    /// Joint configuration: among the old voters only. It is removed.
    Leaving,
    /// Joint configuration: among the old voters only. It becomes a learner.
    Demoted,
    /// A voter that has lost its store. It receives the log, but neither votes nor counts. Once it has caught up, the leader
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

    /// Whether the role exists only in a joint configuration.
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

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its peer address, `host:port`. Empty: each node uses the address from its own settings.
    pub address: String,
    /// Id of the store by which it votes; [`StoreId::NONE`] if unknown. A learner gets it when it becomes a voter.
    pub store_id: StoreId,
    /// Its role.
    pub role: MemberRole,
}

/// A configuration of the cluster: its members and their roles.
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

    /// A configuration in which all of these vote. A missing address stays empty.
    pub fn of_voters<'a>(
        voters: impl IntoIterator<Item = &'a NodeId>,
        addresses: &BTreeMap<NodeId, String>,
    ) -> Self {
        let member = |id: &NodeId| {
            let member = Member {
                address: addresses.get(id).cloned().unwrap_or_default(),
                store_id: StoreId::NONE,
                role: MemberRole::Voter,
            };
            (id.clone(), member)
        };
        Self::new(voters.into_iter().map(member).collect())
    }

    /// Sets the empty addresses, where they are known.
    pub(super) fn fill_in_addresses(&mut self, addresses: &BTreeMap<NodeId, String>) {
        for (id, member) in &mut self.members {
            if let Some(known) = addresses.get(id).filter(|_| member.address.is_empty()) {
                member.address.clone_from(known);
            }
        }
    }

    /// All members.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// Whether this node is a member.
    #[must_use]
    pub fn contains(&self, id: &NodeId) -> bool {
        self.members.contains_key(id)
    }

    /// The voters; in a joint configuration, the old and the new ones.
    pub fn voters(&self) -> impl Iterator<Item = &NodeId> {
        self.with(MemberRole::votes)
    }

    /// The members that only receive the log.
    pub fn learners(&self) -> impl Iterator<Item = &NodeId> {
        self.with(|role| !role.votes())
    }

    /// Whether this node may vote and be elected in this configuration.
    #[must_use]
    pub fn is_voter(&self, id: &NodeId) -> bool {
        self.role_of(id).is_some_and(MemberRole::votes)
    }

    /// Whether this node is a voter after the change in progress.
    #[must_use]
    pub fn is_new_voter(&self, id: &NodeId) -> bool {
        self.role_of(id).is_some_and(MemberRole::is_new_voter)
    }

    /// Whether this is a joint configuration: majorities of the old and the new voters must agree.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.members.values().any(|member| member.role.is_joint())
    }

    /// The configuration that ends a joint one; itself if it is not joint.
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

    /// The highest value that a majority has reached; in a joint configuration, a majority of the old voters and one of the
    /// new voters. The default value if there are no voters.
    pub fn reached<T: Ord + Copy + Default>(&self, value: impl Fn(&NodeId) -> T) -> T {
        let of = |counts: fn(MemberRole) -> bool| reached(self.with(counts).map(&value).collect());
        let new = of(MemberRole::is_new_voter);
        if self.is_joint() {
            new.min(of(MemberRole::is_old_voter))
        } else {
            new
        }
    }

    /// The result of a vote. Only votes of voters count.
    #[must_use]
    pub fn vote_result(&self, votes: &BTreeMap<NodeId, bool>) -> VoteResult {
        let of = |counts: fn(MemberRole) -> bool| {
            let voters: Vec<&NodeId> = self.with(counts).collect();
            let count = |granted: bool| {
                let voted = voters.iter().filter(|id| votes.get(**id) == Some(&granted));
                voted.count()
            };
            vote_result(voters.len(), count(true), count(false))
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

    /// Whether the configuration is valid: it has voters, before and after a change in progress, and keeps the limits.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let votes = |counts: fn(MemberRole) -> bool| self.with(counts).next().is_some();
        let short = |member: &Member| member.address.len() <= MAX_ADDRESS_BYTES;
        votes(MemberRole::is_new_voter)
            && votes(MemberRole::is_old_voter)
            && self.members.len() <= 2 * MAX_MEMBERS
            && self.members.values().all(short)
    }

    /// Id of the store by which a member votes; [`StoreId::NONE`] if it is unknown, or the node is not a member.
    #[must_use]
    pub fn store_id(&self, id: &NodeId) -> StoreId {
        let member = self.members.get(id);
        member.map_or(StoreId::NONE, |member| member.store_id)
    }

    /// Whether this node is a voter by this store.
    #[must_use]
    pub fn votes_by(&self, id: &NodeId, store_id: StoreId) -> bool {
        self.is_voter(id) && self.store_id(id) == store_id
    }

    /// Whether this node is a voter by another store than this one.
    pub(super) fn votes_by_another(&self, id: &NodeId, store_id: StoreId) -> bool {
        self.is_voter(id) && self.store_id(id) != store_id
    }

    /// This configuration, after a voter has lost its store and returned with the store of this id.
    #[must_use]
    pub fn without_store_of(&self, id: &NodeId, store_id: StoreId) -> Self {
        let mut members = self.members.clone();
        if let Some(member) = members.get_mut(id) {
            member.role = MemberRole::Rejoining;
            member.store_id = store_id;
        }
        Self::new(members)
    }

    /// This configuration, with each rejoining member as a voter for which `ready` is true.
    pub(super) fn with_rejoined(&self, ready: impl Fn(&NodeId) -> bool) -> Self {
        let rejoined = |(id, member): (&NodeId, &Member)| {
            let mut member = member.clone();
            if member.role == MemberRole::Rejoining && ready(id) {
                member.role = MemberRole::Voter;
            }
            (id.clone(), member)
        };
        Self::new(self.members.iter().map(rejoined).collect())
    }

    fn role_of(&self, id: &NodeId) -> Option<MemberRole> {
        self.members.get(id).map(|member| member.role)
    }

    fn with(&self, wanted: impl Fn(MemberRole) -> bool) -> impl Iterator<Item = &NodeId> {
        let wanted = move |(id, member): (_, &Member)| wanted(member.role).then_some(id);
        self.members.iter().filter_map(wanted)
    }
}
