//! The replicated log as the queue sees it: entries in one order, a time that never goes back, requests that are applied once
//! for each key, wake-ups that are late, restores at any moment.

use std::collections::BTreeMap;

use oarlock_guest::Token;
use serde_json::Value;

use super::checker::Checker;
use super::planted::{FaultyQueue, Outcome, PlantedQueueFault};

/// Key of a request.
pub(super) type RequestKey = u64;

/// What a node tells a client that sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Response {
    Accepted(Value),
    Refused,
    /// The command waits.
    None,
}

pub(super) struct QueueCluster {
    pub(super) queue: FaultyQueue,
    pub(super) checker: Checker,
    responses: BTreeMap<RequestKey, Response>,
    waiting: BTreeMap<Token, RequestKey>,
    /// Clock of the leader, in milliseconds.
    pub(super) clock_ms: u64,
}

impl QueueCluster {
    pub(super) fn new(planted: Option<PlantedQueueFault>) -> Self {
        let queue = FaultyQueue::new(planted);
        Self {
            clock_ms: queue.queue.time_ms(),
            queue,
            checker: Checker::default(),
            responses: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// The time of the next entry: that of the leader's clock, and never less than before.
    fn set_time(&mut self) -> u64 {
        let ahead_ms = self.clock_ms.saturating_sub(self.queue.queue.time_ms());
        self.queue.queue.skip_ms(ahead_ms);
        self.queue.queue.time_ms()
    }

    /// Commits a request, unless its key is known, and returns the response.
    pub(super) fn request(&mut self, key: RequestKey, command: &Value) -> Result<Response, String> {
        if let Some(response) = self.responses.get(&key) {
            self.checker.coverage.repeats += 1;
            return Ok(response.clone());
        }
        let now_ms = self.set_time();
        let outcome = self.queue.send(command);
        let response = match &outcome {
            Outcome::Accepted(reply) => Response::Accepted(reply.clone()),
            Outcome::Refused(_) => Response::Refused,
            Outcome::Waits(token) => {
                self.waiting.insert(*token, key);
                Response::None
            }
        };
        self.responses.insert(key, response);
        if command.get("reserve").is_some() {
            // Workers that wait are served before it.
            self.checker.begin_reserve(now_ms, command);
            self.take_replies(now_ms)?;
            self.checker.applied(now_ms, command, &outcome)?;
        } else {
            self.checker.applied(now_ms, command, &outcome)?;
            self.take_replies(now_ms)?;
        }
        self.checker.end_entry()?;
        Ok(self.responses[&key].clone())
    }

    /// Commits a wake-up if one is due.
    pub(super) fn wake(&mut self) -> Result<bool, String> {
        let due_ms = self.queue.queue.wake_at();
        if due_ms.is_none_or(|due_ms| due_ms > self.clock_ms.max(self.queue.queue.time_ms())) {
            return Ok(false);
        }
        let now_ms = self.set_time();
        self.queue.queue.advance_to_wake();
        self.checker.woken(now_ms);
        self.take_replies(now_ms)?;
        self.checker.end_entry()?;
        Ok(true)
    }

    /// Notes the replies to commands that waited.
    fn take_replies(&mut self, now_ms: u64) -> Result<(), String> {
        for (token, reply) in self.queue.take_replies() {
            self.checker.completed(now_ms, token, &reply)?;
            if let Some(key) = self.waiting.remove(&token) {
                self.responses.insert(key, Response::Accepted(reply));
            }
        }
        Ok(())
    }

    /// Another node leads. It has restored a snapshot, and its clock differs.
    pub(super) fn fail_over(&mut self, clock_ms: u64) {
        self.queue.restore();
        self.clock_ms = clock_ms;
        self.checker.coverage.restores += 1;
    }
}
