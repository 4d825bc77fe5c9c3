use oarlock_guest::state_machine;

struct Counter;

#[state_machine(name = "counter", version = 1)]
impl Clone for Counter {
    fn clone(&self) -> Self {
        Self
    }
}

fn main() {}
