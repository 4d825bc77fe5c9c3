//! Schedules: tasks that are added at fixed times, each tick exactly once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use oarlock_guest::Refusal;
use serde::{Deserialize, Serialize};

use crate::draft::NewTask;
use crate::limits::{
    CRON_ATTRIBUTE, MAX_DELAY_MS, MAX_SCHEDULES, MAX_TASKS, MAX_TICKS, MIN_EVERY_MS,
};
use crate::messages::{AddTicks, CatchUp, CronInfo, PauseSchedule, Reply, SetSchedule};
use crate::policy::Policy;
use crate::refuse::{
    bad_command, check_name, check_range, no_such_schedule, out_of_range, too_many,
};
use crate::state::Queues;

/// All schedules.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Schedules {
    pub(crate) list: BTreeMap<Box<str>, Schedule>,
    /// (next tick, name) of those that are not paused.
    ticks: BTreeSet<(u64, Box<str>)>,
}

/// A schedule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Schedule {
    pub(crate) task: NewTask,
    /// Time between two ticks, in milliseconds; 0 if the ticks are listed.
    every_ms: u64,
    /// The ticks after `next_ms`, if they are listed. Without a next tick, it is the last one that has passed.
    later_ms: VecDeque<u64>,
    pub(crate) next_ms: Option<u64>,
    catch_up: CatchUp,
    pub(crate) paused: bool,
    pub(crate) ticks: u64,
    pub(crate) failed: u64,
}

impl Schedule {
    /// Goes to the next tick.
    fn advance(&mut self) {
        let Some(at_ms) = self.next_ms else {
            return;
        };
        if self.every_ms != 0 {
            self.next_ms = at_ms.checked_add(self.every_ms);
            return;
        }
        self.next_ms = self.later_ms.pop_front();
        if self.next_ms.is_none() {
            self.later_ms.push_back(at_ms);
        }
    }

    /// The last tick of a list, also if it has passed.
    fn last_ms(&self) -> Option<u64> {
        self.later_ms.back().copied().or(self.next_ms)
    }

    /// Ticks of a list that have not passed.
    fn left(&self) -> usize {
        self.next_ms.map_or(0, |_| 1 + self.later_ms.len())
    }

    /// The cron expression that clients expand into the list.
    pub(crate) fn expression(&self) -> Option<&str> {
        if self.every_ms != 0 {
            return None;
        }
        let mut attributes = self.task.attributes.iter();
        attributes
            .find(|(name, _)| &**name == CRON_ATTRIBUTE)
            .map(|(_, value)| &**value)
    }

    pub(crate) fn cron(&self) -> Option<CronInfo> {
        Some(CronInfo {
            expression: self.expression()?.to_owned(),
            last_ms: self.last_ms()?,
            left: self.left() as u64,
            catch_up: self.catch_up,
        })
    }

    /// Goes to the last tick that is due, or to the first one that is not.
    fn skip(&mut self, now_ms: u64, keep_last: bool) {
        if self.every_ms != 0
            && let Some(at_ms) = self.next_ms
            && at_ms <= now_ms
        {
            let passed = (now_ms - at_ms) / self.every_ms;
            self.next_ms = at_ms.checked_add(passed * self.every_ms);
        }
        while self.every_ms == 0
            && self.next_ms.is_some()
            && self.later_ms.front().is_some_and(|&at_ms| at_ms <= now_ms)
        {
            self.advance();
        }
        if !keep_last && self.next_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.advance();
        }
    }
}

impl Schedules {
    pub(crate) fn first_tick(&self) -> Option<u64> {
        self.ticks.first().map(|&(at_ms, _)| at_ms)
    }

    fn set(&mut self, name: &str, schedule: Schedule) {
        self.remove(name);
        if let Some(at_ms) = schedule.next_ms.filter(|_| !schedule.paused) {
            self.ticks.insert((at_ms, name.into()));
        }
        self.list.insert(name.into(), schedule);
    }

    fn remove(&mut self, name: &str) -> Option<Schedule> {
        let schedule = self.list.remove(name)?;
        if let Some(at_ms) = schedule.next_ms {
            self.ticks.remove(&(at_ms, name.into()));
        }
        Some(schedule)
    }
}

impl<P: Policy> Queues<P> {
    pub(crate) fn set_schedule(
        &mut self,
        now_ms: u64,
        command: SetSchedule,
    ) -> Result<Reply, Refusal> {
        check_name("name", &command.name)?;
        let known = self.schedules.list.get(command.name.as_str());
        if known.is_none() && self.schedules.list.len() >= MAX_SCHEDULES {
            return Err(too_many("name", "schedules", MAX_SCHEDULES));
        }
        let task = NewTask::new(command.task, &[])?;
        task.check()?;
        if task.group.is_some() || !task.after.is_empty() {
            return Err(out_of_range(
                "task",
                "a task of a schedule has no group and waits for no task",
            ));
        }
        self.check_room_for_queue(&task.queue)?;
        let (every_ms, mut later_ms) = match (command.every_ms, command.at_ms) {
            (Some(every_ms), list) if list.is_empty() => {
                check_range("every_ms", every_ms, MIN_EVERY_MS, MAX_DELAY_MS)?;
                let first_ms = command
                    .start_ms
                    .unwrap_or_else(|| now_ms.saturating_add(every_ms));
                (every_ms, VecDeque::from([first_ms]))
            }
            (None, list) => {
                check_range("at_ms", list.len() as u64, 1, MAX_TICKS as u64)?;
                let list: BTreeSet<u64> = list.into_iter().collect();
                (0, list.into_iter().collect())
            }
            (Some(_), _) => {
                let text = "every_ms and at_ms are both given; give one of them";
                return Err(bad_command("set_schedule", text, "at_ms"));
            }
        };
        let mut schedule = Schedule {
            task,
            every_ms,
            next_ms: later_ms.pop_front(),
            later_ms,
            catch_up: command.catch_up,
            paused: command.paused,
            ticks: known.map_or(0, |known| known.ticks),
            failed: known.map_or(0, |known| known.failed),
        };
        // Ticks before the schedule was set never happen, but for those that a list names.
        if every_ms != 0 || command.future_only {
            schedule.skip(now_ms, false);
        }
        self.schedules.set(&command.name, schedule);
        Ok(Reply::Done {})
    }

    pub(crate) fn delete_schedule(&mut self, name: &str) -> Result<Reply, Refusal> {
        match self.schedules.remove(name) {
            Some(_) => Ok(Reply::Done {}),
            None => Err(no_such_schedule(name)),
        }
    }

    /// Adds ticks after the last one. Two clients that expand the same expression can't both add them.
    pub(crate) fn add_ticks(&mut self, command: &AddTicks) -> Result<Reply, Refusal> {
        let name = command.name.as_str();
        let Some(schedule) = self.schedules.list.get(name) else {
            return Err(no_such_schedule(name));
        };
        if schedule.every_ms != 0 {
            let text = format!("schedule {name} has an interval, so no ticks can be added");
            return Err(out_of_range("name", text));
        }
        if schedule.last_ms() != Some(command.after_ms) {
            let text = format!(
                "the last tick of schedule {name} is not {}, so nothing was added; query schedules, then try again",
                command.after_ms
            );
            return Err(Refusal::new("conflict", text).field("after_ms"));
        }
        let new: BTreeSet<u64> = command.at_ms.iter().copied().collect();
        if new.first().is_some_and(|&at_ms| at_ms <= command.after_ms) {
            return Err(out_of_range("at_ms", "a tick is not after after_ms"));
        }
        let count = (schedule.left() + new.len()) as u64;
        check_range("at_ms", count, 0, MAX_TICKS as u64)?;
        if let Some(mut schedule) = self.schedules.remove(name) {
            if schedule.next_ms.is_some() {
                schedule.later_ms.extend(new);
            } else if !new.is_empty() {
                schedule.later_ms = new.into_iter().collect();
                schedule.next_ms = schedule.later_ms.pop_front();
            }
            self.schedules.set(name, schedule);
        }
        Ok(Reply::Done {})
    }

    pub(crate) fn pause_schedule(&mut self, command: &PauseSchedule) -> Result<Reply, Refusal> {
        let name = command.name.as_str();
        let mut schedule = self
            .schedules
            .remove(name)
            .ok_or_else(|| no_such_schedule(name))?;
        schedule.paused = command.paused;
        self.schedules.set(name, schedule);
        Ok(Reply::Done {})
    }

    /// Adds the tasks of the ticks that are due, up to the budget.
    pub(crate) fn tick(&mut self, now_ms: u64, budget: &mut usize) {
        while *budget > 0
            && self
                .schedules
                .first_tick()
                .is_some_and(|at_ms| at_ms <= now_ms)
        {
            *budget -= 1;
            let Some((_, name)) = self.schedules.ticks.pop_first() else {
                return;
            };
            let Some(mut schedule) = self.schedules.list.remove(&name) else {
                continue;
            };
            let is_due = match schedule.catch_up {
                CatchUp::All => true,
                CatchUp::Last => {
                    schedule.skip(now_ms, true);
                    true
                }
                CatchUp::Skip => {
                    let at_ms = schedule.next_ms.unwrap_or(now_ms);
                    schedule.skip(now_ms, true);
                    // A tick that fires within a second of its time is not a missed one.
                    schedule.next_ms == Some(at_ms)
                        || now_ms - schedule.next_ms.unwrap_or(now_ms) < MIN_EVERY_MS
                }
            };
            schedule.advance();
            if is_due {
                let has_room = self.tasks.len() < MAX_TASKS
                    && self.check_room_for_queue(&schedule.task.queue).is_ok();
                if has_room {
                    schedule.ticks += 1;
                    self.add(schedule.task.clone(), now_ms);
                } else {
                    schedule.failed += 1;
                }
            }
            self.schedules.set(&name, schedule);
        }
    }
}
