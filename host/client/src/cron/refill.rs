//! Schedules with a cron expression: their first ticks, and more.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::expression::{CronExpression, CronExpressionError};
use super::plan::{CRON_ATTRIBUTE, first_ticks, is_filled, more_ticks, needs_ticks};
use crate::queue::{
    CatchUp, CronStats, NewSchedule, NewTask, Queue, QueueError, ScheduleStats, Ticks, name_before,
};

/// Most commands that add ticks to one schedule at a time: enough for two months of an expression that matches each minute.
const MAX_COMMANDS: usize = 100;

/// A schedule with a cron expression.
#[derive(Clone, Debug)]
pub struct NewCron {
    /// Name of the schedule.
    pub name: String,
    /// When it adds a task.
    pub expression: CronExpression,
    /// The task of each tick. It has one attribute more: the expression.
    pub task: NewTask,
    /// What happens with ticks that were missed.
    pub catch_up: CatchUp,
    /// Whether it adds nothing yet.
    pub paused: bool,
}

impl NewCron {
    /// A schedule that adds one task for all ticks that were missed.
    pub fn new(name: impl Into<String>, expression: CronExpression, task: NewTask) -> Self {
        Self {
            name: name.into(),
            expression,
            task,
            catch_up: CatchUp::default(),
            paused: false,
        }
    }
}

/// What was done for the schedules with a cron expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CronRefill {
    /// Number of these schedules.
    pub schedules: u64,
    /// Ticks that were added to their lists.
    pub ticks: u64,
    /// Schedules that have so many missed ticks to add that more ticks are needed soon.
    pub behind: u64,
    /// Schedules whose expression can't be used here: name and reason. Their lists end.
    pub unusable: Vec<(String, CronExpressionError)>,
}

impl Queue {
    /// Adds a schedule with a cron expression, or replaces the schedule of this name, from now on. A [`CronRunner`] adds its
    /// later ticks.
    ///
    /// [`CronRunner`]: super::CronRunner
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn set_cron(&self, cron: &NewCron) -> Result<(), QueueError> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let clock_ms = clock.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0));
        // The time of the log stands still while nothing happens, and this clock may be wrong. The queue drops ticks that have
        // passed.
        let now_ms = self.schedules(None).await?.now_ms.max(clock_ms);
        let mut task = cron.task.clone();
        task.attributes
            .insert(CRON_ATTRIBUTE.to_owned(), cron.expression.to_string());
        let schedule = NewSchedule {
            name: cron.name.clone(),
            task,
            ticks: Ticks::At(first_ticks(&cron.expression, now_ms)),
            future_only: true,
            catch_up: cron.catch_up,
            paused: cron.paused,
        };
        self.set_schedule(&schedule).await
    }

    /// Adds ticks to all schedules with a cron expression that need some. Other clients may do the same at the same time.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn refill_cron(&self) -> Result<CronRefill, QueueError> {
        let mut done = CronRefill::default();
        let mut after: Option<String> = None;
        loop {
            let page = self.schedules(after.as_deref()).await?;
            for (name, schedule) in &page.schedules {
                self.refill_one(name, schedule, page.now_ms, &mut done)
                    .await?;
            }
            match page.next {
                Some(next) if Some(&next) > after.as_ref() => after = Some(next),
                _ => return Ok(done),
            }
        }
    }

    /// Adds ticks to one schedule, if it has a cron expression and needs some. The queue of this handle does not matter.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn refill_cron_of(&self, name: &str) -> Result<CronRefill, QueueError> {
        let mut done = CronRefill::default();
        let page = self.schedules(Some(&name_before(name))).await?;
        if let Some(schedule) = page.schedules.get(name) {
            self.refill_one(name, schedule, page.now_ms, &mut done)
                .await?;
        }
        Ok(done)
    }

    async fn refill_one(
        &self,
        name: &str,
        schedule: &ScheduleStats,
        now_ms: u64,
        done: &mut CronRefill,
    ) -> Result<(), QueueError> {
        let Some(cron) = &schedule.cron else {
            return Ok(());
        };
        done.schedules += 1;
        if schedule.paused || !needs_ticks(cron, now_ms) {
            return Ok(());
        }
        let expression: CronExpression = match cron.expression.parse() {
            Ok(expression) => expression,
            Err(error) => {
                done.unusable.push((name.to_owned(), error));
                return Ok(());
            }
        };
        let mut known = Some((cron.clone(), now_ms));
        if cron.left == 0 {
            // The time of the log stands still while nothing happens. A command moves it on.
            self.add_ticks(name, cron.last_ms, &[]).await?;
            known = None;
        }
        self.add_missing(name, &expression, known, done).await
    }

    /// Adds ticks until the list is filled. `known`: the schedule and the time of the log, if they are known.
    async fn add_missing(
        &self,
        name: &str,
        expression: &CronExpression,
        mut known: Option<(CronStats, u64)>,
        done: &mut CronRefill,
    ) -> Result<(), QueueError> {
        for _ in 0..MAX_COMMANDS {
            if known.is_none() {
                known = self.cron_of(name).await?;
            }
            let Some((cron, now_ms)) = known.take() else {
                return Ok(());
            };
            let ticks = if needs_ticks(&cron, now_ms) {
                more_ticks(expression, &cron, now_ms)
            } else {
                Vec::new()
            };
            if ticks.is_empty() {
                done.behind += u64::from(cron.left > 0 && cron.last_ms <= now_ms);
                return Ok(());
            }
            if self.add_ticks(name, cron.last_ms, &ticks).await? {
                done.ticks += ticks.len() as u64;
                if is_filled(&cron, &ticks, now_ms) {
                    return Ok(());
                }
            }
        }
        done.behind += 1;
        Ok(())
    }

    /// A schedule that runs, if it has a cron expression, and the time of the log.
    async fn cron_of(&self, name: &str) -> Result<Option<(CronStats, u64)>, QueueError> {
        let mut page = self.schedules(Some(&name_before(name))).await?;
        let now_ms = page.now_ms;
        let schedule = page.schedules.remove(name);
        let cron = schedule
            .filter(|schedule| !schedule.paused)
            .and_then(|schedule| schedule.cron);
        Ok(cron.map(|cron| (cron, now_ms)))
    }

    /// Adds ticks after the last one. False: another client was first, or the schedule was removed.
    async fn add_ticks(
        &self,
        name: &str,
        after_ms: u64,
        at_ms: &[u64],
    ) -> Result<bool, QueueError> {
        let arguments = json!({"name": name, "after_ms": after_ms, "at_ms": at_ms});
        match self.done("add_ticks", &arguments).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.code(), Some("conflict" | "no_such_schedule")) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
