//! Commands, queries and replies. The page of the crate shows them.

use std::ops::RangeInclusive;

use oarlock_guest::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lengths of the name of a limit and of a key, in bytes.
const NAME_BYTES: RangeInclusive<u64> = 1..=200;
/// Numbers of tokens.
const TOKENS: RangeInclusive<u64> = 1..=1_000_000;
/// Times in which a bucket gets tokens, in milliseconds: up to a day.
const PERIOD_MS: RangeInclusive<u64> = 1..=24 * 60 * 60 * 1000;

/// A command.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds a limit, or changes it at once for all keys.
    Set {
        /// Name of the limit, 1 to 200 bytes.
        limit: String,
        /// Most tokens in a bucket, 1 to 1,000,000.
        burst: u64,
        /// How many tokens a bucket gets in a period, 1 to 1,000,000.
        tokens: u64,
        /// Length of the period, 1 to 86,400,000 milliseconds. A token takes at least one microsecond.
        period_ms: u64,
    },
    /// Removes a limit. A missing one is not an error.
    Remove {
        /// Name of the limit.
        limit: String,
    },
    /// Takes tokens from the bucket of a key, all or none.
    Take {
        /// Name of the limit.
        limit: String,
        /// Who takes them, such as a user or an address, 1 to 200 bytes.
        key: String,
        /// How many, 1 to the burst.
        tokens: u64,
    },
}

/// Reply to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The limit is in effect.
    #[schemars(extend("x-for" = ["set"]))]
    Set {},
    /// There is no such limit.
    #[schemars(extend("x-for" = ["remove"]))]
    Removed {},
    /// The tokens were taken: go on.
    #[schemars(extend("x-for" = ["take"]))]
    Taken {
        /// How many are left.
        left: u64,
    },
    /// There are too few tokens. None was taken.
    #[schemars(extend("x-for" = ["take"]))]
    Limited {
        /// The tokens are there after this time, in milliseconds, if no other client takes them.
        retry_after_ms: u64,
    },
}

/// A query.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The bucket of a key, at the time of the last command.
    Bucket {
        /// Name of the limit.
        limit: String,
        /// The key.
        key: String,
    },
}

/// Response to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Response {
    /// How many tokens are left.
    pub left: u64,
    /// Most tokens in the bucket.
    pub burst: u64,
}

impl Command {
    /// Refuses names and numbers that are out of range.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Set {
                limit,
                burst,
                tokens,
                period_ms,
            } => {
                check("limit", &NAME_BYTES, limit.len() as u64, "bytes")?;
                check("burst", &TOKENS, *burst, "tokens")?;
                check("period_ms", &PERIOD_MS, *period_ms, "milliseconds")?;
                let most = (*TOKENS.end()).min(period_ms * 1000);
                check("tokens", &(1..=most), *tokens, "tokens")
            }
            Self::Take { key, .. } => check("key", &NAME_BYTES, key.len() as u64, "bytes"),
            Self::Remove { .. } => Ok(()),
        }
    }
}

pub(crate) fn check(
    field: &str,
    range: &RangeInclusive<u64>,
    value: u64,
    unit: &str,
) -> Result<(), Refusal> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    let text = format!("`{field}` must have {least} to {most} {unit}, not {value}");
    Err(Refusal::new("out_of_range", text).field(field))
}
