//! Queries and their responses.

use std::collections::BTreeMap;

use oarlock_guest::JsonText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::produce::CatchUp;
use super::reply::{Failure, Stage};

/// A query reads the state and changes nothing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The numbers of tasks in each queue.
    Stats {
        /// Only queues whose name follows this one.
        #[serde(default)]
        after: Option<String>,
        /// Also ages, rates, limits and settings.
        #[serde(default)]
        detail: bool,
    },
    /// One task.
    Task {
        /// Id of the task.
        id: u64,
    },
    /// The tasks of a queue in one state, with their payloads if asked for.
    List {
        /// Name of the queue.
        queue: String,
        /// In which state, and thereby in which order.
        state: ListState,
        /// Only tasks with this fairness key.
        #[serde(default)]
        fairness_key: Option<String>,
        /// Only tasks that were added at least this long ago, in milliseconds.
        #[serde(default)]
        min_age_ms: u64,
        /// Whether the payloads are in the response.
        #[serde(default)]
        payload: bool,
        /// Most tasks.
        #[serde(default = "hundred")]
        max: u32,
        /// Continues after this place: the `next` of the response before.
        #[serde(default)]
        after: Option<String>,
    },
    /// The workers, by name.
    Workers {
        /// Only workers whose name follows this one.
        #[serde(default)]
        after: Option<String>,
    },
    /// The schedules, by name.
    Schedules {
        /// Only schedules whose name follows this one.
        #[serde(default)]
        after: Option<String>,
    },
    /// One group.
    Group {
        /// Name of the group.
        group: String,
    },
    /// The fairness keys of a queue, by name.
    Keys {
        /// Name of the queue.
        queue: String,
        /// Only keys whose name follows this one.
        #[serde(default)]
        after: Option<String>,
    },
    /// What needs attention: queues with ready tasks and no worker, tasks near their last attempt, long leases.
    Stuck {},
}

fn hundred() -> u32 {
    100
}

/// State of listed tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListState {
    /// In the order of priority, key and age.
    Ready,
    /// Delayed and leased ones, and those that expire, in the order of their timers.
    Timed,
    /// In the order of age.
    Dead,
}

/// Response to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Response {
    /// To `stats`.
    #[schemars(extend("x-for" = ["stats"]))]
    Stats {
        /// The numbers of tasks, by name of the queue.
        queues: BTreeMap<String, StatsInfo>,
        /// The name to continue after, if not all queues fit into the response.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// To `task`.
    #[schemars(extend("x-for" = ["task"]))]
    Task {
        /// Nothing if it is not there: never added, or acknowledged without a result, or removed.
        task: Option<TaskInfo>,
    },
    /// To `list`.
    #[schemars(extend("x-for" = ["list"]))]
    List {
        /// The tasks, in the order of the list.
        tasks: Vec<TaskLine>,
        /// Where to continue, if tasks are left.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// To `workers`.
    #[schemars(extend("x-for" = ["workers"]))]
    Workers {
        /// The workers, by name.
        workers: BTreeMap<String, WorkerInfo>,
        /// The name to continue after, if workers are left.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// To `schedules`.
    #[schemars(extend("x-for" = ["schedules"]))]
    Schedules {
        /// The schedules, by name.
        schedules: BTreeMap<String, ScheduleInfo>,
        /// Replicated time, in milliseconds since 1970-01-01 UTC.
        now_ms: u64,
        /// The name to continue after, if schedules are left.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// To `group`.
    #[schemars(extend("x-for" = ["group"]))]
    Group {
        /// Nothing if it is not there: never opened, or complete.
        group: Option<GroupInfo>,
    },
    /// To `keys`.
    #[schemars(extend("x-for" = ["keys"]))]
    Keys {
        /// The fairness keys, by name.
        keys: BTreeMap<String, KeyInfo>,
        /// The name to continue after, if keys are left.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// To `stuck`.
    #[schemars(extend("x-for" = ["stuck"]))]
    Stuck(StuckInfo),
}

/// Numbers of a queue, and details where they were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StatsInfo {
    /// Numbers of tasks.
    #[serde(flatten)]
    pub counts: Counts,
    /// Details.
    #[serde(flatten)]
    pub detail: Option<QueueDetail>,
}

/// Numbers of tasks in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Tasks that can be delivered.
    pub ready: u64,
    /// Tasks that become ready later, at a time or after another task.
    pub delayed: u64,
    /// Tasks that a worker holds.
    pub leased: u64,
    /// Tasks whose last attempt failed. They are kept.
    pub dead: u64,
    /// Tasks acknowledged since the queue was created.
    pub completed: u64,
}

/// Details of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QueueDetail {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<crate::config::Config>,
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
    /// Its payload, unchanged, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<JsonText>,
    /// Its payload in base64, if it is bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// The last errors, oldest first, as many as fit into the response.
    pub errors: Vec<String>,
    /// The last failed attempts, oldest first, as many as fit into the response.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// Where it died, if it was moved to a dead-letter queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub died_in: Option<String>,
    /// The result of its acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<JsonText>,
}

/// A task in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TaskLine {
    /// Id of the task.
    pub id: u64,
    /// Its state.
    pub state: Stage,
    /// Its priority.
    pub priority: i64,
    /// Deliveries so far.
    pub attempt: u32,
    /// Time since it was added, in milliseconds.
    pub age_ms: u64,
    /// When its delay or lease ends, or it expires: replicated time, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timer_ms: Option<u64>,
    /// Its fairness key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_key: Option<String>,
    /// The worker that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its payload, if it was asked for and is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<JsonText>,
    /// Its payload in base64, if it was asked for and is bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WorkerInfo {
    /// When its last command was applied: replicated time, in milliseconds.
    pub last_seen_ms: u64,
    /// Tasks that it holds.
    pub leased: u64,
    /// Tasks that it acknowledged.
    pub completed: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ScheduleInfo {
    /// Queue of its tasks.
    pub queue: String,
    /// The next tick, in milliseconds since 1970-01-01 UTC; nothing if there is none.
    pub next_ms: Option<u64>,
    /// Ticks that added a task.
    pub ticks: u64,
    /// Ticks that could not add a task, for example because the queue was full.
    pub failed: u64,
    /// Whether it adds nothing.
    pub paused: bool,
    /// If a cron expression is expanded into its ticks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<CronInfo>,
}

/// A schedule whose task has the attribute `oarlock-cron`: clients expand it into ticks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CronInfo {
    /// The attribute, for example `CRON_TZ=Europe/Berlin 0 9 * * 1-5`.
    pub expression: String,
    /// The last tick that is listed, in milliseconds since 1970-01-01 UTC, also if it has passed.
    pub last_ms: u64,
    /// Ticks of the list that have not added a task yet.
    pub left: u64,
    /// What happens with ticks that were missed.
    pub catch_up: CatchUp,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GroupInfo {
    /// Whether tasks can be added.
    pub open: bool,
    /// Tasks that are not done.
    pub pending: u64,
    /// Those of them that are dead.
    pub dead: u64,
    /// Tasks that are done.
    pub done: u64,
}

/// A fairness key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyInfo {
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StuckInfo {
    /// Queues with ready tasks that no worker takes.
    pub unserved: Vec<StuckQueue>,
    /// Leased or returned tasks that have one attempt left.
    pub last_attempt: Vec<TaskLine>,
    /// Tasks whose lease was extended most often.
    pub long_leases: Vec<TaskLine>,
    /// True if there are more than the response shows.
    pub more: bool,
}

/// A queue with ready tasks that no worker takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StuckQueue {
    /// Name of the queue.
    pub queue: String,
    /// Its ready tasks.
    pub ready: u64,
    /// Age of the oldest, in milliseconds.
    pub oldest_ready_ms: u64,
    /// Why: `no_worker`, `paused` or `limit`.
    pub reason: &'static str,
}
