use oarlock_guest::state_machine;

#[state_machine(name = "counter", version = 1)]
struct Counter {
    value: i64,
}

fn main() {}
