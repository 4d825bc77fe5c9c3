//! Rules of a project inside the queue: what happens when a task is added, fails, and is done.
//!
//! A policy is a type without state. Its functions must depend on their arguments alone: they run on every node.

use oarlock_guest::Refusal;

pub use crate::draft::{DedupeRule, NewTask};
pub use crate::payload::Payload;

/// Rules of a project.
///
/// ```
/// use oarlock_guest::Refusal;
/// use oarlock_queue::policy::{Failed, NewTask, Next, Policy};
///
/// #[derive(Debug)]
/// struct Rules;
///
/// impl Policy for Rules {
///     fn on_enqueue(task: &mut NewTask, _now_ms: u64) -> Result<(), Refusal> {
///         if &*task.queue == "urgent" {
///             task.priority = -1;
///         }
///         Ok(())
///     }
///
///     fn on_failure(failed: &Failed<'_>) -> Next {
///         if failed.error.contains("no such address") { Next::Dead } else { failed.usual }
///     }
/// }
/// ```
pub trait Policy: std::fmt::Debug + 'static {
    /// Called for each new task, before it is checked. It may set priority, keys, delay and all else.
    ///
    /// # Errors
    /// The task is refused; the producer gets the refusal.
    fn on_enqueue(task: &mut NewTask, now_ms: u64) -> Result<(), Refusal> {
        let _ = (task, now_ms);
        Ok(())
    }

    /// Called when an attempt failed: by `nack`, or because its lease ran out. Returns what becomes of the task.
    fn on_failure(failed: &Failed<'_>) -> Next {
        failed.usual
    }

    /// Called when a task was acknowledged. Returns tasks to add, at most `limits::MAX_FOLLOW_UPS`; more are not added.
    fn on_complete(done: &Completed<'_>) -> Vec<NewTask> {
        let _ = done;
        Vec::new()
    }
}

/// No rules: the queue follows the commands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain;

impl Policy for Plain {}

/// A failed attempt.
#[derive(Debug)]
pub struct Failed<'a> {
    /// Name of the queue.
    pub queue: &'a str,
    /// Id of the task.
    pub id: u64,
    /// Its content.
    pub payload: &'a Payload,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Deliveries until it is dead.
    pub max_attempts: u32,
    /// The reason; empty if there is none.
    pub error: &'a str,
    /// Whether the lease ran out.
    pub lease_expired: bool,
    /// What happens without a policy.
    pub usual: Next,
}

/// What becomes of a task whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt after this delay, in milliseconds.
    Retry(u64),
    /// It is dead.
    Dead,
    /// It is removed and counts as done.
    Drop,
}

/// A task that was acknowledged.
#[derive(Debug)]
pub struct Completed<'a> {
    /// Name of the queue.
    pub queue: &'a str,
    /// Id of the task.
    pub id: u64,
    /// Its content.
    pub payload: &'a Payload,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Replicated time, in milliseconds since 1970-01-01 UTC.
    pub now_ms: u64,
}
