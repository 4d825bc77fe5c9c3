//! The state, and the commands `enqueue`, `ack`, `nack` and `extend`. `reserve` is in [`crate::delivery`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

use crate::dedupe::Dedupe;
use crate::lane::Lane;
use crate::limits::{MAX_DELAY_MS, MAX_QUEUES, MAX_TASKS};
use crate::messages::{Command, Enqueue, Query, Reply, Response, TaskInfo};
use crate::refuse::{
    check_lease, check_name, check_range, full, memory_is_low, no_such_task, stale_token, too_large,
};
use crate::size;
use crate::task::{Place, Task};

/// All queues and their tasks.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Queues {
    /// Id of the last task; the first is 1.
    last_id: u64,
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) lanes: Vec<Lane>,
    /// Index in `lanes`, by name of the queue.
    names: BTreeMap<String, u32>,
    dedupe: Dedupe,
    /// (time of its first timer, index in `lanes`) of each queue with timers.
    pub(crate) alarms: BTreeSet<(u64, u32)>,
    /// Wake time that was last requested from the host; 0 for none.
    pub(crate) requested_wake_ms: u64,
}

#[state_machine(name = "task-queue", version = 1, schema = include_str!("schema.json"))]
impl StateMachine for Queues {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Response;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        let reply = match command {
            Command::Enqueue(task) => self.enqueue(cx, task),
            Command::Reserve(reserve) => self.reserve(cx, &reserve),
            Command::Ack { id, token } => self.ack(cx.time_ms(), id, &token),
            Command::Nack {
                id,
                token,
                delay_ms,
                error,
            } => self.nack(cx.time_ms(), id, &token, delay_ms, error.as_deref()),
            Command::Extend {
                id,
                token,
                lease_ms,
            } => self.extend(cx.time_ms(), id, &token, lease_ms),
        }?;
        self.request_wake_up(cx);
        Ok(reply)
    }

    fn query(&self, cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        match query {
            Query::Stats { after } => Ok(self.stats(after.as_deref(), cx.reply_limit())),
            Query::Task { id } => Ok(Response::Task {
                task: self
                    .tasks
                    .get(&id)
                    .map(|task| self.task_info(id, task, cx.reply_limit()))
                    .transpose()?,
            }),
        }
    }

    fn on_wake(&mut self, cx: &mut Apply<'_>) {
        self.wake(cx);
    }
}

impl Queues {
    fn enqueue(&mut self, cx: &Apply<'_>, new: Enqueue) -> Result<Reply, Refusal> {
        let now_ms = cx.time_ms();
        check_name("queue", &new.queue)?;
        check_range("delay_ms", new.delay_ms, 0, MAX_DELAY_MS)?;
        check_range("max_attempts", new.max_attempts.into(), 1, u32::MAX.into())?;
        let known = self.names.get(&new.queue).copied();
        if let Some(key) = &new.dedupe_key {
            check_name("dedupe_key", key)?;
            if let Some(id) = known.and_then(|lane| self.dedupe.find(lane, key, now_ms)) {
                return Ok(Reply::Enqueued {
                    id,
                    duplicate: true,
                });
            }
        }
        let (bytes, limit) = (
            size::delivered_alone(&new.queue, &new.payload),
            cx.reply_limit(),
        );
        if bytes > limit {
            return Err(too_large("payload", bytes, limit));
        }
        if cx.memory_is_low() {
            return Err(memory_is_low());
        }
        if self.tasks.len() >= MAX_TASKS {
            return Err(full("tasks", MAX_TASKS));
        }
        if known.is_none() && self.lanes.len() >= MAX_QUEUES {
            return Err(full("queues", MAX_QUEUES));
        }
        // All checks are done: nothing is refused after this line.
        let lane = known.unwrap_or_else(|| self.open(new.queue));
        self.last_id += 1;
        let id = self.last_id;
        if let Some(key) = &new.dedupe_key {
            self.dedupe.add(lane, key, id);
        }
        let place = if new.delay_ms == 0 {
            Place::Ready
        } else {
            Place::Delayed(now_ms.saturating_add(new.delay_ms))
        };
        let task = Task {
            lane,
            priority: new.priority,
            attempt: 0,
            max_attempts: new.max_attempts,
            place,
            delivery: None,
            dedupe_key: new.dedupe_key,
            errors: VecDeque::new(),
            payload: new.payload,
        };
        self.tasks.insert(id, task);
        self.index(id, true);
        Ok(Reply::Enqueued {
            id,
            duplicate: false,
        })
    }

    fn open(&mut self, name: String) -> u32 {
        let lane = u32::try_from(self.lanes.len()).expect("MAX_QUEUES fits in 32 bits");
        self.names.insert(name.clone(), lane);
        self.lanes.push(Lane::new(name));
        lane
    }

    fn ack(&mut self, now_ms: u64, id: u64, token: &str) -> Result<Reply, Refusal> {
        self.check_token(id, token)?;
        self.index(id, false);
        let task = self.tasks.remove(&id).expect("its token was just checked");
        self.lanes[task.lane as usize].complete();
        if let Some(key) = task.dedupe_key {
            self.dedupe.spend(task.lane, key, id, now_ms);
        }
        Ok(Reply::Acked {})
    }

    fn nack(
        &mut self,
        now_ms: u64,
        id: u64,
        token: &str,
        delay_ms: u64,
        error: Option<&str>,
    ) -> Result<Reply, Refusal> {
        check_range("delay_ms", delay_ms, 0, MAX_DELAY_MS)?;
        self.check_token(id, token)?;
        let place = self.change(id, |task| {
            task.delivery = None;
            if let Some(error) = error {
                task.add_error(error);
            }
            if task.is_spent() {
                Place::Dead
            } else {
                Place::Delayed(now_ms.saturating_add(delay_ms))
            }
        });
        Ok(Reply::Nacked {
            state: place.stage(),
        })
    }

    fn extend(
        &mut self,
        now_ms: u64,
        id: u64,
        token: &str,
        lease_ms: u64,
    ) -> Result<Reply, Refusal> {
        check_lease(lease_ms)?;
        self.check_token(id, token)?;
        let lease_until_ms = now_ms.saturating_add(lease_ms);
        self.change(id, |_| Place::Leased(lease_until_ms));
        Ok(Reply::Extended { lease_until_ms })
    }

    /// Checks that the token is that of the last delivery of the task.
    fn check_token(&self, id: u64, token: &str) -> Result<(), Refusal> {
        let task = self.tasks.get(&id).ok_or_else(|| no_such_task(id))?;
        if task.token().is_some_and(|current| current == token) {
            Ok(())
        } else {
            Err(stale_token(id))
        }
    }

    fn task_info(&self, id: u64, task: &Task, limit: u64) -> Result<TaskInfo, Refusal> {
        let queue = &self.lanes[task.lane as usize].name;
        let mut bytes = size::delivered_alone(queue, &task.payload);
        if bytes > limit {
            return Err(too_large("id", bytes, limit));
        }
        // The newest errors first.
        let mut fits = |error: &&String| {
            bytes += 1 + size::text(error);
            bytes <= limit
        };
        let newest = task.errors.iter().rev().take_while(&mut fits).count();
        let older = task.errors.len() - newest;
        Ok(TaskInfo {
            id,
            queue: queue.clone(),
            state: task.place.stage(),
            attempt: task.attempt,
            payload: task.payload.clone(),
            errors: task.errors.iter().skip(older).cloned().collect(),
        })
    }

    /// The queues after a name, as many as fit into a response.
    fn stats(&self, after: Option<&str>, limit: u64) -> Response {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = self
            .names
            .range::<str, _>((start, Bound::Unbounded))
            .peekable();
        // The name to continue after is in the response twice.
        let mut bytes = size::REPLY_BYTES;
        let mut queues = BTreeMap::new();
        while let Some((name, lane)) =
            names.next_if(|(name, _)| bytes + size::counts(name) + size::text(name) <= limit)
        {
            bytes += size::counts(name);
            queues.insert(name.clone(), self.lanes[*lane as usize].counts());
        }
        let is_complete = names.peek().is_none();
        let last = queues.keys().next_back().cloned();
        Response::Stats {
            next: last.filter(|_| !is_complete),
            queues,
        }
    }

    /// Index of a queue in `lanes`, if it exists.
    pub(crate) fn lane(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Changes a task that exists and moves it to the place that `change` returns. Returns that place.
    pub(crate) fn change(&mut self, id: u64, change: impl FnOnce(&mut Task) -> Place) -> Place {
        self.index(id, false);
        let task = self.tasks.get_mut(&id).expect("the caller found the task");
        let place = change(task);
        task.place = place;
        self.index(id, true);
        place
    }

    /// Adds a task to the indexes of its queue, or removes it, and updates the queue's entry in `alarms`.
    fn index(&mut self, id: u64, add: bool) {
        let task = &self.tasks[&id];
        let number = task.lane;
        let lane = &mut self.lanes[number as usize];
        let before = lane.first_timer();
        if add {
            lane.insert(id, task);
        } else {
            lane.remove(id, task);
        }
        let after = lane.first_timer();
        if before != after {
            if let Some((at_ms, _)) = before {
                self.alarms.remove(&(at_ms, number));
            }
            if let Some((at_ms, _)) = after {
                self.alarms.insert((at_ms, number));
            }
        }
    }

    /// Number of keys that are kept for acknowledged tasks.
    #[cfg(test)]
    pub(crate) fn spent_keys(&self) -> usize {
        self.dedupe.spent_count()
    }
}
