//! A key-value store with compare-and-swap.
//!
//! ```text
//! {"put":{"key":"k","value":"v"}}                  →  {"previous":null}
//! {"delete":{"key":"k"}}                           →  {"previous":"v"}
//! {"cas":{"key":"k","expect":null,"value":"v"}}    →  {"swapped":true,"current":"v"}
//! {"get":{"key":"k"}}  (query)                     →  {"value":"v"} or {"value":null}
//! ```
//!
//! Keys and values are strings. `null` means that the key does not exist. `cas` requires the field `expect`. If the
//! current value differs from it, the command is accepted, changes nothing, and returns the current value:
//! `{"swapped":false,"current":"other"}`. A key has at most 4,096 bytes. The host's limit on the size of a command bounds
//! a value.

use std::collections::BTreeMap;

use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest key, in bytes. A longer one is refused with `too_large`.
pub const MAX_KEY_BYTES: usize = 4096;

/// The state.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    values: BTreeMap<String, String>,
}

/// A command changes the store.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Sets a key.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: String,
    },
    /// Removes a key. A missing key is not an error.
    Delete {
        /// The key.
        key: String,
    },
    /// Sets a key if its current value equals the expected one.
    Cas {
        /// The key.
        key: String,
        /// Expected current value; `null` for a missing key.
        // Without `deserialize_with`, serde would accept a missing field as `null`.
        #[serde(deserialize_with = "Option::deserialize")]
        #[schemars(required, extend("type" = ["string", "null"]))]
        expect: Option<String>,
        /// Its new value.
        value: String,
    },
}

impl Command {
    fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Cas { key, .. } => key,
        }
    }
}

/// Reply to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Reply {
    /// To `put` and `delete`.
    #[schemars(extend("x-for" = ["put", "delete"]))]
    Previous {
        /// The previous value, `null` if the key did not exist.
        previous: Option<String>,
    },
    /// To `cas`.
    #[schemars(extend("x-for" = ["cas"]))]
    Swapped {
        /// Whether the value was set.
        swapped: bool,
        /// The value after the command.
        current: Option<String>,
    },
}

/// A query reads the state and changes nothing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The value of a key.
    Get {
        /// The key.
        key: String,
    },
}

/// Response to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Response {
    /// The value, or `null` if the key does not exist.
    pub value: Option<String>,
}

#[state_machine(name = "kv", version = 1, schema = include_str!("schema.json"))]
impl StateMachine for Store {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Response;
    type Refusal = Refusal;

    fn apply(&mut self, _cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        check_key(command.key())?;
        Ok(match command {
            Command::Put { key, value } => Reply::Previous {
                previous: self.values.insert(key, value),
            },
            Command::Delete { key } => Reply::Previous {
                previous: self.values.remove(&key),
            },
            Command::Cas { key, expect, value } => self.swap(key, expect.as_deref(), value),
        })
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        let Query::Get { key } = query;
        check_key(&key)?;
        Ok(Response {
            value: self.values.get(&key).cloned(),
        })
    }
}

impl Store {
    fn swap(&mut self, key: String, expect: Option<&str>, value: String) -> Reply {
        let found = self.values.get(&key);
        if found.map(String::as_str) != expect {
            return Reply::Swapped {
                swapped: false,
                current: found.cloned(),
            };
        }
        self.values.insert(key, value.clone());
        Reply::Swapped {
            swapped: true,
            current: Some(value),
        }
    }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    if key.len() <= MAX_KEY_BYTES {
        return Ok(());
    }
    let text = format!(
        "the key has {} bytes, the limit is {MAX_KEY_BYTES}; use a shorter one",
        key.len()
    );
    Err(Refusal::new("too_large", text).field("key"))
}

#[cfg(test)]
mod tests;
