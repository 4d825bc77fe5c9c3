//! Replies to commands.

use std::collections::BTreeMap;

use oarlock_guest::{JsonText, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reply to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Reply {
    /// To `enqueue`.
    #[schemars(extend("x-for" = ["enqueue"]))]
    Enqueued {
        /// Id of the new task, or of the first task with the same key.
        id: u64,
        /// True if a task with the key exists. Nothing was added.
        duplicate: bool,
    },
    /// To `reserve`.
    #[schemars(extend("x-for" = ["reserve"]))]
    Reserved {
        /// The tasks, in the order of delivery.
        tasks: Vec<Delivered>,
    },
    /// To `nack`, `release` and `cancel`.
    #[schemars(extend("x-for" = ["nack", "release", "cancel"]))]
    Moved {
        /// The state of the task now: `delayed`, `ready`, `waiting`, `dead`, `leased` (its worker is told to stop) or
        /// `cancelled`.
        state: Stage,
    },
    /// To `extend`.
    #[schemars(extend("x-for" = ["extend"]))]
    Extended {
        /// When the lease expires: replicated time, in milliseconds since 1970-01-01 UTC.
        lease_until_ms: u64,
        /// True if the task was cancelled: stop the work, then send `nack`.
        #[serde(skip_serializing_if = "is_false")]
        cancelled: bool,
    },
    /// To `batch`.
    #[schemars(extend("x-for" = ["batch"]))]
    Batch {
        /// The outcome of each command, in their order.
        #[schemars(with = "Vec<JsonText>")]
        results: Vec<BatchItem>,
    },
    /// To `wait_for`.
    #[schemars(extend("x-for" = ["wait_for"]))]
    Waited {
        /// `done`, or the state of the task if the wait is over.
        state: Stage,
        /// The result, if the acknowledgement had one.
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<JsonText>,
    },
    /// To `purge` and `delete_queue`.
    #[schemars(extend("x-for" = ["purge", "delete_queue"]))]
    Removed {
        /// Number of removed tasks.
        removed: u64,
        /// True if tasks are left: send the command again.
        more: bool,
    },
    /// To `redrive`.
    #[schemars(extend("x-for" = ["redrive"]))]
    Redriven {
        /// Number of tasks that were returned, or would be.
        redriven: u64,
        /// Where to continue, if tasks are left.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// To all other commands.
    #[schemars(extend("x-for" = ["end_waits", "ack", "configure", "configure_key", "pause", "resume", "open_group", "close_group", "set_schedule", "add_ticks", "pause_schedule", "delete_schedule"]))]
    Done {},
}

/// The outcome of one command of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchItem {
    /// The reply.
    Ok(Reply),
    /// The refusal.
    #[serde(untagged)]
    Refused(Refusal),
}

/// A task that is delivered to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Delivered {
    /// Id of the task.
    pub id: u64,
    /// Name of its queue.
    pub queue: String,
    /// Its payload, unchanged, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<JsonText>,
    /// Its payload in base64, if it is bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// Number of this delivery, from 1.
    pub attempt: u32,
    /// Token for `ack`, `nack`, `extend` and `release`.
    pub token: String,
    /// When the lease expires: replicated time, in milliseconds since 1970-01-01 UTC.
    pub lease_until_ms: u64,
    /// Media type of the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Texts of the producer, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Its fairness key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_key: Option<String>,
    /// Its ordering key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
}

/// State of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "documented on the crate page")]
pub enum Stage {
    Ready,
    Delayed,
    Leased,
    Dead,
    Waiting,
    Cancelled,
    Done,
    Unknown,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// When it failed: replicated time, in milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    /// Name of the worker.
    pub worker: String,
    /// The reason; empty if the worker gave none.
    pub error: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_false(value: &bool) -> bool {
    !*value
}
