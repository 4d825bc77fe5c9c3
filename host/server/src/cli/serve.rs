//! Flags of `oarlock serve`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::common::{ConfigArgs, DataDirArgs};
use crate::module_check::{DEFAULT_MEMORY_MIB, DEFAULT_SECONDS};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Flags of `oarlock serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock serve\n  oarlock serve --bootstrap --node-id node1 --peer-addr 127.0.0.1:7101      the first node of a cluster that grows\n  oarlock serve --node-id node1 --peer-addr 127.0.0.1:7101 --client-addr 127.0.0.1:8101 \\\n      --cluster node1=127.0.0.1:7101,node2=127.0.0.1:7102,node3=127.0.0.1:7103 \\\n      --data-dir data/node1 --state-machine examples-wasm/dist/queue.wasm\n  oarlock serve --join --node-id node4 --peer-addr 127.0.0.1:7104 --client-addr 127.0.0.1:8104 --data-dir data/node4"
)]
pub(crate) struct ServeArgs {
    /// Id of this node, 1 to 255 visible ASCII characters other than `@`, `,` and `=`. Default: node1, for a single-node
    /// cluster.
    #[arg(long, value_name = "ID", env = "OARLOCK_NODE_ID")]
    pub(crate) node_id: Option<String>,
    /// Address for peers. Default: the node's address in --cluster, or 127.0.0.1:7101.
    #[arg(long, value_name = "HOST:PORT", env = "OARLOCK_PEER_ADDR")]
    pub(crate) peer_addr: Option<String>,
    /// Address for clients (HTTP).
    #[arg(long, value_name = "HOST:PORT", env = "OARLOCK_CLIENT_ADDR")]
    #[arg(default_value = "127.0.0.1:8101")]
    pub(crate) client_addr: String,
    /// Initial members with their addresses for peers, the same list on every node: node1=host:port,node2=host:port,…
    /// A new cluster starts once all of them run with empty data directories. A node with data ignores other members than
    /// those in its data directory, and logs the difference.
    #[arg(long, value_name = "ID=HOST:PORT,…", env = "OARLOCK_CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// Cluster id. Connections from nodes with another cluster id are refused, and so is a data directory with another one.
    /// Default: the one in the data directory; for a new cluster, derived from --cluster.
    #[arg(long, value_name = "NAME", env = "OARLOCK_CLUSTER_ID")]
    pub(crate) cluster_id: Option<String>,
    /// Begin a new cluster of this node alone, if the data directory is empty. Needed once, for the first start of the
    /// first node, if --node-id, --peer-addr or a --cluster of one node is set. With data in the directory the flag has
    /// no effect. Don't keep it in a start script: if the disk is replaced, the node would begin an empty cluster instead
    /// of waiting for its own.
    #[arg(long, env = "OARLOCK_BOOTSTRAP", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) bootstrap: bool,
    /// Start without a cluster and wait for `oarlock members add`, which also gives the node its cluster id. Ignored if
    /// the data directory already belongs to a cluster. A node with --node-id or --peer-addr and without --cluster does so
    /// too.
    #[arg(long, env = "OARLOCK_JOIN", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) join: bool,
    /// If files in the data directory are corrupt, move them to a directory damaged-1, damaged-2, … and rejoin as an empty
    /// node. Snapshot and log come from the leader, and the node does not vote until it has caught up. Without the flag,
    /// a node with corrupt files lists them and exits.
    #[arg(long, env = "OARLOCK_REPAIR", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) repair: bool,
    /// Start on a copy of the data directory of the only voter of a cluster. What was acknowledged after the copy was made
    /// is missing in it, and no other node can tell. Without the flag such a node exits. Needed once. The flag also makes
    /// the only voter go on without the last write of its log, if that is corrupt.
    #[arg(long, env = "OARLOCK_ACCEPT_COPY", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) accept_copy: bool,
    /// The data directory.
    #[command(flatten)]
    pub(crate) storage: DataDirArgs,
    /// Directory for compiled code, so that a node compiles a guest once and not at every start. It must belong to this
    /// user only (mode 0700). Several nodes of one machine may share it. Default: `compiled` in the data directory.
    #[arg(long, value_name = "DIR", env = "OARLOCK_COMPILED_DIR")]
    pub(crate) compiled_dir: Option<PathBuf>,
    /// Most memory for the check of a new module, in MiB. A node checks and compiles a module in a child process.
    #[arg(long, value_name = "MIB", env = "OARLOCK_MODULE_CHECK_MEMORY_MIB")]
    #[arg(default_value_t = DEFAULT_MEMORY_MIB, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(crate) module_check_memory_mib: u64,
    /// Most processor time for the check of a new module, in seconds, over all processors.
    #[arg(long, value_name = "S", env = "OARLOCK_MODULE_CHECK_SECONDS")]
    #[arg(default_value_t = DEFAULT_SECONDS, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) module_check_seconds: u64,
    /// How often the leader makes all nodes compare their state hashes, in milliseconds, if entries were applied since. A
    /// node whose state differs from the majority stops serving and reinstalls its state from the leader.
    #[arg(long, value_name = "MS", env = "OARLOCK_AUDIT_INTERVAL_MS")]
    #[arg(default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub(crate) audit_interval_ms: u64,
    /// How often the leader makes all nodes compare their complete states, in milliseconds, if entries were applied since. Each
    /// node then writes its state on a copy, which takes time and memory like a snapshot. The effect of a difference is that
    /// of --audit-interval-ms.
    #[arg(long, value_name = "MS", env = "OARLOCK_STATE_AUDIT_INTERVAL_MS")]
    #[arg(default_value_t = 3_600_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub(crate) state_audit_interval_ms: u64,
    /// State machine: a WebAssembly component, a core module with embedded WIT, or either in text format. Default: the
    /// built-in task queue. After an upgrade, any module that the cluster has run is accepted; the active one runs.
    #[arg(long, value_name = "FILE", env = "OARLOCK_STATE_MACHINE")]
    pub(crate) state_machine: Option<PathBuf>,
    /// Accept only modules that a key in this file has signed: one public key of `oarlock sign-module --new-key` on each line.
    /// It covers upgrades, and --state-machine, whose signature is in FILE.sig. Set it on every node: an upgrade is aborted if
    /// one voter does not accept the module. The file is read when the node starts.
    #[arg(long, value_name = "FILE", env = "OARLOCK_MODULE_SIGNERS")]
    pub(crate) module_signers: Option<PathBuf>,
    /// Maximum number of client connections. A further one takes the place of the one that has been idle longest, or is closed at
    /// once if none is idle.
    #[arg(
        long,
        value_name = "N",
        env = "OARLOCK_MAX_CONNECTIONS",
        default_value_t = 10_000
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_connections: u32,
    /// Memory for replies and events that wait until clients read them, in MiB. Past it, the connection that has read nothing for
    /// longest is closed.
    #[arg(
        long,
        value_name = "MIB",
        env = "OARLOCK_MAX_WAITING_MIB",
        default_value_t = 256
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub(crate) max_waiting_mib: u64,
    /// A name by which clients reach this node, such as that of a proxy or a load balancer; several are separated by commas.
    /// Without it, a node accepts requests for loopback names and its own client address. Web pages with another name can't
    /// use it.
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        env = "OARLOCK_ALLOW_HOST"
    )]
    pub(crate) allow_host: Vec<String>,
    /// Use TLS to peers and clients, with the files in this directory, which `oarlock cert node` has written: ca.crt, node.crt,
    /// node.key, and revoked, if there is one. The node reads them again when they change, and on SIGHUP. Set it on every node
    /// of a cluster or on none.
    #[arg(long, value_name = "DIR", env = "OARLOCK_CERTS_DIR")]
    #[arg(conflicts_with = "insecure")]
    pub(crate) certs_dir: Option<PathBuf>,
    /// Listen on addresses other than loopback without encryption and without authentication. Everyone who can connect can
    /// then read and change everything. For trusted private networks only.
    #[arg(long, env = "OARLOCK_INSECURE", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) insecure: bool,
    /// Log level or filter, for example `info,task_queue_raft=debug`.
    #[arg(
        long,
        value_name = "FILTER",
        env = "OARLOCK_LOG",
        default_value = "info"
    )]
    pub(crate) log: String,
    /// How log lines are written to standard error. JSON: one object on each line, with `time`, `level`, `target`, `message`
    /// and `fields`.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        env = "OARLOCK_LOG_FORMAT"
    )]
    pub(crate) log_format: LogFormatArg,
    /// Timeouts and log size.
    #[command(flatten)]
    pub(crate) raft: RaftArgs,
    /// Limits of the guest.
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: ConfigArgs,
}

/// Timeouts and log size of Raft.
#[derive(Debug, Args)]
#[command(next_help_heading = "Replication")]
pub(crate) struct RaftArgs {
    /// Shortest election timeout, in milliseconds: a follower without a heartbeat for this long starts an election.
    #[arg(long, value_name = "MS", env = "OARLOCK_ELECTION_TIMEOUT_MIN_MS")]
    #[arg(default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) election_timeout_min_ms: u64,
    /// Longest election timeout, in milliseconds. Each timeout is random between the two.
    #[arg(long, value_name = "MS", env = "OARLOCK_ELECTION_TIMEOUT_MAX_MS")]
    #[arg(default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) election_timeout_max_ms: u64,
    /// Interval of the leader's heartbeats, in milliseconds. Must be below the shortest election timeout.
    #[arg(long, value_name = "MS", env = "OARLOCK_HEARTBEAT_INTERVAL_MS")]
    #[arg(default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) heartbeat_interval_ms: u64,
    /// Maximum number of entries in the log. When it is reached, commands wait until a snapshot frees space.
    #[arg(long, value_name = "N", env = "OARLOCK_MAX_LOG_ENTRIES")]
    #[arg(default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(2..=1_000_000_000))]
    pub(crate) max_log_entries: u64,
    /// Number of applied entries after which a snapshot is taken. Must be below --max-log-entries.
    #[arg(long, value_name = "N", env = "OARLOCK_SNAPSHOT_THRESHOLD")]
    #[arg(default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) snapshot_threshold: u64,
    /// Rate limit for sending snapshots, in bytes per second, for all peers together. Default: no limit.
    #[arg(long, value_name = "BYTES", env = "OARLOCK_SNAPSHOT_BYTES_PER_SECOND")]
    #[arg(value_parser = clap::value_parser!(u64).range(1024..))]
    pub(crate) snapshot_bytes_per_second: Option<u64>,
    /// How often the newest snapshot is read to its end and its checksum compared, in seconds. A damaged one is not sent to other
    /// nodes, and is replaced by a new one.
    #[arg(long, value_name = "S", env = "OARLOCK_SNAPSHOT_CHECK_INTERVAL_S")]
    #[arg(default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub(crate) snapshot_check_interval_s: u64,
    /// Enable leader leases: the leader serves linearizable queries without a round to a majority. This assumes that the
    /// clocks of any two nodes differ in speed by at most this percentage, and that no clock stops while its node runs
    /// (as in a paused virtual machine). Set it on every node. Default: off; no clock matters.
    #[arg(long, value_name = "PERCENT", env = "OARLOCK_LEASE_DRIFT_PERCENT")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) lease_drift_percent: Option<u32>,
    /// How far the clock of a node may differ from the clocks of a majority, in milliseconds. The time by which the guest
    /// measures delays is never later than these clocks plus this bound. A node that differs by more does not lead while
    /// another one can, and reports it in its status. Set the same on every node.
    #[arg(long, value_name = "MS", env = "OARLOCK_MAX_CLOCK_SKEW_MS")]
    #[arg(default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub(crate) max_clock_skew_ms: u64,
}

/// Limits of the guest. Except for those of queries they decide outcomes, so they are replicated settings: the flags propose
/// them when a cluster begins. At cluster level 0 they apply, and must be equal on all nodes.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Guest limits (proposed for a new cluster; later: oarlock settings set)"
)]
pub(crate) struct GuestArgs {
    /// Maximum size of a command or query, in bytes. Larger ones are refused (HTTP 413).
    #[arg(long, value_name = "BYTES", env = "OARLOCK_MAX_COMMAND_BYTES")]
    #[arg(default_value_t = 1_048_576, value_parser = clap::value_parser!(u64).range(1..=33_554_432))]
    pub(crate) max_command_bytes: u64,
    /// Fuel for one command, about 1 per WebAssembly instruction. A command that exceeds it fails (`out_of_fuel`).
    #[arg(long, value_name = "FUEL", env = "OARLOCK_FUEL_PER_COMMAND")]
    #[arg(default_value_t = 1_000_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) fuel_per_command: u64,
    /// Fuel for one query. A query that exceeds it fails (`out_of_fuel`).
    #[arg(long, value_name = "FUEL", env = "OARLOCK_FUEL_PER_QUERY")]
    #[arg(default_value_t = 10_000_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) fuel_per_query: u64,
    /// Maximum memory of the guest, in bytes.
    #[arg(long, value_name = "BYTES", env = "OARLOCK_GUEST_MEMORY_BYTES")]
    #[arg(default_value_t = 1_073_741_824, value_parser = clap::value_parser!(u64).range(65_536..=4_294_967_296))]
    pub(crate) guest_memory_bytes: u64,
    /// Maximum number of idempotency keys that are kept. The oldest are dropped first.
    #[arg(long, value_name = "N", env = "OARLOCK_MAX_IDEMPOTENCY_KEYS")]
    #[arg(default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    pub(crate) max_idempotency_keys: u64,
    /// How long an idempotency key is kept, in milliseconds.
    #[arg(long, value_name = "MS", env = "OARLOCK_IDEMPOTENCY_TTL_MS")]
    #[arg(default_value_t = 86_400_000, value_parser = clap::value_parser!(u64).range(0..=31_536_000_000))]
    pub(crate) idempotency_ttl_ms: u64,
}
