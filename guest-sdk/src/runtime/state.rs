//! Timers, deferred commands and the wake time of one guest, and what falls due next.

use std::sync::Arc;

use super::deferrals::{Deferral, Deferrals};
use super::timers::Timers;
use super::undo::{Undo, UndoLog};
use super::wake_time::WakeTime;
use crate::refusal::Refusal;
use crate::token::Token;

/// Most timers and deadlines that one wake-up fires. The others follow in the next one, immediately after.
pub(super) const FIRINGS_PER_WAKE: usize = 256;

/// What the wake time of the host must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WakeSlot {
    Clear,
    At(u64),
    /// What the host has is right, and not known here.
    Kept,
}

/// Something that falls due. If times are equal, they fire in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Wake,
    Timer(Arc<str>),
    Deadline(Token),
}

/// Timers, deferred commands and the wake time of one guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuntimeState {
    pub(super) wake: WakeTime,
    pub(super) timers: Timers,
    pub(super) deferrals: Deferrals,
    /// Batches since a wake-up became due that did not take place, up to 255. A wake-up that fails is undone and not
    /// repeated by the host, so the next one fires fewer timers: see [`Self::firings`].
    pub(super) overdue_batches: u8,
}

impl RuntimeState {
    /// The state of a guest whose snapshot is from an SDK without this section.
    pub(crate) fn of_earlier_sdk() -> Self {
        Self {
            wake: WakeTime::Unknown,
            ..Self::default()
        }
    }

    /// What the wake time of the host must be now.
    pub(crate) fn slot(&self) -> WakeSlot {
        let first = earlier(self.timers.first_ms(), self.deferrals.first_ms());
        match (self.wake, first) {
            (WakeTime::None, None) => WakeSlot::Clear,
            (WakeTime::Unknown, None) => WakeSlot::Kept,
            // The host's own time would be lost, so `on_wake` is called too early and not too late.
            (WakeTime::Unknown, Some(_)) => WakeSlot::At(1),
            (WakeTime::None, Some(first)) => WakeSlot::At(first.max(1)),
            (WakeTime::At(wake), first) => {
                WakeSlot::At(first.map_or(wake, |first| wake.min(first)).max(1))
            }
        }
    }

    pub(crate) fn set_wake(&mut self, time_ms: u64, undo: &mut UndoLog) {
        undo.push(Undo::Wake(self.wake));
        self.wake = if time_ms == 0 {
            WakeTime::None
        } else {
            WakeTime::At(time_ms)
        };
    }

    pub(crate) fn timer_ms(&self, id: &str) -> Option<u64> {
        self.timers.get(id)
    }

    pub(crate) fn set_timer(
        &mut self,
        id: &str,
        at_ms: u64,
        undo: &mut UndoLog,
    ) -> Result<(), Refusal> {
        let (id, before) = self.timers.set(id, at_ms)?;
        undo.push(Undo::Timer { id, before });
        Ok(())
    }

    pub(crate) fn cancel_timer(&mut self, id: &str, undo: &mut UndoLog) -> bool {
        let Some((id, at_ms)) = self.timers.remove(id) else {
            return false;
        };
        undo.push(Undo::Timer {
            id,
            before: Some(at_ms),
        });
        true
    }

    /// A new token for a command of the entry at `index`.
    pub(crate) fn new_token(&mut self, index: u64, undo: &mut UndoLog) -> Result<Token, Refusal> {
        let before = self.deferrals.last_token();
        let token = self.deferrals.new_token(index)?;
        undo.push(Undo::LastToken(before));
        Ok(token)
    }

    /// Whether the command has no reply yet.
    pub(crate) fn is_waiting(&self, token: Token) -> bool {
        self.deferrals.contains(token)
    }

    /// The tokens of the commands without a reply.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn waiting(&self) -> Vec<Token> {
        self.deferrals.tokens()
    }

    /// Keeps the reply of a deferred command until its deadline.
    pub(crate) fn keep_reply(&mut self, token: Token, deadline_ms: u64, reply: Vec<u8>) {
        self.deferrals
            .insert(token, Deferral { deadline_ms, reply });
    }

    /// Removes a deferred command, because it gets another reply than the kept one.
    pub(crate) fn complete(&mut self, token: Token, undo: &mut UndoLog) -> bool {
        let Some(before) = self.deferrals.remove(token) else {
            return false;
        };
        undo.push(Undo::Deferral { token, before });
        true
    }

    /// Removes a deferred command at its deadline. Returns the kept reply.
    pub(crate) fn take_reply(&mut self, token: Token) -> Option<Vec<u8>> {
        self.deferrals.remove(token).map(|deferral| deferral.reply)
    }

    /// What is due, in the order in which it fires: by time, then `on_wake` before timers before deadlines, then by id and
    /// token. At most as much as one wake-up fires.
    pub(crate) fn due(&self, now_ms: u64) -> Vec<(u64, Due)> {
        let wake_ms = match self.wake {
            WakeTime::None => None,
            WakeTime::At(time_ms) => Some(time_ms),
            WakeTime::Unknown => Some(0),
        };
        let limit = self.firings();
        let wake = wake_ms
            .filter(|wake| *wake <= now_ms)
            .map(|wake| (wake, Due::Wake));
        let timers = self.timers.due(now_ms).take(limit);
        let deadlines = self.deferrals.due(now_ms).take(limit);
        let mut due: Vec<_> = wake
            .into_iter()
            .chain(timers.map(|(at_ms, id)| (at_ms, Due::Timer(id))))
            .chain(deadlines.map(|(at_ms, token)| (at_ms, Due::Deadline(token))))
            .collect();
        due.sort();
        due.truncate(limit);
        due
    }

    /// Begins to fire what was due at this time. Returns whether it still is: what fired before it may have changed it. A
    /// timer is removed. A command at its deadline is left, so that it can be completed.
    pub(crate) fn begin(&mut self, at_ms: u64, due: &Due) -> bool {
        match due {
            Due::Wake => {
                let is_due = matches!(self.wake, WakeTime::At(time_ms) if time_ms == at_ms)
                    || self.wake == WakeTime::Unknown;
                if is_due {
                    self.clear_wake();
                }
                is_due
            }
            Due::Timer(id) => {
                let is_due = self.timers.get(id) == Some(at_ms);
                if is_due {
                    self.timers.remove(id);
                }
                is_due
            }
            Due::Deadline(token) => self.deferrals.contains(*token),
        }
    }

    /// `on_wake` is about to be called.
    pub(crate) fn clear_wake(&mut self) {
        self.wake = WakeTime::None;
    }

    /// How many timers and deadlines the wake-up that begins may fire. Half as many for each batch that was applied since
    /// it was due, except for the first three: a wake-up that runs out of fuel or effects is tried again with fewer.
    fn firings(&self) -> usize {
        FIRINGS_PER_WAKE >> self.overdue_batches.saturating_sub(3).min(8)
    }

    /// A wake-up has taken place.
    pub(crate) fn end_wake(&mut self) {
        self.overdue_batches = 0;
    }

    /// A batch was applied although a wake-up was due before it.
    pub(crate) fn note_overdue(&mut self) {
        self.overdue_batches = self.overdue_batches.saturating_add(1);
    }

    /// Undoes the changes of a refused command, the last one first.
    pub(crate) fn undo(&mut self, log: UndoLog) {
        for undo in log.into_iter().rev() {
            match undo {
                Undo::Wake(before) => self.wake = before,
                Undo::Timer { id, before } => self.timers.reset(id, before),
                Undo::LastToken(before) => self.deferrals.set_last_token(before),
                Undo::Deferral { token, before } => self.deferrals.insert(token, before),
            }
        }
    }
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
