//! A key-value store with compare-and-swap.
//!
//! ```text
//! {"put":{"key":"k","value":"v"}}                  →  {"previous":null}
//! {"delete":{"key":"k"}}                           →  {"previous":"v"}
//! {"cas":{"key":"k","expect":null,"value":"v"}}    →  {"swapped":true,"current":"v"}
//! {"get":{"key":"k"}}  (query)                     →  {"value":"v"} or {"value":null}
//! ```
//!
//! Keys and values are texts. `null` stands for a key that is not there; `expect` has to be written out. A
//! `cas` that finds something else is accepted, changes nothing, and says what is there:
//! `{"swapped":false,"current":"other"}`. A key has at most 4,096 bytes; a value is bounded by the host's
//! limit on commands.

use std::collections::BTreeMap;

use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4096;

/// The state.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    values: BTreeMap<String, String>,
}

/// What changes the store.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Sets a key.
    Put {
        /// Which key.
        key: String,
        /// Its new value.
        value: String,
    },
    /// Removes a key; one that is not there is no error.
    Delete {
        /// Which key.
        key: String,
    },
    /// Sets a key if its value is the expected one.
    Cas {
        /// Which key.
        key: String,
        /// The value that has to be there, or `null` for none. (Naming the reader makes serde insist on the
        /// field; it takes an `Option` that is left out for `null`.)
        #[serde(deserialize_with = "Option::deserialize")]
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

/// What a command is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// Of `put` and `delete`.
    Previous {
        /// The value that was there.
        previous: Option<String>,
    },
    /// Of `cas`.
    Swapped {
        /// Whether the expected value was there.
        swapped: bool,
        /// The value that is there now.
        current: Option<String>,
    },
}

/// What can be asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The value of a key.
    Get {
        /// Which key.
        key: String,
    },
}

/// What a query is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The value, or `null` if the key is not there.
    pub value: Option<String>,
}

#[state_machine(name = "kv", version = 1)]
impl StateMachine for Store {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Answer = Answer;
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

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Answer, Refusal> {
        let Query::Get { key } = query;
        check_key(&key)?;
        Ok(Answer {
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
    let words = format!(
        "the key has {} bytes and may have {MAX_KEY_BYTES}; use a shorter one",
        key.len()
    );
    Err(Refusal::new("too_large", words).field("key"))
}

#[cfg(test)]
mod tests;
