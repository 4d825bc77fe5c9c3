//! Commands, queries and replies. The page of the crate shows them.

use std::ops::RangeInclusive;

use oarlock_guest::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lengths of a name, in bytes.
const NAME_BYTES: RangeInclusive<usize> = 1..=200;
/// Longest lease and longest wait, in milliseconds: a day.
pub(crate) const MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// A command.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Acquires a lock, or waits for it.
    Acquire(Acquire),
    /// Extends the lease of a lock.
    Renew {
        /// Name of the lock.
        lock: String,
        /// The fence of the lease.
        fence: u64,
        /// Length of the lease from now on, in milliseconds.
        lease_ms: u64,
    },
    /// Ends the lease of a lock.
    Release {
        /// Name of the lock.
        lock: String,
        /// The fence of the lease.
        fence: u64,
    },
}

/// Acquires a lock, or waits for it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acquire {
    /// Name of the lock.
    pub lock: String,
    /// Name of the client, different for each.
    pub owner: String,
    /// Length of the lease, in milliseconds.
    pub lease_ms: u64,
    /// How long to wait for another owner, in milliseconds. 0: not at all.
    pub wait_ms: u64,
}

/// Reply to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The lock is held until then.
    #[schemars(extend("x-for" = ["acquire", "renew"]))]
    Granted(Grant),
    /// Another owner has the lock.
    #[schemars(extend("x-for" = ["acquire"]))]
    TimedOut {},
    /// The lock has no owner, or the next one.
    #[schemars(extend("x-for" = ["release"]))]
    Released {},
}

/// A lease that has begun or was extended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Grant {
    /// Larger than the fence of every earlier lease.
    pub fence: u64,
    /// End of the lease, in milliseconds since 1970-01-01 UTC.
    pub until_ms: u64,
}

/// A query.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The state of a lock.
    Get {
        /// Name of the lock.
        lock: String,
    },
}

/// Response to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Response {
    /// The lease, if the lock has an owner.
    pub lease: Option<Lease>,
    /// How many wait.
    pub waiting: usize,
}

/// The right to use what a lock protects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// Name of the client.
    pub owner: String,
    /// Larger than the fence of every earlier lease.
    pub fence: u64,
    /// Its end, in milliseconds since 1970-01-01 UTC.
    pub until_ms: u64,
}

impl Lease {
    /// A lease that has not begun.
    pub(crate) fn new(owner: String, fence: u64) -> Self {
        let until_ms = 0;
        Self {
            owner,
            fence,
            until_ms,
        }
    }

    pub(crate) fn is_valid(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }
}

impl Command {
    /// Refuses names and times that are out of range.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Acquire(acquire) => {
                check("lock", &NAME_BYTES, &acquire.lock.len(), "bytes")?;
                check("owner", &NAME_BYTES, &acquire.owner.len(), "bytes")?;
                check("lease_ms", &(1..=MAX_MS), &acquire.lease_ms, "milliseconds")?;
                check("wait_ms", &(0..=MAX_MS), &acquire.wait_ms, "milliseconds")
            }
            Self::Renew { lease_ms, .. } => {
                check("lease_ms", &(1..=MAX_MS), lease_ms, "milliseconds")
            }
            Self::Release { .. } => Ok(()),
        }
    }
}

fn check<T: PartialOrd + std::fmt::Display>(
    field: &str,
    range: &RangeInclusive<T>,
    value: &T,
    unit: &str,
) -> Result<(), Refusal> {
    if range.contains(value) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    let message = format!("`{field}` must have {least} to {most} {unit}, not {value}");
    Err(Refusal::new("out_of_range", message).field(field))
}
