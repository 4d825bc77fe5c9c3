//! Commands, queries and replies. The page of the crate shows them.

use std::ops::RangeInclusive;

use oarlock_guest::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lengths of a name, in bytes.
const NAME_BYTES: RangeInclusive<u64> = 1..=200;
/// Lengths of a value, in bytes.
const VALUE_BYTES: RangeInclusive<u64> = 0..=4096;
/// Longest lease and longest wait, in milliseconds: a day.
const MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// A command.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Becomes the leader, or waits for it.
    Campaign(Campaign),
    /// Extends the lease of the leader.
    Renew {
        /// Name of the election.
        election: String,
        /// The term of the leader.
        term: u64,
        /// Length of the lease from now on, in milliseconds.
        lease_ms: u64,
    },
    /// Publishes another value of the leader.
    Proclaim {
        /// Name of the election.
        election: String,
        /// The term of the leader.
        term: u64,
        /// The new value.
        value: String,
    },
    /// Ends the leadership. The next candidate becomes the leader.
    Resign {
        /// Name of the election.
        election: String,
        /// The term of the leader.
        term: u64,
    },
}

/// Becomes the leader, or waits for it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Name of the election, 1 to 200 bytes.
    pub election: String,
    /// Name of the candidate, different for each, 1 to 200 bytes.
    pub candidate: String,
    /// What others should know about the leader, such as its address. At most 4,096 bytes.
    pub value: String,
    /// Length of the lease, in milliseconds.
    pub lease_ms: u64,
    /// How long to wait while there is another leader, in milliseconds. 0: not at all.
    pub wait_ms: u64,
}

/// Reply to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The candidate is the leader until then.
    #[schemars(extend("x-for" = ["campaign", "renew", "proclaim"]))]
    Elected {
        /// Larger than every earlier term. Send it with all that the leader does.
        term: u64,
        /// End of the lease, in milliseconds since 1970-01-01 UTC.
        until_ms: u64,
    },
    /// There is another leader.
    #[schemars(extend("x-for" = ["campaign"]))]
    TimedOut {},
    /// The candidate is no longer the leader.
    #[schemars(extend("x-for" = ["resign"]))]
    Resigned {},
}

/// A query.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The leader of an election.
    Leader {
        /// Name of the election.
        election: String,
    },
}

/// Response to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Response {
    /// The leader, if there is one.
    pub leader: Option<Leader>,
    /// How many candidates wait.
    pub waiting: usize,
}

/// The leader of an election.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leader {
    /// Name of the candidate.
    pub candidate: String,
    /// What it has published.
    pub value: String,
    /// Larger than every earlier term.
    pub term: u64,
    /// End of the lease, in milliseconds since 1970-01-01 UTC.
    pub until_ms: u64,
}

impl Leader {
    /// A leader whose lease has not begun.
    pub(crate) fn new(campaign: &Campaign, term: u64) -> Self {
        Self {
            candidate: campaign.candidate.clone(),
            value: campaign.value.clone(),
            term,
            until_ms: 0,
        }
    }
}

impl Command {
    /// Refuses names and times that are out of range.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Campaign(campaign) => {
                check_text("election", &NAME_BYTES, &campaign.election)?;
                check_text("candidate", &NAME_BYTES, &campaign.candidate)?;
                check_text("value", &VALUE_BYTES, &campaign.value)?;
                check("lease_ms", &(1..=MAX_MS), campaign.lease_ms, "milliseconds")?;
                check("wait_ms", &(0..=MAX_MS), campaign.wait_ms, "milliseconds")
            }
            Self::Renew { lease_ms, .. } => {
                check("lease_ms", &(1..=MAX_MS), *lease_ms, "milliseconds")
            }
            Self::Proclaim { value, .. } => check_text("value", &VALUE_BYTES, value),
            Self::Resign { .. } => Ok(()),
        }
    }
}

fn check_text(field: &str, range: &RangeInclusive<u64>, text: &str) -> Result<(), Refusal> {
    check(field, range, text.len() as u64, "bytes")
}

fn check(field: &str, range: &RangeInclusive<u64>, value: u64, unit: &str) -> Result<(), Refusal> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    let text = format!("`{field}` must have {least} to {most} {unit}, not {value}");
    Err(Refusal::new("out_of_range", text).field(field))
}
