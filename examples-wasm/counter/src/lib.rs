//! The smallest guest: a number, one command and one query.
//!
//! ```text
//! {"add":{"by":5}}   →  {"value":5}
//! {"get":{}}         →  {"value":5}
//! ```
//!
//! `by` is a signed 64-bit integer. A sum that does not fit into 64 bits is refused with the code `overflow`, and the
//! value does not change.

use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

/// A command changes the value.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds to the value. The reply is the sum.
    Add {
        /// Summand. May be negative.
        by: i64,
    },
}

/// A query reads the state and changes nothing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The value.
    Get {},
}

/// Reply and response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Value {
    /// The current value.
    pub value: i64,
}

#[state_machine(name = "counter", version = 1, schema = include_str!("schema.json"))]
impl StateMachine for Counter {
    type Command = Command;
    type Reply = Value;
    type Query = Query;
    type Response = Value;
    type Refusal = Refusal;

    fn apply(&mut self, _cx: &mut Apply<'_>, command: Command) -> Result<Value, Refusal> {
        let Command::Add { by } = command;
        let Some(value) = self.value.checked_add(by) else {
            let text = format!(
                "{} + {by} does not fit into 64 bits; the value did not change",
                self.value
            );
            return Err(Refusal::new("overflow", text).field("by"));
        };
        self.value = value;
        Ok(Value { value })
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Value, Refusal> {
        let Query::Get {} = query;
        Ok(Value { value: self.value })
    }
}

#[cfg(test)]
mod tests;
