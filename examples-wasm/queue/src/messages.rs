//! Commands, queries and what they are answered with.

use std::collections::BTreeMap;

use oarlock_guest::JsonText;
use serde::{Deserialize, Serialize};

use crate::limits::DEFAULT_ATTEMPTS;

/// What changes the queues.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds a task.
    Enqueue(Enqueue),
    /// Delivers tasks to a worker.
    Reserve(Reserve),
    /// A task is done.
    Ack {
        /// Which task.
        id: u64,
        /// Of the delivery.
        token: String,
    },
    /// A task failed.
    Nack {
        /// Which task.
        id: u64,
        /// Of the delivery.
        token: String,
        /// Until the next attempt, in milliseconds.
        #[serde(default)]
        delay_ms: u64,
        /// Why it failed.
        #[serde(default)]
        error: Option<String>,
    },
    /// A worker needs longer.
    Extend {
        /// Which task.
        id: u64,
        /// Of the delivery.
        token: String,
        /// From now, in milliseconds.
        lease_ms: u64,
    },
}

/// A task to be added.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enqueue {
    /// Which queue; made if it is not there.
    pub queue: String,
    /// Any JSON; kept and given back as the text that it is.
    pub payload: JsonText,
    /// Smaller goes first.
    #[serde(default)]
    pub priority: i64,
    /// Before it is ready, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// Deliveries before it is dead; at least 1.
    #[serde(default = "default_attempts")]
    pub max_attempts: u32,
    /// Under which it is added only once.
    #[serde(default)]
    pub dedupe_key: Option<String>,
}

fn default_attempts() -> u32 {
    DEFAULT_ATTEMPTS
}

/// A worker asking for tasks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// From which queues; one that is not there is empty.
    pub queues: Vec<String>,
    /// The worker's name, for the errors of a task whose lease ran out.
    pub worker: String,
    /// How long the worker has, in milliseconds.
    pub lease_ms: u64,
    /// Most tasks to deliver.
    #[serde(default = "one")]
    pub max: u32,
    /// Reserved; a reserve answers at once.
    #[serde(default)]
    pub wait_ms: u64,
}

fn one() -> u32 {
    1
}

/// What a command is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// Of `enqueue`.
    Enqueued {
        /// The task, or the first task under the same key.
        id: u64,
        /// Whether the key was known and nothing was added.
        duplicate: bool,
    },
    /// Of `reserve`.
    Reserved {
        /// In the order of delivery.
        tasks: Vec<Delivered>,
    },
    /// Of `ack`.
    Acked {},
    /// Of `nack`.
    Nacked {
        /// `delayed` or `dead`.
        state: Stage,
    },
    /// Of `extend`.
    Extended {
        /// When the lease runs out, in replicated milliseconds.
        lease_until_ms: u64,
    },
}

/// A task as a worker gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Which task.
    pub id: u64,
    /// Its queue.
    pub queue: String,
    /// What it was added with.
    pub payload: JsonText,
    /// Number of this delivery, from 1.
    pub attempt: u32,
    /// What `ack`, `nack` and `extend` have to name.
    pub token: String,
    /// When the lease runs out, in replicated milliseconds.
    pub lease_until_ms: u64,
}

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the crate page says what they are")]
pub enum Stage {
    Ready,
    Delayed,
    Leased,
    Dead,
}

/// What can be asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// How many tasks each queue has.
    Stats {},
    /// One task.
    Task {
        /// Which.
        id: u64,
    },
}

/// What a query is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of `stats`.
    Stats {
        /// By name.
        queues: BTreeMap<String, Counts>,
    },
    /// Of `task`.
    Task {
        /// Nothing if it is not there: never added, or acknowledged.
        task: Option<Shown>,
    },
}

/// How many tasks a queue has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Waiting for a worker.
    pub ready: u64,
    /// Waiting for their time.
    pub delayed: u64,
    /// With a worker.
    pub leased: u64,
    /// Failed for good, and kept.
    pub dead: u64,
    /// Acknowledged since the queue was made.
    pub completed: u64,
}

/// A task as `task` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Which task.
    pub id: u64,
    /// Its queue.
    pub queue: String,
    /// Where it is in its life.
    pub state: Stage,
    /// Deliveries so far.
    pub attempt: u32,
    /// What it was added with.
    pub payload: JsonText,
    /// The last errors, oldest first.
    pub errors: Vec<String>,
}
