//! Data of `GET /v1/audit`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The latest comparison of the nodes' states, as one node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditInfo {
    /// The entry after which the hashes were compared. `None` before the first audit.
    pub index: Option<u64>,
    /// Number of voters with the most frequent or the accepted hash.
    pub agreeing: usize,
    /// Nodes whose hash differs from that of the majority.
    pub differing: Vec<String>,
    /// Whether the hashes differ and none is that of a majority.
    pub undecided: bool,
    /// Whether commands are refused for this reason.
    pub writes_stopped: bool,
    /// Whether the responding node is in quarantine.
    pub quarantined: bool,
    /// Whether the responding node stays in quarantine until an operator acts.
    pub given_up: bool,
    /// State hashes by node, in hexadecimal.
    pub reports: BTreeMap<String, String>,
    /// The hash that an operator has accepted.
    pub accepted: Option<String>,
}
