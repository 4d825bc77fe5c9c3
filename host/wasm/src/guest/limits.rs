//! Resource limits of a guest.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::guest::semantics::GuestSemantics;

const MIB: u64 = 1 << 20;

/// Largest linear memory that a 32-bit guest can address.
const ADDRESSABLE_BYTES: u64 = 1 << 32;

/// Largest [`MachineLimits::stack_bytes`]: the estimate may be too low by this factor before the machine's own stack of
/// 64 MiB overflows, which stops the node.
const MAX_STACK_BYTES: u64 = 32 * MIB;

/// Limits of a guest. From cluster level 1 on, all of them except those of queries are replicated settings: the node's own
/// values only propose them when a cluster begins, see [`ReplicatedSettings`](crate::ReplicatedSettings). At level 0 the
/// node's own values decide outcomes, so they must be equal on every node of a cluster.
///
/// They are safety nets; set them far above what a command needs. A heap that was restored from a snapshot uses other
/// fuel and has other free memory than one that grew. So the outcome of a command *near* a limit may differ between
/// nodes. The state hash detects that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineLimits {
    /// Fuel for one command, about one for each wasm instruction. A batch of n commands has n times as much.
    pub fuel_per_command: u64,
    /// Fuel for one query.
    pub fuel_per_query: u64,
    /// Memory that a query may allocate in addition to the state, in bytes.
    pub memory_per_query: u64,
    /// Queries that may wait for a replica of the guest. Further queries are refused as overloaded.
    pub queries_waiting: u64,
    /// Fuel for writing or reading one snapshot.
    pub fuel_per_snapshot: u64,
    /// Linear memory of the guest, in bytes. From 80 % of it on, memory is low (see [`Self::soft_memory_bytes`]), and
    /// calls get an eighth of it in addition, so that the guest can remove state. While the guest reads a snapshot it may use more: four times the snapshot
    /// and a quarter of this limit, because it holds the state and the snapshot's bytes at the same time.
    pub memory_bytes: u64,
    /// The rules of execution. They decide outcomes as limits do.
    pub semantics: GuestSemantics,
    /// Stack of a guest for recursion, in bytes as the host estimates them from the code. Applies from
    /// [`GuestSemantics::BoundedStack`] on.
    pub stack_bytes: u64,
    /// The highest value that `memory_bytes` ever had in this cluster, if it was lowered; 0 otherwise. A state that was
    /// reached under it is still restored.
    pub restore_memory_bytes: u64,
    /// Elements in all tables of the guest.
    pub table_elements: u64,
    /// Size of one command or query, in bytes.
    pub command_bytes: u64,
    /// Size of one reply, rejection or query response, in bytes.
    pub reply_bytes: u64,
    /// Topics and payloads of the events of one command, in bytes.
    pub event_bytes: u64,
    /// Events and completions of one command.
    pub events: u32,
    /// Size of the guest's part of a snapshot, in bytes.
    pub snapshot_bytes: u64,
    /// Size of a module's file, in bytes.
    pub module_bytes: u64,
    /// Number of idempotency keys that are kept. The oldest are dropped first.
    pub keys: u64,
    /// Total size of keys and their replies, in bytes.
    pub key_bytes: u64,
    /// How long a key is kept, in milliseconds of replicated time.
    pub key_ttl_ms: u64,
    /// Number of deferred commands that may wait for their completion.
    pub deferred: u64,
    /// Largest batch, in bytes; a single command may be larger. A larger entry is split into several batches.
    pub batch_bytes: u64,
    /// A batch has the event limits of up to this many commands in total.
    pub batch_share: u64,
    /// Replies, events and completions of one entry, in bytes. A command that exceeds it fails.
    pub entry_bytes: u64,
    /// Bytes that one call may pass to the host at once: a chunk of a snapshot, the outcomes of a batch. At least
    /// `reply_bytes` apply. A batch whose outcomes are larger fails, and its commands run one by one.
    pub transfer_bytes: u64,
}

impl Default for MachineLimits {
    fn default() -> Self {
        Self {
            fuel_per_command: 1_000_000_000,
            fuel_per_query: 10_000_000_000,
            memory_per_query: 64 * MIB,
            queries_waiting: 4096,
            fuel_per_snapshot: 1_000_000_000_000,
            memory_bytes: 1024 * MIB,
            semantics: GuestSemantics::Native,
            stack_bytes: 16 * MIB,
            restore_memory_bytes: 0,
            table_elements: 1_000_000,
            command_bytes: MIB,
            reply_bytes: 4 * MIB,
            event_bytes: MIB,
            events: 1_000,
            snapshot_bytes: 2048 * MIB,
            module_bytes: 64 * MIB,
            keys: 100_000,
            key_bytes: 64 * MIB,
            key_ttl_ms: 24 * 60 * 60 * 1000,
            deferred: 100_000,
            batch_bytes: 64 * MIB,
            batch_share: 16,
            entry_bytes: 512 * MIB,
            transfer_bytes: 128 * MIB,
        }
    }
}

/// Why limits are invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LimitsError {
    /// A limit is zero, so no guest could run.
    #[error("the limit `{name}` is 0, so no guest could run; set it above 0")]
    Zero {
        /// The field of [`MachineLimits`].
        name: &'static str,
    },
    /// A limit is over the maximum of the format or of the engine.
    #[error("the limit `{name}` is {value}, but {max} is the maximum; lower it")]
    TooLarge {
        /// The field of [`MachineLimits`].
        name: &'static str,
        /// The configured value.
        value: u64,
        /// The largest possible value.
        max: u64,
    },
}

impl MachineLimits {
    /// How much lower `memory_bytes` is than it ever was in this cluster.
    pub(crate) fn memory_lowered_by(&self) -> u64 {
        self.restore_memory_bytes.saturating_sub(self.memory_bytes)
    }

    /// Memory is low from this size on: 80 % of the limit.
    #[must_use]
    pub fn soft_memory_bytes(&self) -> u64 {
        self.memory_bytes / 5 * 4
    }

    /// Memory is no longer low below this size: 70 % of the limit. The distance to [`Self::soft_memory_bytes`] keeps nodes
    /// from reporting again and again.
    #[must_use]
    pub fn enough_memory_bytes(&self) -> u64 {
        self.memory_bytes / 10 * 7
    }

    /// Memory above the limit for calls while memory is low, and for the writing of snapshots: an eighth of the limit.
    #[must_use]
    pub(crate) fn memory_headroom(&self) -> u64 {
        self.memory_bytes / 8
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// [`LimitsError`] names the first invalid limit.
    pub fn validate(&self) -> Result<(), LimitsError> {
        let max_each = u64::from(u32::MAX) / 4;
        let bounded = [
            ("fuel_per_command", self.fuel_per_command, u64::MAX),
            ("fuel_per_query", self.fuel_per_query, u64::MAX),
            ("queries_waiting", self.queries_waiting, max_each),
            ("fuel_per_snapshot", self.fuel_per_snapshot, u64::MAX),
            ("memory_bytes", self.memory_bytes, ADDRESSABLE_BYTES),
            ("stack_bytes", self.stack_bytes, MAX_STACK_BYTES),
            ("table_elements", self.table_elements, max_each),
            ("command_bytes", self.command_bytes, max_each),
            ("reply_bytes", self.reply_bytes, max_each),
            ("snapshot_bytes", self.snapshot_bytes, u64::MAX),
            ("module_bytes", self.module_bytes, max_each),
            ("batch_bytes", self.batch_bytes, max_each),
            ("batch_share", self.batch_share, max_each),
            ("entry_bytes", self.entry_bytes, max_each),
            ("transfer_bytes", self.transfer_bytes, max_each),
        ];
        for (name, value, max) in bounded {
            if value == 0 {
                return Err(LimitsError::Zero { name });
            }
            if value > max {
                return Err(LimitsError::TooLarge { name, value, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
