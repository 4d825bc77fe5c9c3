//! Reserves that wait for a task.

use std::collections::{BTreeMap, BTreeSet};

use oarlock_guest::Token;
use serde::{Deserialize, Serialize};

/// Reserves that wait, in the order of their arrival: a later command has a larger token.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Waiters {
    list: BTreeMap<Token, Waiter>,
    by_queue: BTreeMap<Box<str>, BTreeSet<Token>>,
}

/// A reserve that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiter {
    /// Names, not numbers: a queue may be created later.
    pub(crate) queues: Vec<Box<str>>,
    /// Number of the worker.
    pub(crate) worker: u32,
    pub(crate) lease_ms: u64,
    pub(crate) max: u32,
}

impl Waiters {
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// Whether a reserve waits for a task of this queue.
    pub(crate) fn has(&self, queue: &str) -> bool {
        !self.list.is_empty() && self.by_queue.contains_key(queue)
    }

    /// Number of reserves that wait for a task of this queue.
    pub(crate) fn count_of(&self, queue: &str) -> u64 {
        self.by_queue
            .get(queue)
            .map_or(0, |tokens| tokens.len() as u64)
    }

    /// The reserves of a worker that wait.
    pub(crate) fn of_worker(&self, worker: u32) -> Vec<Token> {
        let list = self.list.iter();
        list.filter(|(_, waiter)| waiter.worker == worker)
            .map(|(&token, _)| token)
            .collect()
    }

    /// The queues for which the reserves of a worker wait.
    pub(crate) fn queues_of_worker(&self, worker: u32) -> BTreeSet<&str> {
        let list = self.list.values();
        list.filter(|waiter| waiter.worker == worker)
            .flat_map(|waiter| waiter.queues.iter().map(AsRef::as_ref))
            .collect()
    }

    pub(crate) fn add(&mut self, token: Token, waiter: Waiter) {
        for queue in &waiter.queues {
            self.by_queue
                .entry(queue.clone())
                .or_default()
                .insert(token);
        }
        self.list.insert(token, waiter);
    }

    /// The first reserve that waits for a task of this queue.
    pub(crate) fn first(&self, queue: &str) -> Option<(Token, &Waiter)> {
        let &token = self.by_queue.get(queue)?.first()?;
        Some((token, &self.list[&token]))
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<Waiter> {
        let waiter = self.list.remove(&token)?;
        for queue in &waiter.queues {
            if let Some(tokens) = self.by_queue.get_mut(queue) {
                tokens.remove(&token);
                if tokens.is_empty() {
                    self.by_queue.remove(queue);
                }
            }
        }
        Some(waiter)
    }
}
