use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: i64,
}

#[state_machine(name = "counter", version = 1)]
impl StateMachine for Counter {
    type Command = i64;
    type Reply = i64;
    type Query = ();
    type Response = i64;
    type Refusal = Refusal;

    fn apply(&mut self, _cx: &mut Apply<'_>, command: i64) -> Result<i64, Refusal> {
        self.value += command;
        Ok(self.value)
    }

    fn query(&self, _cx: &Read<'_>, (): ()) -> Result<i64, Refusal> {
        Ok(self.value)
    }
}

fn main() {}
