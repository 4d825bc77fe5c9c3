//! Tasks that the queue adds on its own, as the checker expects them: at the end of a group, at a death in it, and at the ticks of
//! a schedule. All go into the queue [`LATER`], each with another payload.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The queue of these tasks.
pub(super) const LATER: &str = "later";
/// Name of the schedule with an interval, and of the one that lists its ticks.
pub(super) const INTERVAL: &str = "s";
pub(super) const LIST: &str = "l";

/// A group that was opened and is not complete.
#[derive(Debug, Clone, Default)]
struct KnownGroup {
    is_closed: bool,
    pending: BTreeSet<u64>,
    has_death: bool,
}

/// A schedule that adds one task for all ticks that were missed.
#[derive(Debug, Clone)]
struct KnownSchedule {
    payload: String,
    every_ms: u64,
    next_ms: u64,
}

/// A schedule that lists its ticks, and adds one task for each.
#[derive(Debug, Clone)]
struct KnownList {
    payload: String,
    ticks: BTreeSet<u64>,
}

/// What the queue adds on its own.
#[derive(Debug, Clone, Default)]
pub(super) struct LaterTasks {
    groups: BTreeMap<String, KnownGroup>,
    schedule: Option<KnownSchedule>,
    list: Option<KnownList>,
    /// Names of schedules that are paused.
    paused: BTreeSet<String>,
    /// Tasks that were added and not delivered, by payload.
    added: BTreeMap<String, u64>,
    pub(super) groups_completed: u64,
    pub(super) ticks: u64,
}

impl LaterTasks {
    pub(super) fn open_group(&mut self, name: &str) {
        self.groups.insert(name.to_owned(), KnownGroup::default());
    }

    pub(super) fn is_open(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| !group.is_closed)
    }

    pub(super) fn close_group(&mut self, name: &str) {
        if let Some(group) = self.groups.get_mut(name) {
            group.is_closed = true;
        }
        self.complete(name);
    }

    pub(super) fn join(&mut self, group: &str, id: u64) {
        if let Some(group) = self.groups.get_mut(group) {
            group.pending.insert(id);
        }
    }

    /// A task of a group is done or removed.
    pub(super) fn end(&mut self, group: &str, id: u64) {
        if let Some(known) = self.groups.get_mut(group) {
            known.pending.remove(&id);
        }
        self.complete(group);
    }

    /// A task of a group is dead.
    pub(super) fn die(&mut self, group: &str) {
        if let Some(known) = self.groups.get_mut(group)
            && !known.has_death
        {
            known.has_death = true;
            self.add(format!("dead-{group}"));
        }
    }

    fn complete(&mut self, name: &str) {
        let is_complete = self
            .groups
            .get(name)
            .is_some_and(|group| group.is_closed && group.pending.is_empty());
        if is_complete {
            self.groups.remove(name);
            self.groups_completed += 1;
            self.add(format!("done-{name}"));
        }
    }

    pub(super) fn set_schedule(&mut self, payload: &str, every_ms: u64, now_ms: u64) {
        self.paused.remove(INTERVAL);
        self.schedule = Some(KnownSchedule {
            payload: payload.to_owned(),
            every_ms,
            next_ms: now_ms + every_ms,
        });
    }

    pub(super) fn set_list(&mut self, payload: &str, ticks: &[Value]) {
        self.paused.remove(LIST);
        self.list = Some(KnownList {
            payload: payload.to_owned(),
            ticks: ticks.iter().filter_map(Value::as_u64).collect(),
        });
    }

    /// Whether a schedule exists: the one with an interval, or the one with a list.
    pub(super) fn has_schedule(&self, name: &str) -> bool {
        match name {
            LIST => self.list.is_some(),
            _ => self.schedule.is_some(),
        }
    }

    pub(super) fn pause_schedule(&mut self, name: &str, is_paused: bool) {
        if is_paused {
            self.paused.insert(name.to_owned());
        } else {
            self.paused.remove(name);
        }
    }

    pub(super) fn delete_schedule(&mut self, name: &str) {
        match name {
            LIST => self.list = None,
            _ => self.schedule = None,
        }
    }

    /// A wake-up adds one task for each listed tick that has passed, and one for all of an interval.
    pub(super) fn tick(&mut self, now_ms: u64) {
        if let Some(list) = self.list.as_mut().filter(|_| !self.paused.contains(LIST)) {
            let later = list.ticks.split_off(&(now_ms + 1));
            let passed = std::mem::replace(&mut list.ticks, later).len();
            let payload = list.payload.clone();
            self.ticks += passed as u64;
            (0..passed).for_each(|_| self.add(payload.clone()));
        }
        let is_running = !self.paused.contains(INTERVAL);
        let Some(schedule) = self.schedule.as_mut().filter(|_| is_running) else {
            return;
        };
        if schedule.next_ms > now_ms {
            return;
        }
        let passed = (now_ms - schedule.next_ms) / schedule.every_ms;
        schedule.next_ms += (passed + 1) * schedule.every_ms;
        let payload = schedule.payload.clone();
        self.ticks += 1;
        self.add(payload);
    }

    fn add(&mut self, payload: String) {
        *self.added.entry(payload).or_default() += 1;
    }

    /// Takes a task that is delivered for the first time. False: none with this payload was to be added.
    pub(super) fn take(&mut self, payload: &Value) -> bool {
        let payload = payload.as_str().unwrap_or("");
        let Some(count) = self.added.get_mut(payload) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.added.remove(payload);
        }
        true
    }

    /// Tasks that were added and not delivered.
    pub(super) fn count(&self) -> u64 {
        self.added.values().sum()
    }
}
