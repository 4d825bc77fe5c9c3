//! A guest that fails on purpose, for the tests of the host.
//!
//! | command | what it does |
//! |---|---|
//! | `{"add":{"by":5}}` | adds and replies `{"value":5}` |
//! | `{"refuse":{}}` | is refused with the code `refused` |
//! | `{"trap":{}}` | traps at once |
//! | `{"half":{"by":5}}` (`by` may be left out: 1) | adds, then traps |
//! | `{"spin":{}}` | never ends |
//! | `{"alloc":{"mib":64}}` | takes and fills that much memory, then gives it back |
//! | `{"keep":{"mib":64}}` | makes the state larger by that much |
//! | `{"emit":{"topic":"t","payload":"p"}}` | publishes an event |
//! | `{"wake_at":{"time_ms":1}}` | asks to be woken; waking adds 1 |
//! | `{"draw":{"length":8}}` | replies with random bytes: `{"bytes":[…]}` |
//!
//! Queries: `{"get":{}}` returns `{"value":5}`; `{"trap":{}}` and `{"spin":{}}` act as the commands.

use std::hint::black_box;

use oarlock_guest::{Apply, Level, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

/// The state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Faulty {
    value: i64,
    kept: Vec<String>,
}

/// What changes the state, or fails to.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the table of the crate describes them")]
pub enum Command {
    Add {
        by: i64,
    },
    Refuse {},
    Trap {},
    Half {
        #[serde(default = "one")]
        by: i64,
    },
    Spin {},
    Alloc {
        mib: u32,
    },
    Keep {
        mib: u32,
    },
    Emit {
        topic: String,
        payload: String,
    },
    WakeAt {
        time_ms: u64,
    },
    Draw {
        length: u32,
    },
}

fn one() -> i64 {
    1
}

/// A query reads the state and changes nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the table of the crate describes them")]
pub enum Query {
    Get {},
    Trap {},
    Spin {},
}

/// Reply and response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the table of the crate describes them")]
pub enum Reply {
    Value { value: i64 },
    Bytes { bytes: Vec<u8> },
}

#[state_machine(name = "faulty", version = 1)]
impl StateMachine for Faulty {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Reply;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Add { by } => self.value = self.value.wrapping_add(by),
            Command::Refuse {} => return Err(Refusal::new("refused", "as it was asked to be")),
            Command::Trap {} => panic!("trapped on purpose"),
            Command::Half { by } => {
                self.value = self.value.wrapping_add(by);
                cx.log(Level::Info, format_args!("half done: {}", self.value));
                panic!("trapped on purpose, half-way");
            }
            Command::Spin {} => spin(),
            Command::Alloc { mib } => drop(black_box(filled(mib))),
            Command::Keep { mib } => self.kept.extend((0..mib).map(|_| filled_text())),
            Command::Emit { topic, payload } => cx.emit(topic, payload),
            Command::WakeAt { time_ms } => cx.wake_at(time_ms),
            Command::Draw { length } => {
                return Ok(Reply::Bytes {
                    bytes: cx.random(length),
                });
            }
        }
        Ok(Reply::Value { value: self.value })
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Reply, Refusal> {
        match query {
            Query::Get {} => Ok(Reply::Value { value: self.value }),
            Query::Trap {} => panic!("trapped on purpose"),
            Query::Spin {} => spin(),
        }
    }

    fn on_wake(&mut self, cx: &mut Apply<'_>) {
        self.value = self.value.wrapping_add(1);
        cx.emit("woken", self.value.to_string());
    }
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn filled(mib: u32) -> Vec<Vec<u8>> {
    (0..mib).map(|_| vec![0xA5; MIB]).collect()
}

fn filled_text() -> String {
    "k".repeat(MIB)
}
