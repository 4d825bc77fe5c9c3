//! Data of `GET /v1/operations`.

use serde::{Deserialize, Serialize};

/// What operators and upgraders did last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationHistory {
    /// The last 256, latest first.
    pub operations: Vec<OperationEntry>,
    /// How many the log has had, with those that are not shown.
    pub total: u64,
}

/// What an operator did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationEntry {
    /// The entry that records its beginning.
    pub index: u64,
    /// When it began, in milliseconds since 1970.
    pub time_ms: u64,
    /// The name in the certificate or the token of the operator.
    pub by: String,
    /// What was requested, such as `addMember`.
    pub what: String,
    /// The arguments, for people.
    pub details: String,
    /// How it ended. `None` while it runs, and if its node stopped before.
    pub end: Option<OperationResult>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationResult {
    /// The entry that records it.
    pub index: u64,
    /// When it ended, in milliseconds since 1970.
    pub time_ms: u64,
    /// The code of the error. `None` if the request succeeded.
    pub error: Option<String>,
}
