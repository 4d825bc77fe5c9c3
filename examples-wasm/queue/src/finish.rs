//! Ends of deliveries: `ack`, `nack`, `extend`, `release`, `cancel`, and leases that run out.

use oarlock_guest::Refusal;

use crate::config::Config;
use crate::enqueue::after_delay;
use crate::limits::{
    DEDUPE_WINDOW_MS, MAX_DELAY_MS, MAX_FOLLOW_UPS, MAX_RESULT_BYTES, MAX_RESULT_TTL_MS,
    RESULT_TTL_MS,
};
use crate::messages::{Ack, Extend, Nack, Release, Reply, Stage};
use crate::policy::{Completed, Failed, Next, Policy};
use crate::refuse::{check_lease, check_range, no_such_task, out_of_range, stale_token};
use crate::state::Queues;
use crate::task::{Place, Task};

/// How an attempt failed.
struct Failing<'a> {
    error: &'a str,
    lease_expired: bool,
    delay_ms: Option<u64>,
    dead: bool,
}

/// How a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Removed,
}

impl<P: Policy> Queues<P> {
    pub(crate) fn check_ack(&self, ack: &Ack) -> Result<(), Refusal> {
        if let Some(result) = &ack.result
            && result.as_str().len() > MAX_RESULT_BYTES
        {
            let bytes = result.as_str().len();
            return Err(out_of_range(
                "result",
                format!("the result has {bytes} bytes, the limit is {MAX_RESULT_BYTES}"),
            ));
        }
        if let Some(ttl_ms) = ack.result_ttl_ms {
            check_range("result_ttl_ms", ttl_ms, 1, MAX_RESULT_TTL_MS)?;
        }
        self.check_token(ack.id, &ack.token).map(drop)
    }

    pub(crate) fn ack(&mut self, now_ms: u64, ack: Ack) -> Result<Reply, Refusal> {
        self.check_ack(&ack)?;
        let id = ack.id;
        let task = &self.tasks[id];
        let queue = self.queue(task.queue);
        let done = Completed {
            queue: &queue.name,
            id,
            payload: &task.payload,
            attempt: task.attempt,
            now_ms,
        };
        let mut follow_ups = P::on_complete(&done);
        let (attempt, worker) = (task.attempt, task.worker());
        if let Some(result) = ack.result {
            let ttl_ms = ack
                .result_ttl_ms
                .unwrap_or_else(|| queue.config().map_or(RESULT_TTL_MS, Config::result_ttl));
            let name = queue.name.clone();
            self.results
                .keep(id, name, attempt, result, now_ms.saturating_add(ttl_ms));
        }
        if let Some(worker) = worker {
            self.workers.complete(worker, now_ms);
        }
        self.finish(id, now_ms);
        follow_ups.truncate(MAX_FOLLOW_UPS);
        for task in follow_ups {
            // A policy's own task that breaks a limit is left out: the worker is not to blame.
            if task.check().is_ok() && self.check_room_for_queue(&task.queue).is_ok() {
                self.add(task, now_ms);
            }
        }
        Ok(Reply::Done {})
    }

    pub(crate) fn check_nack(&self, nack: &Nack) -> Result<(), Refusal> {
        check_range("delay_ms", nack.delay_ms.unwrap_or(0), 0, MAX_DELAY_MS)?;
        self.check_token(nack.id, &nack.token).map(drop)
    }

    pub(crate) fn nack(&mut self, now_ms: u64, nack: &Nack) -> Result<Reply, Refusal> {
        self.check_nack(nack)?;
        let failing = Failing {
            error: nack.error.as_deref().unwrap_or(""),
            lease_expired: false,
            delay_ms: nack.delay_ms,
            dead: nack.dead,
        };
        let state = self.fail(nack.id, now_ms, &failing);
        Ok(Reply::Moved { state })
    }

    pub(crate) fn check_extend(&self, extend: &Extend) -> Result<(), Refusal> {
        check_lease(extend.lease_ms)?;
        let task = self.check_token(extend.id, &extend.token)?;
        if task.place() == Place::Dead && task.ordering_key().is_some() {
            // The next task with its ordering key may have been delivered.
            return Err(stale_token(extend.id));
        }
        Ok(())
    }

    pub(crate) fn extend(&mut self, now_ms: u64, extend: &Extend) -> Result<Reply, Refusal> {
        self.check_extend(extend)?;
        let id = extend.id;
        let place = self.tasks[id].place();
        let (is_leased, is_dead) = (place.is_leased(), place == Place::Dead);
        let lease_until_ms = now_ms.saturating_add(extend.lease_ms);
        if is_leased {
            let task = self.tasks.get_mut(id).expect("its token was just checked");
            let queue = &mut self.queues[task.queue as usize];
            queue.retime(id, task, |task| {
                task.place = Place::Leased(lease_until_ms).into();
            });
            let number = task.queue;
            self.touch(number);
        } else {
            // The lease has expired, but the task was not delivered again: this worker holds it again.
            if is_dead {
                self.note_return(id);
            }
            self.change(id, |_| Place::Leased(lease_until_ms));
        }
        let task = self.tasks.get_mut(id).expect("its token was just checked");
        let cancelled = task.is_cancelled();
        if let Some(delivery) = &mut task.delivery {
            delivery.extended += 1;
            self.workers.extend(delivery.worker, now_ms);
        }
        Ok(Reply::Extended {
            lease_until_ms,
            cancelled,
        })
    }

    pub(crate) fn release(&mut self, now_ms: u64, release: &Release) -> Result<Reply, Refusal> {
        let id = release.id;
        let task = self.check_token(id, &release.token)?;
        if task.place() == Place::Dead {
            return Ok(Reply::Moved { state: Stage::Dead });
        }
        if task.is_cancelled() {
            self.remove(id, now_ms);
            return Ok(Reply::Moved {
                state: Stage::Cancelled,
            });
        }
        let place = self.change(id, |task| {
            task.attempt -= 1;
            Place::Ready
        });
        self.set_delivery(id, None);
        Ok(Reply::Moved {
            state: place.stage(),
        })
    }

    pub(crate) fn cancel(&mut self, now_ms: u64, id: u64) -> Result<Reply, Refusal> {
        let task = self.tasks.get_mut(id).ok_or_else(|| no_such_task(id))?;
        if task.place().is_leased() {
            task.extra_mut().is_cancelled = true;
            return Ok(Reply::Moved {
                state: Stage::Leased,
            });
        }
        self.remove(id, now_ms);
        Ok(Reply::Moved {
            state: Stage::Cancelled,
        })
    }

    /// Ends a lease that ran out. The token stays valid until the next delivery.
    pub(crate) fn expire_lease(&mut self, id: u64, now_ms: u64) {
        let error = format!(
            "the lease of worker {} ran out",
            self.worker_of(&self.tasks[id])
        );
        let failing = Failing {
            error: &error,
            lease_expired: true,
            delay_ms: None,
            dead: false,
        };
        self.fail(id, now_ms, &failing);
    }

    fn fail(&mut self, id: u64, now_ms: u64, failing: &Failing<'_>) -> Stage {
        let next = self.after_failure(id, failing);
        let worker = self.tasks[id].worker();
        let name = worker
            .map_or("", |worker| self.workers.name(worker))
            .to_owned();
        let task = self.tasks.get_mut(id).expect("the caller found the task");
        let number = task.queue;
        task.add_failure(now_ms, &name, failing.error);
        if let Some(worker) = worker {
            self.workers.fail(worker);
        }
        let numbers = &mut self.queue_mut(number).numbers;
        numbers.failed += 1;
        numbers.failed_rate.count(now_ms);
        let task = &self.tasks[id];
        if task.place() == Place::Dead {
            self.set_delivery(id, None);
            return Stage::Dead;
        }
        if task.is_cancelled() {
            self.remove(id, now_ms);
            return Stage::Cancelled;
        }
        match next {
            Next::Retry(delay_ms) => {
                self.change(id, |_| after_delay(delay_ms, now_ms));
                if !failing.lease_expired {
                    self.set_delivery(id, None);
                }
                Stage::Delayed
            }
            Next::Dead => {
                self.die(id, now_ms, failing.lease_expired);
                Stage::Dead
            }
            Next::Drop => {
                self.finish(id, now_ms);
                Stage::Done
            }
        }
    }

    /// What becomes of a task whose attempt failed.
    fn after_failure(&self, id: u64, failing: &Failing<'_>) -> Next {
        let task = &self.tasks[id];
        let queue = self.queue(task.queue);
        let usual = if failing.dead || task.is_spent() {
            Next::Dead
        } else {
            let retry = task.extra().and_then(|extra| extra.retry);
            let retry = retry.or_else(|| queue.config().and_then(|config| config.retry));
            let by_policy = || retry.map_or(0, |retry| retry.delay_ms(id, task.attempt));
            Next::Retry(failing.delay_ms.unwrap_or_else(by_policy))
        };
        let failed = Failed {
            queue: &queue.name,
            id,
            payload: &task.payload,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            error: failing.error,
            lease_expired: failing.lease_expired,
            usual,
        };
        match P::on_failure(&failed) {
            Next::Retry(delay_ms) => Next::Retry(delay_ms.min(MAX_DELAY_MS)),
            other => other,
        }
    }

    /// Makes a task dead, or moves it to the dead-letter queue.
    pub(crate) fn die(&mut self, id: u64, now_ms: u64, keep_token: bool) {
        let queue = self.queue(self.tasks[id].queue);
        let letter = queue.config().and_then(|config| config.dead_letter.clone());
        let letter =
            letter.filter(|to| **to != *queue.name && self.check_room_for_queue(to).is_ok());
        self.unindex(id);
        if !keep_token {
            self.set_delivery(id, None);
        }
        self.leave(id, now_ms);
        self.note_death(id, now_ms);
        if let Some(to) = letter {
            self.note_return(id);
            self.transfer(id, &to, now_ms);
        } else {
            let task = self.tasks.get_mut(id).expect("the caller found the task");
            task.place = Place::Dead.into();
            self.index(id);
        }
        for token in self.results.take_watchers(id) {
            self.completions.push((
                token,
                Reply::Waited {
                    state: Stage::Dead,
                    result: None,
                },
            ));
        }
    }

    /// Moves a task that is in no index to another queue, with its attempts counted from 0.
    pub(crate) fn transfer(&mut self, id: u64, to: &str, now_ms: u64) {
        let task = &self.tasks[id];
        let from = self.queue(task.queue);
        let (from_name, key_name) = (
            from.name.clone(),
            from.keys.name(task.key).map(str::to_owned),
        );
        if let Some(key) = task.extra().and_then(|extra| extra.dedupe_key.clone()) {
            self.dedupe.remove(task.queue, key, id);
        }
        let (old_number, old_key) = (task.queue, task.key);
        if old_key != 0 {
            self.queue_mut(old_number).keys.leave(old_key, now_ms);
        }
        let number = self.open(to);
        let key = key_name.map_or(0, |name| {
            let keys = &mut self.queue_mut(number).keys;
            let key = keys.add(&name);
            keys.enter(key);
            key
        });
        self.set_delivery(id, None);
        let task = self.tasks.get_mut(id).expect("the caller found the task");
        (task.queue, task.key, task.attempt, task.place) = (number, key, 0, Place::Ready.into());
        let extra = task.extra_mut();
        extra.dedupe_key = None;
        (extra.expires_ms, extra.not_before_ms) = (0, 0);
        extra.died_in = Some(from_name);
        self.enter(id, now_ms);
    }

    /// Removes a task that is done.
    fn finish(&mut self, id: u64, now_ms: u64) {
        self.end(id, now_ms, End::Done);
    }

    /// Removes a task that is not done: cancelled, purged, expired or dropped.
    pub(crate) fn remove(&mut self, id: u64, now_ms: u64) {
        self.end(id, now_ms, End::Removed);
    }

    fn end(&mut self, id: u64, now_ms: u64, end: End) {
        self.unindex(id);
        if self.tasks[id].place() != Place::Dead {
            self.leave(id, now_ms);
        }
        self.set_delivery(id, None);
        let task = self.tasks.remove(id).expect("the caller found the task");
        self.forget_waits(id, &task);
        if task.key != 0 {
            self.queue_mut(task.queue).keys.leave(task.key, now_ms);
        }
        let numbers = &mut self.queue_mut(task.queue).numbers;
        if end == End::Done {
            numbers.completed += 1;
            numbers.completed_rate.count(now_ms);
        } else {
            numbers.removed += 1;
        }
        self.end_dedupe(id, &task, now_ms, end);
        self.end_group(&task, now_ms);
        self.release_dependents(id, now_ms, end == End::Done);
        for token in self.results.take_watchers(id) {
            let (state, result) = match end {
                End::Done => (
                    Stage::Done,
                    self.results.get(id).map(|kept| kept.result.clone()),
                ),
                End::Removed => (Stage::Cancelled, None),
            };
            self.completions
                .push((token, Reply::Waited { state, result }));
        }
    }

    fn end_dedupe(&mut self, id: u64, task: &Task, now_ms: u64, end: End) {
        let Some(extra) = task.extra() else {
            return;
        };
        let Some(key) = extra.dedupe_key.clone() else {
            return;
        };
        match end {
            // It ends at its own time.
            End::Done if extra.dedupe_is_timed => {}
            End::Done => self.dedupe.end(
                task.queue,
                key,
                id,
                now_ms.saturating_add(DEDUPE_WINDOW_MS),
                now_ms,
            ),
            End::Removed => self.dedupe.remove(task.queue, key, id),
        }
    }

    /// Checks that a task exists.
    pub(crate) fn check_exists(&self, id: u64) -> Result<(), Refusal> {
        self.tasks.get(id).map(drop).ok_or_else(|| no_such_task(id))
    }

    /// Checks that the token is that of the last delivery of the task.
    pub(crate) fn check_token(&self, id: u64, token: &str) -> Result<&Task, Refusal> {
        let task = self.tasks.get(id).ok_or_else(|| no_such_task(id))?;
        if task.has_token(token) {
            Ok(task)
        } else {
            Err(stale_token(id))
        }
    }
}
