//! Commands whose answer comes later: part of the replicated state.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::envelope::MAX_KEY_BYTES;
use crate::wire;

/// Tokens that wait for their completion, each with the idempotency key of its command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deferred {
    waiting: BTreeMap<u64, Option<String>>,
}

impl Deferred {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn contains(&self, token: u64) -> bool {
        self.waiting.contains_key(&token)
    }

    pub(crate) fn wait(&mut self, token: u64, key: Option<String>) {
        self.waiting.insert(token, key);
    }

    /// Ends the wait of a token. `None` if nobody waits; else the key of its command.
    pub(crate) fn complete(&mut self, token: u64) -> Option<Option<String>> {
        self.waiting.remove(&token)
    }

    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        wire::put_u64(to, self.waiting.len() as u64)?;
        for (token, key) in &self.waiting {
            wire::put_u64(to, *token)?;
            // No key is empty, so an empty one stands for none.
            wire::put_bytes(to, key.as_deref().unwrap_or_default().as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn read(from: &mut dyn Read) -> io::Result<Self> {
        let mut deferred = Self::default();
        for _ in 0..wire::take_u64(from)? {
            let token = wire::take_u64(from)?;
            let key = wire::take_text(from, MAX_KEY_BYTES as u64)?;
            if deferred.contains(token) {
                return Err(wire::invalid("a token waits twice"));
            }
            deferred.wait(token, (!key.is_empty()).then_some(key));
        }
        Ok(deferred)
    }
}

#[cfg(test)]
mod tests;
