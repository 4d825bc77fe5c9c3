//! Deferred commands, which are part of the replicated state.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::records::envelope::MAX_KEY_BYTES;
use crate::records::wire;

/// Tokens of deferred commands, each with the idempotency key of its command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeferredCommands {
    waiting: BTreeMap<u64, Option<String>>,
}

impl DeferredCommands {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The lowest token.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.waiting.keys().next().copied()
    }

    pub(crate) fn contains(&self, token: u64) -> bool {
        self.waiting.contains_key(&token)
    }

    pub(crate) fn wait(&mut self, token: u64, key: Option<String>) {
        self.waiting.insert(token, key);
    }

    /// Removes a token. Returns the key of its command; the outer `None` means that there is no such token.
    pub(crate) fn complete(&mut self, token: u64) -> Option<Option<String>> {
        self.waiting.remove(&token)
    }

    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        wire::put_u64(to, self.waiting.len() as u64)?;
        for (token, key) in &self.waiting {
            wire::put_u64(to, *token)?;
            // A key is never empty, so an empty one encodes `None`.
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
                return Err(wire::invalid("a token is in the table twice"));
            }
            deferred.wait(token, (!key.is_empty()).then_some(key));
        }
        Ok(deferred)
    }
}

#[cfg(test)]
mod tests;
