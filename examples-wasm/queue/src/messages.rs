//! Commands, queries, replies and responses.

use std::collections::BTreeMap;

use oarlock_guest::JsonText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::DEFAULT_ATTEMPTS;

/// A command changes the queues.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds a task.
    Enqueue(Enqueue),
    /// Delivers tasks to a worker.
    Reserve(Reserve),
    /// Acknowledges a task: it is done.
    Ack {
        /// Id of the task.
        id: u64,
        /// Token of the delivery.
        token: String,
    },
    /// Returns a task: the attempt failed.
    Nack {
        /// Id of the task.
        id: u64,
        /// Token of the delivery.
        token: String,
        /// Delay until the next attempt, in milliseconds.
        #[serde(default)]
        delay_ms: u64,
        /// Reason of the failure. It is added to the errors of the task.
        #[serde(default)]
        error: Option<String>,
    },
    /// Extends a lease.
    Extend {
        /// Id of the task.
        id: u64,
        /// Token of the delivery.
        token: String,
        /// New length of the lease, in milliseconds from now.
        lease_ms: u64,
    },
}

/// Arguments of `enqueue`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enqueue {
    /// Name of the queue. It is created if it does not exist.
    pub queue: String,
    /// Any JSON. It is stored and delivered as its original text.
    pub payload: JsonText,
    /// Smaller values are delivered first.
    #[serde(default)]
    pub priority: i64,
    /// Delay until it is ready, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// Deliveries until it is dead, at least 1.
    #[serde(default = "default_attempts")]
    pub max_attempts: u32,
    /// Deduplication key: the queue adds one task per key.
    #[serde(default)]
    pub dedupe_key: Option<String>,
}

fn default_attempts() -> u32 {
    DEFAULT_ATTEMPTS
}

/// Arguments of `reserve`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// Names of the queues. A queue that does not exist is empty.
    pub queues: Vec<String>,
    /// Name of the worker. It appears in the error of a lease that expires.
    pub worker: String,
    /// Length of the lease, in milliseconds.
    pub lease_ms: u64,
    /// Most tasks to deliver.
    #[serde(default = "one")]
    pub max: u32,
    /// Reserved. Ignored.
    #[serde(default)]
    pub wait_ms: u64,
}

fn one() -> u32 {
    1
}

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
    /// To `ack`.
    #[schemars(extend("x-for" = ["ack"]))]
    Acked {},
    /// To `nack`.
    #[schemars(extend("x-for" = ["nack"]))]
    Nacked {
        /// `delayed` or `dead`.
        state: Stage,
    },
    /// To `extend`.
    #[schemars(extend("x-for" = ["extend"]))]
    Extended {
        /// When the lease expires: replicated time, in milliseconds since 1970-01-01 UTC.
        lease_until_ms: u64,
    },
}

/// A task that is delivered to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Delivered {
    /// Id of the task.
    pub id: u64,
    /// Name of its queue.
    pub queue: String,
    /// Its payload, unchanged.
    pub payload: JsonText,
    /// Number of this delivery, from 1.
    pub attempt: u32,
    /// Token for `ack`, `nack` and `extend`.
    pub token: String,
    /// When the lease expires: replicated time, in milliseconds since 1970-01-01 UTC.
    pub lease_until_ms: u64,
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
}

/// A query reads the state and changes nothing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The numbers of tasks in each queue.
    Stats {
        /// Only queues whose name follows this one.
        #[serde(default)]
        after: Option<String>,
    },
    /// One task.
    Task {
        /// Id of the task.
        id: u64,
    },
}

/// Response to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Response {
    /// To `stats`.
    #[schemars(extend("x-for" = ["stats"]))]
    Stats {
        /// The numbers of tasks, by name of the queue.
        queues: BTreeMap<String, Counts>,
        /// The name to continue after, if not all queues fit into the response.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// To `task`.
    #[schemars(extend("x-for" = ["task"]))]
    Task {
        /// Nothing if it is not there: never added, or acknowledged.
        task: Option<TaskInfo>,
    },
}

/// Numbers of tasks in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Tasks that can be delivered.
    pub ready: u64,
    /// Tasks that become ready later.
    pub delayed: u64,
    /// Tasks that a worker holds.
    pub leased: u64,
    /// Tasks whose last attempt failed. They are kept.
    pub dead: u64,
    /// Tasks acknowledged since the queue was created.
    pub completed: u64,
}

/// A task in the response to `task`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TaskInfo {
    /// Id of the task.
    pub id: u64,
    /// Name of its queue.
    pub queue: String,
    /// Its state.
    pub state: Stage,
    /// Deliveries so far.
    pub attempt: u32,
    /// Its payload, unchanged.
    pub payload: JsonText,
    /// The last errors, oldest first, as many as fit into the response.
    pub errors: Vec<String>,
}
