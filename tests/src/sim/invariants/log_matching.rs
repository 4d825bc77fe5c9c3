//! If two logs contain an entry with the same index and term, then the logs are identical in all entries up
//! through that index (§5.3, Figure 3).
//!
//! It is enough to record the content of each entry and the entry before it. If both are the same on all disks and in all
//! messages, then by induction all earlier entries are the same.

use std::collections::BTreeMap;

use task_queue_raft::entry::{Entry, Payload};
use task_queue_raft::ids::LogId;

use crate::sim::trace::Hash;
use crate::sim::violation::{Violation, ensure};

/// Each entry ever seen: the entry before it, and a hash of its content.
#[derive(Debug, Default)]
pub(crate) struct LogMatching {
    entries: BTreeMap<LogId, (LogId, Hash)>,
}

impl LogMatching {
    pub(crate) fn see(&mut self, mut previous: LogId, entries: &[Entry]) -> Result<(), Violation> {
        for entry in entries {
            let seen = (previous, hash_of(entry));
            let first = *self.entries.entry(entry.id).or_insert(seen);
            ensure(first.0 == seen.0, "log matching (§5.3)", || {
                format!(
                    "entry {} stands behind {} in one log and behind {previous} in another",
                    entry.id, first.0
                )
            })?;
            ensure(first.1 == seen.1, "log matching (§5.3)", || {
                format!("two entries are called {}: {entry:?}", entry.id)
            })?;
            previous = entry.id;
        }
        Ok(())
    }
}

/// Hash of everything in an entry except its id.
pub(crate) fn hash_of(entry: &Entry) -> Hash {
    let mut hash = Hash::default();
    hash.number(entry.time_ms);
    if let Some(membership) = entry.payload.membership() {
        hash.bytes(format!("{membership:?}").as_bytes());
    }
    if let Some(record) = entry.payload.cluster() {
        hash.bytes(format!("{:?}", record.state()).as_bytes());
        hash.bytes(&record.settings);
    }
    if let Payload::Commands(commands) = &entry.payload {
        hash.number(commands.len() as u64 + 1);
        for command in commands {
            hash.number(command.session);
            hash.number(command.sequence);
            hash.bytes(&command.data);
        }
    }
    hash
}
