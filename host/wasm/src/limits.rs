//! What a guest may use.

use thiserror::Error;

const MIB: u64 = 1 << 20;

/// Largest linear memory that a 32-bit guest can address.
const ADDRESSABLE_BYTES: u64 = 1 << 32;

/// Limits of a guest. Those of commands decide about outcomes, so they must be equal on every node of a cluster.
///
/// They are safety nets, to be set far above what a command needs: a heap that was restored from a snapshot costs
/// other fuel and has other free memory than one that grew, so two nodes may differ about a command that runs *near* a
/// limit, such as one for which the memory is just full. The state hash tells if that ever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineLimits {
    /// Fuel for one command, about one for each wasm instruction. A batch of n gets n times as much.
    pub fuel_per_command: u64,
    /// Fuel for one query.
    pub fuel_per_query: u64,
    /// Memory that a query may take beside the state, in bytes.
    pub memory_per_query: u64,
    /// Queries that wait for a copy of the guest.
    pub queries_waiting: u64,
    /// Fuel for writing or reading a whole snapshot.
    pub fuel_per_snapshot: u64,
    /// Linear memory of the guest, in bytes. While a state is read from a snapshot the guest may take more: four times
    /// the snapshot and a quarter of this limit, for the state and its bytes are in it side by side.
    pub memory_bytes: u64,
    /// Elements in all tables of the guest.
    pub table_elements: u64,
    /// Size of one command or query, in bytes.
    pub command_bytes: u64,
    /// Size of one reply, refusal or answer, in bytes.
    pub reply_bytes: u64,
    /// Topics and payloads of the events of one command, in bytes.
    pub event_bytes: u64,
    /// Events and completions of one command.
    pub events: u32,
    /// Size of the guest's part of a snapshot, in bytes.
    pub snapshot_bytes: u64,
    /// Size of a module as it was given, in bytes.
    pub module_bytes: u64,
    /// Idempotency keys that are remembered.
    pub keys: u64,
    /// Keys and their replies, in bytes.
    pub key_bytes: u64,
    /// How long a key is remembered, in milliseconds of replicated time.
    pub key_ttl_ms: u64,
    /// Deferred commands that wait for their completion.
    pub deferred: u64,
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
        }
    }
}

/// Why limits make no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LimitsError {
    /// A limit is zero, so that nothing could ever run.
    #[error("the limit `{name}` is 0, so that no guest could run; give it a value above 0")]
    Zero {
        /// The field of [`MachineLimits`].
        name: &'static str,
    },
    /// A limit is larger than what the format or the engine can carry.
    #[error("the limit `{name}` is {value}, but {most} is the most that is possible; lower it")]
    TooLarge {
        /// The field of [`MachineLimits`].
        name: &'static str,
        /// What was asked for.
        value: u64,
        /// What is possible.
        most: u64,
    },
}

impl MachineLimits {
    /// Looks for limits that can't work.
    ///
    /// # Errors
    /// [`LimitsError`] names the first one.
    pub fn validate(&self) -> Result<(), LimitsError> {
        let most_each = u64::from(u32::MAX) / 4;
        let bounded = [
            ("fuel_per_command", self.fuel_per_command, u64::MAX),
            ("fuel_per_query", self.fuel_per_query, u64::MAX),
            ("queries_waiting", self.queries_waiting, most_each),
            ("fuel_per_snapshot", self.fuel_per_snapshot, u64::MAX),
            ("memory_bytes", self.memory_bytes, ADDRESSABLE_BYTES),
            ("table_elements", self.table_elements, most_each),
            ("command_bytes", self.command_bytes, most_each),
            ("reply_bytes", self.reply_bytes, most_each),
            ("snapshot_bytes", self.snapshot_bytes, u64::MAX),
            ("module_bytes", self.module_bytes, most_each),
        ];
        for (name, value, most) in bounded {
            if value == 0 {
                return Err(LimitsError::Zero { name });
            }
            if value > most {
                return Err(LimitsError::TooLarge { name, value, most });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
