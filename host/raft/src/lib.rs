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
//! # // Without the other two nodes it can't be elected.
//! # assert_eq!(raft.submit_command("x").await, RaftResult::NotLeader { leader_id: None });
//! # raft.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! All settings of [`RaftConfig`]:
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
//! [`Raft::builder`] has setters for the other settings: data directory, socket, name of the cluster, limits.
//!
//! # Modules
//!
//! In the order of the layers, lowest first:
//!
//! | module | content |
//! |---|---|
//! | [`ids`] | node, term, index, log position |
//! | [`identity`] | hellos of peers, runs of stores, and what a node remembers of them |
//! | [`entry`] | entries of the log, commands, snapshot metadata |
//! | [`message`] | the messages between nodes |
//! | [`log`] | the log as the core sees it |
//! | [`raft`] | the consensus core: inputs in, [`Ready`](raft::ready::Ready) out. No clock, no IO |
//! | [`storage`] | the traits of the log store and of the snapshot store, and their implementations: segments and redb, files, memory |
//! | [`state_machine`] | the trait of a replicated state machine, and one in memory |
//! | [`disk`], [`applier`] | run the tasks of the disk and of the state machine |
//! | [`driver`] | executes what the core decides, in the one safe order |
//! | [`address`] | addresses of peers |
//! | [`node`] | peers over TCP |
//! | [`handle`] | a running node: [`Raft`], [`RaftConfig`], [`create_raft`] |

pub mod address;
pub mod applier;
pub mod disk;
pub mod driver;
pub mod entry;
pub mod handle;
pub mod identity;
pub mod ids;
pub mod log;
pub mod message;
pub mod node;
pub mod raft;
mod random;
pub mod state_machine;
pub mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use driver::{Applied, Consistency, SnapshotFailures, SubmitError};
pub use entry::CLUSTER_LEVEL;
pub use handle::{
    Leadership, Raft, RaftBuilder, RaftConfig, RaftResult, StartError, Status, create_raft,
};
pub use state_machine::{MemoryStateMachine, ReplicatedStateMachine};
