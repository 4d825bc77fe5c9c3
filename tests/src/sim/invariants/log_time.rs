//! The time of the log: no later than the clocks of a majority allow, and never standing still.

use std::collections::BTreeMap;
use std::time::Duration;

use task_queue_raft::entry::Payload;
use task_queue_raft::ids::{Index, Term};
use task_queue_raft::raft::{Core, Role};

use crate::sim::violation::{Violation, ensure};

/// Times are rounded to milliseconds.
const ROUNDING_MS: i64 = 2;

/// The last entry with commands that a leader has appended.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    run: u32,
    term: Term,
    index: Index,
    time_ms: u64,
    /// The leader's monotonic clock at that time.
    at: Duration,
}

/// The clocks at a step of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClocksNow {
    /// Whether the clocks of a majority are right.
    pub(crate) majority_is_right: bool,
    /// Whether the nodes are to have a bound, also if a fault takes it from them.
    pub(crate) are_bounded: bool,
    /// Whether the nodes really have none.
    pub(crate) fault_unbounded: bool,
    /// What a right clock shows.
    pub(crate) right_ms: u64,
    /// The monotonic clock of the node.
    pub(crate) monotonic: Duration,
}

/// What each leader has stamped last, and how far the log may be ahead.
#[derive(Debug)]
pub(crate) struct LogTime {
    stamps: BTreeMap<usize, Stamp>,
    /// How far the time of the log may be ahead of a right clock, in milliseconds.
    allowed_ms: i64,
}

impl Default for LogTime {
    fn default() -> Self {
        Self {
            stamps: BTreeMap::new(),
            // The bound, and what right clocks differ by.
            allowed_ms: 500 + 100,
        }
    }
}

impl LogTime {
    pub(crate) fn check(
        &mut self,
        node: usize,
        run: u32,
        core: &Core,
        clocks: ClocksNow,
    ) -> Result<(), Violation> {
        if core.role() != Role::Leader || !clocks.are_bounded {
            self.stamps.remove(&node);
            return Ok(());
        }
        let Some(stamp) = last_stamp(run, core, clocks.monotonic) else {
            return Ok(());
        };
        let before = self.stamps.insert(node, stamp);
        let before = before.filter(|before| (before.run, before.term) == (run, stamp.term));
        if before.is_some_and(|before| before.index == stamp.index) {
            self.stamps.extend(before.map(|before| (node, before)));
            return Ok(());
        }
        if let Some(before) = before {
            check_speed(node, before, stamp)?;
        }
        if clocks.majority_is_right {
            self.check_bound(node, core, stamp, clocks)?;
        }
        Ok(())
    }

    fn check_bound(
        &mut self,
        node: usize,
        core: &Core,
        stamp: Stamp,
        clocks: ClocksNow,
    ) -> Result<(), Violation> {
        let ahead = difference(stamp.time_ms, clocks.right_ms);
        // At level 0 a leader that no report has reached uses its own clock, as the version before does.
        let knows_none = core.clock_status().offset_ms.is_none() && core.cluster().level == 0;
        if knows_none && !clocks.fault_unbounded {
            self.allowed_ms = self.allowed_ms.max(ahead);
        }
        ensure(
            ahead <= self.allowed_ms + ROUNDING_MS,
            "the time of the log is no later than the clocks of a majority plus the bound",
            || {
                format!(
                    "n{node} stamped entry {} with a time that is {ahead} ms ahead of right clocks",
                    stamp.index
                )
            },
        )
    }
}

fn last_stamp(run: u32, core: &Core, at: Duration) -> Option<Stamp> {
    let last = core.log().last().index;
    let newest = core.log().cached(last, last, u64::MAX)?;
    let entry = newest.last()?;
    let by_it = entry.id.term == core.term() && matches!(entry.payload, Payload::Commands(_));
    by_it.then_some(Stamp {
        run,
        term: core.term(),
        index: last,
        time_ms: entry.time_ms,
        at,
    })
}

fn check_speed(node: usize, before: Stamp, now: Stamp) -> Result<(), Violation> {
    let passed = i64::try_from((now.at.saturating_sub(before.at)).as_millis()).unwrap_or(i64::MAX);
    let advanced = difference(now.time_ms, before.time_ms);
    ensure(
        advanced >= passed - ROUNDING_MS,
        "the time of the log never stands still",
        || {
            format!(
                "n{node} stamped entry {} {passed} ms after entry {}, with a time that is {advanced} ms later",
                now.index, before.index
            )
        },
    )
}

fn difference(one: u64, other: u64) -> i64 {
    i64::try_from(i128::from(one) - i128::from(other)).unwrap_or(i64::MAX)
}
