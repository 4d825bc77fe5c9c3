//! The next version of the counter, for the tests of upgrades. Its state has another layout, which it makes of the one
//! before.
//!
//! ```text
//! {"add":{"by":5}}   →  {"value":5,"adds":1}
//! {"get":{}}         →  {"value":5,"adds":1}
//! ```
//!
//! `adds` counts the additions since this version runs.

use oarlock_guest::{Apply, MigrateError, OldState, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

/// The state. Another order and another field: the bytes of version 1 are none of these.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    adds: u64,
    value: i64,
}

/// The state of version 1.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct First {
    value: i64,
}

/// What changes the counter.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds to the value.
    Add {
        /// How much; may be negative.
        by: i64,
    },
}

/// A query reads the state and changes nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The value.
    Get {},
}

/// Reply and response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Value {
    /// The value as it is now.
    pub value: i64,
    /// Additions by this version.
    pub adds: u64,
}

impl Counter {
    fn shown(&self) -> Value {
        Value {
            value: self.value,
            adds: self.adds,
        }
    }
}

#[state_machine(name = "counter", version = 2)]
impl StateMachine for Counter {
    type Command = Command;
    type Reply = Value;
    type Query = Query;
    type Response = Value;
    type Refusal = Refusal;

    fn apply(&mut self, _cx: &mut Apply<'_>, command: Command) -> Result<Value, Refusal> {
        let Command::Add { by } = command;
        let overflow = || Refusal::new("overflow", "the sum is too large").field("by");
        self.value = self.value.checked_add(by).ok_or_else(overflow)?;
        self.adds += 1;
        Ok(self.shown())
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Value, Refusal> {
        let Query::Get {} = query;
        Ok(self.shown())
    }

    fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
        let First { value } = old.decode()?;
        Ok(Self { adds: 0, value })
    }
}

#[cfg(test)]
mod tests;
