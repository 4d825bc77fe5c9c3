//! Idempotency keys and the replies stored for them: part of the replicated state.
//!
//! A key is stored with an outcome of the guest: accepted, rejected or deferred. If the guest *failed*, nothing changed and
//! the key is not stored. The client may send the command again, and it is executed once the guest is repaired. A
//! command that is refused because of its key does not store it either.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::guest::limits::MachineLimits;
use crate::records::digest::Sha256;
use crate::records::envelope::MAX_KEY_BYTES;
use crate::records::wire;

/// Approximate overhead of a key besides its own bytes and those of its reply, in bytes.
const ENTRY_BYTES: u64 = 160;

/// A reply that is sent again for the same key.
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

    /// Copies the bytes, so that the reply does not keep the buffer of its whole batch allocated.
    fn detached(self) -> Self {
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
    reply: StoredReply,
    time_ms: u64,
}

/// The result of looking up a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyLookup<'a> {
    /// The key is new, or was dropped.
    New,
    /// The key was used with the same body; this is the reply.
    Same(&'a StoredReply),
    /// The key was used with another body.
    Other,
}

/// The keys, limited by count, bytes and replicated time. The oldest are dropped first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyTable {
    /// Never iterated, because its order differs between nodes.
    records: HashMap<String, KeyRecord>,
    /// Oldest first. Replicated time never decreases, so this is also the order of time.
    order: VecDeque<String>,
    bytes: u64,
}

impl KeyTable {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn look_up(&self, key: &str, body: Sha256) -> KeyLookup<'_> {
        match self.records.get(key) {
            None => KeyLookup::New,
            Some(record) if record.body == body => KeyLookup::Same(&record.reply),
            Some(_) => KeyLookup::Other,
        }
    }

    /// Stores the reply for a key that is [`KeyLookup::New`].
    pub(crate) fn store(
        &mut self,
        key: String,
        body: Sha256,
        reply: StoredReply,
        time_ms: u64,
        limits: &MachineLimits,
    ) {
        let reply = reply.detached();
        self.insert(key, body, reply, time_ms);
        self.shrink(limits);
    }

    /// Replaces the reply of a command that was deferred under this token, if its key is still stored for that command.
    pub(crate) fn complete(
        &mut self,
        key: &str,
        token: u64,
        reply: StoredReply,
        limits: &MachineLimits,
    ) {
        if let Some(record) = self.records.get_mut(key)
            && record.reply == StoredReply::Deferred(token)
        {
            let reply = reply.detached();
            self.bytes = self.bytes - record.reply.bytes() + reply.bytes();
            record.reply = reply;
            self.shrink(limits);
        }
    }

    /// Drops keys that have expired at this time.
    pub(crate) fn drop_expired(&mut self, now_ms: u64, limits: &MachineLimits) {
        let since = now_ms.saturating_sub(limits.key_ttl_ms);
        while self.oldest_time_ms().is_some_and(|time_ms| time_ms < since) {
            self.drop_oldest();
        }
    }

    /// Drops keys over limits that have changed at this time.
    pub(crate) fn apply_limits(&mut self, now_ms: u64, limits: &MachineLimits) {
        self.drop_expired(now_ms, limits);
        self.shrink(limits);
    }

    fn oldest_time_ms(&self) -> Option<u64> {
        let key = self.order.front()?;
        self.records.get(key).map(|record| record.time_ms)
    }

    fn shrink(&mut self, limits: &MachineLimits) {
        while self.order.len() as u64 > limits.keys || self.bytes > limits.key_bytes {
            self.drop_oldest();
        }
    }

    fn insert(&mut self, key: String, body: Sha256, reply: StoredReply, time_ms: u64) {
        self.bytes += cost(&key, &reply);
        let record = KeyRecord {
            body,
            reply,
            time_ms,
        };
        self.order.push_back(key.clone());
        self.records.insert(key, record);
    }

    fn drop_oldest(&mut self) {
        if let Some(key) = self.order.pop_front()
            && let Some(record) = self.records.remove(&key)
        {
            self.bytes -= cost(&key, &record.reply);
        }
    }

    /// Writes the keys, oldest first.
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        wire::put_u64(to, self.order.len() as u64)?;
        for key in &self.order {
            // Each key in the order is in the map, because both change together.
            let Some(record) = self.records.get(key) else {
                return Err(wire::invalid("the key table is inconsistent"));
            };
            wire::put_bytes(to, key.as_bytes())?;
            to.write_all(&record.body.0)?;
            wire::put_u64(to, record.time_ms)?;
            write_reply(to, &record.reply)?;
        }
        Ok(())
    }

    /// Reads what [`Self::write`] wrote, and drops keys over the current limits.
    pub(crate) fn read(from: &mut dyn Read, limits: &MachineLimits) -> io::Result<Self> {
        let mut table = Self::default();
        for _ in 0..wire::take_u64(from)? {
            let key = wire::take_text(from, MAX_KEY_BYTES as u64)?;
            let body = Sha256(wire::take(from)?);
            let time_ms = wire::take_u64(from)?;
            let reply = read_reply(from)?;
            if table.records.contains_key(&key) {
                return Err(wire::invalid("a key is in the table twice"));
            }
            table.insert(key, body, reply, time_ms);
            table.shrink(limits);
        }
        Ok(table)
    }
}

fn cost(key: &str, reply: &StoredReply) -> u64 {
    ENTRY_BYTES + 2 * key.len() as u64 + reply.bytes()
}

fn write_reply(to: &mut dyn Write, reply: &StoredReply) -> io::Result<()> {
    match reply {
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

fn read_reply(from: &mut dyn Read) -> io::Result<StoredReply> {
    let limit = u64::from(u32::MAX);
    match wire::take_u8(from)? {
        0 => Ok(StoredReply::Accepted(wire::take_bytes(from, limit)?.into())),
        1 => Ok(StoredReply::Rejected(wire::take_bytes(from, limit)?.into())),
        2 => Ok(StoredReply::Deferred(wire::take_u64(from)?)),
        tag => Err(wire::invalid(format!(
            "a stored reply has the unknown tag {tag}"
        ))),
    }
}

#[cfg(test)]
mod tests;
