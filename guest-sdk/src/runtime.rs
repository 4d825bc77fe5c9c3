//! What the SDK keeps for a guest: named timers, deferred commands and the wake time. It is part of the state: equal on
//! every node, in every snapshot, and undone with a refused command.
//!
//! The host has one wake time. [`RuntimeState::slot`] is the earliest of all times here, and the engine passes it on
//! after each call that changes it.

mod deferrals;
mod section;
mod state;
#[cfg(test)]
mod tests;
mod timers;
mod undo;
mod wake_time;

pub(crate) use state::{Due, RuntimeState, WakeSlot};
pub(crate) use undo::UndoLog;
