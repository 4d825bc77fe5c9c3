//! Commands of producers.

use std::collections::BTreeMap;

use oarlock_guest::JsonText;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::retry::Retry;

/// Arguments of `enqueue`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enqueue {
    /// Name of the queue. It is created if it does not exist.
    pub queue: String,
    /// Any JSON. It is stored and delivered as its original text. This or `payload_base64` is given.
    #[serde(default, deserialize_with = "given")]
    pub payload: Option<JsonText>,
    /// Any bytes, in base64.
    #[serde(default)]
    pub payload_base64: Option<String>,
    /// Media type of the payload, for workers.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Texts for workers, by name.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Smaller values are delivered first.
    #[serde(default)]
    pub priority: i64,
    /// Delay until it is ready, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// Deliveries until it is dead, at least 1. Default: that of the queue.
    #[serde(default)]
    pub max_attempts: Option<u32>,
    /// Delay after a failed attempt. Default: that of the queue.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// Longest time until its first delivery, in milliseconds. Default: that of the queue.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
    /// Deduplication key: the queue adds one task per key.
    #[serde(default)]
    pub dedupe_key: Option<String>,
    /// How long the key holds, in milliseconds from the enqueue. Without it: while the task exists, and an hour after it was
    /// acknowledged.
    #[serde(default)]
    pub dedupe_window_ms: Option<u64>,
    /// Which of two tasks with the same key is kept.
    #[serde(default)]
    pub dedupe_keep: Keep,
    /// Whose share of the deliveries it takes, for example a customer.
    #[serde(default)]
    pub fairness_key: Option<String>,
    /// Share of the fairness key: deliveries before it is the next key's turn.
    #[serde(default)]
    pub weight: Option<u32>,
    /// Tasks with the same key are delivered one at a time, in the order of their arrival.
    #[serde(default)]
    pub ordering_key: Option<String>,
    /// Name of an open group that it belongs to.
    #[serde(default)]
    pub group: Option<String>,
    /// Ids of tasks that must be done before.
    #[serde(default)]
    pub after: Vec<u64>,
    /// Positions in the same batch, from 0, of tasks that must be done before.
    #[serde(default)]
    pub after_batch: Vec<u32>,
}

/// Which of two tasks with the same deduplication key is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first one: the second changes nothing.
    #[default]
    First,
    /// The last one: it replaces the content of the first while that one waits.
    Last,
    /// As `last`, and the delay starts again.
    Debounce,
}

/// Arguments of `open_group`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenGroup {
    /// Name of the group.
    pub group: String,
    /// Task that is added when the group is closed and all its tasks are done.
    #[serde(default)]
    pub on_complete: Option<Enqueue>,
    /// Task that is added when the first of its tasks is dead.
    #[serde(default)]
    pub on_dead: Option<Enqueue>,
}

/// Arguments of `set_schedule`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSchedule {
    /// Name of the schedule.
    pub name: String,
    /// The task that each tick adds.
    pub task: Enqueue,
    /// Time between two ticks, in milliseconds. This or `at_ms` is given.
    #[serde(default)]
    pub every_ms: Option<u64>,
    /// First tick, in milliseconds since 1970-01-01 UTC, with `every_ms`. Default: one interval from now.
    #[serde(default)]
    pub start_ms: Option<u64>,
    /// The ticks, in milliseconds since 1970-01-01 UTC. `oarlock queue cron` and the Rust client expand a cron expression into
    /// them; `add_ticks` adds more.
    #[serde(default)]
    pub at_ms: Vec<u64>,
    /// Whether ticks of the list that have passed are dropped. Otherwise each adds a task.
    #[serde(default)]
    pub future_only: bool,
    /// What happens with ticks that passed while the schedule was paused or the cluster was down.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Whether it adds nothing until it is resumed.
    #[serde(default)]
    pub paused: bool,
}

/// Arguments of `add_ticks`: more ticks for a schedule that lists them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddTicks {
    /// Name of the schedule.
    pub name: String,
    /// The last tick that the schedule lists, in milliseconds since 1970-01-01 UTC. If it has another one, for example because
    /// another client was first, the command is refused with `conflict`.
    pub after_ms: u64,
    /// The ticks, in milliseconds since 1970-01-01 UTC, all after `after_ms`. May be empty.
    #[serde(default)]
    pub at_ms: Vec<u64>,
}

/// Arguments of `pause_schedule`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseSchedule {
    /// Name of the schedule.
    pub name: String,
    /// Whether it adds nothing. When it is resumed, `catch_up` decides about the ticks that have passed.
    pub paused: bool,
}

/// What happens with ticks that were missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// One task for all of them.
    #[default]
    Last,
    /// One task for each.
    All,
    /// None.
    Skip,
}

/// A field that is given: `null` is a JSON value of its own.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<JsonText>, D::Error> {
    JsonText::deserialize(deserializer).map(Some)
}
