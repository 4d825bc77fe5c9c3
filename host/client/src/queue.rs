//! The task queue: producers, workers and operators.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use oarlock_client::queue::{NewTask, Queue};
//! use oarlock_client::worker::{TaskFailure, Worker};
//! use oarlock_client::{Client, Endpoint};
//!
//! let client = Client::new(Endpoint::parse_list("127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103")?)?;
//! let email = Queue::new(client, "email");
//! email.enqueue(&NewTask::json(&"ann@example.org")?).await?;
//!
//! Worker::new(email)
//!     .concurrency(8)
//!     .run(|task| async move {
//!         let to: String = task.payload.parse()?;
//!         println!("to {to}, attempt {}", task.attempt);
//!         Ok::<(), TaskFailure>(())
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Delivery
//! A task is delivered at least once. A worker holds it for the time of its lease, which [`Worker`](crate::worker::Worker)
//! extends while the handler runs. If the worker dies, the lease ends and another worker gets the task. A command is applied at
//! most once, also over a failover: it is repeated with the same idempotency key.

mod error;
mod groups;
mod keys;
mod payload;
mod produce;
mod views;
mod work;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::error::{ApplyError, QueryError, RequestError};
use crate::options::{ApplyOptions, Key, QueryOptions};

pub use error::{QueueError, QueueRefusal};
pub use payload::TaskPayload;
pub use produce::{
    CatchUp, DedupeKeep, Enqueued, NewGroup, NewSchedule, NewTask, TaskState, Ticks, Waited,
};
pub use views::{
    CronStats, FairnessKeyStats, FairnessKeysPage, GroupStats, ListOptions, ListedState,
    ListedTask, QueueDetails, QueueStats, RedriveOptions, RedrivenTasks, RemovedTasks,
    ScheduleStats, SchedulesPage, StatsPage, StuckReport, TaskDetails, TaskFault, TaskPage,
    UnservedQueue, WorkerStats, WorkersPage,
};
pub use work::{ExtendedLease, NackOptions, ReserveOptions, ReservedTask};

/// Most commands in a batch.
pub const MAX_BATCH: usize = 1000;

/// Longest wait of a reserve or `wait_for`.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// Longest result of a task, in bytes.
pub const MAX_RESULT_BYTES: usize = 64 << 10;

/// Time for the response, in addition to a wait.
const MARGIN: Duration = Duration::from_secs(5);

/// A queue of the task queue guest. Cheap to clone. It needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    name: String,
    timeout: Duration,
}

impl Queue {
    /// The queue of this name. A queue is created by its first task.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self {
            client,
            name: name.into(),
            timeout: ApplyOptions::default().timeout,
        }
    }

    /// The same queue with another timeout of a call, retries included. Default: 10 s. A wait is added to it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client of the cluster.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Checks that the cluster runs a task queue of version 2 or later, by the schema of its guest.
    ///
    /// # Errors
    /// It runs another guest, or no node responds.
    pub async fn check(&self) -> Result<(), QueueError> {
        let schema = match self.client.schema().await {
            Ok(schema) => serde_json::from_slice(&schema).unwrap_or(Value::Null),
            Err(RequestError::Invalid { code, .. }) if code == "no_schema" => Value::Null,
            Err(error) => return Err(error.into()),
        };
        let commands = &schema["properties"]["command"]["properties"];
        if ["reserve", "release", "wait_for", "redrive"]
            .iter()
            .all(|name| commands.get(name).is_some())
        {
            return Ok(());
        }
        let status = self.client.status().await?;
        let guest = &status.state_machine;
        let is_old = commands.get("reserve").is_some() && commands.get("enqueue").is_some();
        let advice = if is_old {
            "it is an earlier task queue, whose workers can't wait; upgrade it with `oarlock upgrade`"
        } else {
            "it is not a task queue; use the endpoints of a cluster that runs one"
        };
        Err(QueueError::NotAQueue(format!(
            "the cluster runs {} version {}: {advice}",
            guest.name, guest.version
        )))
    }

    /// Adds a task.
    ///
    /// # Errors
    /// See [`QueueError`]; code `full` at a limit of the queue.
    pub async fn enqueue(&self, task: &NewTask) -> Result<Enqueued, QueueError> {
        self.apply("enqueue", &self.enqueue_command(task)).await
    }

    /// Adds up to 1,000 tasks in one command, each with its own outcome; or with `all_or_nothing`, none if one would be
    /// refused.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn enqueue_all(
        &self,
        tasks: &[NewTask],
        all_or_nothing: bool,
    ) -> Result<Vec<Result<Enqueued, QueueRefusal>>, QueueError> {
        let commands: Vec<_> = tasks
            .iter()
            .map(|task| produce::EnqueueItem {
                enqueue: self.enqueue_command(task),
            })
            .collect();
        self.batch(&commands, all_or_nothing).await
    }

    /// Applies up to 1,000 commands in one. The commands have the form of single ones: `{"ack":{"id":1,"token":"…"}}`. The
    /// outcomes are in their order.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn batch<T: DeserializeOwned>(
        &self,
        commands: &[impl Serialize],
        all_or_nothing: bool,
    ) -> Result<Vec<Result<T, QueueRefusal>>, QueueError> {
        let arguments = produce::BatchCommand {
            commands,
            all_or_nothing,
        };
        let reply: Value = self.apply("batch", &arguments).await?;
        let Value::Object(mut fields) = reply else {
            return Err(QueueError::Decode(
                "a reply to batch is no object".to_owned(),
            ));
        };
        let Some(Value::Array(results)) = fields.remove("results") else {
            return Err(QueueError::Decode(
                "a reply to batch has no results".to_owned(),
            ));
        };
        results.into_iter().map(item).collect()
    }

    /// Gets tasks. With a wait, the cluster responds when there is one, or when the wait is over.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn reserve(&self, options: &ReserveOptions) -> Result<Vec<ReservedTask>, QueueError> {
        self.reserve_with_key(options, self.client.new_key()).await
    }

    /// The same with an idempotency key. If the outcome stays unknown, send it again with the same key: a wait keeps its
    /// place, and tasks that were delivered to it are returned.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn reserve_with_key(
        &self,
        options: &ReserveOptions,
        key: String,
    ) -> Result<Vec<ReservedTask>, QueueError> {
        let command = work::ReserveCommand::new(&self.name, options);
        let timeout = self.timeout_with(options.wait);
        let reply: work::ReserveReply = self
            .apply_with("reserve", &command, Key::Given(key), timeout)
            .await?;
        Ok(reply.tasks)
    }

    /// Ends the waits of a worker: its reserves that wait return no task. For a worker that stops.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn end_waits(&self, worker: &str) -> Result<(), QueueError> {
        self.done("end_waits", &json!({"worker": worker})).await
    }

    /// Acknowledges a task: it is done. The result is kept for [`Queue::task`] and [`Queue::wait_for`].
    ///
    /// # Errors
    /// See [`QueueError`]; code `stale_token` if the task was delivered again.
    pub async fn ack(
        &self,
        task: &ReservedTask,
        result: Option<&RawValue>,
    ) -> Result<(), QueueError> {
        self.ack_with_key(task, result, Key::Automatic).await
    }

    pub(crate) async fn ack_with_key(
        &self,
        task: &ReservedTask,
        result: Option<&RawValue>,
        key: Key,
    ) -> Result<(), QueueError> {
        let command = work::DeliveryCommand::ack(task, result);
        self.apply_message::<views::NoData>(&command, key)
            .await
            .map(drop)
    }

    /// Returns a task: the attempt failed. Returns its state.
    ///
    /// # Errors
    /// As [`Queue::ack`].
    pub async fn nack(
        &self,
        task: &ReservedTask,
        options: &NackOptions,
    ) -> Result<TaskState, QueueError> {
        self.nack_with_key(task, options, Key::Automatic).await
    }

    pub(crate) async fn nack_with_key(
        &self,
        task: &ReservedTask,
        options: &NackOptions,
        key: Key,
    ) -> Result<TaskState, QueueError> {
        let command = work::DeliveryCommand::nack(task, options);
        self.moved(&command, key).await
    }

    /// Extends a lease: it ends so long from now.
    ///
    /// # Errors
    /// As [`Queue::ack`].
    pub async fn extend(
        &self,
        task: &ReservedTask,
        lease: Duration,
    ) -> Result<ExtendedLease, QueueError> {
        let command = work::DeliveryCommand::extend(task, lease);
        self.apply_message(&command, Key::Automatic).await
    }

    /// Returns a task that was not tried: the attempt does not count.
    ///
    /// # Errors
    /// As [`Queue::ack`].
    pub async fn release(&self, task: &ReservedTask) -> Result<TaskState, QueueError> {
        self.release_with_key(task, Key::Automatic).await
    }

    pub(crate) async fn release_with_key(
        &self,
        task: &ReservedTask,
        key: Key,
    ) -> Result<TaskState, QueueError> {
        let command = work::DeliveryCommand::release(task);
        self.moved(&command, key).await
    }

    /// Removes a task, or tells its worker to stop: the state is `leased` then.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn cancel(&self, id: u64) -> Result<TaskState, QueueError> {
        self.moved(&json!({"cancel": {"id": id}}), Key::Automatic)
            .await
    }

    /// Waits until a task is done or dead, at most [`MAX_WAIT`].
    ///
    /// # Errors
    /// See [`QueueError`]; code `no_such_task` if it was acknowledged without a result.
    pub async fn wait_for(&self, id: u64, wait: Duration) -> Result<Waited, QueueError> {
        let arguments = json!({"id": id, "wait_ms": work::millis(wait)});
        let timeout = self.timeout_with(wait);
        self.apply_with("wait_for", &arguments, Key::Automatic, timeout)
            .await
    }

    /// One task. `None`: it was never added, or acknowledged without a result, or removed.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn task(&self, id: u64) -> Result<Option<TaskDetails>, QueueError> {
        let response: views::TaskResponse = self.query("task", &json!({"id": id})).await?;
        Ok(response.task)
    }

    /// The numbers of this queue, with details. `None`: there is no such queue.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn stats(&self) -> Result<Option<QueueStats>, QueueError> {
        let mut after = name_before(&self.name);
        loop {
            let mut page = self.stats_page(Some(&after), true).await?;
            if let Some(stats) = page.queues.remove(&self.name) {
                return Ok(Some(stats));
            }
            match page.next {
                Some(next) if next > after && next < self.name => after = next,
                _ => return Ok(None),
            }
        }
    }

    /// The numbers of all queues whose name follows `after`, with details if `detail`.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn stats_page(
        &self,
        after: Option<&str>,
        detail: bool,
    ) -> Result<StatsPage, QueueError> {
        self.query("stats", &json!({"after": after, "detail": detail}))
            .await
    }

    /// The tasks of this queue in one state.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn list(&self, options: &ListOptions) -> Result<TaskPage, QueueError> {
        let mut arguments = to_value(options)?;
        arguments["queue"] = self.name.as_str().into();
        self.query("list", &arguments).await
    }

    /// The workers of all queues whose name follows `after`.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn workers(&self, after: Option<&str>) -> Result<WorkersPage, QueueError> {
        self.query("workers", &json!({"after": after})).await
    }

    /// The schedules of all queues whose name follows `after`.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn schedules(&self, after: Option<&str>) -> Result<SchedulesPage, QueueError> {
        self.query("schedules", &json!({"after": after})).await
    }

    /// Changes settings of this queue, such as `max_attempts`, `retry` or `concurrency`. A field that is not given stays, and
    /// `null` restores the default.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn configure(&self, settings: &Map<String, Value>) -> Result<(), QueueError> {
        let mut arguments = settings.clone();
        arguments.insert("queue".to_owned(), self.name.as_str().into());
        self.done("configure", &arguments).await
    }

    /// Stops deliveries of this queue.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn pause(&self) -> Result<(), QueueError> {
        self.done("pause", &json!({"queue": self.name})).await
    }

    /// Starts them again.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn resume(&self) -> Result<(), QueueError> {
        self.done("resume", &json!({"queue": self.name})).await
    }

    /// Removes tasks of this queue that wait, or with `dead` its dead ones. One command removes a bounded number.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn purge(&self, dead: bool) -> Result<RemovedTasks, QueueError> {
        let arguments = json!({"queue": self.name, "dead": dead});
        self.apply("purge", &arguments).await
    }

    /// Removes this queue; with `force` also its tasks. One command removes a bounded number.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn delete(&self, force: bool) -> Result<RemovedTasks, QueueError> {
        let arguments = json!({"queue": self.name, "force": force});
        self.apply("delete_queue", &arguments).await
    }

    /// Returns dead tasks of this queue. One command returns a bounded number.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn redrive(&self, options: &RedriveOptions) -> Result<RedrivenTasks, QueueError> {
        let mut arguments = to_value(options)?;
        arguments["queue"] = self.name.as_str().into();
        self.apply("redrive", &arguments).await
    }

    /// Adds a schedule that adds tasks to this queue, or replaces it.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn set_schedule(&self, schedule: &NewSchedule) -> Result<(), QueueError> {
        let command = produce::ScheduleCommand::new(&self.name, schedule);
        self.done("set_schedule", &command).await
    }

    /// Pauses or resumes a schedule. The queue of this handle does not matter.
    ///
    /// # Errors
    /// See [`QueueError`]; code `no_such_schedule`.
    pub async fn pause_schedule(&self, name: &str, paused: bool) -> Result<(), QueueError> {
        self.done("pause_schedule", &json!({"name": name, "paused": paused}))
            .await
    }

    /// Removes a schedule, of whichever queue.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn delete_schedule(&self, name: &str) -> Result<(), QueueError> {
        self.done("delete_schedule", &json!({"name": name})).await
    }

    /// Applies any command of the queue, by its name.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn apply<T: DeserializeOwned>(
        &self,
        name: &str,
        arguments: &impl Serialize,
    ) -> Result<T, QueueError> {
        self.apply_with(name, arguments, Key::Automatic, self.timeout)
            .await
    }

    /// Sends any query to the queue, by its name.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn query<T: DeserializeOwned>(
        &self,
        name: &str,
        arguments: &impl Serialize,
    ) -> Result<T, QueueError> {
        let options = QueryOptions {
            timeout: self.timeout,
            ..QueryOptions::default()
        };
        match self.client.query(named(name, arguments)?, &options).await {
            Ok(found) => decode(&found.response),
            Err(QueryError::Refused(body)) => Err(error::refused(&body)),
            Err(error) => Err(QueueError::Query(error)),
        }
    }

    fn enqueue_command<'a>(&'a self, task: &'a NewTask) -> produce::EnqueueCommand<'a> {
        let queue = &self.name;
        produce::EnqueueCommand { queue, task }
    }

    pub(crate) async fn done(
        &self,
        name: &str,
        arguments: &impl Serialize,
    ) -> Result<(), QueueError> {
        self.apply::<views::NoData>(name, arguments).await.map(drop)
    }

    async fn moved(&self, message: &impl Serialize, key: Key) -> Result<TaskState, QueueError> {
        let moved: views::Moved = self.apply_message(message, key).await?;
        Ok(moved.state)
    }

    async fn apply_with<T: DeserializeOwned>(
        &self,
        name: &str,
        arguments: &impl Serialize,
        key: Key,
        timeout: Duration,
    ) -> Result<T, QueueError> {
        self.send(named(name, arguments)?, key, timeout).await
    }

    async fn apply_message<T: DeserializeOwned>(
        &self,
        message: &impl Serialize,
        key: Key,
    ) -> Result<T, QueueError> {
        self.send(encoded(message)?, key, self.timeout).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        command: Vec<u8>,
        idempotency_key: Key,
        timeout: Duration,
    ) -> Result<T, QueueError> {
        let options = ApplyOptions {
            idempotency_key,
            timeout,
        };
        match self.client.apply(command, &options).await {
            Ok(applied) => decode(&applied.reply),
            Err(ApplyError::Refused(body)) => Err(error::refused(&body)),
            Err(error) => Err(QueueError::Apply(error)),
        }
    }

    /// The timeout of a command that waits. The client gives half of it to the first node, so that another one can be tried.
    fn timeout_with(&self, wait: Duration) -> Duration {
        if wait.is_zero() {
            return self.timeout;
        }
        self.timeout.max(2 * (wait + MARGIN))
    }
}

/// A name that is directly before this one in the order of names, as far as queues have names.
pub(crate) fn name_before(name: &str) -> String {
    let Some((at, last)) = name.char_indices().next_back() else {
        return String::new();
    };
    let previous = u32::from(last).checked_sub(1).and_then(char::from_u32);
    let mut before = name[..at].to_owned();
    if let Some(previous) = previous {
        before.extend([previous, char::MAX]);
    }
    before
}

/// The outcome of one command of a batch: `{"ok":…}`, or a refusal.
fn item<T: DeserializeOwned>(result: Value) -> Result<Result<T, QueueRefusal>, QueueError> {
    let decoded = |error: serde_json::Error| QueueError::Decode(error.to_string());
    match result {
        Value::Object(mut fields) if fields.contains_key("ok") => {
            let reply = fields.remove("ok").unwrap_or_default();
            serde_json::from_value(reply).map(Ok).map_err(decoded)
        }
        refused => serde_json::from_value::<error::RefusalBody>(refused)
            .map(|refusal| Err(refusal.error))
            .map_err(decoded),
    }
}

/// A message: an object with one key, its name.
fn named(name: &str, arguments: &impl Serialize) -> Result<Vec<u8>, QueueError> {
    encoded(&std::collections::BTreeMap::from([(name, arguments)]))
}

fn encoded(message: &impl Serialize) -> Result<Vec<u8>, QueueError> {
    serde_json::to_vec(message).map_err(|error| QueueError::Encode(error.to_string()))
}

fn to_value(arguments: &impl Serialize) -> Result<Value, QueueError> {
    serde_json::to_value(arguments).map_err(|error| QueueError::Encode(error.to_string()))
}

fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, QueueError> {
    serde_json::from_slice(message).map_err(|error| QueueError::Decode(error.to_string()))
}

#[cfg(test)]
mod tests;
