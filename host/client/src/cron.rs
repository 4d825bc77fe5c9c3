//! Cron expressions for schedules of the task queue.
//!
//! The queue keeps a list of at most 1,000 ticks for a schedule, and adds a task at each of them, exactly once. Which times these
//! are is decided here: [`CronExpression`] computes them in a time zone, [`Queue::set_cron`] writes the first ones, and a
//! [`CronRunner`] adds more before they end. The expression is kept with the schedule, in the attribute [`CRON_ATTRIBUTE`] of
//! its task, so any runner can serve the schedules of all clients. Several runners never double a tick: the queue accepts
//! ticks only after the last one that it has.
//!
//! ```no_run
//! # async fn example(client: oarlock_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use oarlock_client::cron::{CronExpression, CronRunner, NewCron};
//! use oarlock_client::queue::{NewTask, Queue};
//!
//! let reports = Queue::new(client, "reports");
//! let expression = CronExpression::parse("0 9 * * 1-5", "Europe/Berlin")?;
//! reports.set_cron(&NewCron::new("weekdays", expression, NewTask::json(&"all")?)).await?;
//!
//! CronRunner::new(reports).run().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How long a schedule runs without a runner
//! Ticks are listed [`HORIZON`] ahead, at most [`MAX_TICKS`]: 16 hours of an expression that matches each minute, and 400 days of
//! one that matches each day. A runner adds ticks when half of that is over. If the list has ended, the next runner adds the
//! ticks that were missed, and the schedule's `catch_up` decides what becomes of them.

mod expression;
mod plan;
mod refill;
mod runner;

pub use expression::{CronExpression, CronExpressionError, CronTicks};
pub use plan::{CRON_ATTRIBUTE, HORIZON, MAX_TICKS};
pub use refill::{CronRefill, NewCron};
pub use runner::{CronEvent, CronRunner};

#[cfg(test)]
mod tests;
#[cfg(doc)]
use crate::queue::Queue;
