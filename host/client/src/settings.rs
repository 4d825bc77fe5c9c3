//! Data of `GET /v1/settings` and of its changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The replicated settings of a cluster, as one node knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// Level of the cluster. At level 0 there are no replicated settings: each node uses its own flags.
    pub level: u32,
    /// The highest level that the responding node supports.
    pub highest_level: u32,
    /// Version of the rules by which guests are executed. `None` at level 0.
    pub semantics: Option<u32>,
    /// Id of the table of fuel costs. `None` at level 0.
    pub cost_table: Option<u32>,
    /// Values by name. `None` at level 0.
    pub settings: Option<BTreeMap<String, u64>>,
    /// Settings for which the responding node has another value, which does not apply.
    pub differing: Vec<DifferingSetting>,
    /// Index of the entry that made the change. `None` for a request without a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// A setting for which a node has another value than the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferingSetting {
    /// Name of the setting.
    pub name: String,
    /// The flag of `oarlock serve` that proposes it, without dashes. `None`: there is no flag.
    pub flag: Option<String>,
    /// The node's value.
    pub own: u64,
    /// The cluster's value, which applies.
    pub cluster: u64,
}
