//! One delivery: the handler runs while its lease is extended; then the outcome is sent.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::event::{DeliveryEnd, LostTask, WorkerEvent};
use super::output::{TaskFailure, TaskOutput};
use crate::options::Key;
use crate::pause::Pauses;
use crate::queue::{NackOptions, Queue, QueueError, ReservedTask, TaskState};

/// The shortest time in which an outcome is sent again and again.
const LEAST_SETTLING: Duration = Duration::from_secs(60);

/// Receives the events of a worker.
pub(super) type Observer = Arc<dyn Fn(&WorkerEvent<'_>) + Send + Sync>;

/// What all deliveries of a worker share.
#[derive(Clone)]
pub(super) struct DeliveryContext {
    pub(super) queue: Queue,
    pub(super) lease: Duration,
    pub(super) observer: Observer,
}

impl fmt::Debug for DeliveryContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryContext")
            .field("queue", &self.queue)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// How the handler of a task ended.
enum Handled {
    Ended(Result<TaskOutput, TaskFailure>),
    Stopped(LostTask),
}

/// The last command about a delivery.
enum Settlement {
    Ack(Option<Box<RawValue>>),
    Nack(NackOptions),
    Release,
}

impl Settlement {
    async fn send(
        &self,
        queue: &Queue,
        task: &ReservedTask,
        key: Key,
    ) -> Result<TaskState, QueueError> {
        match self {
            Self::Ack(result) => queue
                .ack_with_key(task, result.as_deref(), key)
                .await
                .map(|()| TaskState::Done),
            Self::Nack(options) => queue.nack_with_key(task, options, key).await,
            Self::Release => queue.release_with_key(task, key).await,
        }
    }
}

impl DeliveryContext {
    pub(super) fn tell(&self, event: &WorkerEvent<'_>) {
        (self.observer)(event);
    }

    /// Runs the handler, and sends its outcome. `is_old`: part of the lease is over, so it is extended first.
    pub(super) async fn process<H, F, O>(
        &self,
        task: &ReservedTask,
        is_old: bool,
        handler: &H,
    ) -> DeliveryEnd
    where
        H: Fn(ReservedTask) -> F,
        F: Future<Output = Result<O, TaskFailure>> + Send + 'static,
        O: Into<TaskOutput> + Send + 'static,
    {
        if is_old && let Some(why) = self.extend(task).await {
            return self.give_up(task, why).await;
        }
        self.tell(&WorkerEvent::Started(task));
        let begun = Instant::now();
        match self.handle(task, handler(task.clone())).await {
            Handled::Stopped(why) => self.give_up(task, why).await,
            Handled::Ended(Ok(output)) => {
                self.acknowledge(task, output.result, begun.elapsed()).await
            }
            Handled::Ended(Err(failure)) => self.fail(task, failure, begun.elapsed()).await,
        }
    }

    /// Runs the handler until it ends, or until the task is lost. A handler that panics has failed.
    async fn handle<F, O>(&self, task: &ReservedTask, handler: F) -> Handled
    where
        F: Future<Output = Result<O, TaskFailure>> + Send + 'static,
        O: Into<TaskOutput> + Send + 'static,
    {
        let mut running = JoinSet::new();
        running.spawn(handler);
        tokio::select! {
            ended = running.join_next() => Handled::Ended(match ended {
                Some(Ok(outcome)) => outcome.map(Into::into),
                Some(Err(error)) => Err(panicked(error)),
                None => Err(TaskFailure::new("the handler has no outcome")),
            }),
            why = self.keep_lease(task) => {
                // The handler's future is dropped before the queue learns of it.
                running.shutdown().await;
                Handled::Stopped(why)
            }
        }
    }

    /// Extends the lease at a third of its time, until the task is lost.
    async fn keep_lease(&self, task: &ReservedTask) -> LostTask {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            if let Some(why) = self.extend(task).await {
                return why;
            }
        }
    }

    /// Extends the lease once. Returns why the task is lost, if it is.
    async fn extend(&self, task: &ReservedTask) -> Option<LostTask> {
        let mut pauses = Pauses::default();
        loop {
            match self.queue.extend(task, self.lease).await {
                Ok(lease) => return lease.cancelled.then_some(LostTask::Cancelled),
                Err(error) if error.is_lost_delivery() => return Some(LostTask::Stale),
                // Without a leader no time passes in the log, so the lease goes on.
                Err(error) => self.tell(&WorkerEvent::Unavailable(&error)),
            }
            tokio::time::sleep(pauses.next_pause()).await;
        }
    }

    async fn acknowledge(
        &self,
        task: &ReservedTask,
        result: Option<Box<RawValue>>,
        ran: Duration,
    ) -> DeliveryEnd {
        match self.settle(task, &Settlement::Ack(result)).await {
            Ok(_) => {
                self.tell(&WorkerEvent::Done { task, ran });
                DeliveryEnd::Done
            }
            // For example a result that is too long.
            Err(QueueError::Refused(refusal)) if refusal.code == "out_of_range" => {
                let failure = TaskFailure::new(format!("the result was refused: {refusal}"));
                self.fail(task, failure, ran).await
            }
            Err(error) => self.lost(task, &error),
        }
    }

    async fn fail(&self, task: &ReservedTask, failure: TaskFailure, ran: Duration) -> DeliveryEnd {
        let TaskFailure {
            reason,
            delay,
            is_final,
        } = failure;
        let options = NackOptions {
            error: Some(reason.clone()),
            delay,
            dead: is_final,
        };
        match self.settle(task, &Settlement::Nack(options)).await {
            Ok(state) => {
                let reason = &reason;
                self.tell(&WorkerEvent::Failed {
                    task,
                    ran,
                    reason,
                    state,
                });
                DeliveryEnd::Failed
            }
            Err(error) => self.lost(task, &error),
        }
    }

    /// Ends a delivery whose handler was stopped.
    async fn give_up(&self, task: &ReservedTask, why: LostTask) -> DeliveryEnd {
        if why == LostTask::Cancelled {
            let options = NackOptions {
                error: Some("cancelled".to_owned()),
                ..NackOptions::default()
            };
            // Without an outcome, the task is removed when its lease ends.
            let _ = self.settle(task, &Settlement::Nack(options)).await;
        }
        self.tell(&WorkerEvent::Lost { task, why });
        DeliveryEnd::Lost
    }

    /// Gives back a task whose handler has not begun.
    pub(super) async fn release(&self, task: &ReservedTask) -> DeliveryEnd {
        match self.settle(task, &Settlement::Release).await {
            Ok(_) => {
                self.tell(&WorkerEvent::Released(task));
                DeliveryEnd::Released
            }
            Err(error) => self.lost(task, &error),
        }
    }

    fn lost(&self, task: &ReservedTask, error: &QueueError) -> DeliveryEnd {
        let why = if error.is_lost_delivery() {
            LostTask::Stale
        } else {
            self.tell(&WorkerEvent::Unavailable(error));
            LostTask::NoOutcome
        };
        self.tell(&WorkerEvent::Lost { task, why });
        DeliveryEnd::Lost
    }

    /// Sends the outcome, with the same idempotency key again while no node knows what became of it.
    async fn settle(
        &self,
        task: &ReservedTask,
        settlement: &Settlement,
    ) -> Result<TaskState, QueueError> {
        let key = self.queue.client().new_key();
        let deadline = Instant::now() + self.lease.max(LEAST_SETTLING);
        let mut pauses = Pauses::default();
        loop {
            let key = Key::Given(key.clone());
            match settlement.send(&self.queue, task, key).await {
                Err(error) if error.is_unavailable() && Instant::now() < deadline => {
                    self.tell(&WorkerEvent::Unavailable(&error));
                }
                outcome => return outcome,
            }
            tokio::time::sleep(pauses.next_pause()).await;
        }
    }
}

fn panicked(error: JoinError) -> TaskFailure {
    let text = match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            text.or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default()
        }
        Err(error) => error.to_string(),
    };
    TaskFailure::new(format!("the handler panicked: {text}"))
}
