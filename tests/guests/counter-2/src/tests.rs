use oarlock_guest::testing::TestCluster;

use super::*;

#[state_machine(name = "counter", version = 1)]
impl StateMachine for First {
    type Command = Command;
    type Reply = i64;
    type Query = ();
    type Response = i64;
    type Refusal = Refusal;

    fn apply(&mut self, _cx: &mut Apply<'_>, command: Command) -> Result<i64, Refusal> {
        let Command::Add { by } = command;
        self.value += by;
        Ok(self.value)
    }

    fn query(&self, _cx: &Read<'_>, (): ()) -> Result<i64, Refusal> {
        Ok(self.value)
    }
}

#[test]
fn the_value_stays_and_the_additions_are_counted_from_now_on() {
    let mut first = TestCluster::<First>::new();
    first.send(r#"{"add":{"by":5}}"#);
    let mut second = first.upgrade::<Counter>().expect("it knows version 1");
    let reply = second.send(r#"{"add":{"by":2}}"#);
    assert_eq!(reply.text(), r#"{"value":7,"adds":1}"#);
    assert!(second.upgrade::<First>().is_err(), "there is no way back");
}
