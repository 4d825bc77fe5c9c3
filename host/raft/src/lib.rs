//! Raft for Oarlock: a replicated log of opaque commands, and a state machine that they are applied to.
//!
//! | module | holds |
//! |---|---|
//! | [`raft`] | the consensus core: inputs in, [`Ready`](raft::ready::Ready) out. No clock, no IO |
//! | [`log`] | the log as the core sees it |
//! | [`message`] | what nodes say to each other |
//! | [`state_machine`] | the trait of a state machine, and one in memory |
//! | [`storage`] | the trait of a log store and of a snapshot store; redb, files, memory |
//! | [`driver`] | carries out what the core wants, in the one order that is safe |
//! | [`disk`], [`applier`] | the two ends of the driver that do the work: on the disk, on the machine |
//! | [`node`] | peers over TCP |
//! | [`handle`] | one running node: [`Raft`], [`RaftConfig`], [`create_raft`] |
//! | [`types`] | node, term, index, entry |

pub mod applier;
pub mod disk;
pub mod driver;
pub mod handle;
pub mod log;
pub mod message;
pub mod node;
pub mod raft;
pub mod state_machine;
pub mod storage;
pub mod types;

pub use driver::{Applied, Consistency, SubmitError};
pub use handle::{Raft, RaftBuilder, RaftConfig, RaftResult, StartError, Status, create_raft};
pub use state_machine::{MemoryStateMachine, StateMachine};
