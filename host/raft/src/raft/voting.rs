//! Whether a node is eligible to vote.
//!
//! A node votes only if its store contains all of its earlier votes and acknowledgements (Raft paper, Figure 2). A node that
//! restarts with an empty disk has lost them. It could vote twice in a term. It could vote for a candidate that lacks an entry
//! that the node had acknowledged. Or it could acknowledge entries of an old leader after it voted for a newer one. So each store
//! has a random
//! [`StoreId`](crate::ids::StoreId) and a [`StoreState`](super::durable::StoreState), and a node whose store is not complete
//! neither votes, nor campaigns, nor counts. It becomes eligible in one of two ways: a new cluster is bootstrapped
//! (`raft/bootstrap.rs`), or an existing one lets the member rejoin (`raft/rejoin.rs`). An empty store does not show which of
//! the two applies, so the node tries both until one succeeds.

use crate::ids::NodeId;
use crate::raft::bootstrap::Bootstrap;
use crate::raft::rejoin::Rejoin;

/// Whether this node is eligible to vote, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VotingStatus {
    /// It votes if the configuration names it as a voter.
    #[default]
    Eligible,
    /// It bootstraps a new cluster and waits for the other initial members.
    Bootstrapping {
        /// Initial members that have not confirmed that their stores are empty.
        missing: Vec<NodeId>,
    },
    /// Another node was started with different initial members, so no cluster is bootstrapped.
    BootstrapMismatch {
        /// That node.
        with: NodeId,
    },
    /// A configuration counts it by its store. It waits until this is committed and durable.
    AwaitingCommit,
    /// It belongs to no cluster yet and waits to be added.
    Joining,
    /// It is a member that has lost its store, and waits until the leader has made it a voter again.
    Rejoining,
}

/// The state of a node that is not eligible to vote.
#[derive(Clone, Debug)]
pub(super) struct Ineligible {
    pub(super) bootstrap: Bootstrap,
    pub(super) rejoin: Rejoin,
    /// The store is being marked as complete; then the node is eligible.
    pub(super) completing_store: bool,
}
