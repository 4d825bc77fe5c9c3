//! Named timers, by id and by time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::refusal::Refusal;

/// Most timers of one guest.
pub(super) const MAX_TIMERS: usize = 1_000_000;
/// Longest id, in bytes.
pub(super) const MAX_ID_BYTES: usize = 256;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timers {
    by_id: BTreeMap<Arc<str>, u64>,
    by_time: BTreeSet<(u64, Arc<str>)>,
}

impl Timers {
    pub(super) fn get(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    pub(super) fn first_ms(&self) -> Option<u64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.by_id.iter().map(|(id, at_ms)| (&**id, *at_ms))
    }

    /// Sets a timer. Returns its id, and the time that it had before.
    pub(super) fn set(&mut self, id: &str, at_ms: u64) -> Result<(Arc<str>, Option<u64>), Refusal> {
        if let Some((id, before)) = self.remove(id) {
            self.insert(Arc::clone(&id), at_ms);
            return Ok((id, Some(before)));
        }
        if id.len() > MAX_ID_BYTES {
            let length = id.len();
            let text =
                format!("a timer's id has {length} bytes; at most {MAX_ID_BYTES} are possible");
            return Err(Refusal::new("timer_id_too_long", text));
        }
        if self.by_id.len() >= MAX_TIMERS {
            let text = format!(
                "{MAX_TIMERS} timers are set, which is the limit; try again when some have fired"
            );
            return Err(Refusal::new("too_many_timers", text));
        }
        let id = Arc::<str>::from(id);
        self.insert(Arc::clone(&id), at_ms);
        Ok((id, None))
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<(Arc<str>, u64)> {
        let (id, at_ms) = self.by_id.remove_entry(id)?;
        self.by_time.remove(&(at_ms, Arc::clone(&id)));
        Some((id, at_ms))
    }

    /// The timers whose times have passed, by time and id.
    pub(super) fn due(&self, now_ms: u64) -> impl Iterator<Item = (u64, Arc<str>)> {
        let by_time = self.by_time.iter();
        by_time
            .take_while(move |(at_ms, _)| *at_ms <= now_ms)
            .cloned()
    }

    /// Sets a timer back to the time that it had, or removes it.
    pub(super) fn reset(&mut self, id: Arc<str>, before: Option<u64>) {
        self.remove(&id);
        if let Some(at_ms) = before {
            self.insert(id, at_ms);
        }
    }

    /// Inserts a timer that is not set.
    pub(super) fn insert(&mut self, id: Arc<str>, at_ms: u64) {
        self.by_time.insert((at_ms, Arc::clone(&id)));
        self.by_id.insert(id, at_ms);
    }
}
