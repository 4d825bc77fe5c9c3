//! Idempotency keys and the answers that they were given: part of the replicated state.
//!
//! A key is spent by an outcome of the guest: accepted, rejected or deferred. A command at which the guest *failed*
//! changed nothing, so its key is not spent: the client may send it again, and it is carried out once the guest is
//! repaired. Neither is a key spent by a command that was refused because its key was.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::envelope::MAX_KEY_BYTES;
use crate::limits::MachineLimits;
use crate::module::Sha256;
use crate::wire;

/// What a key costs beside its own bytes and its reply's, in bytes: its place in the tables, about.
const ENTRY_BYTES: u64 = 160;

/// An answer that can be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoredReply {
    Accepted(Bytes),
    Rejected(Bytes),
    Deferred(u64),
}

impl StoredReply {
    fn bytes(&self) -> u64 {
        match self {
            Self::Accepted(bytes) | Self::Rejected(bytes) => bytes.len() as u64,
            Self::Deferred(_) => 0,
        }
    }

    /// Without a share in the buffer of a whole batch, which would be kept alive as long as the key.
    fn alone(self) -> Self {
        match self {
            Self::Accepted(bytes) => Self::Accepted(Bytes::copy_from_slice(&bytes)),
            Self::Rejected(bytes) => Self::Rejected(Bytes::copy_from_slice(&bytes)),
            Self::Deferred(token) => Self::Deferred(token),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyRecord {
    body: Sha256,
    answer: StoredReply,
    time_ms: u64,
}

/// What the table knows of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyLookup<'a> {
    /// Not spent, or forgotten.
    New,
    /// KeyRecord on the same body.
    Same(&'a StoredReply),
    /// KeyRecord on another body.
    Other,
}

/// The keys, bounded by count, bytes and replicated time. The oldest are forgotten first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyTable {
    /// Never iterated, for its order differs by node.
    spent: HashMap<String, KeyRecord>,
    /// Oldest first. Time never runs backwards, so it is in order of time, too.
    order: VecDeque<String>,
    bytes: u64,
}

impl KeyTable {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn look_up(&self, key: &str, body: Sha256) -> KeyLookup<'_> {
        match self.spent.get(key) {
            None => KeyLookup::New,
            Some(spent) if spent.body == body => KeyLookup::Same(&spent.answer),
            Some(_) => KeyLookup::Other,
        }
    }

    /// Remembers the answer to a key that is [`KeyLookup::New`].
    pub(crate) fn spend(
        &mut self,
        key: String,
        body: Sha256,
        answer: StoredReply,
        time_ms: u64,
        limits: &MachineLimits,
    ) {
        let answer = answer.alone();
        self.insert(key, body, answer, time_ms);
        self.shrink(limits);
    }

    /// Replaces the answer of a command that was deferred under this token, if its key is still known. A key that was
    /// forgotten meanwhile and spent on another command keeps the answer of that one.
    pub(crate) fn complete(
        &mut self,
        key: &str,
        token: u64,
        answer: StoredReply,
        limits: &MachineLimits,
    ) {
        if let Some(spent) = self.spent.get_mut(key)
            && spent.answer == StoredReply::Deferred(token)
        {
            let answer = answer.alone();
            self.bytes = self.bytes - spent.answer.bytes() + answer.bytes();
            spent.answer = answer;
            self.shrink(limits);
        }
    }

    /// Forgets what is older than the limit at this time.
    pub(crate) fn forget_old(&mut self, now_ms: u64, limits: &MachineLimits) {
        let since = now_ms.saturating_sub(limits.key_ttl_ms);
        while self.oldest_time_ms().is_some_and(|time_ms| time_ms < since) {
            self.forget_oldest();
        }
    }

    fn oldest_time_ms(&self) -> Option<u64> {
        let key = self.order.front()?;
        self.spent.get(key).map(|spent| spent.time_ms)
    }

    fn shrink(&mut self, limits: &MachineLimits) {
        while self.order.len() as u64 > limits.keys || self.bytes > limits.key_bytes {
            self.forget_oldest();
        }
    }

    fn insert(&mut self, key: String, body: Sha256, answer: StoredReply, time_ms: u64) {
        self.bytes += cost(&key, &answer);
        let spent = KeyRecord {
            body,
            answer,
            time_ms,
        };
        self.order.push_back(key.clone());
        self.spent.insert(key, spent);
    }

    fn forget_oldest(&mut self) {
        if let Some(key) = self.order.pop_front()
            && let Some(spent) = self.spent.remove(&key)
        {
            self.bytes -= cost(&key, &spent.answer);
        }
    }

    /// Writes the keys, oldest first.
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        wire::put_u64(to, self.order.len() as u64)?;
        for key in &self.order {
            // Each key in the order is in the map: both change together.
            let Some(spent) = self.spent.get(key) else {
                return Err(wire::invalid("the key table contradicts itself"));
            };
            wire::put_bytes(to, key.as_bytes())?;
            to.write_all(&spent.body.0)?;
            wire::put_u64(to, spent.time_ms)?;
            write_answer(to, &spent.answer)?;
        }
        Ok(())
    }

    /// Reads what [`Self::write`] wrote, and forgets what is over today's limits.
    pub(crate) fn read(from: &mut dyn Read, limits: &MachineLimits) -> io::Result<Self> {
        let mut table = Self::default();
        for _ in 0..wire::take_u64(from)? {
            let key = wire::take_text(from, MAX_KEY_BYTES as u64)?;
            let body = Sha256(wire::take(from)?);
            let time_ms = wire::take_u64(from)?;
            let answer = read_answer(from)?;
            if table.spent.contains_key(&key) {
                return Err(wire::invalid("a key is in the table twice"));
            }
            table.insert(key, body, answer, time_ms);
            table.shrink(limits);
        }
        Ok(table)
    }
}

fn cost(key: &str, answer: &StoredReply) -> u64 {
    ENTRY_BYTES + 2 * key.len() as u64 + answer.bytes()
}

fn write_answer(to: &mut dyn Write, answer: &StoredReply) -> io::Result<()> {
    match answer {
        StoredReply::Accepted(bytes) => {
            wire::put_u8(to, 0)?;
            wire::put_bytes(to, bytes)
        }
        StoredReply::Rejected(bytes) => {
            wire::put_u8(to, 1)?;
            wire::put_bytes(to, bytes)
        }
        StoredReply::Deferred(token) => {
            wire::put_u8(to, 2)?;
            wire::put_u64(to, *token)
        }
    }
}

fn read_answer(from: &mut dyn Read) -> io::Result<StoredReply> {
    let most = u64::from(u32::MAX);
    match wire::take_u8(from)? {
        0 => Ok(StoredReply::Accepted(wire::take_bytes(from, most)?.into())),
        1 => Ok(StoredReply::Rejected(wire::take_bytes(from, most)?.into())),
        2 => Ok(StoredReply::Deferred(wire::take_u64(from)?)),
        tag => Err(wire::invalid(format!(
            "an answer has the unknown tag {tag}"
        ))),
    }
}

#[cfg(test)]
mod tests;
