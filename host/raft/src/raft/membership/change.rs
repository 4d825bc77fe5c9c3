//! Changes of the membership that an operator requests.
//!
//! Every change is idempotent: it describes the target, and has no effect if the target is reached. So a request whose
//! response was lost may be sent again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{MAX_ADDRESS_BYTES, MAX_MEMBERS, Member, MemberRole, Membership};
use crate::address::{PeerAddress, is_valid_id};
use crate::ids::{Index, NodeId, StoreId};

/// A member as requested by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSpec {
    /// Its peer address, `host:port`. Empty keeps the address of an existing member.
    pub address: String,
    /// Whether it is a voter.
    pub voter: bool,
}

/// A requested change of the membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Adds a node as a learner. No effect on an existing member.
    AddLearner {
        /// The node.
        id: NodeId,
        /// Its peer address, `host:port`.
        address: String,
    },
    /// Adds a node as a learner and makes it a voter once it has caught up.
    AddVoter {
        /// The node.
        id: NodeId,
        /// Its peer address, `host:port`.
        address: String,
    },
    /// Makes a learner a voter. Rejected if it has not caught up.
    Promote {
        /// The node.
        id: NodeId,
    },
    /// Removes a node.
    Remove {
        /// The node.
        id: NodeId,
    },
    /// Replaces a node: adds the new one, waits until it has caught up, and swaps the two in one change.
    Replace {
        /// The node to remove.
        old: NodeId,
        /// The node to add.
        new: NodeId,
        /// Peer address of the new node, `host:port`.
        address: String,
    },
    /// Sets all members. New voters catch up as learners first.
    Set(BTreeMap<NodeId, MemberSpec>),
}

/// Why a change was rejected. The members stay as they are.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeError {
    /// Only a leader changes the membership.
    #[error("this node is not the leader")]
    NotLeader,
    /// Only one change at a time is possible.
    #[error("another change of the members is in progress; wait until it is done")]
    Busy,
    /// The node lacks too many entries to become a voter.
    #[error("{node} is {behind} entries behind; wait until it has caught up")]
    NotCaughtUp {
        /// The node.
        node: NodeId,
        /// Number of committed entries that it lacks.
        behind: u64,
    },
    /// The node is not a member.
    #[error("{node} is not a member, nothing was changed")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// No voter would be left.
    #[error("the cluster would have no voter left; add another one first")]
    LastVoter,
    /// The id is invalid.
    #[error(
        "{node:?} is not a node's id: use 1 to 255 visible ASCII characters other than `@` and `,`"
    )]
    BadId {
        /// The id.
        node: String,
    },
    /// The address is invalid.
    #[error("{address:?} is not an address of {node}: write host:port")]
    BadAddress {
        /// The node.
        node: NodeId,
        /// The address.
        address: String,
    },
    /// The cluster would have too many members.
    #[error("the cluster would have more than {limit} members; remove one first")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A limit of the leader is reached.
    #[error("overloaded: too many {what}; try again shortly")]
    Overloaded {
        /// The limited resource, for the error text.
        what: String,
    },
}

/// The progress of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeProgress {
    /// The target is committed, by the entry at this index or before.
    Done(Index),
    /// An entry of the change is not committed yet.
    InProgress,
}

impl Change {
    /// Whether the change waits until its nodes have caught up. Otherwise it is rejected before.
    #[must_use]
    pub fn waits(&self) -> bool {
        !matches!(self, Self::Promote { .. })
    }

    /// The target of the change. `to` must not be a joint configuration.
    ///
    /// # Errors
    /// If the change is invalid, or leaves no voter.
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
                // In a repeated request, the old node is already removed, and the new one keeps its role.
                if role.is_none() && !members.contains_key(new) {
                    return Err(ChangeError::UnknownNode { node: old.clone() });
                }
                put(&mut members, new, address, role)?;
            }
            Self::Set(specs) => {
                members.retain(|id, _| specs.contains_key(id));
                for (id, spec) in specs {
                    let role = if spec.voter {
                        MemberRole::Voter
                    } else {
                        MemberRole::Learner
                    };
                    put(&mut members, id, &spec.address, Some(role))?;
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
    /// The joint configuration from this one to `target`. If only learners differ, it is `target` itself. Neither may be
    /// joint.
    #[must_use]
    pub fn joint_with(&self, target: &Self) -> Self {
        let was_voter = |id: &NodeId| self.role_of(id) == Some(MemberRole::Voter);
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

    /// This configuration, with the missing members of `target` as learners. It must not be joint.
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

/// Makes `id` a member. Without a `role`, an existing member keeps its role, and a new one is a learner.
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
    let store_id = known.map_or(StoreId::NONE, |member| member.store_id);
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
