//! Rejoin: how a member whose store was emptied becomes a voter again.
//!
//! 1. The node responds to the leader's AppendEntries with [`StoreMismatch`](crate::message::StoreMismatch), which carries
//!    its store id. This is no acknowledgement.
//! 2. The leader discards the acknowledgements of the former store. One entry removes the node from the voters and makes it
//!    [`MemberRole::Rejoining`](super::membership::MemberRole::Rejoining). The configuration differs by one server, so old
//!    and new majorities overlap (dissertation §4.1).
//! 3. From then on every commit needs a majority of the others, so acknowledgements of the new store are safe. The leader
//!    sends [`RejoinGranted`](crate::message::RejoinGranted), and the node acknowledges entries.
//! 4. Once the node has caught up, the leader makes it a voter again. The configuration contains the id of its new store.
//! 5. The node is eligible to vote once it has received proof that a configuration is committed in which it votes with that
//!    store. That log contains every entry that the node acknowledged with its former store, and the entries of each leader
//!    for which it voted.
//!
//! If the voters that have not lost their stores are fewer than a majority, no leader is elected:
//! [`Core::voters_without_data`](crate::raft::Core::voters_without_data) lists them.

use std::collections::BTreeMap;

use super::membership::Membership;
use crate::ids::{NodeId, StoreId, Term};

/// The state of a rejoin on the node that has lost its store.
#[derive(Clone, Debug, Default)]
pub(super) struct Rejoin {
    /// The leader and the term for which this node may acknowledge entries.
    granted: Option<(NodeId, Term)>,
}

impl Rejoin {
    pub(super) fn grant(&mut self, leader: &NodeId, term: Term) {
        self.granted = Some((leader.clone(), term));
    }

    pub(super) fn is_granted(&self, leader: &NodeId, term: Term) -> bool {
        let granted = self.granted.as_ref();
        granted.is_some_and(|(by, in_term)| by == leader && *in_term == term)
    }
}

/// Peers that reported a store other than the one they had, with the ids of the new stores.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplacedStores(BTreeMap<NodeId, StoreId>);

impl ReplacedStores {
    pub(super) fn insert(&mut self, id: &NodeId, store_id: StoreId, members: &Membership) {
        self.0.retain(|id, _| members.contains(id));
        self.0.insert(id.clone(), store_id);
    }

    /// Voters that have not rejoined with their new store.
    pub(super) fn voters_without_data(&self, members: &Membership) -> Vec<NodeId> {
        let stores = self.0.iter();
        let without = stores.filter(|(id, store_id)| members.votes_by_another(id, **store_id));
        without.map(|(id, _)| id.clone()).collect()
    }
}
