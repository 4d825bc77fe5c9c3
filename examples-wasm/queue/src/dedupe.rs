//! Deduplication keys: of tasks that exist, for a time of tasks that were acknowledged, and for a time from an enqueue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_SPENT_KEYS;

/// Most expired keys that are dropped when a key gets an end. More than one, so that expired keys do not accumulate.
const MAX_DROPPED: usize = 4;

/// The keys of all queues.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Dedupe {
    /// By index of the queue, and key.
    known: BTreeMap<(u32, Box<str>), KeyedTask>,
    /// Keys that have an end, by (its time, id of the task): first to end first.
    ending: BTreeMap<(u64, u64), (u32, Box<str>)>,
}

/// The task of a key.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct KeyedTask {
    id: u64,
    /// When the key ends, in milliseconds. Nothing while the task exists.
    until_ms: Option<u64>,
}

impl Dedupe {
    /// The task of a key, unless the key has ended.
    pub(crate) fn find(&self, queue: u32, key: &str, now_ms: u64) -> Option<u64> {
        let known = self.known.get(&(queue, key.into()))?;
        let has_ended = known.until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        (!has_ended).then_some(known.id)
    }

    /// Records a new task with a key. With an end, the key ends then; without, it holds until [`end`](Self::end).
    pub(crate) fn add(
        &mut self,
        queue: u32,
        key: &str,
        id: u64,
        until_ms: Option<u64>,
        now_ms: u64,
    ) {
        self.set(queue, key.into(), KeyedTask { id, until_ms }, now_ms);
    }

    /// Gives the key of a task an end, if the task still has it. A key that has ended stays so, whether it was dropped or not.
    pub(crate) fn end(&mut self, queue: u32, key: Box<str>, id: u64, until_ms: u64, now_ms: u64) {
        let place = (queue, key);
        let holds = |known: &KeyedTask| {
            known.id == id && known.until_ms.is_none_or(|until_ms| until_ms > now_ms)
        };
        if self.known.get(&place).is_some_and(holds) {
            self.set(
                queue,
                place.1,
                KeyedTask {
                    id,
                    until_ms: Some(until_ms),
                },
                now_ms,
            );
        }
    }

    /// Drops the key of a task that was removed, if the task still has it.
    pub(crate) fn remove(&mut self, queue: u32, key: Box<str>, id: u64) {
        let place = (queue, key);
        if self.known.get(&place).is_some_and(|known| known.id == id)
            && let Some(KeyedTask {
                until_ms: Some(until_ms),
                ..
            }) = self.known.remove(&place)
        {
            self.ending.remove(&(until_ms, id));
        }
    }

    /// Drops keys of a queue that is deleted, up to the budget. Returns whether keys are left.
    pub(crate) fn remove_queue(&mut self, queue: u32, budget: &mut usize) -> bool {
        while let Some((place, known)) = self.known.range((queue, Box::default())..).next()
            && place.0 == queue
        {
            if *budget == 0 {
                return true;
            }
            *budget -= 1;
            let (place, known) = (place.clone(), *known);
            self.known.remove(&place);
            if let Some(until_ms) = known.until_ms {
                self.ending.remove(&(until_ms, known.id));
            }
        }
        false
    }

    fn set(&mut self, queue: u32, key: Box<str>, task: KeyedTask, now_ms: u64) {
        let before = self.known.insert((queue, key.clone()), task);
        if let Some(KeyedTask {
            id,
            until_ms: Some(until_ms),
        }) = before
        {
            self.ending.remove(&(until_ms, id));
        }
        let Some(until_ms) = task.until_ms else {
            return;
        };
        self.ending.insert((until_ms, task.id), (queue, key));
        for _ in 0..MAX_DROPPED {
            let Some((&(until_ms, _), _)) = self.ending.first_key_value() else {
                break;
            };
            if self.ending.len() <= MAX_SPENT_KEYS && until_ms > now_ms {
                break;
            }
            if let Some((_, key)) = self.ending.pop_first() {
                self.known.remove(&key);
            }
        }
    }

    /// A key whose task was acknowledged under version 1 of the state.
    pub(crate) fn migrate(&mut self, queue: u32, key: String, id: u64, until_ms: Option<u64>) {
        let key: Box<str> = key.into();
        self.known
            .insert((queue, key.clone()), KeyedTask { id, until_ms });
        if let Some(until_ms) = until_ms {
            self.ending.insert((until_ms, id), (queue, key));
        }
    }

    /// Number of keys that have an end.
    #[cfg(test)]
    pub(crate) fn ending_count(&self) -> usize {
        self.ending.len()
    }
}
