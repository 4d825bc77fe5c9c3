use oarlock_guest::{Apply, Guest, Read, Refusal, StateMachine};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: i64,
}

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

fn is_guest<M: Guest>() {}

fn main() {
    is_guest::<Counter>();
}
