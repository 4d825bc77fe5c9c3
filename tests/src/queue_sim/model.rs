//! The tasks as the checker knows them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::later::{LATER, LaterTasks};

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody holds it. It is ready from `due_ms` on.
    Waiting,
    Held,
    Dead,
    Done,
    Removed,
}

impl Stage {
    /// Whether the task exists and is not dead.
    pub(super) fn is_live(self) -> bool {
        matches!(self, Self::Waiting | Self::Held)
    }
}

#[derive(Debug, Clone)]
pub(super) struct KnownTask {
    pub(super) queue: String,
    pub(super) payload: Value,
    pub(super) priority: i64,
    pub(super) max_attempts: u64,
    /// Empty for none.
    pub(super) fairness_key: String,
    pub(super) ordering_key: Option<String>,
    pub(super) dedupe_key: Option<String>,
    /// The key ends at a fixed time.
    pub(super) dedupe_is_timed: bool,
    pub(super) retry: Option<KnownRetry>,
    /// Tasks that must be done before.
    pub(super) after: BTreeSet<u64>,
    pub(super) group: Option<String>,
    /// When it dies without a delivery.
    pub(super) expires_ms: Option<u64>,
    pub(super) stage: Stage,
    pub(super) due_ms: u64,
    /// It is due, and the queue has noticed it.
    pub(super) is_ready: bool,
    pub(super) attempt: u64,
    /// The token that works.
    pub(super) token: Option<String>,
    pub(super) lease_until_ms: u64,
    pub(super) is_cancelled: bool,
}

impl KnownTask {
    fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms
            .is_some_and(|expires_ms| expires_ms <= now_ms)
    }

    /// A task that the queue has added on its own, before its first delivery.
    pub(super) fn later(payload: Value) -> Self {
        Self {
            queue: LATER.to_owned(),
            payload,
            priority: 0,
            max_attempts: 25,
            fairness_key: String::new(),
            ordering_key: None,
            dedupe_key: None,
            dedupe_is_timed: false,
            retry: None,
            after: BTreeSet::new(),
            group: None,
            expires_ms: None,
            stage: Stage::Waiting,
            due_ms: 0,
            is_ready: true,
            attempt: 0,
            token: None,
            lease_until_ms: 0,
            is_cancelled: false,
        }
    }
}

/// When a task that failed is tried again.
#[derive(Debug, Clone)]
pub(super) struct KnownRetry {
    backoff: String,
    base_ms: u64,
    max_ms: u64,
}

impl KnownRetry {
    pub(super) fn of(retry: &Value) -> Option<Self> {
        Some(Self {
            backoff: retry["backoff"].as_str()?.to_owned(),
            base_ms: retry["base_ms"].as_u64()?,
            max_ms: retry["max_ms"].as_u64()?,
        })
    }

    /// The delay after an attempt, counted from 1.
    fn delay_ms(&self, attempt: u64) -> u64 {
        let grown = match self.backoff.as_str() {
            "fixed" => self.base_ms,
            "linear" => self.base_ms * attempt,
            _ => self.base_ms << (attempt - 1).min(20),
        };
        grown.min(self.max_ms)
    }
}

/// Settings of a queue.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownQueue {
    pub(super) paused: bool,
    pub(super) concurrency: Option<u64>,
    pub(super) key_concurrency: Option<u64>,
    /// Deliveries in a time, and how many at once.
    pub(super) rate: Option<(u64, u64, u64)>,
    /// Times of the deliveries since the rate was set.
    pub(super) rated: Vec<u64>,
    /// The same for each fairness key.
    pub(super) key_rate: Option<(u64, u64, u64)>,
    pub(super) key_rated: BTreeMap<String, Vec<u64>>,
    /// Most tasks that are not dead, and whether the oldest makes room for another.
    pub(super) max_length: Option<u64>,
    pub(super) drops_oldest: bool,
    pub(super) retry: Option<KnownRetry>,
    /// Deliveries to each other key while a key waits, by priority and key.
    pub(super) passed_over: BTreeMap<(i64, String), BTreeMap<String, u64>>,
    /// Deliveries of a key in one turn.
    pub(super) weights: BTreeMap<String, u64>,
    /// Where dead tasks go.
    pub(super) dead_letter: Option<String>,
}

/// A reserve that waits.
#[derive(Debug, Clone)]
pub(super) struct KnownWaiter {
    pub(super) queues: BTreeSet<String>,
    pub(super) lease_ms: u64,
    pub(super) max: u64,
    pub(super) deadline_ms: u64,
}

/// Everything that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) tasks: BTreeMap<u64, KnownTask>,
    pub(super) queues: BTreeMap<String, KnownQueue>,
    /// Id of the first task with a deduplication key, and when the key ends.
    pub(super) dedupe: BTreeMap<(String, String), (u64, Option<u64>)>,
    /// Results of tasks that are done, and until when they are kept.
    pub(super) results: BTreeMap<u64, (Value, u64)>,
    pub(super) later: LaterTasks,
    pub(super) expired: u64,
    pub(super) moved: u64,
    /// Attempts that a retry policy delayed.
    pub(super) delayed: u64,
    /// Tasks that went on because another one was done.
    pub(super) released: u64,
}

impl Known {
    /// Notices what is due in a queue at this time.
    pub(super) fn sweep(&mut self, queue: &str, now_ms: u64) {
        let due: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.queue == queue)
            .filter(|(_, task)| match task.stage {
                Stage::Held => task.lease_until_ms <= now_ms,
                Stage::Waiting => {
                    task.is_expired(now_ms) || (!task.is_ready && task.due_ms <= now_ms)
                }
                _ => false,
            })
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            if task.stage == Stage::Waiting && task.is_expired(now_ms) {
                self.expired += 1;
                self.die(id, now_ms, false);
            } else if task.stage == Stage::Waiting {
                task.is_ready = true;
            } else if task.is_cancelled {
                self.remove(id, now_ms);
            } else if task.attempt >= task.max_attempts {
                self.die(id, now_ms, true);
            } else {
                self.try_again(id, now_ms, None);
            }
        }
    }

    /// An attempt has failed, and another one follows after this delay, or that of the retry policy.
    pub(super) fn try_again(&mut self, id: u64, now_ms: u64, delay_ms: Option<u64>) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let queue = self.queues.get(&task.queue);
        let retry = task.retry.as_ref();
        let retry = retry.or_else(|| queue.and_then(|queue| queue.retry.as_ref()));
        let by_policy = retry.map_or(0, |retry| retry.delay_ms(task.attempt));
        self.delayed += u64::from(delay_ms.is_none() && by_policy > 0);
        let delay_ms = delay_ms.unwrap_or(by_policy);
        (task.stage, task.due_ms, task.is_ready) =
            (Stage::Waiting, now_ms + delay_ms, delay_ms == 0);
    }

    /// The tasks of a queue in this stage.
    pub(super) fn ids(&self, queue: &str, stage: Stage) -> Vec<u64> {
        let tasks = self.tasks.iter();
        tasks
            .filter(|(_, task)| task.queue == queue && task.stage == stage)
            .map(|(&id, _)| id)
            .collect()
    }

    /// Whether a queue has as many tasks as it may have.
    pub(super) fn is_full(&self, queue: &str) -> bool {
        let most = self.queues.get(queue).and_then(|known| known.max_length);
        let live = |task: &&KnownTask| task.queue == queue && task.stage.is_live();
        most.is_some_and(|most| self.tasks.values().filter(live).count() as u64 >= most)
    }

    /// The task that a full queue drops: the oldest ready one of the least urgent priority.
    pub(super) fn dropped_next(&self, queue: &str) -> Option<u64> {
        self.queues.get(queue).filter(|known| known.drops_oldest)?;
        let ready = self.tasks.iter().filter(|(_, task)| {
            task.queue == queue && task.stage == Stage::Waiting && task.is_ready
        });
        let first = ready.min_by_key(|(id, task)| (std::cmp::Reverse(task.priority), **id));
        first.map(|(&id, _)| id)
    }

    /// A task is done: those that waited for it go on.
    pub(super) fn release_dependents(&mut self, id: u64) {
        for task in self.tasks.values_mut() {
            self.released += u64::from(task.after.remove(&id));
        }
    }

    /// A task is dead, or moves to the dead-letter queue. Its token stays valid after an expired lease.
    pub(super) fn die(&mut self, id: u64, now_ms: u64, keep_token: bool) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let queue = self.queues.entry(task.queue.clone()).or_default();
        if task.stage == Stage::Waiting {
            let place = (task.priority, task.fairness_key.clone());
            queue.passed_over.remove(&place);
        }
        task.expires_ms = None;
        if !keep_token {
            task.token = None;
        }
        if let Some(group) = &task.group {
            self.later.die(group);
        }
        let Some(to) = queue.dead_letter.clone() else {
            task.stage = Stage::Dead;
            return;
        };
        self.moved += 1;
        if let Some(key) = task.dedupe_key.take() {
            let key = (task.queue.clone(), key);
            if self.dedupe.get(&key).is_some_and(|(known, _)| *known == id) {
                self.dedupe.remove(&key);
            }
        }
        task.queue = to;
        (task.stage, task.token, task.attempt) = (Stage::Waiting, None, 0);
        (task.due_ms, task.is_ready) = (now_ms, true);
    }

    /// Removes a task that is not done. Those that waited for it are dead.
    pub(super) fn remove(&mut self, id: u64, now_ms: u64) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        (task.stage, task.token) = (Stage::Removed, None);
        if let Some(group) = &task.group {
            self.later.end(group, id);
        }
        if let Some(key) = &task.dedupe_key {
            let key = (task.queue.clone(), key.clone());
            if self.dedupe.get(&key).is_some_and(|(known, _)| *known == id) {
                self.dedupe.remove(&key);
            }
        }
        let waits = |(_, task): &(&u64, &KnownTask)| task.after.contains(&id);
        let dependents: Vec<u64> = self.tasks.iter().filter(waits).map(|(&id, _)| id).collect();
        for dependent in dependents {
            if let Some(task) = self.tasks.get_mut(&dependent) {
                task.after.remove(&id);
                if task.stage == Stage::Waiting {
                    self.die(dependent, now_ms, false);
                }
            }
        }
    }

    fn held(&self, queue: &str, key: Option<&str>) -> u64 {
        let held = self.tasks.values().filter(|task| {
            task.stage == Stage::Held
                && task.queue == queue
                && key.is_none_or(|key| task.fairness_key == key)
        });
        held.count() as u64
    }

    /// Why a task cannot be delivered although its time has come.
    pub(super) fn blocked_by(&self, id: u64, extra: u64) -> Option<&'static str> {
        let task = &self.tasks[&id];
        if let Some(key) = &task.ordering_key {
            let before = self.tasks.range(..id).any(|(_, other)| {
                other.stage.is_live()
                    && other.queue == task.queue
                    && other.ordering_key.as_ref() == Some(key)
            });
            if before {
                return Some("an earlier task with its ordering key is not done");
            }
        }
        if !task.after.is_empty() {
            return Some("a task for which it waits is not done");
        }
        let queue = self.queues.get(&task.queue)?;
        if queue.paused {
            return Some("its queue is paused");
        }
        if queue
            .concurrency
            .is_some_and(|most| self.held(&task.queue, None) + extra > most)
        {
            return Some("workers hold as many tasks of its queue as permitted");
        }
        if !task.fairness_key.is_empty()
            && queue
                .key_concurrency
                .is_some_and(|most| self.held(&task.queue, Some(&task.fairness_key)) + extra > most)
        {
            return Some("workers hold as many tasks of its key as permitted");
        }
        None
    }

    /// Tasks of a queue that can be delivered now, whatever its rate limit.
    pub(super) fn deliverable(&self, queue: &str) -> Vec<u64> {
        let ready = self.tasks.iter().filter(|(_, task)| {
            task.stage == Stage::Waiting && task.is_ready && task.queue == queue
        });
        ready
            .map(|(&id, _)| id)
            .filter(|&id| self.blocked_by(id, 1).is_none())
            .collect()
    }
}
