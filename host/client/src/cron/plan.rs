//! Which ticks are added to a schedule, and when.

use std::time::Duration;

use super::expression::CronExpression;
use crate::queue::{CatchUp, CronStats};

/// Attribute of a schedule's task that has the expression, for example `CRON_TZ=Europe/Berlin 0 9 * * 1-5`.
pub const CRON_ATTRIBUTE: &str = "oarlock-cron";

/// Most ticks that a schedule lists.
pub const MAX_TICKS: usize = 1000;

/// How far ahead ticks are listed: 400 days. At least one tick is listed, however far it is.
pub const HORIZON: Duration = Duration::from_secs(400 * 24 * 60 * 60);

const HORIZON_MS: u64 = HORIZON.as_secs() * 1000;

/// Whether a schedule needs more ticks: half of those that it can list are over.
pub(super) fn needs_ticks(cron: &CronStats, now_ms: u64) -> bool {
    cron.left < MAX_TICKS as u64 / 2 && cron.last_ms < now_ms.saturating_add(HORIZON_MS / 2)
}

/// The ticks to add after the last one. Of ticks that have passed, only the last one is needed, unless each of them adds a task.
pub(super) fn more_ticks(expression: &CronExpression, cron: &CronStats, now_ms: u64) -> Vec<u64> {
    let mut after_ms = cron.last_ms;
    if cron.catch_up != CatchUp::All
        && let Some(passed) = expression.last_tick(now_ms)
        && passed > after_ms
    {
        after_ms = passed - 1;
    }
    listed(expression, after_ms, now_ms, room(cron), cron.left == 0)
}

/// Whether a list needs no more ticks after these were added: half of what it can list is to come, or all up to the horizon.
pub(super) fn is_filled(cron: &CronStats, added: &[u64], now_ms: u64) -> bool {
    let future = added.iter().filter(|&&at_ms| at_ms > now_ms).count();
    future >= MAX_TICKS / 2 || (future > 0 && added.len() < room(cron))
}

/// How many ticks can be added.
fn room(cron: &CronStats) -> usize {
    MAX_TICKS.saturating_sub(usize::try_from(cron.left).unwrap_or(MAX_TICKS))
}

/// The ticks of a new schedule.
pub(super) fn first_ticks(expression: &CronExpression, now_ms: u64) -> Vec<u64> {
    listed(expression, now_ms, now_ms, MAX_TICKS, true)
}

fn listed(
    expression: &CronExpression,
    after_ms: u64,
    now_ms: u64,
    room: usize,
    needs_one: bool,
) -> Vec<u64> {
    let until_ms = now_ms.saturating_add(HORIZON_MS);
    let mut has_future = !needs_one;
    expression
        .ticks_after(after_ms)
        .take(room)
        .take_while(|&at_ms| {
            let is_listed = at_ms <= until_ms || !has_future;
            has_future |= at_ms > now_ms;
            is_listed
        })
        .collect()
}
