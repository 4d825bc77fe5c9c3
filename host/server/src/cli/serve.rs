//! Flags of `oarlock serve`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::CommonArgs;

/// Flags of `oarlock serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock serve\n  oarlock serve --node-id node1 --peer-addr 127.0.0.1:7101 --client-addr 127.0.0.1:8101 \\\n      --cluster node1=127.0.0.1:7101,node2=127.0.0.1:7102,node3=127.0.0.1:7103 \\\n      --data-dir data/node1 --state-machine examples-wasm/dist/queue.wasm\n  oarlock serve --join --node-id node4 --peer-addr 127.0.0.1:7104 --client-addr 127.0.0.1:8104 --data-dir data/node4"
)]
pub(crate) struct ServeArgs {
    /// Name of this node in the cluster. Default: node1, for a node that is alone.
    #[arg(long, value_name = "ID", env = "OARLOCK_NODE_ID")]
    pub(crate) node_id: Option<String>,
    /// Where this node listens for its peers. Default: its address in --cluster, or 127.0.0.1:7101.
    #[arg(long, value_name = "HOST:PORT", env = "OARLOCK_PEER_ADDR")]
    pub(crate) peer_addr: Option<String>,
    /// Where this node serves clients over HTTP.
    #[arg(long, value_name = "HOST:PORT", env = "OARLOCK_CLIENT_ADDR")]
    #[arg(default_value = "127.0.0.1:8101")]
    pub(crate) client_addr: String,
    /// All nodes of the cluster, the same list on each: node1=host:port,node2=host:port,… Default: this node alone.
    #[arg(long, value_name = "ID=HOST:PORT,…", env = "OARLOCK_CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// Name of the cluster; nodes of another one are refused. Default: derived from --cluster.
    #[arg(long, value_name = "NAME", env = "OARLOCK_CLUSTER_ID")]
    pub(crate) cluster_id: Option<String>,
    /// Start empty and wait to be added to a cluster (`oarlock members add`), whose name the node learns then. What the
    /// data directory says of an earlier run counts more.
    #[arg(long, env = "OARLOCK_JOIN", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) join: bool,
    /// If files in the data directory are damaged, set them aside (they are kept in damaged-1, damaged-2, …) and get
    /// everything from the other nodes. This node does not vote until it has. Without the flag it stops and names them.
    #[arg(long, env = "OARLOCK_REPAIR", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) repair: bool,
    /// Where log, vote and snapshots are kept; each node has its own.
    #[arg(
        long,
        value_name = "DIR",
        env = "OARLOCK_DATA_DIR",
        default_value = "./oarlock-data"
    )]
    pub(crate) data_dir: PathBuf,
    /// Where this node keeps what it compiled, so that it compiles a guest once and not at every start: a directory of this
    /// user alone, which several nodes on one machine may share. Default: `compiled` in the data directory.
    #[arg(long, value_name = "DIR", env = "OARLOCK_COMPILED_DIR")]
    pub(crate) compiled_dir: Option<PathBuf>,
    /// How often the leader has the nodes compare their states, in milliseconds, where anything has been applied since. A
    /// node that differs from the majority stops serving.
    #[arg(long, value_name = "MS", env = "OARLOCK_AUDIT_INTERVAL_MS")]
    #[arg(default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub(crate) audit_interval_ms: u64,
    /// The guest: a component, a core module with embedded WIT, or the text of either. Default: the built-in task queue.
    #[arg(long, value_name = "FILE", env = "OARLOCK_STATE_MACHINE")]
    pub(crate) state_machine: Option<PathBuf>,
    /// Connections of clients at a time; more are closed at once.
    #[arg(
        long,
        value_name = "N",
        env = "OARLOCK_MAX_CONNECTIONS",
        default_value_t = 10_000
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_connections: u32,
    /// What to log: a level, or a filter as in `info,task_queue_raft=debug`.
    #[arg(
        long,
        value_name = "FILTER",
        env = "OARLOCK_LOG",
        default_value = "info"
    )]
    pub(crate) log: String,
    /// Timing and log.
    #[command(flatten)]
    pub(crate) raft: RaftArgs,
    /// What the guest may use.
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Timing and log of Raft.
#[derive(Debug, Args)]
#[command(next_help_heading = "Replication")]
pub(crate) struct RaftArgs {
    /// A follower waits at least this long for its leader before it stands for election, in milliseconds.
    #[arg(long, value_name = "MS", env = "OARLOCK_ELECTION_TIMEOUT_MIN_MS")]
    #[arg(default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) election_timeout_min_ms: u64,
    /// … and at most this long, in milliseconds.
    #[arg(long, value_name = "MS", env = "OARLOCK_ELECTION_TIMEOUT_MAX_MS")]
    #[arg(default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) election_timeout_max_ms: u64,
    /// A leader is heard at least this often, in milliseconds.
    #[arg(long, value_name = "MS", env = "OARLOCK_HEARTBEAT_INTERVAL_MS")]
    #[arg(default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) heartbeat_interval_ms: u64,
    /// Entries that the log holds at most.
    #[arg(long, value_name = "N", env = "OARLOCK_MAX_LOG_ENTRIES")]
    #[arg(default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(2..=1_000_000_000))]
    pub(crate) max_log_entries: u64,
    /// A snapshot is taken after this many entries.
    #[arg(long, value_name = "N", env = "OARLOCK_SNAPSHOT_THRESHOLD")]
    #[arg(default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) snapshot_threshold: u64,
    /// Bytes of snapshots that this node sends in a second, to all peers together. Default: no limit.
    #[arg(long, value_name = "BYTES", env = "OARLOCK_SNAPSHOT_BYTES_PER_SECOND")]
    #[arg(value_parser = clap::value_parser!(u64).range(1024..))]
    pub(crate) snapshot_bytes_per_second: Option<u64>,
    /// Let the leader answer linearizable queries without asking a majority for each, trusting that no two nodes' clocks
    /// differ in speed by more than this many percent and that none stands still while its node runs on (as in a virtual
    /// machine that is paused). Set it on every node. Default: the leader asks, and no clock matters.
    #[arg(long, value_name = "PERCENT", env = "OARLOCK_LEASE_DRIFT_PERCENT")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) lease_drift_percent: Option<u32>,
}

/// What a guest may use. These decide about outcomes, so they must be equal on every node.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of the guest (the same on every node)")]
pub(crate) struct GuestArgs {
    /// Size of a command or a query, in bytes; larger ones are refused.
    #[arg(long, value_name = "BYTES", env = "OARLOCK_MAX_COMMAND_BYTES")]
    #[arg(default_value_t = 1_048_576, value_parser = clap::value_parser!(u64).range(1..=33_554_432))]
    pub(crate) max_command_bytes: u64,
    /// Fuel for one command, about one for each instruction of the guest.
    #[arg(long, value_name = "FUEL", env = "OARLOCK_FUEL_PER_COMMAND")]
    #[arg(default_value_t = 1_000_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) fuel_per_command: u64,
    /// Fuel for one query.
    #[arg(long, value_name = "FUEL", env = "OARLOCK_FUEL_PER_QUERY")]
    #[arg(default_value_t = 10_000_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) fuel_per_query: u64,
    /// Memory of the guest, in bytes.
    #[arg(long, value_name = "BYTES", env = "OARLOCK_GUEST_MEMORY_BYTES")]
    #[arg(default_value_t = 1_073_741_824, value_parser = clap::value_parser!(u64).range(65_536..=4_294_967_296))]
    pub(crate) guest_memory_bytes: u64,
    /// Idempotency keys that are remembered.
    #[arg(long, value_name = "N", env = "OARLOCK_MAX_IDEMPOTENCY_KEYS")]
    #[arg(default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    pub(crate) max_idempotency_keys: u64,
    /// How long an idempotency key is remembered, in milliseconds.
    #[arg(long, value_name = "MS", env = "OARLOCK_IDEMPOTENCY_TTL_MS")]
    #[arg(default_value_t = 86_400_000, value_parser = clap::value_parser!(u64).range(0..=31_536_000_000))]
    pub(crate) idempotency_ttl_ms: u64,
}
