//! Commands of operators: settings, pause, purge, deletion, redrive.

use std::collections::BTreeSet;

use oarlock_guest::{Apply, Refusal};

use crate::config;
use crate::keys::OwnLimits;
use crate::limits::{
    MAX_KEYS, MAX_SWEPT, MAX_WAIT_MS, MAX_WATCHERS, MAX_WATCHERS_A_TASK, MAX_WEIGHT,
};
use crate::messages::{
    Configure, ConfigureKey, DeleteQueue, Purge, Redrive, Reply, Stage, WaitFor,
};
use crate::policy::Policy;
use crate::refuse::{check_name, check_range, no_such_task, out_of_range, too_many};
use crate::state::Queues;
use crate::task::{Place, Task};

impl<P: Policy> Queues<P> {
    pub(crate) fn configure(&mut self, now_ms: u64, change: &Configure) -> Result<Reply, Refusal> {
        config::check(change)?;
        self.check_room_for_queue(&change.queue)?;
        if let Some(Some(to)) = &change.dead_letter {
            self.check_dead_letter(&change.queue, to)?;
            self.check_room_for_queue(to)?;
        }
        let number = self.open(&change.queue);
        let queue = self.queue_mut(number);
        let mut config = queue.config.take().unwrap_or_default();
        config.change(change);
        queue.config = (*config != config::Config::default()).then_some(config);
        queue.change_limits(now_ms);
        self.touch(number);
        Ok(Reply::Done {})
    }

    /// Refuses a dead-letter queue from which a dead task would come back.
    fn check_dead_letter(&self, queue: &str, to: &str) -> Result<(), Refusal> {
        let mut next = Some(to.to_owned());
        for _ in 0..=self.names.len() {
            let Some(name) = next else {
                return Ok(());
            };
            if name == queue {
                let text = format!(
                    "a dead task of {queue} would come back to it over {to}; choose another queue"
                );
                return Err(out_of_range("dead_letter", text));
            }
            let config = self
                .find(&name)
                .and_then(|number| self.queue(number).config());
            next = config.and_then(|config| config.dead_letter.clone());
        }
        Ok(())
    }

    pub(crate) fn configure_key(
        &mut self,
        now_ms: u64,
        change: &ConfigureKey,
    ) -> Result<Reply, Refusal> {
        check_name("queue", &change.queue)?;
        check_name("key", &change.key)?;
        if let Some(weight) = change.weight.flatten() {
            check_range("weight", weight.into(), 1, MAX_WEIGHT.into())?;
        }
        if let Some(concurrency) = change.concurrency.flatten() {
            check_range("concurrency", concurrency.into(), 1, u32::MAX.into())?;
        }
        if let Some(rate) = change.rate.flatten() {
            rate.check("rate")?;
        }
        self.check_room_for_queue(&change.queue)?;
        if let Some(number) = self.find(&change.queue) {
            let keys = &self.queue(number).keys;
            if keys.number(&change.key).is_none() && keys.count() >= MAX_KEYS {
                return Err(too_many("key", "fairness keys in this queue", MAX_KEYS));
            }
        }
        let number = self.open(&change.queue);
        let queue = self.queue_mut(number);
        let key = queue.keys.add(&change.key);
        let own = &mut queue.keys.change(key).own;
        *own = OwnLimits {
            weight: change.weight.unwrap_or(own.weight),
            concurrency: change.concurrency.unwrap_or(own.concurrency),
            rate: change.rate.unwrap_or(own.rate),
        };
        queue.keys.change_rate(key, queue.config.as_deref(), now_ms);
        queue.ready.unpark(&mut queue.keys, key);
        queue.keys.drop_unused(key, now_ms);
        self.touch(number);
        Ok(Reply::Done {})
    }

    pub(crate) fn pause(&mut self, name: &str, paused: bool) -> Result<Reply, Refusal> {
        let number = self.existing(name)?;
        self.queue_mut(number).paused = paused;
        self.touch(number);
        Ok(Reply::Done {})
    }

    /// Removes waiting tasks of a queue, or dead ones, up to the limit of one command. Tasks that workers hold stay.
    pub(crate) fn purge(&mut self, now_ms: u64, purge: &Purge) -> Result<Reply, Refusal> {
        let number = self.existing(&purge.queue)?;
        let ids = if purge.dead {
            self.some_dead(number)
        } else {
            self.some_waiting(number)
        };
        let removed = self.remove_all(&ids, now_ms);
        let queue = self.queue(number);
        let more = if purge.dead {
            !queue.dead.is_empty()
        } else {
            queue.len() > queue.numbers.leased
        };
        Ok(Reply::Removed { removed, more })
    }

    /// Removes those of some tasks that are still there. The removal of one can end another.
    fn remove_all(&mut self, ids: &BTreeSet<u64>, now_ms: u64) -> u64 {
        let mut removed = 0;
        for &id in ids {
            if self
                .tasks
                .get(id)
                .is_some_and(|task| !task.place().is_leased())
            {
                self.remove(id, now_ms);
                removed += 1;
            }
        }
        removed
    }

    fn some_dead(&self, number: u32) -> BTreeSet<u64> {
        self.queue(number)
            .dead
            .iter()
            .copied()
            .take(MAX_SWEPT)
            .collect()
    }

    /// Tasks of a queue that are neither leased nor dead, up to the limit of one command.
    fn some_waiting(&self, number: u32) -> BTreeSet<u64> {
        let queue = self.queue(number);
        let waits = |id: &u64| {
            let task = self.tasks.get(*id).filter(|task| task.queue == number);
            task.is_some_and(|task| matches!(task.place(), Place::Delayed(_) | Place::Waiting))
        };
        let mut found: BTreeSet<u64> = queue
            .ready
            .list(None)
            .map(|(_, _, id)| id)
            .take(MAX_SWEPT)
            .collect();
        let mut fill = |ids: &mut dyn Iterator<Item = u64>| {
            let room = MAX_SWEPT - found.len();
            found.extend(ids.filter(waits).take(room));
        };
        if queue.numbers.delayed > 0 {
            fill(&mut queue.timers.iter().map(|&(_, id)| id));
        }
        if queue.numbers.waiting > 0 {
            fill(
                &mut queue
                    .lines
                    .values()
                    .flat_map(|line| line.waiting.iter().copied()),
            );
            fill(&mut self.dependents.values().flatten().copied());
        }
        found
    }

    /// Removes a queue, up to the limit of one command.
    pub(crate) fn delete_queue(
        &mut self,
        now_ms: u64,
        command: &DeleteQueue,
    ) -> Result<Reply, Refusal> {
        let number = self.existing(&command.queue)?;
        let queue = self.queue(number);
        let tasks = queue.len() + queue.dead.len() as u64;
        if queue.numbers.leased > 0 {
            let text = format!(
                "workers hold {} tasks of queue {}; pause it and wait, or cancel them",
                queue.numbers.leased, command.queue
            );
            return Err(Refusal::new("not_empty", text).field("queue"));
        }
        if tasks > 0 && !command.force {
            let text = format!(
                "queue {} has {tasks} tasks; purge it first, or send force",
                command.queue
            );
            return Err(Refusal::new("not_empty", text).field("queue"));
        }
        let mut ids = self.some_waiting(number);
        if ids.is_empty() {
            ids = self.some_dead(number);
        }
        let removed = self.remove_all(&ids, now_ms);
        let mut budget = MAX_SWEPT - ids.len();
        let queue = self.queue(number);
        let more = queue.len() > 0
            || !queue.dead.is_empty()
            || self.dedupe.remove_queue(number, &mut budget);
        if !more {
            self.drop_queue(number);
        }
        Ok(Reply::Removed { removed, more })
    }

    fn drop_queue(&mut self, number: u32) {
        let queue = std::mem::take(self.queue_mut(number));
        self.alarms.remove(&(queue.alarm_ms, number));
        self.unserved.remove(&number);
        self.names.remove(&queue.name);
        self.free.insert(number);
    }

    /// Returns dead tasks, up to the limit of one command.
    pub(crate) fn redrive(&mut self, now_ms: u64, command: &Redrive) -> Result<Reply, Refusal> {
        let number = self.existing(&command.queue)?;
        let most = command.max.unwrap_or(MAX_SWEPT as u64);
        check_range("max", most, 1, MAX_SWEPT as u64)?;
        check_range("ids", command.ids.len() as u64, 0, MAX_SWEPT as u64)?;
        if let Some(to) = &command.to {
            check_name("to", to)?;
            self.check_room_for_queue(to)?;
        }
        let mut found = Vec::new();
        let mut next = None;
        let candidates = self.redrive_candidates(number, command);
        for id in candidates.take(MAX_SWEPT) {
            if found.len() as u64 == most {
                break;
            }
            next = Some(id);
            if self.is_redriven(id, command, now_ms) {
                found.push(id);
            }
        }
        let is_all = match next {
            None => true,
            Some(last) => {
                self.queue(number).dead.range(last + 1..).next().is_none()
                    || !command.ids.is_empty()
            }
        };
        if !command.dry_run {
            for &id in &found {
                self.revive(id, command.to.as_deref(), now_ms);
            }
        }
        Ok(Reply::Redriven {
            redriven: found.len() as u64,
            next: next.filter(|_| !is_all),
        })
    }

    fn redrive_candidates<'a>(
        &'a self,
        number: u32,
        command: &'a Redrive,
    ) -> Box<dyn Iterator<Item = u64> + 'a> {
        let dead = &self.queue(number).dead;
        if command.ids.is_empty() {
            return Box::new(dead.range(command.after + 1..).copied());
        }
        let ids: BTreeSet<u64> = command
            .ids
            .iter()
            .copied()
            .filter(|id| dead.contains(id))
            .collect();
        Box::new(ids.into_iter())
    }

    fn is_redriven(&self, id: u64, command: &Redrive, now_ms: u64) -> bool {
        let task = &self.tasks[id];
        let last_error = task
            .extra()
            .and_then(|extra| extra.failures.back())
            .map_or("", |failure| &failure.error);
        let key = self.queue(task.queue).keys.name(task.key);
        command
            .error
            .as_ref()
            .is_none_or(|part| last_error.contains(part.as_str()))
            && command
                .fairness_key
                .as_ref()
                .is_none_or(|wanted| key == Some(wanted))
            && task.age_ms(now_ms) >= command.min_age_ms
    }

    /// Returns a dead task to its queue, or to another one.
    fn revive(&mut self, id: u64, to: Option<&str>, now_ms: u64) {
        let Some(task) = self
            .tasks
            .get(id)
            .filter(|task| task.place() == Place::Dead)
        else {
            return;
        };
        let from = self.queue(task.queue).name.clone();
        self.unindex(id);
        self.note_return(id);
        match to {
            Some(to) if *to != *from => self.transfer(id, to, now_ms),
            _ => {
                self.set_delivery(id, None);
                let task = self.tasks.get_mut(id).expect("it was just found");
                revived(task);
                self.enter(id, now_ms);
            }
        }
    }

    /// Waits for the end of a task.
    pub(crate) fn wait_for(
        &mut self,
        cx: &mut Apply<'_>,
        command: &WaitFor,
    ) -> Result<Reply, Refusal> {
        let id = command.id;
        check_range("wait_ms", command.wait_ms, 0, MAX_WAIT_MS)?;
        if let Some(kept) = self.results.get(id) {
            return Ok(Reply::Waited {
                state: Stage::Done,
                result: Some(kept.result.clone()),
            });
        }
        let Some(task) = self.tasks.get(id) else {
            if id == 0 || id > self.last_id {
                return Err(no_such_task(id));
            }
            // It was acknowledged without a result, or its result or the task was removed.
            return Ok(Reply::Waited {
                state: Stage::Unknown,
                result: None,
            });
        };
        let state = task.place().stage();
        if command.wait_ms > 0 && state != Stage::Dead {
            if self.results.watchers_of(id) >= MAX_WATCHERS_A_TASK {
                return Err(too_many(
                    "id",
                    "commands that wait for this task",
                    MAX_WATCHERS_A_TASK,
                ));
            }
            if self.results.watchers() >= MAX_WATCHERS {
                return Err(too_many(
                    "id",
                    "commands that wait for a task",
                    MAX_WATCHERS,
                ));
            }
            let token = cx.defer(cx.time_ms() + command.wait_ms)?;
            self.results.watch(id, token);
        }
        Ok(Reply::Waited {
            state,
            result: None,
        })
    }
}

fn revived(task: &mut Task) {
    (task.attempt, task.place) = (0, Place::Ready.into());
    if let Some(extra) = task.extra.as_deref_mut() {
        (extra.expires_ms, extra.not_before_ms) = (0, 0);
    }
}
