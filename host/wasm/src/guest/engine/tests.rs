use task_queue_raft::state_machine::ReplicatedStateMachine;

use super::*;
use crate::machine::WasmMachine;

/// A new stack for each call costs more than most commands.
#[test]
fn a_call_on_the_applying_thread_needs_no_new_stack() {
    let stack = <WasmMachine as ReplicatedStateMachine>::STACK_BYTES;
    let has_room = || stacker::remaining_stack().is_some_and(|left| left >= CALL_STACK_BYTES);
    let applying = std::thread::Builder::new()
        .stack_size(stack)
        .spawn(has_room);
    assert!(applying.unwrap().join().unwrap());
}
