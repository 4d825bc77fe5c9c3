//! A line for each event of a worker: on standard error, or with `--json` on standard output.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oarlock_client::worker::WorkerEvent;
use serde_json::{Value, json};

use crate::command::output::warn;

/// Least time between two lines about a cluster that is not available.
const UNAVAILABLE: Duration = Duration::from_secs(5);

/// Writes the lines.
pub(super) struct EventReport {
    json: bool,
    last_unavailable: Mutex<Option<Instant>>,
}

impl EventReport {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            last_unavailable: Mutex::new(None),
        }
    }

    /// Writes the line of an event. A closed output is not an error.
    pub(super) fn tell(&self, event: &WorkerEvent<'_>) {
        if matches!(event, WorkerEvent::Unavailable(_)) && !self.is_due() {
            return;
        }
        if self.json {
            if let Some(value) = value(event) {
                let _ = writeln!(std::io::stdout(), "{value}");
            }
        } else if let Some(line) = line(event) {
            warn(&line);
        }
    }

    fn is_due(&self) -> bool {
        let mut last = self
            .last_unavailable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= UNAVAILABLE);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

fn line(event: &WorkerEvent<'_>) -> Option<String> {
    Some(match event {
        WorkerEvent::Started(_) => return None,
        WorkerEvent::Done { task, ran } => {
            format!("task {}: done in {} ms", task.id, ran.as_millis())
        }
        WorkerEvent::Failed {
            task,
            reason,
            state,
            ..
        } => format!(
            "task {}: attempt {} failed, it is {}: {reason}",
            task.id,
            task.attempt,
            state.name()
        ),
        WorkerEvent::Released(task) => format!("task {}: given back", task.id),
        WorkerEvent::Lost { task, why } => format!("task {}: {why}", task.id),
        WorkerEvent::Unavailable(error) => format!("trying again: {error}"),
    })
}

fn value(event: &WorkerEvent<'_>) -> Option<Value> {
    Some(match event {
        WorkerEvent::Started(task) => {
            json!({"event": "started", "id": task.id, "queue": task.queue, "attempt": task.attempt})
        }
        WorkerEvent::Done { task, ran } => {
            json!({"event": "done", "id": task.id, "queue": task.queue, "attempt": task.attempt, "ms": millis(*ran)})
        }
        WorkerEvent::Failed {
            task,
            ran,
            reason,
            state,
        } => {
            json!({"event": "failed", "id": task.id, "queue": task.queue, "attempt": task.attempt, "ms": millis(*ran),
                   "state": state.name(), "error": reason})
        }
        WorkerEvent::Released(task) => {
            json!({"event": "released", "id": task.id, "queue": task.queue, "attempt": task.attempt})
        }
        WorkerEvent::Lost { task, why } => {
            json!({"event": "lost", "id": task.id, "queue": task.queue, "attempt": task.attempt, "why": why.to_string()})
        }
        // It is about the cluster, and may be long.
        WorkerEvent::Unavailable(error) => {
            json!({"event": "unavailable", "error": error.to_string()})
        }
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
