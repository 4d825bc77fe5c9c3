//! A process that adds ticks to schedules with a cron expression.

use std::fmt;
use std::time::Duration;

use super::refill::CronRefill;
use crate::pause::Pauses;
use crate::queue::{Queue, QueueError};

/// Time between two looks at the schedules. A list that is full lasts at least 1,000 minutes, and half of it is kept.
const ROUND: Duration = Duration::from_secs(60 * 60);

/// What a runner did.
#[derive(Debug)]
#[non_exhaustive]
pub enum CronEvent<'a> {
    /// It has looked at all schedules.
    Refilled(&'a CronRefill),
    /// No node responds, or there is no leader. It tries again.
    Unavailable(&'a QueueError),
}

/// Adds ticks to all schedules with a cron expression, before their lists end. Run one or more; together they never double a
/// tick.
pub struct CronRunner {
    queue: Queue,
    observer: Box<dyn Fn(&CronEvent<'_>) + Send + Sync>,
}

impl fmt::Debug for CronRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CronRunner")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl CronRunner {
    /// A runner for the schedules of all queues of this handle's cluster.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            observer: Box::new(|_| {}),
        }
    }

    /// Calls this function for each event, for logs and metrics. It must not block.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(&CronEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Runs until the future is dropped.
    ///
    /// # Errors
    /// The cluster does not run a task queue, or it refuses the requests.
    pub async fn run(self) -> Result<(), QueueError> {
        let mut pauses = Pauses::default();
        loop {
            let pause = match self.queue.refill_cron().await {
                Ok(done) => {
                    (self.observer)(&CronEvent::Refilled(&done));
                    if done.behind > 0 {
                        pauses.next_pause()
                    } else {
                        pauses = Pauses::default();
                        ROUND
                    }
                }
                Err(error) if error.is_unavailable() => {
                    (self.observer)(&CronEvent::Unavailable(&error));
                    pauses.next_pause()
                }
                Err(error) => return Err(error),
            };
            tokio::time::sleep(pause).await;
        }
    }
}
