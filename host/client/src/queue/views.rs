//! What queries return.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::payload;
use super::produce::{CatchUp, TaskState};

/// The numbers of queues, in pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatsPage {
    /// By name of the queue.
    pub queues: BTreeMap<String, QueueStats>,
    /// The name to continue after, if not all queues are in this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Numbers of a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueStats {
    /// Tasks that can be delivered.
    pub ready: u64,
    /// Tasks that become ready later, at a time or after another task.
    pub delayed: u64,
    /// Tasks that a worker holds.
    pub leased: u64,
    /// Tasks whose last attempt failed.
    pub dead: u64,
    /// Tasks acknowledged since the queue was created.
    pub completed: u64,
    /// Details, if they were asked for.
    #[serde(flatten, default)]
    pub detail: Option<QueueDetails>,
}

/// Details of a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueDetails {
    /// Those of the delayed that wait for another task.
    pub waiting: u64,
    /// Bytes of payloads of tasks that are not dead.
    pub bytes: u64,
    /// Age of the oldest ready task, in milliseconds.
    pub oldest_ready_ms: u64,
    /// Workers that wait for a task of it.
    pub waiters: u64,
    /// Whether deliveries are stopped.
    pub paused: bool,
    /// Tasks added in the last full minute.
    pub enqueued_a_minute: u64,
    /// Tasks acknowledged in the last full minute.
    pub completed_a_minute: u64,
    /// Attempts that failed in the last full minute.
    pub failed_a_minute: u64,
    /// Attempts that failed since the queue was created.
    pub failed: u64,
    /// Tasks whose time was over before their delivery.
    pub expired: u64,
    /// Tasks that were removed: cancelled, purged, or dropped from a full queue.
    pub removed: u64,
    /// The settings that differ from the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
}

/// Which tasks to list.
#[derive(Clone, Debug, Serialize)]
pub struct ListOptions {
    /// In which state.
    pub state: ListedState,
    /// Only tasks with this fairness key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_key: Option<String>,
    /// Only tasks that were added at least this long ago, in milliseconds.
    pub min_age_ms: u64,
    /// Whether the contents are in the response.
    pub payload: bool,
    /// Most tasks, 1 to 1,000.
    pub max: u32,
    /// Continues after this place: the `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// State of listed tasks, and thereby their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListedState {
    /// In the order of priority, key and age.
    Ready,
    /// Delayed and leased ones, and those that expire, in the order of their timers.
    Timed,
    /// In the order of age.
    Dead,
}

/// A part of a list of tasks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskPage {
    /// The tasks, in the order of the list.
    pub tasks: Vec<ListedTask>,
    /// Where to continue, if tasks are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A task in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListedTask {
    /// Id of the task.
    pub id: u64,
    /// Its state.
    pub state: TaskState,
    /// Its priority.
    pub priority: i64,
    /// Deliveries so far.
    pub attempt: u32,
    /// Time since it was added, in milliseconds.
    pub age_ms: u64,
    /// When its delay or lease ends, or it expires: replicated time, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer_ms: Option<u64>,
    /// Its fairness key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fairness_key: Option<String>,
    /// The worker that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its content, if it was asked for and is JSON.
    #[serde(default, deserialize_with = "payload::given")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// Its content in base64, if it was asked for and is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

/// The response to `task`.
#[derive(Debug, Deserialize)]
pub(super) struct TaskResponse {
    pub(super) task: Option<TaskDetails>,
}

/// One task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskDetails {
    /// Id of the task.
    pub id: u64,
    /// Name of its queue.
    pub queue: String,
    /// Its state.
    pub state: TaskState,
    /// Deliveries so far.
    pub attempt: u32,
    /// Its content, if it is JSON.
    #[serde(default, deserialize_with = "payload::given")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// Its content in base64, if it is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// The last errors, oldest first.
    pub errors: Vec<String>,
    /// The last failed attempts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<TaskFault>,
    /// Where it died, if it was moved to a dead-letter queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub died_in: Option<String>,
    /// The result of its acknowledgement.
    #[serde(default, deserialize_with = "payload::given")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFault {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// When it failed: replicated time, in milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    /// Name of the worker.
    pub worker: String,
    /// The reason; empty if the worker gave none.
    pub error: String,
}

/// Workers in pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkersPage {
    /// By name.
    pub workers: BTreeMap<String, WorkerStats>,
    /// The name to continue after, if not all workers are in this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A worker, as the queue knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// When its last command was applied: replicated time, in milliseconds.
    pub last_seen_ms: u64,
    /// Tasks that it holds.
    pub leased: u64,
    /// Tasks that it acknowledged.
    pub completed: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// Schedules in pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SchedulesPage {
    /// By name.
    pub schedules: BTreeMap<String, ScheduleStats>,
    /// Time of the log, in milliseconds since 1970-01-01 UTC. It stands still while no command is applied.
    #[serde(default)]
    pub now_ms: u64,
    /// The name to continue after, if not all schedules are in this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A schedule, as the queue knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleStats {
    /// Queue of its tasks.
    pub queue: String,
    /// The next tick, in milliseconds since 1970-01-01 UTC; `None` if there is none.
    pub next_ms: Option<u64>,
    /// Ticks that added a task.
    pub ticks: u64,
    /// Ticks that could not add a task, for example because the queue was full.
    pub failed: u64,
    /// Whether it adds nothing.
    pub paused: bool,
    /// If clients expand a cron expression into its ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<CronStats>,
}

/// A schedule whose ticks are computed from a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronStats {
    /// The expression with its time zone, for example `CRON_TZ=Europe/Berlin 0 9 * * 1-5`.
    pub expression: String,
    /// The last tick that is listed, in milliseconds since 1970-01-01 UTC, also if it has passed.
    pub last_ms: u64,
    /// Ticks of the list that have not added a task yet.
    pub left: u64,
    /// What happens with ticks that were missed.
    pub catch_up: CatchUp,
}

/// A group that was opened and is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStats {
    /// Whether tasks can be added.
    pub open: bool,
    /// Tasks that are not done.
    pub pending: u64,
    /// Those of them that are dead.
    pub dead: u64,
    /// Tasks that are done or removed.
    pub done: u64,
}

/// The response to `group`.
#[derive(Debug, Deserialize)]
pub(super) struct GroupResponse {
    pub(super) group: Option<GroupStats>,
}

/// Fairness keys in pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FairnessKeysPage {
    /// By name.
    pub keys: BTreeMap<String, FairnessKeyStats>,
    /// The name to continue after, if not all keys are in this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A fairness key of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FairnessKeyStats {
    /// Tasks with it that are not dead.
    pub tasks: u64,
    /// Tasks with it that workers hold.
    pub leased: u64,
    /// Deliveries before it is the next key's turn.
    pub weight: u32,
    /// Whether a limit holds it back.
    pub blocked: bool,
}

/// What needs attention.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StuckReport {
    /// Queues with ready tasks that no worker takes.
    pub unserved: Vec<UnservedQueue>,
    /// Leased or returned tasks that have one attempt left.
    pub last_attempt: Vec<ListedTask>,
    /// Tasks whose lease was extended most often.
    pub long_leases: Vec<ListedTask>,
    /// Whether there are more than the response shows.
    pub more: bool,
}

/// A queue with ready tasks that no worker takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnservedQueue {
    /// Name of the queue.
    pub queue: String,
    /// Its ready tasks.
    pub ready: u64,
    /// Age of the oldest, in milliseconds.
    pub oldest_ready_ms: u64,
    /// Why: `no_worker`, `paused` or `limit`.
    pub reason: String,
}

/// The reply to `nack`, `release` and `cancel`.
#[derive(Debug, Deserialize)]
pub(super) struct Moved {
    pub(super) state: TaskState,
}

/// The reply to `purge` and `delete_queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedTasks {
    /// Number of removed tasks.
    pub removed: u64,
    /// Whether tasks are left: send the command again.
    pub more: bool,
}

/// Which dead tasks become ready again.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RedriveOptions {
    /// Only these tasks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u64>,
    /// Only tasks whose last error contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Only tasks with this fairness key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_key: Option<String>,
    /// Only tasks that were added at least this long ago, in milliseconds.
    pub min_age_ms: u64,
    /// Another queue to move them to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Continues after this task: the `next` of the reply before.
    pub after: u64,
    /// Whether the tasks are only counted.
    pub dry_run: bool,
}

/// The reply to `redrive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivenTasks {
    /// Number of tasks that were returned, or would be.
    pub redriven: u64,
    /// Where to continue, if tasks are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// The reply to a command without data.
#[derive(Debug)]
pub(super) struct NoData;

impl<'de> Deserialize<'de> for NoData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
