//! What a check finds.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How urgent a finding is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FindingSeverity {
    /// Good to know. Nothing has to be done.
    Notice,
    /// The cluster serves, and has lost safety margin or will stop to serve.
    Warning,
    /// The cluster or a node does not serve, or data is in danger.
    Critical,
}

impl FindingSeverity {
    /// Its name, as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A condition that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Finding {
    /// Name of the check, for scripts.
    pub(crate) check: Cow<'static, str>,
    /// How urgent it is.
    pub(crate) severity: FindingSeverity,
    /// The condition, in general.
    pub(crate) condition: Cow<'static, str>,
    /// The nodes that it is about. Empty: the cluster, or the directory.
    pub(crate) nodes: Vec<String>,
    /// What was seen.
    pub(crate) seen: String,
    /// Why it matters.
    pub(crate) why: Cow<'static, str>,
    /// What to do.
    pub(crate) remedy: Cow<'static, str>,
    /// Commands of `oarlock` for that, complete enough to copy.
    pub(crate) commands: Vec<String>,
}
