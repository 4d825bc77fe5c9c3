//! A host in memory, for native tests of a guest.
//!
//! [`Harness`] runs one state machine. [`TestCluster`] runs several replicas, across restores and upgrades, and fails if
//! they diverge. [`assert_live_and_restored_agree`] does the same for a list of entries.

mod agree;
mod cluster;
mod harness;
mod layout;
mod recorder;
#[cfg(feature = "schema")]
mod schema;

pub use agree::{TestStep, assert_live_and_restored_agree};
pub use cluster::TestCluster;
pub use harness::{Harness, START_MS, TestOutcome};
pub use layout::layout;
pub use recorder::{LogLine, TestReply};
#[cfg(feature = "schema")]
pub use schema::MessageSchema;
