//! A worker: it runs a handler for the tasks of a queue.
//!
//! ```no_run
//! # async fn example(email: oarlock_client::queue::Queue) -> Result<(), Box<dyn std::error::Error>> {
//! use oarlock_client::worker::{TaskFailure, TaskOutput, Worker};
//!
//! let report = Worker::new(email)
//!     .concurrency(8)
//!     .run_until(
//!         async { tokio::signal::ctrl_c().await.unwrap_or(()) },
//!         |task| async move {
//!             let to: String = task.payload.parse().map_err(|error| TaskFailure::from(error).dead())?;
//!             Ok::<_, TaskFailure>(TaskOutput::json(&format!("sent to {to}"))?)
//!         },
//!     )
//!     .await?;
//! println!("{} done, {} failed", report.done, report.failed);
//! # Ok(())
//! # }
//! ```
//!
//! - The worker waits for tasks at the cluster. Nothing polls.
//! - While a handler runs, its lease is extended at a third of its time.
//! - The handler's future is dropped when its task was cancelled, or when its lease had ended and the task was delivered again.
//! - An error of the handler, or a panic, returns the task with its text. The retry policy of the queue decides when it is tried
//!   again.
//! - If a node is gone, the worker goes on with another one. Commands are repeated with the same idempotency key, so a task that
//!   was delivered or acknowledged while the leader changed is neither lost nor acknowledged twice.
//! - When it is stopped, it ends its wait for tasks, finishes what runs, and gives back what has not begun.

mod delivery;
mod event;
mod output;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::error::ApplyError;
use crate::pause::Pauses;
use crate::queue::{MAX_WAIT, Queue, QueueError, ReserveOptions, ReservedTask};
use delivery::{DeliveryContext, Observer};
use event::DeliveryEnd;

pub use event::{LostTask, WorkerEvent, WorkerReport};
pub use output::{TaskFailure, TaskOutput};

/// Most tasks that a worker holds at once.
pub const MAX_CONCURRENCY: usize = 1000;

/// The default of a wait.
const WAIT: Duration = Duration::from_secs(10);

/// Settings of a worker. See the [module's page](self).
pub struct Worker {
    queue: Queue,
    also: Vec<String>,
    name: String,
    concurrency: usize,
    lease: Duration,
    wait: Duration,
    ends_when_empty: bool,
    observer: Observer,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("queue", &self.queue)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker for the tasks of a queue: one at a time, with a lease of 30 seconds.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        let name = queue.client().new_key();
        Self {
            queue,
            also: Vec::new(),
            name: format!("worker-{name}"),
            concurrency: 1,
            lease: Duration::from_secs(30),
            wait: WAIT,
            ends_when_empty: false,
            observer: Arc::new(|_| {}),
        }
    }

    /// Takes tasks of another queue, too. At most 64 queues.
    #[must_use]
    pub fn also(mut self, queue: impl Into<String>) -> Self {
        self.also.push(queue.into());
        self
    }

    /// The name, which appears in the errors of leases that expire. Default: a random one.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Number of tasks at once, 1 to [`MAX_CONCURRENCY`]. Default: 1.
    #[must_use]
    pub fn concurrency(mut self, tasks: usize) -> Self {
        self.concurrency = tasks.clamp(1, MAX_CONCURRENCY);
        self
    }

    /// Length of a lease. If the worker dies, its tasks are delivered again after this time. Default: 30 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(10));
        self
    }

    /// Longest wait of one request for tasks. It is at most a third of the lease, and 60 s. Default: 10 s.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Ends once no task is ready, instead of waiting for the next one.
    #[must_use]
    pub fn end_when_empty(mut self) -> Self {
        self.ends_when_empty = true;
        self
    }

    /// Calls this function for each event, for logs and metrics. It must not block.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(&WorkerEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Runs until the future is dropped, which drops the handlers, too. See [`Worker::run_until`].
    ///
    /// # Errors
    /// The cluster does not run a task queue, or it refuses the worker's requests.
    pub async fn run<H, F, O>(self, handler: H) -> Result<WorkerReport, QueueError>
    where
        H: Fn(ReservedTask) -> F + Send + Sync + 'static,
        F: Future<Output = Result<O, TaskFailure>> + Send + 'static,
        O: Into<TaskOutput> + Send + 'static,
    {
        self.run_until(std::future::pending(), handler).await
    }

    /// Runs until `stop` ends. Then it takes no more tasks, waits for the handlers that run, and gives back tasks that have not
    /// begun. That takes as long as the handlers: the request for tasks in flight is ended.
    ///
    /// # Errors
    /// The cluster does not run a task queue, or it refuses the worker's requests.
    pub async fn run_until<H, F, O>(
        self,
        stop: impl Future<Output = ()> + Send,
        handler: H,
    ) -> Result<WorkerReport, QueueError>
    where
        H: Fn(ReservedTask) -> F + Send + Sync + 'static,
        F: Future<Output = Result<O, TaskFailure>> + Send + 'static,
        O: Into<TaskOutput> + Send + 'static,
    {
        let run = WorkerRun {
            context: DeliveryContext {
                queue: self.queue.clone(),
                lease: self.lease,
                observer: Arc::clone(&self.observer),
            },
            worker: self,
            running: JoinSet::new(),
            report: WorkerReport::default(),
            stop: Some(Box::pin(stop)),
        };
        run.work(Arc::new(handler)).await
    }
}

/// A request for tasks. It is sent again unchanged until its outcome is known.
struct TaskRequest {
    options: ReserveOptions,
    key: String,
    /// When it was sent first: no lease of its tasks has begun earlier.
    begun: Instant,
}

/// A worker that runs. `stop` is `None` once the worker was stopped.
struct WorkerRun<'s> {
    worker: Worker,
    context: DeliveryContext,
    running: JoinSet<DeliveryEnd>,
    report: WorkerReport,
    stop: Option<Pin<Box<dyn Future<Output = ()> + Send + 's>>>,
}

impl WorkerRun<'_> {
    async fn work<H, F, O>(mut self, handler: Arc<H>) -> Result<WorkerReport, QueueError>
    where
        H: Fn(ReservedTask) -> F + Send + Sync + 'static,
        F: Future<Output = Result<O, TaskFailure>> + Send + 'static,
        O: Into<TaskOutput> + Send + 'static,
    {
        let outcome = self.take_tasks(&handler).await;
        while let Some(ended) = self.running.join_next().await {
            self.count(ended);
        }
        outcome.map(|()| self.report)
    }

    /// Takes tasks and begins their handlers, until the worker is stopped.
    async fn take_tasks<H, F, O>(&mut self, handler: &Arc<H>) -> Result<(), QueueError>
    where
        H: Fn(ReservedTask) -> F + Send + Sync + 'static,
        F: Future<Output = Result<O, TaskFailure>> + Send + 'static,
        O: Into<TaskOutput> + Send + 'static,
    {
        self.check().await?;
        let (mut pending, mut pauses): (Option<TaskRequest>, _) = (None, Pauses::default());
        while self.has_room().await {
            let request = match pending.take() {
                Some(request) => request,
                None => self.request(),
            };
            let third = self.worker.lease / 3;
            match self.reserve(&request).await {
                Ok(tasks) if self.stop.is_none() => {
                    for task in &tasks {
                        let end = self.context.release(task).await;
                        self.report.count(end);
                    }
                }
                Ok(tasks) => {
                    let is_old = request.begun.elapsed() > third;
                    let is_early = request.begun.elapsed() < request.options.wait / 2;
                    if !tasks.is_empty() {
                        pauses = Pauses::default();
                    } else if self.worker.ends_when_empty {
                        if !self.wait_for_one().await {
                            return Ok(());
                        }
                    } else if is_early {
                        // The cluster did not wait. It is not asked in a tight loop.
                        self.pause(&mut pauses).await;
                    }
                    for task in tasks {
                        self.begin(task, is_old, handler);
                    }
                }
                Err(error) if may_pass(&error) => {
                    self.context.tell(&WorkerEvent::Unavailable(&error));
                    pending = error.is_unavailable().then_some(request);
                    self.pause(&mut pauses).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Checks that the cluster runs a task queue, as soon as it responds.
    async fn check(&mut self) -> Result<(), QueueError> {
        let mut pauses = Pauses::default();
        while self.stop.is_some() {
            match self.worker.queue.check().await {
                Err(error) if error.is_unavailable() => {
                    self.context.tell(&WorkerEvent::Unavailable(&error));
                    self.pause(&mut pauses).await;
                }
                outcome => return outcome,
            }
        }
        Ok(())
    }

    fn request(&self) -> TaskRequest {
        let worker = &self.worker;
        let free = worker.concurrency.saturating_sub(self.running.len());
        let wait = if worker.ends_when_empty {
            Duration::ZERO
        } else {
            worker.wait.min(worker.lease / 3).min(MAX_WAIT)
        };
        TaskRequest {
            options: ReserveOptions {
                worker: worker.name.clone(),
                also: worker.also.clone(),
                lease: worker.lease,
                max: u32::try_from(free).unwrap_or(1),
                wait,
            },
            key: worker.queue.client().new_key(),
            begun: Instant::now(),
        }
    }

    fn begin<H, F, O>(&mut self, task: ReservedTask, is_old: bool, handler: &Arc<H>)
    where
        H: Fn(ReservedTask) -> F + Send + Sync + 'static,
        F: Future<Output = Result<O, TaskFailure>> + Send + 'static,
        O: Into<TaskOutput> + Send + 'static,
    {
        let (context, handler) = (self.context.clone(), Arc::clone(handler));
        self.running
            .spawn(async move { context.process(&task, is_old, &*handler).await });
    }

    /// Waits until a handler may begin. False: the worker was stopped.
    async fn has_room(&mut self) -> bool {
        while self.running.len() >= self.worker.concurrency {
            let Some(stop) = &mut self.stop else {
                return false;
            };
            let ended = tokio::select! {
                () = stop => {
                    self.stop = None;
                    continue;
                }
                ended = self.running.join_next() => ended,
            };
            ended.into_iter().for_each(|ended| self.count(ended));
        }
        self.stop.is_some()
    }

    /// Waits until a handler has ended. False: none runs.
    async fn wait_for_one(&mut self) -> bool {
        match self.running.join_next().await {
            Some(ended) => {
                self.count(ended);
                true
            }
            None => false,
        }
    }

    /// Sends the request. Meanwhile handlers end, and the worker may be stopped.
    async fn reserve(&mut self, request: &TaskRequest) -> Result<Vec<ReservedTask>, QueueError> {
        let (queue, name) = (self.worker.queue.clone(), self.worker.name.clone());
        let mut response = Box::pin(queue.reserve_with_key(&request.options, request.key.clone()));
        let mut ending = Box::pin(end_waits(&queue, &name));
        loop {
            tokio::select! {
                response = &mut response => return response,
                () = &mut ending, if self.stop.is_none() => {}
                () = stopped(&mut self.stop) => self.stop = None,
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                    self.count(ended);
                }
            }
        }
    }

    /// Waits a moment, or until the worker is stopped.
    async fn pause(&mut self, pauses: &mut Pauses) {
        tokio::select! {
            () = tokio::time::sleep(pauses.next_pause()) => {}
            () = stopped(&mut self.stop) => self.stop = None,
        }
    }

    fn count(&mut self, ended: Result<DeliveryEnd, JoinError>) {
        // A delivery is not aborted while the worker runs, and the panic of a handler is caught in it.
        self.report.count(ended.unwrap_or(DeliveryEnd::Lost));
    }
}

/// Ends the wait of a worker that was stopped. Again after a while, because the request that waits may arrive later; never
/// ends, because its response does.
async fn end_waits(queue: &Queue, worker: &str) {
    let mut pauses = Pauses::default();
    // A queue that does not know the command responds when the wait is over.
    while may_pass_or_done(queue.end_waits(worker).await) {
        tokio::time::sleep(pauses.next_pause()).await;
    }
    std::future::pending::<()>().await;
}

fn may_pass_or_done(outcome: Result<(), QueueError>) -> bool {
    outcome.map_or_else(|error| may_pass(&error), |()| true)
}

/// Ends when the worker is stopped for the first time.
async fn stopped(stop: &mut Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>>) {
    match stop {
        Some(stop) => stop.await,
        None => std::future::pending().await,
    }
}

/// Whether a later request may succeed: the cluster is not available, the queue has too many waiting workers, or the guest
/// failed.
fn may_pass(error: &QueueError) -> bool {
    error.is_unavailable()
        || error.code() == Some("full")
        || matches!(error, QueueError::Apply(ApplyError::Failed { .. }))
}

#[cfg(test)]
mod tests;
