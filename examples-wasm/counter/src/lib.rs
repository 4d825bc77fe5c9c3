//! The smallest guest: a number, one command and one query.
//!
//! ```text
//! {"add":{"by":5}}   →  {"value":5}
//! {"get":{}}         →  {"value":5}
//! ```
//!
//! `by` is a whole number of 64 bits and may be negative. A sum that does not fit is refused with the code
//! `overflow`, and the value stays.

use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

/// The state.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

/// What changes the counter.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds to the value and replies with the sum.
    Add {
        /// How much; may be negative.
        by: i64,
    },
}

/// What can be asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The value.
    Get {},
}

/// Reply and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Value {
    /// The value as it is now.
    pub value: i64,
}

#[state_machine(name = "counter", version = 1)]
impl StateMachine for Counter {
    type Command = Command;
    type Reply = Value;
    type Query = Query;
    type Answer = Value;
    type Refusal = Refusal;

    fn apply(&mut self, _cx: &mut Apply<'_>, command: Command) -> Result<Value, Refusal> {
        let Command::Add { by } = command;
        let Some(value) = self.value.checked_add(by) else {
            let words = format!(
                "{} and {by} make more than 64 bits hold; the value stays",
                self.value
            );
            return Err(Refusal::new("overflow", words).field("by"));
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
