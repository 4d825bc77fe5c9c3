//! Results of tasks that are done, and commands that wait for the end of a task.

use std::collections::{BTreeMap, BTreeSet};

use oarlock_guest::{JsonText, Token};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_RESULTS_BYTES;

/// Results, and those who wait for one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    list: BTreeMap<u64, Kept>,
    /// (end, id): the first to end first.
    ending: BTreeSet<(u64, u64)>,
    bytes: u64,
    /// Commands that wait, by the id of their task.
    watchers: BTreeMap<u64, BTreeSet<Token>>,
    /// The task of each.
    watched: BTreeMap<Token, u64>,
}

/// A result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) queue: Box<str>,
    pub(crate) attempt: u32,
    pub(crate) result: JsonText,
    until_ms: u64,
}

impl Results {
    pub(crate) fn get(&self, id: u64) -> Option<&Kept> {
        self.list.get(&id)
    }

    /// Keeps a result. Drops the oldest ones if there are too many.
    pub(crate) fn keep(
        &mut self,
        id: u64,
        queue: Box<str>,
        attempt: u32,
        result: JsonText,
        until_ms: u64,
    ) {
        self.bytes += result.as_str().len() as u64;
        self.ending.insert((until_ms, id));
        self.list.insert(
            id,
            Kept {
                queue,
                attempt,
                result,
                until_ms,
            },
        );
        while self.bytes > MAX_RESULTS_BYTES && self.drop_first() {}
    }

    fn drop_first(&mut self) -> bool {
        let Some((_, id)) = self.ending.pop_first() else {
            return false;
        };
        if let Some(dropped) = self.list.remove(&id) {
            self.bytes -= dropped.result.as_str().len() as u64;
        }
        true
    }

    pub(crate) fn first_expiry(&self) -> Option<u64> {
        self.ending.first().map(|&(until_ms, _)| until_ms)
    }

    /// Drops the results whose time is over, up to the budget.
    pub(crate) fn sweep(&mut self, now_ms: u64, budget: &mut usize) {
        while *budget > 0
            && self
                .first_expiry()
                .is_some_and(|until_ms| until_ms <= now_ms)
        {
            *budget -= 1;
            self.drop_first();
        }
    }

    /// Number of commands that wait for this task.
    pub(crate) fn watchers_of(&self, id: u64) -> usize {
        self.watchers.get(&id).map_or(0, BTreeSet::len)
    }

    /// Number of commands that wait.
    pub(crate) fn watchers(&self) -> usize {
        self.watched.len()
    }

    pub(crate) fn watch(&mut self, id: u64, token: Token) {
        self.watchers.entry(id).or_default().insert(token);
        self.watched.insert(token, id);
    }

    /// The commands that wait for a task. They are forgotten.
    pub(crate) fn take_watchers(&mut self, id: u64) -> BTreeSet<Token> {
        if self.watched.is_empty() {
            return BTreeSet::new();
        }
        let tokens = self.watchers.remove(&id).unwrap_or_default();
        for token in &tokens {
            self.watched.remove(token);
        }
        tokens
    }

    /// Forgets a command that waits. Returns its task.
    pub(crate) fn unwatch(&mut self, token: Token) -> Option<u64> {
        let id = self.watched.remove(&token)?;
        if let Some(tokens) = self.watchers.get_mut(&id) {
            tokens.remove(&token);
            if tokens.is_empty() {
                self.watchers.remove(&id);
            }
        }
        Some(id)
    }
}
