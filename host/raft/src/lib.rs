//! Raft for Oarlock: a replicated log of opaque commands, and a state machine that they are applied to.
//!
//! A node of a cluster of three, with its log in memory:
//!
//! ```
//! # use task_queue_raft::RaftResult;
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use task_queue_raft::{Raft, MemoryStateMachine, create_raft};
//!
//! // Create a 3-node cluster
//! let node_id = "node1".to_string();
//! let peers = vec!["node2".to_string(), "node3".to_string()];
//! let state_machine = MemoryStateMachine::new();
//!
//! // Create and start Raft instance
//! let raft = create_raft(node_id, peers, state_machine);
//! raft.start().await?;
//!
//! // Submit a command (only works on leader)
//! let result = raft.submit_command(b"my_command").await;
//! match result {
//!     RaftResult::Success(index) => println!("Command committed at index {}", index),
//!     RaftResult::NotLeader { leader_id } => println!("Redirect to leader: {:?}", leader_id),
//!     RaftResult::Error(e) => eprintln!("Error: {}", e),
//! }
//!
//! // Check if this node is leader
//! if raft.is_leader().await {
//!     println!("This node is the leader");
//! }
//!
//! // Get current term
//! let term = raft.get_term().await;
//! println!("Current term: {}", term);
//! # // Without the other two it can't have become the leader of anything.
//! # assert_eq!(raft.submit_command("x").await, RaftResult::NotLeader { leader_id: None });
//! # raft.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Everything that can be set of it, as far as the cluster has to agree:
//!
//! ```
//! use std::time::Duration;
//! use task_queue_raft::{Raft, RaftConfig, MemoryStateMachine};
//!
//! let config = RaftConfig {
//!     node_id: "node1".to_string(),
//!     peers: vec!["node2".to_string(), "node3".to_string()],
//!     election_timeout_min: Duration::from_millis(1000),
//!     election_timeout_max: Duration::from_millis(2000),
//!     heartbeat_interval: Duration::from_millis(300),
//!     max_log_entries: 10000,
//!     snapshot_threshold: 5000,
//! };
//!
//! let raft = Raft::new(config, MemoryStateMachine::new());
//! # assert_eq!(raft.status().node_id.as_str(), "node1");
//! ```
//!
//! A log and snapshots on disk, a socket, another cluster's name and all bounds are set on [`Raft::builder`].
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
//! | [`address`] | how a peer is written |
//! | [`handle`] | one running node: [`Raft`], [`RaftConfig`], [`create_raft`] |
//! | [`entry`] | what the log holds: entries, commands, hard state |
//! | [`ids`] | node, term, index, log id, store id |

// A panic ends the process of the caller; return an error, or write in `unreachable!` why it cannot happen.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

pub mod address;
pub mod applier;
pub mod disk;
pub mod driver;
pub mod entry;
pub mod handle;
pub mod ids;
pub mod log;
pub mod message;
pub mod node;
pub mod raft;
pub mod state_machine;
pub mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use driver::{Applied, Consistency, SubmitError};
pub use handle::{
    Leadership, Raft, RaftBuilder, RaftConfig, RaftResult, StartError, Status, create_raft,
};
pub use state_machine::{MemoryStateMachine, ReplicatedStateMachine};
