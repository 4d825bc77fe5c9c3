//! A guest that is rolled back to its last state after a failed call.
//!
//! A trap poisons the wasmtime store and leaves the guest's memory inconsistent. So the state before the call is
//! rebuilt in a new instance. Five types share the work:
//!
//! | type | holds |
//! |---|---|
//! | [`Journal`](journal::Journal) | the calls since the last checkpoint |
//! | [`Checkpoints`](checkpoint::Checkpoints) | the last snapshot of the guest, and the thread that writes the next one |
//! | [`MemoryImage`](image::MemoryImage) | a frozen copy of the guest's memory, much newer than the checkpoint, if the guest allows it |
//! | [`QueryReplicas`](replicas::QueryReplicas) | instances for queries, so that a query can't change the state |
//! | [`RecoverableGuest`](recoverable::RecoverableGuest) | the serving instance and the four above |
//!
//! A rollback starts a new instance over the memory image, or restores the checkpoint, and then replays the later calls
//! of the journal without effects. The guest is a function of its state and its calls, so this leads to the same state.
//! Each replayed call is compared with its first execution.

pub(crate) mod checkpoint;
mod compaction;
pub(crate) mod factory;
pub(crate) mod image;
pub(crate) mod journal;
pub(crate) mod kept;
pub(crate) mod query_pool;
pub(crate) mod recoverable;
pub(crate) mod replica;
pub(crate) mod replicas;
pub(crate) mod rules;
pub(crate) mod schedule;
pub(crate) mod stopwatch;
