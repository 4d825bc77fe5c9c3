//! Deduplication keys of tasks that exist, and for a time of tasks that were acknowledged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::{DEDUPE_WINDOW_MS, MAX_SPENT_KEYS};

/// Most expired keys that are dropped when a key is spent. More than one, so that expired keys do not accumulate.
const MAX_DROPPED: usize = 4;

/// The keys of all queues.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Dedupe {
    /// By index of the queue, and key.
    known: BTreeMap<(u32, String), KeyedTask>,
    /// Keys of acknowledged tasks, by (time of the acknowledgement, id): oldest first.
    spent: BTreeMap<(u64, u64), (u32, String)>,
}

/// The task of a key.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct KeyedTask {
    id: u64,
    spent_ms: Option<u64>,
}

impl KeyedTask {
    fn is_expired(self, now_ms: u64) -> bool {
        self.spent_ms
            .is_some_and(|spent_ms| is_over(spent_ms, now_ms))
    }
}

fn is_over(spent_ms: u64, now_ms: u64) -> bool {
    spent_ms.saturating_add(DEDUPE_WINDOW_MS) <= now_ms
}

impl Dedupe {
    /// The first task with a key, unless the window of the key is over.
    pub(crate) fn find(&self, lane: u32, key: &str, now_ms: u64) -> Option<u64> {
        let known = self.known.get(&(lane, key.to_owned()))?;
        (!known.is_expired(now_ms)).then_some(known.id)
    }

    /// Records a new task with a key that [`find`](Self::find) did not return.
    pub(crate) fn add(&mut self, lane: u32, key: &str, id: u64) {
        let before = self
            .known
            .insert((lane, key.to_owned()), KeyedTask { id, spent_ms: None });
        if let Some(KeyedTask {
            id,
            spent_ms: Some(spent_ms),
        }) = before
        {
            self.spent.remove(&(spent_ms, id));
        }
    }

    /// Records that the task of a key was acknowledged: the window of the key begins.
    pub(crate) fn spend(&mut self, lane: u32, key: String, id: u64, now_ms: u64) {
        self.known.insert(
            (lane, key.clone()),
            KeyedTask {
                id,
                spent_ms: Some(now_ms),
            },
        );
        self.spent.insert((now_ms, id), (lane, key));
        for _ in 0..MAX_DROPPED {
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

    /// Number of keys that are kept for acknowledged tasks.
    #[cfg(test)]
    pub(crate) fn spent_count(&self) -> usize {
        self.spent.len()
    }
}
