//! Registers and alarms, for the simulation.
//!
//! | command | what it does |
//! |---|---|
//! | `{"put":{"key":"r","value":"v"}}` | sets a register, and replies `{"previous":null}` with the value before |
//! | `{"cas":{"key":"r","expect":null,"value":"v"}}` | sets it if it has this value, and replies `{"swapped":true,"current":"v"}` |
//! | `{"alarm":{"name":"a","delay_ms":500}}` | sets a timer, and replies `{"rings_at":1}` with its time |
//!
//! The query `{"get":{"key":"r"}}` returns `{"value":"v"}`.

use std::collections::BTreeMap;

use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

/// The state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Clockwork {
    values: BTreeMap<String, String>,
    /// How many alarms have rung.
    rung: u64,
}

/// What changes the state.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the table of the crate describes them")]
pub enum Command {
    Put {
        key: String,
        value: String,
    },
    Cas {
        key: String,
        expect: Option<String>,
        value: String,
    },
    Alarm {
        name: String,
        delay_ms: u64,
    },
}

/// A query reads the state and changes nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the table of the crate describes them")]
pub enum Query {
    Get { key: String },
}

/// Reply and response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the table of the crate describes them")]
pub enum Reply {
    Previous {
        previous: Option<String>,
    },
    Swapped {
        swapped: bool,
        current: Option<String>,
    },
    Rings {
        rings_at: u64,
    },
    Value {
        value: Option<String>,
    },
}

#[state_machine(name = "clockwork", version = 1)]
impl StateMachine for Clockwork {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Reply;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        Ok(match command {
            Command::Put { key, value } => Reply::Previous {
                previous: self.values.insert(key, value),
            },
            Command::Cas { key, expect, value } => {
                let swapped = self.values.get(&key) == expect.as_ref();
                if swapped {
                    self.values.insert(key.clone(), value);
                }
                Reply::Swapped {
                    swapped,
                    current: self.values.get(&key).cloned(),
                }
            }
            Command::Alarm { name, delay_ms } => {
                let rings_at = cx.time_ms().saturating_add(delay_ms);
                cx.set_timer(name, rings_at)?;
                Reply::Rings { rings_at }
            }
        })
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Reply, Refusal> {
        let Query::Get { key } = query;
        Ok(Reply::Value {
            value: self.values.get(&key).cloned(),
        })
    }

    fn on_timer(&mut self, _cx: &mut Apply<'_>, _id: &str) {
        self.rung += 1;
    }
}
