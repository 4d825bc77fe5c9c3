//! Deduplication keys: of tasks that are there, and for a while of tasks that were acknowledged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::{DEDUPE_WINDOW_MS, MAX_SPENT_KEYS};

/// Spent keys that are too old and go whenever another is spent: more than come, so that they all go in time.
const FORGOTTEN_AT_ONCE: usize = 4;

/// The keys of all queues.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Dedupe {
    /// By number of the queue and key.
    known: BTreeMap<(u32, String), Known>,
    /// Keys of acknowledged tasks, by (time of the acknowledgement, id): oldest first.
    spent: BTreeMap<(u64, u64), (u32, String)>,
}

/// What a key stands for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Known {
    id: u64,
    spent_ms: Option<u64>,
}

impl Known {
    fn is_too_old(self, now_ms: u64) -> bool {
        self.spent_ms
            .is_some_and(|spent_ms| is_over(spent_ms, now_ms))
    }
}

fn is_over(spent_ms: u64, now_ms: u64) -> bool {
    spent_ms.saturating_add(DEDUPE_WINDOW_MS) <= now_ms
}

impl Dedupe {
    /// The first task under a key, unless its window is over.
    pub(crate) fn find(&self, lane: u32, key: &str, now_ms: u64) -> Option<u64> {
        let known = self.known.get(&(lane, key.to_owned()))?;
        (!known.is_too_old(now_ms)).then_some(known.id)
    }

    /// A task was added under a key that [`find`](Self::find) did not know.
    pub(crate) fn add(&mut self, lane: u32, key: &str, id: u64) {
        let before = self
            .known
            .insert((lane, key.to_owned()), Known { id, spent_ms: None });
        if let Some(Known {
            id,
            spent_ms: Some(spent_ms),
        }) = before
        {
            self.spent.remove(&(spent_ms, id));
        }
    }

    /// The task under a key was acknowledged: its window begins.
    pub(crate) fn spend(&mut self, lane: u32, key: String, id: u64, now_ms: u64) {
        self.known.insert(
            (lane, key.clone()),
            Known {
                id,
                spent_ms: Some(now_ms),
            },
        );
        self.spent.insert((now_ms, id), (lane, key));
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some((&(spent_ms, _), _)) = self.spent.first_key_value() else {
                break;
            };
            if self.spent.len() <= MAX_SPENT_KEYS && !is_over(spent_ms, now_ms) {
                break;
            }
            if let Some((_, key)) = self.spent.pop_first() {
                self.known.remove(&key);
            }
        }
    }

    /// How many keys are kept for acknowledged tasks.
    #[cfg(test)]
    pub(crate) fn spent_count(&self) -> usize {
        self.spent.len()
    }
}
