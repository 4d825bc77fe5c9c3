//! Commands of workers.

use oarlock_guest::JsonText;
use schemars::JsonSchema;
use serde::Deserialize;

/// Arguments of `reserve`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// Names of the queues. A queue that does not exist is empty.
    pub queues: Vec<String>,
    /// Name of the worker. It appears in the errors of leases that expire.
    pub worker: String,
    /// Length of the lease, in milliseconds.
    pub lease_ms: u64,
    /// Most tasks to deliver.
    #[serde(default = "one")]
    pub max: u32,
    /// How long to wait for a task if there is none, in milliseconds. Workers that wait are served in the order of their
    /// arrival.
    #[serde(default)]
    pub wait_ms: u64,
}

fn one() -> u32 {
    1
}

/// Arguments of `end_waits`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndWaits {
    /// Name of the worker.
    pub worker: String,
}

/// Arguments of `ack`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Id of the task.
    pub id: u64,
    /// Token of the delivery.
    pub token: String,
    /// Result, kept for `task` and `wait_for`.
    #[serde(default)]
    pub result: Option<JsonText>,
    /// How long the result is kept, in milliseconds.
    #[serde(default)]
    pub result_ttl_ms: Option<u64>,
}

/// Arguments of `nack`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nack {
    /// Id of the task.
    pub id: u64,
    /// Token of the delivery.
    pub token: String,
    /// Delay until the next attempt, in milliseconds. Default: that of the retry policy, or none.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// Reason of the failure. It is added to the errors of the task.
    #[serde(default)]
    pub error: Option<String>,
    /// Whether the task is dead, whatever attempts are left.
    #[serde(default)]
    pub dead: bool,
}

/// Arguments of `extend`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// Id of the task.
    pub id: u64,
    /// Token of the delivery.
    pub token: String,
    /// New length of the lease, in milliseconds from now.
    pub lease_ms: u64,
}

/// Arguments of `release`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Id of the task.
    pub id: u64,
    /// Token of the delivery.
    pub token: String,
}

/// Arguments of `wait_for`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    /// Id of the task.
    pub id: u64,
    /// How long to wait, in milliseconds.
    pub wait_ms: u64,
}
