use oarlock_guest::state_machine;

struct Counter<T>(T);

#[state_machine(name = "counter", version = 1)]
impl<T> StateMachine for Counter<T> {}

fn main() {}
