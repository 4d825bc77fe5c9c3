//! Addition of tasks.

use std::collections::{BTreeMap, BTreeSet};

use oarlock_guest::{Apply, Refusal};

use crate::config::Config;
use crate::draft::NewTask;
use crate::limits::{MAX_DEPENDENTS, MAX_KEYS, MAX_QUEUES, MAX_TASKS};
use crate::messages::{Enqueue, Keep, Overflow, Reply};
use crate::policy::Policy;
use crate::queue::{Line, Queue};
use crate::refuse::{
    full, memory_is_low, no_such_group, no_such_task, queue_is_full, too_large, too_many,
};
use crate::size;
use crate::state::Queues;
use crate::task::{Extra, Place, Task};

/// What an enqueue does.
pub(crate) enum Admission {
    /// It adds the task.
    Add,
    /// A task with the key exists: it changes nothing.
    Duplicate(u64),
    /// It replaces the content of a task that waits.
    Replace(u64),
}

/// Tasks of a batch that were checked and are not added yet.
#[derive(Default)]
pub(crate) struct Planned {
    tasks: usize,
    queues: BTreeMap<Box<str>, PlannedInQueue>,
}

/// The same, for one queue.
#[derive(Default, Clone, Copy)]
pub(crate) struct PlannedInQueue {
    tasks: u64,
    bytes: u64,
}

impl Planned {
    pub(crate) fn add(&mut self, task: &NewTask) {
        self.tasks += 1;
        let queue = self.queues.entry(task.queue.clone()).or_default();
        queue.tasks += 1;
        queue.bytes += task.payload.len() as u64;
    }
}

impl<P: Policy> Queues<P> {
    /// Adds a task. `ids` are the ids of the tasks that the same batch has added so far, by their position.
    pub(crate) fn enqueue(
        &mut self,
        cx: &Apply<'_>,
        command: Enqueue,
        ids: &[Option<u64>],
    ) -> Result<Reply, Refusal> {
        let task = self.prepare(cx, command, ids)?;
        let admission = self.check_new(cx, &task, &Planned::default())?;
        Ok(self.admit_new(task, admission, cx.time_ms()))
    }

    /// The task of a command, as the policy wants it, with its values checked.
    pub(crate) fn prepare(
        &self,
        cx: &Apply<'_>,
        command: Enqueue,
        ids: &[Option<u64>],
    ) -> Result<NewTask, Refusal> {
        let mut task = NewTask::new(command, ids)?;
        P::on_enqueue(&mut task, cx.time_ms())?;
        task.check()?;
        Ok(task)
    }

    /// Refuses a task for which there is no room. `planned` are the tasks that are added before it.
    pub(crate) fn check_new(
        &self,
        cx: &Apply<'_>,
        task: &NewTask,
        planned: &Planned,
    ) -> Result<Admission, Refusal> {
        let admission = self.admission(task, cx.time_ms());
        if matches!(admission, Admission::Duplicate(_)) {
            return Ok(admission);
        }
        let (bytes, limit) = (size::new_delivered_alone(task), cx.reply_limit());
        if bytes > limit {
            return Err(too_large("payload", bytes, limit));
        }
        if cx.memory_is_low() {
            return Err(memory_is_low());
        }
        if matches!(admission, Admission::Add) {
            self.check_room(task, planned)?;
        }
        Ok(admission)
    }

    /// Adds a task of a batch that was checked before others of the batch were added.
    pub(crate) fn commit(&mut self, task: NewTask, now_ms: u64) -> Reply {
        let admission = self.admission(&task, now_ms);
        self.admit_new(task, admission, now_ms)
    }

    /// Adds a task that was checked, unless a task with its deduplication key is kept instead.
    fn admit_new(&mut self, task: NewTask, admission: Admission, now_ms: u64) -> Reply {
        let (id, duplicate) = match admission {
            Admission::Duplicate(id) => (id, true),
            Admission::Replace(id) => {
                self.replace(id, task, now_ms);
                (id, true)
            }
            Admission::Add => {
                self.drop_oldest(&task, now_ms);
                (self.add(task, now_ms), false)
            }
        };
        Reply::Enqueued { id, duplicate }
    }

    /// What an enqueue does, by its deduplication key.
    fn admission(&self, task: &NewTask, now_ms: u64) -> Admission {
        let Some((queue, rule)) = self.find(&task.queue).zip(task.dedupe.as_ref()) else {
            return Admission::Add;
        };
        match self.dedupe.find(queue, &rule.key, now_ms) {
            None => Admission::Add,
            Some(id) if rule.keep == Keep::First => Admission::Duplicate(id),
            Some(id) if self.tasks.get(id).is_some_and(|task| waits(task.place())) => {
                Admission::Replace(id)
            }
            Some(_) => Admission::Add,
        }
    }

    /// Refuses a task for which there is no room, or that refers to something that is not there.
    fn check_room(&self, task: &NewTask, planned: &Planned) -> Result<(), Refusal> {
        if self.tasks.len() + planned.tasks >= MAX_TASKS {
            return Err(full("tasks", MAX_TASKS));
        }
        let in_queue = planned.queues.get(&task.queue).copied().unwrap_or_default();
        match self.find(&task.queue) {
            Some(number) => check_limits(self.queue(number), task, in_queue)?,
            None if in_queue.tasks > 0 => {}
            None if self.names.len() + planned.queues.len() >= MAX_QUEUES => {
                return Err(full("queues", MAX_QUEUES));
            }
            None => {}
        }
        if let Some(group) = &task.group
            && !self.groups.get(group).is_some_and(|group| group.is_open)
        {
            return Err(no_such_group(group));
        }
        for &id in &task.after {
            if id == 0 || id > self.last_id {
                return Err(no_such_task(id));
            }
            if self.dependents.get(&id).map_or(0, BTreeSet::len) + planned.tasks >= MAX_DEPENDENTS {
                return Err(too_many(
                    "after",
                    "tasks that wait for one task",
                    MAX_DEPENDENTS,
                ));
            }
        }
        Ok(())
    }

    /// Makes room in a queue that drops its oldest tasks.
    fn drop_oldest(&mut self, task: &NewTask, now_ms: u64) {
        let Some(number) = self.find(&task.queue) else {
            return;
        };
        while over_limit(self.queue(number), task, PlannedInQueue::default()).is_some()
            && let Some(id) = self.queue(number).ready.oldest_of_last()
        {
            self.remove(id, now_ms);
        }
    }

    /// Adds a task that was checked, or that has no producer who could be refused. Returns its id.
    pub(crate) fn add(&mut self, new: NewTask, now_ms: u64) -> u64 {
        let number = self.open(&new.queue);
        self.last_id += 1;
        let id = self.last_id;
        if let Some(rule) = &new.dedupe {
            let until_ms = rule
                .window_ms
                .map(|window_ms| now_ms.saturating_add(window_ms));
            self.dedupe.add(number, &rule.key, id, until_ms, now_ms);
        }
        let task = self.build(number, new, now_ms);
        if let Some(extra) = task.extra() {
            for &before in &extra.waits_for {
                self.dependents.entry(before).or_default().insert(id);
            }
            if let Some(group) = extra
                .group
                .as_ref()
                .and_then(|name| self.groups.get_mut(name))
            {
                group.pending += 1;
            }
        }
        self.tasks.insert(id, task);
        self.queue_mut(number).numbers.enqueued_rate.count(now_ms);
        self.enter(id, now_ms);
        id
    }

    fn build(&mut self, number: u32, new: NewTask, now_ms: u64) -> Task {
        let has_extra = new.has_extra();
        let waits_for = new
            .after
            .into_iter()
            .filter(|id| self.tasks.contains(*id))
            .collect();
        let queue = &mut self.queues[number as usize];
        let key = new
            .fairness_key
            .as_deref()
            .map_or(0, |name| queue.keys.add(name));
        if let Some(weight) = new.weight.filter(|_| key != 0) {
            queue.keys.set_weight(key, weight);
        }
        if key != 0 {
            queue.keys.enter(key);
        }
        let config = queue.config();
        let ttl_ms = new
            .ttl_ms
            .or_else(|| config.and_then(|config| config.ttl_ms));
        let is_timed = new
            .dedupe
            .as_ref()
            .is_some_and(|rule| rule.window_ms.is_some());
        let extra = (has_extra || ttl_ms.is_some()).then(|| {
            Box::new(Extra {
                content_type: new.content_type,
                attributes: new.attributes,
                retry: new.retry,
                expires_ms: ttl_ms.map_or(0, |ttl_ms| now_ms.saturating_add(ttl_ms)),
                dedupe_key: new.dedupe.map(|rule| rule.key),
                dedupe_is_timed: is_timed,
                ordering_key: new.ordering_key,
                group: new.group,
                waits_for,
                ..Extra::default()
            })
        });
        Task {
            queue: number,
            key,
            priority: new.priority,
            attempt: 0,
            max_attempts: new.max_attempts.unwrap_or_else(|| {
                config.map_or_else(|| Config::default().attempts(), Config::attempts)
            }),
            place: after_delay(new.delay_ms, now_ms).into(),
            enqueued_ms: now_ms,
            delivery: None,
            payload: new.payload,
            extra,
        }
    }

    /// Adds a task that is in the list to its queue: to the line of its ordering key, and to the index of its place. Its place says when it may be delivered at the earliest.
    pub(crate) fn enter(&mut self, id: u64, now_ms: u64) {
        let task = self.tasks.get_mut(id).expect("the caller added the task");
        let queue = &mut self.queues[task.queue as usize];
        if let Some(key) = task.ordering_key() {
            match queue.lines.get_mut(key) {
                Some(line) => {
                    line.waiting.insert(id);
                }
                None => {
                    let line = Line {
                        head: id,
                        waiting: BTreeSet::new(),
                    };
                    queue.lines.insert(key.into(), line);
                }
            }
        }
        if let Place::Delayed(until_ms) = task.place()
            && task.extra.is_some()
        {
            task.extra_mut().not_before_ms = until_ms;
        }
        task.place = place_of(queue, id, task, now_ms).into();
        self.index(id);
    }

    /// Moves a task that waited for another one to its next place.
    pub(crate) fn admit(&mut self, id: u64, now_ms: u64) {
        let Some(task) = self
            .tasks
            .get(id)
            .filter(|task| task.place() == Place::Waiting)
        else {
            return;
        };
        let place = place_of(self.queue(task.queue), id, task, now_ms);
        if place != Place::Waiting {
            self.change(id, |_| place);
        }
    }

    /// Replaces the content of a task that waits by that of a later one with the same deduplication key.
    fn replace(&mut self, id: u64, new: NewTask, now_ms: u64) {
        let rule = new.dedupe.expect("only a task with a key replaces another");
        let number = self.tasks[id].queue;
        if rule.window_ms.is_some() || rule.keep == Keep::Debounce {
            let until_ms = rule
                .window_ms
                .map(|window_ms| now_ms.saturating_add(window_ms));
            self.dedupe.add(number, &rule.key, id, until_ms, now_ms);
        }
        self.unindex(id);
        let task = self.tasks.get_mut(id).expect("the caller found the task");
        task.payload = new.payload;
        task.priority = new.priority;
        let extra = task.extra_mut();
        extra.content_type = new.content_type;
        extra.attributes = new.attributes;
        extra.dedupe_is_timed = rule.window_ms.is_some();
        if rule.keep == Keep::Debounce {
            extra.not_before_ms = now_ms.saturating_add(new.delay_ms);
        }
        if rule.keep == Keep::Debounce && task.place() != Place::Waiting {
            task.place = after_delay(new.delay_ms, now_ms).into();
        }
        self.index(id);
    }
}

fn waits(place: Place) -> bool {
    matches!(place, Place::Ready | Place::Delayed(_) | Place::Waiting)
}

/// Where a task is after a delay that begins now.
pub(crate) fn after_delay(delay_ms: u64, now_ms: u64) -> Place {
    match delay_ms {
        0 => Place::Ready,
        _ => Place::Delayed(now_ms.saturating_add(delay_ms)),
    }
}

/// Where a task that is not delivered belongs.
fn place_of(queue: &Queue, id: u64, task: &Task, now_ms: u64) -> Place {
    let Some(extra) = task.extra() else {
        return task.place();
    };
    let is_behind = extra
        .ordering_key
        .as_ref()
        .and_then(|key| queue.lines.get(key))
        .is_some_and(|line| line.head != id);
    if is_behind || !extra.waits_for.is_empty() {
        Place::Waiting
    } else if extra.not_before_ms > now_ms {
        Place::Delayed(extra.not_before_ms)
    } else {
        Place::Ready
    }
}

/// The limit that a queue would be over with another task, and its value.
fn over_limit(
    queue: &Queue,
    task: &NewTask,
    planned: PlannedInQueue,
) -> Option<(&'static str, u64)> {
    let config = queue.config()?;
    if let Some(most) = config.max_length
        && queue.len() + planned.tasks >= most
    {
        return Some(("tasks", most));
    }
    let bytes = queue.numbers.bytes + planned.bytes + task.payload.len() as u64;
    config
        .max_bytes
        .filter(|&most| bytes > most)
        .map(|most| ("bytes", most))
}

fn check_limits(queue: &Queue, task: &NewTask, planned: PlannedInQueue) -> Result<(), Refusal> {
    if let Some(key) = &task.fairness_key
        && queue.keys.number(key).is_none()
        && queue.keys.count() as u64 + planned.tasks >= MAX_KEYS as u64
    {
        return Err(too_many(
            "fairness_key",
            "fairness keys in this queue",
            MAX_KEYS,
        ));
    }
    let Some((what, most)) = over_limit(queue, task, planned) else {
        return Ok(());
    };
    let can_drop = queue
        .config()
        .is_some_and(|config| config.overflow == Overflow::DropOldest)
        && (queue.ready.len() > 0 || planned.tasks > 0)
        && (what != "bytes" || task.payload.len() as u64 <= most);
    if can_drop {
        Ok(())
    } else {
        Err(queue_is_full(&queue.name, what, most))
    }
}
