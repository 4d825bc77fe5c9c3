//! What producers send.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::payload::TaskPayload;
use super::work::is_false;

/// A new task. Create it with [`NewTask::new`]; the other fields have the queue's defaults.
#[derive(Clone, Debug, Serialize)]
pub struct NewTask {
    /// Its content.
    #[serde(flatten)]
    pub payload: TaskPayload,
    /// Media type of the content, for workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Texts for workers, by name. At most 10.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Smaller values are delivered first.
    pub priority: i64,
    /// Delay until it is ready, in milliseconds.
    pub delay_ms: u64,
    /// Deliveries until it is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Longest time until its first delivery, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Deduplication key: the queue adds one task per key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
    /// How long the key holds, in milliseconds. Without it: while the task exists, and an hour after it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe_window_ms: Option<u64>,
    /// Which of two tasks with the same key is kept. Default: the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe_keep: Option<DedupeKeep>,
    /// Whose share of the deliveries it takes, for example a customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_key: Option<String>,
    /// Share of the fairness key: deliveries before it is the next key's turn, 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Tasks with the same key are delivered one at a time, in the order of their arrival.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// Name of an open group that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Ids of tasks that must be done before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<u64>,
}

impl NewTask {
    /// A task with this content.
    #[must_use]
    pub fn new(payload: TaskPayload) -> Self {
        Self {
            payload,
            content_type: None,
            attributes: BTreeMap::new(),
            priority: 0,
            delay_ms: 0,
            max_attempts: None,
            ttl_ms: None,
            dedupe_key: None,
            dedupe_window_ms: None,
            dedupe_keep: None,
            fairness_key: None,
            weight: None,
            ordering_key: None,
            group: None,
            after: Vec::new(),
        }
    }

    /// A task with a value as JSON.
    ///
    /// # Errors
    /// As [`TaskPayload::json`].
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        TaskPayload::json(value).map(Self::new)
    }
}

/// Which of two tasks with the same deduplication key is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DedupeKeep {
    /// The first one: the second changes nothing.
    #[default]
    First,
    /// The last one: it replaces the content of the first while that one waits.
    Last,
    /// As `Last`, and the delay starts again.
    Debounce,
}

/// The reply to an enqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enqueued {
    /// Id of the new task, or of the first task with the same key.
    pub id: u64,
    /// Whether a task with the key exists. Nothing was added then.
    pub duplicate: bool,
}

/// A task in a queue, as `enqueue` has it.
#[derive(Debug, Serialize)]
pub(super) struct EnqueueCommand<'a> {
    pub(super) queue: &'a str,
    #[serde(flatten)]
    pub(super) task: &'a NewTask,
}

/// An enqueue in a batch.
#[derive(Debug, Serialize)]
pub(super) struct EnqueueItem<'a> {
    pub(super) enqueue: EnqueueCommand<'a>,
}

/// Several commands in one.
#[derive(Debug, Serialize)]
pub(super) struct BatchCommand<'a, C> {
    pub(super) commands: &'a [C],
    pub(super) all_or_nothing: bool,
}

/// A schedule: it adds a task at each tick, exactly once.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// Name of the schedule.
    pub name: String,
    /// The task of each tick.
    pub task: NewTask,
    /// The ticks.
    pub ticks: Ticks,
    /// Whether listed ticks that have passed are dropped. Otherwise each adds a task.
    pub future_only: bool,
    /// What happens with ticks that passed while the schedule was paused or the cluster was down.
    pub catch_up: CatchUp,
    /// Whether it adds nothing until it is resumed.
    pub paused: bool,
}

/// What happens with ticks that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// When a schedule adds a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ticks {
    /// Every so many milliseconds, at least 1,000. The first tick is `start_ms`, or one interval from now.
    Every {
        /// The interval, in milliseconds.
        every_ms: u64,
        /// The first tick, in milliseconds since 1970-01-01 UTC.
        start_ms: Option<u64>,
    },
    /// At these times, in milliseconds since 1970-01-01 UTC, at most 1,000.
    At(Vec<u64>),
}

/// A schedule in the form of `set_schedule`.
#[derive(Debug, Serialize)]
pub(super) struct ScheduleCommand<'a> {
    name: &'a str,
    task: EnqueueCommand<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ms: Option<u64>,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    at_ms: &'a [u64],
    #[serde(skip_serializing_if = "is_false")]
    future_only: bool,
    catch_up: CatchUp,
    paused: bool,
}

impl<'a> ScheduleCommand<'a> {
    pub(super) fn new(queue: &'a str, schedule: &'a NewSchedule) -> Self {
        let (every_ms, start_ms, at_ms) = match &schedule.ticks {
            Ticks::Every { every_ms, start_ms } => (Some(*every_ms), *start_ms, &[][..]),
            Ticks::At(at_ms) => (None, None, &at_ms[..]),
        };
        Self {
            name: &schedule.name,
            task: EnqueueCommand {
                queue,
                task: &schedule.task,
            },
            every_ms,
            start_ms,
            at_ms,
            future_only: schedule.future_only,
            catch_up: schedule.catch_up,
            paused: schedule.paused,
        }
    }
}

/// A new group. Tasks join it with [`NewTask::group`] until it is closed.
#[derive(Clone, Debug, Default)]
pub struct NewGroup {
    /// Name of the group.
    pub name: String,
    /// Queue and task that is added when the group is closed and all its tasks are done or removed.
    pub on_complete: Option<(String, NewTask)>,
    /// Queue and task that is added when the first of its tasks is dead.
    pub on_dead: Option<(String, NewTask)>,
}

impl NewGroup {
    /// A group that adds no task at its end.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// The reply to `wait_for`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waited {
    /// `done`, or the state of the task if the wait is over.
    pub state: TaskState,
    /// The result, if the acknowledgement had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
}

/// State of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It can be delivered.
    Ready,
    /// It becomes ready at a time.
    Delayed,
    /// A worker holds it.
    Leased,
    /// Its last attempt failed.
    Dead,
    /// It waits for other tasks.
    Waiting,
    /// It was cancelled.
    Cancelled,
    /// It was acknowledged.
    Done,
    /// There is no such task, or the state is one that this version of the client does not know.
    #[serde(other)]
    Unknown,
}

impl TaskState {
    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Delayed => "delayed",
            Self::Leased => "leased",
            Self::Dead => "dead",
            Self::Waiting => "waiting",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Unknown => "unknown",
        }
    }
}
