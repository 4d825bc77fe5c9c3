//! Commands, queries, replies and responses: the JSON of clients.

mod admin;
mod produce;
mod query;
mod reply;
mod work;

use schemars::JsonSchema;
use serde::Deserialize;

pub use admin::{Configure, ConfigureKey, DeleteQueue, Overflow, Purge, QueueName, Redrive};
pub use produce::{AddTicks, CatchUp, Enqueue, Keep, OpenGroup, PauseSchedule, SetSchedule};
pub use query::{
    Counts, CronInfo, GroupInfo, KeyInfo, ListState, Query, QueueDetail, Response, ScheduleInfo,
    StatsInfo, StuckInfo, StuckQueue, TaskInfo, TaskLine, WorkerInfo,
};
pub use reply::{BatchItem, Delivered, Failure, Reply, Stage};
pub use work::{Ack, EndWaits, Extend, Nack, Release, Reserve, WaitFor};

/// A command changes the queues.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds a task.
    Enqueue(Box<Enqueue>),
    /// Delivers tasks to a worker.
    Reserve(Reserve),
    /// Ends the waits of a worker that stops: its reserves that wait get no task.
    EndWaits(EndWaits),
    /// Acknowledges a task: it is done.
    Ack(Ack),
    /// Returns a task: the attempt failed.
    Nack(Nack),
    /// Extends a lease.
    Extend(Extend),
    /// Returns a task that was not tried: the attempt does not count.
    Release(Release),
    /// Removes a task, or tells its worker to stop.
    Cancel {
        /// Id of the task.
        id: u64,
    },
    /// Several commands in one.
    Batch {
        /// Commands `enqueue`, `ack`, `nack`, `extend`, `release` and `cancel`.
        #[schemars(with = "Vec<oarlock_guest::JsonText>")]
        commands: Vec<Command>,
        /// Whether none is applied if one would be refused.
        #[serde(default)]
        all_or_nothing: bool,
    },
    /// Waits until a task is done.
    WaitFor(WaitFor),
    /// Changes the settings of a queue.
    Configure(Box<Configure>),
    /// Changes weight and limits of a fairness key.
    ConfigureKey(ConfigureKey),
    /// Stops deliveries of a queue.
    Pause(QueueName),
    /// Starts them again.
    Resume(QueueName),
    /// Removes tasks of a queue.
    Purge(Purge),
    /// Removes a queue.
    DeleteQueue(DeleteQueue),
    /// Returns dead tasks.
    Redrive(Box<Redrive>),
    /// Begins a group of tasks.
    OpenGroup(Box<OpenGroup>),
    /// Ends the addition of tasks to a group.
    CloseGroup {
        /// Name of the group.
        group: String,
    },
    /// Adds a schedule, or replaces it.
    SetSchedule(Box<SetSchedule>),
    /// Adds ticks to a schedule that lists them.
    AddTicks(AddTicks),
    /// Pauses or resumes a schedule.
    PauseSchedule(PauseSchedule),
    /// Removes a schedule.
    DeleteSchedule {
        /// Name of the schedule.
        name: String,
    },
}
