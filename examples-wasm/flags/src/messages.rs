//! Commands, queries and replies. The page of the crate shows them.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds or replaces a flag.
    Set {
        /// Name of the flag, 1 to 100 bytes.
        flag: String,
        /// For whom it is on.
        rule: Rule,
        /// Refuse the command if the flag has changed since this version. 0: if it exists. Absent: change it anyway.
        if_version: Option<u64>,
    },
    /// Removes a flag. A missing one is not an error.
    Remove {
        /// Name of the flag.
        flag: String,
    },
}

/// For whom a flag is on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// False: for no one.
    pub enabled: bool,
    /// For these users always. At most 1,000.
    pub users: BTreeSet<String>,
    /// For this share of all other users, 0 to 100. A user who has the flag keeps it when the share grows.
    pub percent: u8,
}

/// Reply to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reply {
    /// The version of all flags after the command. Each change raises it.
    pub version: u64,
}

/// A query.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// Whether a flag is on for a user. A missing flag is off.
    IsOn {
        /// Name of the flag.
        flag: String,
        /// Name of the user.
        user: String,
    },
    /// All flags that are on for a user.
    For {
        /// Name of the user.
        user: String,
    },
    /// All flags and their rules.
    All {},
}

/// Response to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Response {
    /// To `is_on`.
    #[schemars(extend("x-for" = ["is_on"]))]
    IsOn {
        /// Whether the flag is on.
        on: bool,
    },
    /// To `for`.
    #[schemars(extend("x-for" = ["for"]))]
    For {
        /// The flags that are on.
        on: Vec<String>,
    },
    /// To `all`.
    #[schemars(extend("x-for" = ["all"]))]
    All {
        /// The version of all flags.
        version: u64,
        /// The flags.
        flags: BTreeMap<String, Flag>,
    },
}

/// A flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flag {
    /// For whom it is on.
    pub rule: Rule,
    /// The version of all flags when it was changed.
    pub version: u64,
}

/// The event `flag`.
#[derive(Debug, Serialize)]
pub struct FlagChanged<'a> {
    /// The version of all flags after the change.
    pub version: u64,
    /// Name of the flag.
    pub flag: &'a str,
    /// For whom it is on; `None` if it was removed.
    pub rule: Option<&'a Rule>,
}
