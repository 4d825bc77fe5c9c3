//! Commands of operators.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::bucket::Rate;
use crate::retry::Retry;

/// A command that names a queue only.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueName {
    /// Name of the queue.
    pub queue: String,
}

/// Arguments of `configure`. A field that is not given stays, and `null` restores the default.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Configure {
    /// Name of the queue. It is created if it does not exist.
    pub queue: String,
    /// Deliveries until a task is dead.
    #[serde(default, deserialize_with = "given")]
    pub max_attempts: Option<Option<u32>>,
    /// Delay after a failed attempt.
    #[serde(default, deserialize_with = "given")]
    pub retry: Option<Option<Retry>>,
    /// Most tasks that workers hold at once.
    #[serde(default, deserialize_with = "given")]
    pub concurrency: Option<Option<u32>>,
    /// Most deliveries in a time.
    #[serde(default, deserialize_with = "given")]
    pub rate: Option<Option<Rate>>,
    /// Most tasks of one fairness key that workers hold at once.
    #[serde(default, deserialize_with = "given")]
    pub key_concurrency: Option<Option<u32>>,
    /// Most deliveries of one fairness key in a time.
    #[serde(default, deserialize_with = "given")]
    pub key_rate: Option<Option<Rate>>,
    /// Most tasks that are not dead.
    #[serde(default, deserialize_with = "given")]
    pub max_length: Option<Option<u64>>,
    /// Most bytes of payloads of tasks that are not dead.
    #[serde(default, deserialize_with = "given")]
    pub max_bytes: Option<Option<u64>>,
    /// What happens at the two limits above.
    #[serde(default)]
    pub overflow: Option<Overflow>,
    /// Longest time until the first delivery, in milliseconds.
    #[serde(default, deserialize_with = "given")]
    pub ttl_ms: Option<Option<u64>>,
    /// Whether a task whose time is over is removed. Otherwise it is dead.
    #[serde(default)]
    pub drop_expired: Option<bool>,
    /// Queue to which dead tasks are moved.
    #[serde(default, deserialize_with = "given")]
    pub dead_letter: Option<Option<String>>,
    /// How long results are kept, in milliseconds.
    #[serde(default, deserialize_with = "given")]
    pub result_ttl_ms: Option<Option<u64>>,
}

/// What happens when a queue is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The new task is refused with `full`.
    #[default]
    Refuse,
    /// The oldest ready task of the least urgent priority is removed.
    DropOldest,
}

/// Arguments of `configure_key`. A field that is not given stays, and `null` restores the default.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigureKey {
    /// Name of the queue.
    pub queue: String,
    /// The fairness key.
    pub key: String,
    /// Deliveries before it is the next key's turn.
    #[serde(default, deserialize_with = "given")]
    pub weight: Option<Option<u32>>,
    /// Most tasks that workers hold at once.
    #[serde(default, deserialize_with = "given")]
    pub concurrency: Option<Option<u32>>,
    /// Most deliveries in a time.
    #[serde(default, deserialize_with = "given")]
    pub rate: Option<Option<Rate>>,
}

/// Arguments of `purge`. One command removes at most `limits::MAX_SWEPT` tasks; the reply tells whether there are more.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// Name of the queue.
    pub queue: String,
    /// Whether dead tasks are removed, instead of those that wait.
    #[serde(default)]
    pub dead: bool,
}

/// Arguments of `delete_queue`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteQueue {
    /// Name of the queue.
    pub queue: String,
    /// Whether its tasks are removed too. Otherwise a queue with tasks is refused.
    #[serde(default)]
    pub force: bool,
}

/// Arguments of `redrive`: which dead tasks become ready again, with their attempts counted from 0.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// Name of the queue that holds the dead tasks.
    pub queue: String,
    /// Only these tasks.
    #[serde(default)]
    pub ids: Vec<u64>,
    /// Only tasks whose last error contains this text.
    #[serde(default)]
    pub error: Option<String>,
    /// Only tasks with this fairness key.
    #[serde(default)]
    pub fairness_key: Option<String>,
    /// Only tasks that were added at least this long ago, in milliseconds.
    #[serde(default)]
    pub min_age_ms: u64,
    /// Another queue to move them to.
    #[serde(default)]
    pub to: Option<String>,
    /// Most tasks. Default and limit: `limits::MAX_SWEPT`.
    #[serde(default)]
    pub max: Option<u64>,
    /// Continues after this task: the `next` of the reply before.
    #[serde(default)]
    pub after: u64,
    /// Whether the tasks are only counted.
    #[serde(default)]
    pub dry_run: bool,
}

/// A field that is given, also with `null`.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
