//! What operators do to queues, and what waits for single tasks, as the checker expects it.

use oarlock_guest::Token;
use serde_json::{Value, json};

use super::checker::{Checked, Checker, number, text};
use super::model::{KnownRetry, Stage};
use super::planted::Outcome;

/// The states of a task that has not ended.
const LIVE_STATES: [&str; 4] = ["ready", "delayed", "waiting", "leased"];

/// A rate as the checker keeps it: deliveries, in this time, and how many at once.
fn rate_of(rate: &Value) -> Option<(u64, u64, u64)> {
    let tasks = rate["tasks"].as_u64()?;
    Some((tasks, number(rate, "per_ms"), number(rate, "burst")))
}

impl Checker {
    pub(super) fn configured(&mut self, fields: &Value) {
        let queue = self.known.queues.entry(text(fields, "queue").to_owned());
        let queue = queue.or_default();
        if let Some(to) = fields["dead_letter"].as_str() {
            queue.dead_letter = Some(to.to_owned());
        } else if let Some(most) = fields.get("max_length") {
            queue.max_length = most.as_u64();
            queue.drops_oldest = fields["overflow"] == "drop_oldest";
        } else if let Some(retry) = fields.get("retry") {
            queue.retry = KnownRetry::of(retry);
        } else {
            queue.concurrency = fields["concurrency"].as_u64();
            queue.key_concurrency = fields["key_concurrency"].as_u64();
            queue.rate = rate_of(&fields["rate"]);
            queue.rated.clear();
            queue.key_rate = rate_of(&fields["key_rate"]);
            queue.key_rated.clear();
        }
    }

    /// A queue that was full refused a task.
    pub(super) fn refused_full(&mut self, fields: &Value) -> Checked {
        self.coverage.refused_full += 1;
        let queue = text(fields, "queue");
        if self.known.is_full(queue) && self.known.dropped_next(queue).is_none() {
            Ok(())
        } else {
            Err(format!("{fields} was refused, and its queue is not full"))
        }
    }

    /// A task was added to a queue: one that is full has dropped its oldest tasks before.
    pub(super) fn make_room(&mut self, queue: &str, now_ms: u64) -> Checked {
        if self.known.is_full(queue) && self.known.dropped_next(queue).is_none() {
            return Err(format!("queue {queue} was full and took another task"));
        }
        while self.known.is_full(queue)
            && let Some(id) = self.known.dropped_next(queue)
        {
            self.coverage.dropped += 1;
            self.leave(id);
            self.known.remove(id, now_ms);
        }
        Ok(())
    }

    pub(super) fn purged(&mut self, now_ms: u64, fields: &Value, reply: &Value) -> Checked {
        let stage = if fields["dead"] == true {
            Stage::Dead
        } else {
            Stage::Waiting
        };
        let ids = self.known.ids(text(fields, "queue"), stage);
        for &id in &ids {
            self.leave(id);
            self.known.remove(id, now_ms);
        }
        self.coverage.purged += ids.len() as u64;
        // A task that waited for one of them is dead now.
        let more = !self.known.ids(text(fields, "queue"), stage).is_empty();
        let expected = json!({"removed": ids.len(), "more": more});
        if *reply == expected {
            Ok(())
        } else {
            Err(format!("purge {fields} returned {reply}, not {expected}"))
        }
    }

    pub(super) fn redriven(&mut self, now_ms: u64, fields: &Value, reply: &Value) -> Checked {
        let ids = self.known.ids(text(fields, "queue"), Stage::Dead);
        for id in &ids {
            if let Some(task) = self.known.tasks.get_mut(id) {
                (task.stage, task.token, task.attempt) = (Stage::Waiting, None, 0);
                (task.due_ms, task.is_ready, task.expires_ms) = (now_ms, true, None);
            }
        }
        self.coverage.redriven += ids.len() as u64;
        let expected = json!({"redriven": ids.len()});
        if *reply == expected {
            Ok(())
        } else {
            Err(format!("redrive {fields} returned {reply}, not {expected}"))
        }
    }

    /// A command waits for the end of a task, or has its state at once.
    pub(super) fn waits_for(&mut self, now_ms: u64, fields: &Value, outcome: &Outcome) -> Checked {
        let id = number(fields, "id");
        let stage = self.known.tasks.get(&id).map(|task| task.stage);
        let is_live = stage.is_some_and(Stage::is_live);
        match outcome {
            Outcome::Waits(token) if is_live => {
                let deadline_ms = now_ms + number(fields, "wait_ms");
                self.watchers.insert(*token, (id, deadline_ms));
                Ok(())
            }
            Outcome::Accepted(reply) if !is_live => {
                let expected: &[&str] = match stage {
                    Some(Stage::Dead) => &["dead"],
                    Some(Stage::Done) => &["done", "unknown"],
                    _ => &["unknown"],
                };
                if expected.contains(&text(reply, "state")) {
                    Ok(())
                } else {
                    Err(format!("wait_for of task {id} returned {reply}"))
                }
            }
            outcome => Err(format!("wait_for of task {id} ended as {outcome:?}")),
        }
    }

    /// A command that waited for a task has its reply.
    pub(super) fn watched(&mut self, now_ms: u64, token: Token, reply: &Value) -> Checked {
        let Some((id, deadline_ms)) = self.watchers.remove(&token) else {
            return Err("a command that does not wait was completed".to_owned());
        };
        let Some(task) = self.known.tasks.get(&id) else {
            return Err(format!("wait_for of task {id}, which does not exist"));
        };
        let state = text(reply, "state");
        let was_moved = task.queue == "letters";
        let result = self.known.results.get(&id);
        // At its deadline it gets the state of its beginning, whatever else happens at that wake-up.
        let is_over = now_ms >= deadline_ms && LIVE_STATES.contains(&state);
        let is_right = match task.stage {
            Stage::Done => {
                let result = result.map_or(Value::Null, |(result, _)| result.clone());
                state == "done" && reply["result"] == result
            }
            Stage::Dead => state == "dead",
            Stage::Removed => state == "cancelled",
            Stage::Waiting | Stage::Held => was_moved && state == "dead",
        };
        let is_right = is_right || is_over;
        if !is_right {
            return Err(format!(
                "wait_for of task {id}, which is {:?}, returned {reply}",
                task.stage
            ));
        }
        self.coverage.waited_for += u64::from(!task.stage.is_live());
        Ok(())
    }

    /// No command waits for a task that has ended.
    pub(super) fn check_watchers(&self) -> Checked {
        let ended = self.watchers.values().find(|(id, _)| {
            let task = self.known.tasks.get(id);
            task.is_none_or(|task| !task.stage.is_live())
        });
        match ended {
            Some((id, _)) => Err(format!("a command waits for task {id}, which has ended")),
            None => Ok(()),
        }
    }
}
