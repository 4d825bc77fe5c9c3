//! What must hold at every entry of the log.

use std::collections::{BTreeMap, BTreeSet};

use oarlock_guest::Token;
use serde_json::{Value, json};

use super::QueueCoverage;
use super::later::{LATER, LIST};
use super::model::{Known, KnownRetry, KnownTask, KnownWaiter, Stage};
use super::planted::{Outcome, name_and_fields};

/// How long a deduplication key outlives its task.
const DEDUPE_WINDOW_MS: u64 = 60 * 60 * 1000;

pub(super) type Checked = Result<(), String>;

#[derive(Default)]
pub(super) struct Checker {
    pub(super) coverage: QueueCoverage,
    pub(super) known: Known,
    waiters: BTreeMap<Token, KnownWaiter>,
    /// Commands that wait for a task: its id, and until when.
    pub(super) watchers: BTreeMap<Token, (u64, u64)>,
    tokens: BTreeSet<String>,
}

/// A reserve as it is served.
struct Serving {
    queues: BTreeSet<String>,
    lease_ms: u64,
    max: u64,
    now_ms: u64,
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

pub(super) fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or(0)
}

/// Which of two tasks with the same key is kept.
fn keep_of(enqueue: &Value) -> &str {
    enqueue["dedupe_keep"].as_str().unwrap_or("first")
}

fn queues_of(reserve: &Value) -> BTreeSet<String> {
    let names = reserve["queues"].as_array().into_iter().flatten();
    names
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect()
}

/// Whether the deliveries at these times keep a rate.
fn check_rate((tasks, per_ms, burst): (u64, u64, u64), rated: &[u64], now_ms: u64) -> Checked {
    for (count, &since_ms) in rated.iter().rev().enumerate() {
        // A delivery may be early by less than a millisecond.
        let permitted = burst + (now_ms - since_ms + 1) * tasks / per_ms + 1;
        if count as u64 + 1 > permitted {
            return Err(format!("{} in {} ms", count + 1, now_ms - since_ms));
        }
    }
    Ok(())
}

impl Checker {
    /// A reserve notices what is due in its queues.
    pub(super) fn begin_reserve(&mut self, now_ms: u64, command: &Value) {
        for queue in queues_of(&command["reserve"]) {
            self.known.sweep(&queue, now_ms);
        }
    }

    /// A command was applied.
    pub(super) fn applied(&mut self, now_ms: u64, command: &Value, outcome: &Outcome) -> Checked {
        let (name, fields) = name_and_fields(command);
        match (name, outcome) {
            ("enqueue", Outcome::Accepted(reply)) => self.enqueued(now_ms, fields, reply),
            // Its group was closed before.
            ("enqueue", Outcome::Refused(code))
                if code == "no_such_group" && !self.known.later.is_open(text(fields, "group")) =>
            {
                Ok(())
            }
            ("enqueue", Outcome::Refused(code)) if code == "full" => self.refused_full(fields),
            ("batch", outcome) => self.batched(now_ms, fields, outcome),
            ("reserve", outcome) => self.reserved(now_ms, fields, outcome),
            ("ack" | "nack" | "extend" | "release", outcome) => {
                self.returned(now_ms, name, fields, outcome)
            }
            ("cancel", outcome) => self.cancelled(now_ms, fields, outcome),
            ("wait_for", outcome) => self.waits_for(now_ms, fields, outcome),
            ("purge", Outcome::Accepted(reply)) => self.purged(now_ms, fields, reply),
            ("redrive", Outcome::Accepted(reply)) => self.redriven(now_ms, fields, reply),
            // A queue without a task yet.
            ("purge" | "redrive", Outcome::Refused(code)) if code == "no_such_queue" => Ok(()),
            ("configure", Outcome::Accepted(_)) => {
                self.configured(fields);
                Ok(())
            }
            ("configure_key", Outcome::Accepted(_)) => {
                let queue = self.known.queues.entry(text(fields, "queue").to_owned());
                let key = text(fields, "key").to_owned();
                let weights = &mut queue.or_default().weights;
                weights.insert(key, number(fields, "weight"));
                Ok(())
            }
            ("open_group", Outcome::Accepted(_)) => {
                self.known.later.open_group(text(fields, "group"));
                Ok(())
            }
            ("close_group", Outcome::Accepted(_)) => {
                self.known.later.close_group(text(fields, "group"));
                Ok(())
            }
            ("set_schedule", Outcome::Accepted(_)) => {
                let payload = text(&fields["task"], "payload");
                if text(fields, "name") == LIST {
                    let ticks = fields["at_ms"].as_array().map_or(&[][..], Vec::as_slice);
                    self.known.later.set_list(payload, ticks);
                    return Ok(());
                }
                let every_ms = number(fields, "every_ms");
                self.known.later.set_schedule(payload, every_ms, now_ms);
                Ok(())
            }
            ("delete_schedule", _) => {
                self.known.later.delete_schedule(text(fields, "name"));
                Ok(())
            }
            ("pause_schedule", Outcome::Accepted(_)) => {
                let is_paused = fields["paused"] == true;
                let later = &mut self.known.later;
                later.pause_schedule(text(fields, "name"), is_paused);
                Ok(())
            }
            ("pause_schedule", Outcome::Refused(_))
                if !self.known.later.has_schedule(text(fields, "name")) =>
            {
                Ok(())
            }
            ("pause" | "resume", Outcome::Accepted(_)) => {
                let queue = self.known.queues.entry(text(fields, "queue").to_owned());
                queue.or_default().paused = name == "pause";
                Ok(())
            }
            ("pause" | "resume", Outcome::Refused(_)) => Ok(()),
            _ => Err(format!("{command} ended as {outcome:?}")),
        }
    }

    /// A wake-up was applied.
    pub(super) fn woken(&mut self, now_ms: u64) {
        let queues: BTreeSet<String> = (self.known.tasks.values())
            .map(|task| task.queue.clone())
            .collect();
        for queue in queues {
            self.known.sweep(&queue, now_ms);
        }
        self.known.later.tick(now_ms);
    }

    /// Each command of a batch has its own outcome; or none was applied, because one would have been refused.
    fn batched(&mut self, now_ms: u64, fields: &Value, outcome: &Outcome) -> Checked {
        self.coverage.batches += 1;
        let commands: Vec<&Value> = fields["commands"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        let Outcome::Accepted(reply) = outcome else {
            let may_be_refused = commands.iter().any(|command| {
                let (name, fields) = name_and_fields(command);
                let task = self.known.tasks.get(&number(fields, "id"));
                let token = task.and_then(|task| task.token.as_deref());
                match name {
                    "enqueue" => fields["group"].is_string(),
                    // A command before it in the batch may have delivered the task again if its lease had ended.
                    _ => {
                        token != Some(text(fields, "token"))
                            || task.is_some_and(|task| task.lease_until_ms <= now_ms)
                    }
                }
            });
            return if may_be_refused && fields["all_or_nothing"] == true {
                Ok(())
            } else {
                Err(format!("{fields} ended as {outcome:?}"))
            };
        };
        let results = reply["results"].as_array().map_or(0, Vec::len);
        if results != commands.len() {
            return Err(format!("{results} results of {} commands", commands.len()));
        }
        let mut in_order: Vec<(usize, &Value)> = commands.into_iter().enumerate().collect();
        if fields["all_or_nothing"] == true {
            // Tasks are added after all others have ended: a new one can push an old one out of a full queue.
            in_order.sort_by_key(|(_, command)| command.get("enqueue").is_some());
        }
        for (at, command) in in_order {
            let result = &reply["results"][at];
            let outcome = match result.get("ok") {
                Some(reply) => Outcome::Accepted(reply.clone()),
                None => Outcome::Refused(text(&result["error"], "code").to_owned()),
            };
            self.applied(now_ms, command, &outcome)?;
        }
        Ok(())
    }

    fn enqueued(&mut self, now_ms: u64, fields: &Value, reply: &Value) -> Checked {
        let (id, queue) = (number(reply, "id"), text(fields, "queue").to_owned());
        let dedupe_key = fields["dedupe_key"].as_str().map(str::to_owned);
        let first = self.first_with_key(now_ms, &queue, fields);
        if reply["duplicate"] == true {
            self.coverage.duplicates += 1;
            if first != Some(id) {
                return Err(format!("{fields} is not a duplicate of task {id}"));
            }
            self.replaced(now_ms, id, fields);
            return Ok(());
        }
        if let Some(first) = first {
            return Err(format!("task {id} is a duplicate of task {first}"));
        }
        if (self.known.tasks.last_key_value()).is_some_and(|(&last, _)| last >= id) {
            return Err(format!("id {id} is not greater than those before"));
        }
        self.coverage.enqueued += 1;
        self.make_room(&queue, now_ms)?;
        let window_ms = fields["dedupe_window_ms"].as_u64();
        if let Some(key) = &dedupe_key {
            let key = (queue.clone(), key.clone());
            let until_ms = window_ms.map(|window_ms| now_ms + window_ms);
            self.known.dedupe.insert(key, (id, until_ms));
        }
        let delay_ms = number(fields, "delay_ms");
        let group = fields["group"].as_str().map(str::to_owned);
        if let Some(group) = &group {
            self.known.later.join(group, id);
        }
        let ttl_ms = fields["ttl_ms"].as_u64();
        let after = fields["after"].as_array().into_iter().flatten();
        let after = after.filter_map(Value::as_u64).filter(|id| {
            let known = self.known.tasks.get(id);
            known.is_some_and(|task| task.stage.is_live() || task.stage == Stage::Dead)
        });
        let task = KnownTask {
            retry: KnownRetry::of(&fields["retry"]),
            after: after.collect(),
            queue,
            payload: fields["payload"].clone(),
            priority: fields["priority"].as_i64().unwrap_or(0),
            max_attempts: fields["max_attempts"].as_u64().unwrap_or(25),
            fairness_key: text(fields, "fairness_key").to_owned(),
            ordering_key: fields["ordering_key"].as_str().map(str::to_owned),
            dedupe_key,
            dedupe_is_timed: window_ms.is_some(),
            group,
            expires_ms: ttl_ms.map(|ttl_ms| now_ms + ttl_ms),
            stage: Stage::Waiting,
            due_ms: now_ms + delay_ms,
            is_ready: delay_ms == 0,
            attempt: 0,
            token: None,
            lease_until_ms: 0,
            is_cancelled: false,
        };
        self.known.tasks.insert(id, task);
        Ok(())
    }

    /// The task that makes this one a duplicate, if there is one.
    fn first_with_key(&self, now_ms: u64, queue: &str, fields: &Value) -> Option<u64> {
        let key = fields["dedupe_key"].as_str()?.to_owned();
        let &(first, until_ms) = self.known.dedupe.get(&(queue.to_owned(), key))?;
        if until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            return None;
        }
        let waits = self.known.tasks.get(&first).map(|task| task.stage) == Some(Stage::Waiting);
        (keep_of(fields) == "first" || waits).then_some(first)
    }

    /// A later task with the same key: it may replace the content of the first one, and start its delay again.
    fn replaced(&mut self, now_ms: u64, id: u64, fields: &Value) {
        let keep = keep_of(fields);
        if keep == "first" {
            return;
        }
        self.coverage.replaced += 1;
        self.leave(id);
        let window_ms = fields["dedupe_window_ms"].as_u64();
        let Some(task) = self.known.tasks.get_mut(&id) else {
            return;
        };
        task.payload = fields["payload"].clone();
        task.priority = fields["priority"].as_i64().unwrap_or(0);
        task.dedupe_is_timed = window_ms.is_some();
        if keep == "debounce" {
            let delay_ms = number(fields, "delay_ms");
            (task.due_ms, task.is_ready) = (now_ms + delay_ms, delay_ms == 0);
        }
        if (window_ms.is_some() || keep == "debounce")
            && let Some(key) = task.dedupe_key.clone()
        {
            let until_ms = window_ms.map(|window_ms| now_ms + window_ms);
            self.known
                .dedupe
                .insert((task.queue.clone(), key), (id, until_ms));
        }
    }

    fn reserved(&mut self, now_ms: u64, fields: &Value, outcome: &Outcome) -> Checked {
        let queues = queues_of(fields);
        match outcome {
            Outcome::Waits(token) => {
                let waiter = KnownWaiter {
                    queues,
                    lease_ms: number(fields, "lease_ms"),
                    max: number(fields, "max"),
                    deadline_ms: now_ms + number(fields, "wait_ms"),
                };
                self.waiters.insert(*token, waiter);
                Ok(())
            }
            Outcome::Accepted(reply) => {
                let tasks = reply["tasks"].as_array().map_or(0, Vec::len);
                if tasks == 0 && number(fields, "wait_ms") > 0 {
                    return Err("a reserve that should wait did not".to_owned());
                }
                let serving = Serving {
                    queues,
                    lease_ms: number(fields, "lease_ms"),
                    max: number(fields, "max"),
                    now_ms,
                };
                self.delivered(&serving, reply, None)
            }
            Outcome::Refused(code) => Err(format!("{fields} was refused: {code}")),
        }
    }

    /// A reserve that waited has its reply.
    pub(super) fn completed(&mut self, now_ms: u64, token: Token, reply: &Value) -> Checked {
        let Some(waiter) = self.waiters.remove(&token) else {
            return self.watched(now_ms, token, reply);
        };
        if reply["tasks"] == json!([]) {
            self.coverage.waits_ended += 1;
            return if now_ms >= waiter.deadline_ms {
                Ok(())
            } else {
                Err("a wait ended before its deadline".to_owned())
            };
        }
        let serving = Serving {
            queues: waiter.queues,
            lease_ms: waiter.lease_ms,
            max: waiter.max,
            now_ms,
        };
        self.delivered(&serving, reply, Some(token))
    }

    fn delivered(&mut self, serving: &Serving, reply: &Value, waited: Option<Token>) -> Checked {
        let tasks = reply["tasks"].as_array().into_iter().flatten();
        for (position, task) in tasks.enumerate() {
            if position as u64 == serving.max {
                return Err("more tasks than were asked for".to_owned());
            }
            self.coverage.delivered += 1;
            self.coverage.delivered_to_waiters += u64::from(waited.is_some());
            let id = number(task, "id");
            if task["queue"] == LATER && !self.known.tasks.contains_key(&id) {
                if !self.known.later.take(&task["payload"]) {
                    return Err(format!("{} was added without a cause", task["payload"]));
                }
                let known = KnownTask::later(task["payload"].clone());
                self.known.tasks.insert(id, known);
            }
            self.check_delivery(serving, id, task)
                .and_then(|()| self.check_order(id))
                .and_then(|()| self.check_waiters(id, waited))
                .map_err(|what| format!("task {id} was delivered: {what}"))?;
            self.deliver(serving, id, task)
                .map_err(|what| format!("task {id} was delivered: {what}"))?;
        }
        Ok(())
    }

    /// Whether this task may be delivered now, with these fields.
    fn check_delivery(&self, serving: &Serving, id: u64, delivered: &Value) -> Checked {
        let known = self.known.tasks.get(&id);
        let task = known.ok_or("no such task was added")?;
        match task.stage {
            Stage::Waiting => {}
            Stage::Held => return Err("another worker holds it".to_owned()),
            Stage::Dead => return Err("it is dead".to_owned()),
            Stage::Done => return Err("it was acknowledged".to_owned()),
            Stage::Removed => return Err("it was cancelled".to_owned()),
        }
        if task.due_ms > serving.now_ms {
            return Err(format!("{} ms too early", task.due_ms - serving.now_ms));
        }
        let attempt = number(delivered, "attempt");
        if attempt != task.attempt + 1 || attempt > task.max_attempts {
            return Err(format!(
                "as attempt {attempt} after {} of {}",
                task.attempt, task.max_attempts
            ));
        }
        if !serving.queues.contains(&task.queue) || text(delivered, "queue") != task.queue {
            return Err("from a queue that was not asked for".to_owned());
        }
        if delivered["payload"] != task.payload {
            return Err("with another payload".to_owned());
        }
        if number(delivered, "lease_until_ms") != serving.now_ms + serving.lease_ms {
            return Err("with another lease".to_owned());
        }
        if self.tokens.contains(text(delivered, "token")) {
            return Err("with a token of an earlier delivery".to_owned());
        }
        match self.known.blocked_by(id, 1) {
            Some(why) => Err(why.to_owned()),
            None => Ok(()),
        }
    }

    /// Whether it is its turn: by priority, by the share of its key, by age.
    fn check_order(&mut self, id: u64) -> Checked {
        let task = self.known.tasks[&id].clone();
        let settings = self.known.queues.get(&task.queue);
        let keys_are_rated = settings.is_some_and(|queue| queue.key_rate.is_some());
        let mut others = BTreeSet::new();
        for other in self.known.deliverable(&task.queue) {
            let known = &self.known.tasks[&other];
            let is_other_key = known.fairness_key != task.fairness_key;
            if keys_are_rated && is_other_key && !known.fairness_key.is_empty() {
                // Its key may be at its rate.
                continue;
            }
            if known.priority < task.priority {
                return Err(format!("task {other} is more urgent"));
            }
            if known.priority > task.priority {
                continue;
            }
            if known.fairness_key == task.fairness_key && other < id {
                return Err(format!("task {other} is older"));
            }
            others.insert(known.fairness_key.clone());
        }
        let queue = self.known.queues.entry(task.queue.clone()).or_default();
        queue
            .passed_over
            .remove(&(task.priority, task.fairness_key.clone()));
        others.remove(&task.fairness_key);
        let weight = queue.weights.get(&task.fairness_key).copied().unwrap_or(1);
        for key in others {
            let place = (task.priority, key.clone());
            let passed = queue.passed_over.entry(place).or_default();
            let count = passed.entry(task.fairness_key.clone()).or_default();
            *count += 1;
            if *count > weight {
                return Err(format!(
                    "key {:?} of weight {weight} had {count} deliveries while key {key:?} had none",
                    task.fairness_key
                ));
            }
        }
        Ok(())
    }

    /// Whether a worker that waits for longer should have it.
    fn check_waiters(&self, id: u64, waited: Option<Token>) -> Checked {
        let queue = &self.known.tasks[&id].queue;
        let earlier = self.waiters.iter().any(|(token, waiter)| {
            waiter.queues.contains(queue) && waited.is_none_or(|waited| *token < waited)
        });
        if earlier {
            return Err("to another worker than the one that waits for longest".to_owned());
        }
        Ok(())
    }

    fn deliver(&mut self, serving: &Serving, id: u64, delivered: &Value) -> Checked {
        let now_ms = serving.now_ms;
        let token = text(delivered, "token").to_owned();
        self.tokens.insert(token.clone());
        let Some(task) = self.known.tasks.get_mut(&id) else {
            return Ok(());
        };
        self.coverage.redelivered += u64::from(task.attempt > 0);
        task.attempt += 1;
        task.expires_ms = None;
        (task.stage, task.token) = (Stage::Held, Some(token));
        task.lease_until_ms = now_ms + serving.lease_ms;
        let Some(queue) = self.known.queues.get_mut(&task.queue) else {
            return Ok(());
        };
        if let Some(rate) = queue.rate {
            queue.rated.push(now_ms);
            check_rate(rate, &queue.rated, now_ms)?;
        }
        if let Some(rate) = queue.key_rate
            && !task.fairness_key.is_empty()
        {
            let rated = queue.key_rated.entry(task.fairness_key.clone());
            let rated = rated.or_default();
            rated.push(now_ms);
            check_rate(rate, rated, now_ms)?;
        }
        Ok(())
    }

    /// A task that is ready leaves its place. If it was the last one of its key, the next one begins a turn anew.
    pub(super) fn leave(&mut self, id: u64) {
        if let Some(task) = self.known.tasks.get(&id)
            && task.stage == Stage::Waiting
            && let Some(queue) = self.known.queues.get_mut(&task.queue)
        {
            let place = (task.priority, task.fairness_key.clone());
            queue.passed_over.remove(&place);
        }
    }

    /// A worker ended or extended a delivery.
    fn returned(&mut self, now_ms: u64, name: &str, fields: &Value, outcome: &Outcome) -> Checked {
        let id = number(fields, "id");
        let task = self.known.tasks.get(&id);
        let task = task.ok_or("a worker sent an unknown id")?;
        let is_valid = task.token.as_deref() == Some(text(fields, "token"));
        let is_dead = task.stage == Stage::Dead;
        // The next task with its ordering key may be held.
        let is_passed = name == "extend" && is_dead && task.ordering_key.is_some();
        match outcome {
            Outcome::Refused(_) if !is_valid => {
                self.coverage.stale_refused += 1;
                Ok(())
            }
            Outcome::Refused(_) if is_passed => Ok(()),
            Outcome::Refused(code) => Err(format!("{name} of task {id} was refused: {code}")),
            Outcome::Accepted(_) if !is_valid => {
                Err(format!("{name} of task {id} with a stale token worked"))
            }
            Outcome::Accepted(reply) => {
                self.leave(id);
                let state = match name {
                    "ack" => self.acknowledged(now_ms, id, fields),
                    "extend" => return self.extended(now_ms, id, fields, reply),
                    _ => self.given_back(now_ms, id, name, fields),
                };
                let expected = state.map_or(json!({}), |state| json!({ "state": state }));
                let is_same = *reply == expected || (name == "release" && state == Some("ready"));
                if is_same {
                    Ok(())
                } else {
                    Err(format!(
                        "{name} of task {id} returned {reply}, not {expected}"
                    ))
                }
            }
            Outcome::Waits(_) => Err(format!("{name} waits")),
        }
    }

    fn acknowledged(&mut self, now_ms: u64, id: u64, fields: &Value) -> Option<&'static str> {
        self.coverage.acknowledged += 1;
        if let Some(result) = fields.get("result") {
            let until_ms = now_ms + number(fields, "result_ttl_ms");
            self.known.results.insert(id, (result.clone(), until_ms));
        }
        let task = self.known.tasks.get_mut(&id)?;
        (task.stage, task.token) = (Stage::Done, None);
        if let Some(group) = &task.group {
            self.known.later.end(group, id);
        }
        let key = task.dedupe_key.clone().filter(|_| !task.dedupe_is_timed);
        let queue = task.queue.clone();
        self.known.release_dependents(id);
        let place = (queue, key?);
        if let Some((first, until_ms)) = self.known.dedupe.get_mut(&place)
            && *first == id
            && until_ms.is_none_or(|until_ms| until_ms > now_ms)
        {
            *until_ms = Some(now_ms + DEDUPE_WINDOW_MS);
        }
        None
    }

    /// `nack` and `release`.
    fn given_back(
        &mut self,
        now_ms: u64,
        id: u64,
        name: &str,
        fields: &Value,
    ) -> Option<&'static str> {
        let task = self.known.tasks.get_mut(&id)?;
        if name == "release" && task.stage == Stage::Dead {
            return Some("dead");
        }
        task.token = None;
        if task.stage == Stage::Dead {
            return Some("dead");
        }
        if task.is_cancelled {
            self.coverage.cancelled += 1;
            self.known.remove(id, now_ms);
            return Some("cancelled");
        }
        if name == "release" {
            task.attempt -= 1;
            (task.stage, task.due_ms, task.is_ready) = (Stage::Waiting, now_ms, true);
            return Some("ready");
        }
        if task.attempt >= task.max_attempts {
            self.coverage.dead += 1;
            self.known.die(id, now_ms, false);
            return Some("dead");
        }
        let delay_ms = fields["delay_ms"].as_u64();
        self.known.try_again(id, now_ms, delay_ms);
        Some("delayed")
    }

    fn extended(&mut self, now_ms: u64, id: u64, fields: &Value, reply: &Value) -> Checked {
        self.coverage.extended += 1;
        let until_ms = now_ms + number(fields, "lease_ms");
        let Some(task) = self.known.tasks.get_mut(&id) else {
            return Ok(());
        };
        (task.stage, task.lease_until_ms) = (Stage::Held, until_ms);
        let is_told = reply["cancelled"].as_bool().unwrap_or(false);
        if number(reply, "lease_until_ms") == until_ms && is_told == task.is_cancelled {
            return Ok(());
        }
        Err(format!("extend of task {id} returned {reply}"))
    }

    fn cancelled(&mut self, now_ms: u64, fields: &Value, outcome: &Outcome) -> Checked {
        let id = number(fields, "id");
        let stage = self.known.tasks.get(&id).map(|task| task.stage);
        let is_there = matches!(stage, Some(Stage::Waiting | Stage::Held | Stage::Dead));
        match outcome {
            Outcome::Refused(_) if !is_there => Ok(()),
            Outcome::Accepted(reply) if is_there => {
                if stage == Some(Stage::Held) {
                    if let Some(task) = self.known.tasks.get_mut(&id) {
                        task.is_cancelled = true;
                    }
                } else {
                    self.coverage.cancelled += 1;
                    self.leave(id);
                    self.known.remove(id, now_ms);
                }
                let is_held = stage == Some(Stage::Held);
                let expected = if is_held { "leased" } else { "cancelled" };
                if reply["state"] == expected {
                    Ok(())
                } else {
                    Err(format!("cancel of task {id} returned {reply}"))
                }
            }
            outcome => Err(format!("cancel of task {id} ended as {outcome:?}")),
        }
    }

    /// An entry is over: who waits has no task to wait for, and shares are counted anew for keys without one.
    pub(super) fn end_entry(&mut self) -> Checked {
        self.coverage.entries += 1;
        self.check_watchers()?;
        let queues: BTreeSet<String> = (self.known.tasks.values())
            .map(|task| task.queue.clone())
            .collect();
        for queue in queues {
            let ready = self.known.deliverable(&queue);
            let settings = self.known.queues.entry(queue.clone()).or_default();
            if settings.rate.is_none()
                && settings.key_rate.is_none()
                && let Some(id) = ready.first()
                && self
                    .waiters
                    .values()
                    .any(|waiter| waiter.queues.contains(&queue))
            {
                return Err(format!(
                    "a worker waits although task {id} of {queue} is ready"
                ));
            }
            let keys: BTreeSet<(i64, String)> = (ready.iter())
                .map(|id| &self.known.tasks[id])
                .map(|task| (task.priority, task.fairness_key.clone()))
                .collect();
            settings.passed_over.retain(|place, _| keys.contains(place));
            if settings.key_rate.is_some() {
                // A key at its rate loses its place among the turns.
                settings.passed_over.clear();
            }
        }
        Ok(())
    }

    /// Compares the numbers that the queue reports with those of the known tasks.
    pub(super) fn check_stats(&self, stats: &Value) -> Checked {
        let mut expected: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        for task in self.known.tasks.values() {
            let counts = expected.entry(&task.queue).or_default();
            match task.stage {
                Stage::Waiting => counts[0] += 1,
                Stage::Held => counts[1] += 1,
                Stage::Dead => counts[2] += 1,
                Stage::Done => counts[3] += 1,
                Stage::Removed => {}
            }
        }
        expected.entry(LATER).or_default()[0] += self.known.later.count();
        for (queue, counts) in expected {
            let shown = &stats["queues"][queue];
            let found = [
                number(shown, "ready") + number(shown, "delayed"),
                number(shown, "leased"),
                number(shown, "dead"),
                number(shown, "completed"),
            ];
            if found != counts {
                return Err(format!(
                    "queue {queue} has {found:?} tasks that wait, are held, dead, done; it should have {counts:?}"
                ));
            }
        }
        Ok(())
    }

    /// Compares a response to `task` with a result that is kept, or is over.
    pub(super) fn check_result(&mut self, id: u64, now_ms: u64, shown: &Value) -> Checked {
        let Some((result, until_ms)) = self.known.results.get(&id) else {
            return Ok(());
        };
        if *until_ms <= now_ms {
            return Ok(());
        }
        self.coverage.results += 1;
        if shown["task"]["state"] == "done" && shown["task"]["result"] == *result {
            Ok(())
        } else {
            Err(format!("task {id} has no result {result}: {shown}"))
        }
    }

    /// Ids of tasks that had a result.
    pub(super) fn with_result(&self) -> Vec<u64> {
        self.known.results.keys().copied().collect()
    }

    /// What was counted.
    pub(super) fn counted(&self) -> QueueCoverage {
        QueueCoverage {
            expired: self.known.expired,
            moved: self.known.moved,
            delayed_by_policy: self.known.delayed,
            released: self.known.released,
            groups: self.known.later.groups_completed,
            ticks: self.known.later.ticks,
            ..self.coverage
        }
    }

    /// At the end every task that a producer knows has ended.
    pub(super) fn check_all_ended(&self) -> Checked {
        if self.known.later.count() > 0 {
            return Err(format!(
                "tasks that the queue should have added are lost: {:?}",
                self.known.later
            ));
        }
        let left = self
            .known
            .tasks
            .iter()
            .find(|(_, task)| task.stage.is_live());
        match left {
            Some((id, task)) => Err(format!("task {id} is lost: no worker gets it: {task:?}")),
            None => Ok(()),
        }
    }
}
