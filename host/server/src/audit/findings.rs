//! The results of audits.

use task_queue_raft::ids::Index;

/// The result of the latest audit of the complete state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateFindings {
    /// The entry after which the states were compared.
    pub(crate) index: Option<Index>,
    /// Number of voters with the most frequent state.
    pub(crate) agreeing: usize,
    /// Nodes whose state differs from that of the majority.
    pub(crate) differing: Vec<String>,
    /// Nodes whose guest writes the same state in different ways. While there is one, nothing is compared.
    pub(crate) not_comparable: Vec<String>,
}
