//! What an operator asks of the membership, and what it means for a configuration.
//!
//! Every change is idempotent: it says how the cluster is to be, and asking again for what is so already does
//! nothing. So a request whose answer was lost may be sent again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{MAX_ADDRESS_BYTES, MAX_MEMBERS, Member, MemberRole, Membership};
use crate::address::{PeerAddress, is_valid_id};
use crate::ids::{Index, NodeId};

/// A member as an operator wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSpec {
    /// Where its peers reach it, `host:port`; empty for a member whose address stays.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
}

/// A change of the membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Makes a node a learner, unless it is a member already.
    AddLearner {
        /// Which node.
        id: NodeId,
        /// Where its peers reach it, `host:port`.
        address: String,
    },
    /// Makes a node a learner and, once it has caught up, a voter.
    AddVoter {
        /// Which node.
        id: NodeId,
        /// Where its peers reach it, `host:port`.
        address: String,
    },
    /// Makes a learner that has caught up a voter.
    Promote {
        /// Which node.
        id: NodeId,
    },
    /// Removes a node.
    Remove {
        /// Which node.
        id: NodeId,
    },
    /// Puts a node in the place of another: adds it, lets it catch up, and swaps the two in one change.
    Replace {
        /// Who goes.
        old: NodeId,
        /// Who comes.
        new: NodeId,
        /// Where the new one's peers reach it, `host:port`.
        address: String,
    },
    /// Makes these the members. New voters catch up as learners first.
    Set(BTreeMap<NodeId, MemberSpec>),
}

/// Why a membership stays as it is.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeError {
    /// Only a leader changes the membership.
    #[error("this node does not lead")]
    NotLeader,
    /// There is one at a time.
    #[error("another change of the members is under way; wait until it is done")]
    Busy,
    /// It would vote without knowing the log.
    #[error("{node} is {behind} entries behind; wait until it has caught up")]
    NotCaughtUp {
        /// Which node.
        node: NodeId,
        /// How many committed entries it lacks.
        behind: u64,
    },
    /// No such member.
    #[error("{node} is not a member; add it first")]
    UnknownNode {
        /// Which node.
        node: NodeId,
    },
    /// Nobody would be left to vote.
    #[error("the cluster would have no voter left; add another one first")]
    LastVoter,
    /// A name that can't be one.
    #[error(
        "{node:?} is not a node's id: use 1 to 255 visible ASCII characters other than `@` and `,`"
    )]
    BadId {
        /// What it says.
        node: String,
    },
    /// An address that can't be dialled.
    #[error("{address:?} is not an address of {node}: write host:port")]
    BadAddress {
        /// Which node.
        node: NodeId,
        /// What it says.
        address: String,
    },
    /// More than a cluster may have.
    #[error("the cluster would have more than {limit} members; remove one first")]
    TooMany {
        /// The most that it may have.
        limit: usize,
    },
    /// The log has no room.
    #[error("too much is under way: {what}; try again shortly")]
    Overloaded {
        /// Which bound was met.
        what: String,
    },
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeProgress {
    /// It is committed, by the entry at this index or before.
    Done(Index),
    /// An entry of it waits for a majority.
    InProgress,
}

impl Change {
    /// Whether it waits for a node to catch up, rather than be refused.
    #[must_use]
    pub fn waits(&self) -> bool {
        !matches!(self, Self::Promote { .. })
    }

    /// What a settled configuration becomes by it.
    ///
    /// # Errors
    /// Where it makes no sense, or leaves no voter.
    pub fn apply(&self, to: &Membership) -> Result<Membership, ChangeError> {
        let mut members = to.members().clone();
        match self {
            Self::AddLearner { id, address } => {
                put(&mut members, id, address, None)?;
            }
            Self::AddVoter { id, address } => {
                put(&mut members, id, address, Some(MemberRole::Voter))?;
            }
            Self::Promote { id } => {
                let member = members
                    .get_mut(id)
                    .ok_or_else(|| ChangeError::UnknownNode { node: id.clone() })?;
                member.role = MemberRole::Voter;
            }
            Self::Remove { id } => {
                members.remove(id);
            }
            Self::Replace { old, new, address } => {
                let role = members.remove(old).map(|old| old.role);
                // Where it was done before, the old one is gone and the new one keeps what it is.
                if role.is_none() && !members.contains_key(new) {
                    return Err(ChangeError::UnknownNode { node: old.clone() });
                }
                put(&mut members, new, address, role)?;
            }
            Self::Set(seats) => {
                members.retain(|id, _| seats.contains_key(id));
                for (id, seat) in seats {
                    let role = if seat.voter {
                        MemberRole::Voter
                    } else {
                        MemberRole::Learner
                    };
                    put(&mut members, id, &seat.address, Some(role))?;
                }
            }
        }
        if !members
            .values()
            .any(|member| member.role == MemberRole::Voter)
        {
            return Err(ChangeError::LastVoter);
        }
        if members.len() > MAX_MEMBERS {
            return Err(ChangeError::TooMany { limit: MAX_MEMBERS });
        }
        Ok(Membership::new(members))
    }
}

impl Membership {
    /// The configuration in which the voters of this settled one and of `target` have to agree. Where only learners
    /// differ, it is `target` itself.
    #[must_use]
    pub fn joint_with(&self, target: &Self) -> Self {
        let was_voter = |id: &NodeId| self.role(id) == Some(MemberRole::Voter);
        let mut members = target.members.clone();
        for (id, member) in &mut members {
            member.role = match (was_voter(id), member.role) {
                (true, MemberRole::Voter) => MemberRole::Voter,
                (false, MemberRole::Voter) => MemberRole::Incoming,
                (true, _) => MemberRole::Demoted,
                (false, role) => role,
            };
        }
        for (id, member) in &self.members {
            if was_voter(id) && !members.contains_key(id) {
                let role = MemberRole::Leaving;
                let leaving = Member {
                    role,
                    ..member.clone()
                };
                members.insert(id.clone(), leaving);
            }
        }
        Self::new(members)
    }

    /// This settled configuration with the members of `target` that it lacks, as learners.
    #[must_use]
    pub fn with_learners_of(&self, target: &Self) -> Self {
        let mut members = self.members.clone();
        for (id, member) in &target.members {
            let role = MemberRole::Learner;
            let learner = Member {
                role,
                ..member.clone()
            };
            members.entry(id.clone()).or_insert(learner);
        }
        Self::new(members)
    }
}

/// Makes `id` a member. Its role stays where none is wanted; a new one is a learner then.
fn put(
    members: &mut BTreeMap<NodeId, Member>,
    id: &NodeId,
    address: &str,
    role: Option<MemberRole>,
) -> Result<(), ChangeError> {
    if !is_valid_id(id.as_str()) {
        let node = id.as_str().to_owned();
        return Err(ChangeError::BadId { node });
    }
    let known = members.get(id);
    let address = match known {
        Some(member) if address.is_empty() => member.address.clone(),
        _ => checked_address(id, address)?,
    };
    let role = role
        .or(known.map(|member| member.role))
        .unwrap_or(MemberRole::Learner);
    let store_id = known.map_or(0, |member| member.store_id);
    let member = Member {
        address,
        store_id,
        role,
    };
    members.insert(id.clone(), member);
    Ok(())
}

fn checked_address(id: &NodeId, address: &str) -> Result<String, ChangeError> {
    let bad = || ChangeError::BadAddress {
        node: id.clone(),
        address: address.chars().take(MAX_ADDRESS_BYTES).collect(),
    };
    let parsed: PeerAddress = format!("{id}@{address}").parse().map_err(|_| bad())?;
    if address.len() > MAX_ADDRESS_BYTES {
        return Err(bad());
    }
    Ok(parsed.host_port())
}
