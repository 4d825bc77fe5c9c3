//! What is known when a cluster is examined. A node reports [`NodeFacts`] in `GET /v1/doctor`. A later release adds fields with a
//! default, so that nodes of different releases can be examined together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::NodeStatus;

/// What is examined at the same time.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterFacts {
    /// The nodes that were asked, and the members that could not be asked.
    pub(crate) nodes: Vec<NodeSeen>,
    /// A data directory of a stopped node.
    pub(crate) directory: Option<DirectoryFacts>,
    /// Certificates outside of nodes.
    pub(crate) certificates: Vec<CertificateFacts>,
}

/// A node, as the one who examines sees it.
#[derive(Clone, Debug)]
pub(crate) struct NodeSeen {
    /// Its id. `None`: no other node knows who has this address.
    pub(crate) node_id: Option<String>,
    /// Where it was asked.
    pub(crate) endpoint: Option<String>,
    /// When it was asked and when it responded, by the clock of the one who examines, in milliseconds since 1970.
    pub(crate) asked_ms: Option<(u64, u64)>,
    /// What came back.
    pub(crate) answer: NodeAnswer,
}

impl NodeSeen {
    /// The facts, if the node has sent them.
    pub(crate) fn facts(&self) -> Option<&NodeFacts> {
        match &self.answer {
            NodeAnswer::Facts(facts) => Some(facts),
            NodeAnswer::Unreachable(_) | NodeAnswer::NoAddress | NodeAnswer::Refused(_) => None,
        }
    }
}

/// The response of a node.
#[derive(Clone, Debug)]
pub(crate) enum NodeAnswer {
    /// Its facts.
    Facts(Box<NodeFacts>),
    /// It does not respond, for this reason.
    Unreachable(String),
    /// No node knows its address for clients.
    NoAddress,
    /// It responds, and not with facts, for this reason.
    Refused(String),
}

/// What a node tells about itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NodeFacts {
    /// The status, with the fields of `GET /v1/status`.
    pub(crate) status: NodeStatus,
    /// The clock of the node, in milliseconds since 1970.
    pub(crate) time_ms: u64,
    /// The log.
    pub(crate) log: LogFacts,
    /// On the leader: the other members. Empty on other nodes.
    pub(crate) peers: Vec<PeerFacts>,
    /// The guest.
    pub(crate) guest: GuestFacts,
    /// The data directory and its disk.
    pub(crate) disk: DiskFacts,
    /// The process.
    pub(crate) process: ProcessFacts,
    /// Clients and encryption.
    pub(crate) access: AccessFacts,
    /// Versions and settings.
    pub(crate) levels: LevelFacts,
    /// What happened in the last minutes.
    pub(crate) recent: RecentFacts,
}

/// The log of a node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LogFacts {
    /// The last entry on the disk of this node.
    pub(crate) durable_index: u64,
    /// `--max-log-entries`.
    pub(crate) max_entries: u64,
    /// `--snapshot-threshold`.
    pub(crate) snapshot_threshold: u64,
    /// Entries above `max_entries`: the reserve for control records that is in use.
    pub(crate) reserve_used: u64,
    /// True if the disk was full at the last write.
    pub(crate) disk_full: bool,
    /// True if the newest snapshot was found damaged, and is not replaced yet.
    #[serde(default)]
    pub(crate) snapshot_damaged: bool,
}

/// A member, as the leader sees it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PeerFacts {
    /// Its id.
    pub(crate) node_id: String,
    /// True while the leader has a connection to it.
    pub(crate) connected: bool,
    /// Entries that are not on its disk yet.
    pub(crate) lag: u64,
    /// How long it has made no progress although entries wait for it, in milliseconds. At most the time that is remembered.
    pub(crate) stalled_ms: u64,
}

/// The guest of a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct GuestFacts {
    /// The time of the log, in milliseconds since 1970.
    pub(crate) log_time_ms: u64,
    /// When the guest wants to be woken, in time of the log; null if it does not.
    pub(crate) wake_at_ms: Option<u64>,
    /// Commands whose reply the guest has deferred.
    pub(crate) deferred: u64,
    /// How long one of them has waited at least, in milliseconds.
    pub(crate) oldest_deferred_ms: u64,
    /// The upgrade in progress; null without one.
    pub(crate) upgrade: Option<UpgradeFacts>,
}

/// An upgrade in progress.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UpgradeFacts {
    /// SHA-256 of the new module.
    pub(crate) sha256: String,
    /// When the leader aborts it, in time of the log.
    pub(crate) deadline_ms: u64,
    /// Voters that have not reported that they are ready.
    pub(crate) waits_for: Vec<String>,
}

/// The data directory of a node, and the disk below it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DiskFacts {
    /// The data directory.
    pub(crate) data_dir: String,
    /// False if another directory or none is at its path: it was removed or replaced while the node runs.
    pub(crate) data_dir_present: bool,
    /// Mode of the directory; null if it can't be read.
    pub(crate) mode: Option<u32>,
    /// Space of the file system; null if the operating system does not tell it.
    pub(crate) space: Option<SpaceFacts>,
}

/// The space of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SpaceFacts {
    /// Bytes that this user may still write.
    pub(crate) free_bytes: u64,
    /// All bytes.
    pub(crate) total_bytes: u64,
    /// Files that this user may still create; null where the file system has no limit.
    pub(crate) free_files: Option<u64>,
}

/// The process of a node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProcessFacts {
    /// Memory that the process uses, in bytes; null if the operating system does not tell it.
    pub(crate) memory_bytes: Option<u64>,
    /// The most memory that it can get, of its control group or the machine.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// Open file descriptors.
    pub(crate) descriptors: Option<u64>,
    /// The most open file descriptors.
    pub(crate) descriptor_limit: Option<u64>,
}

/// Clients of a node, and encryption.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AccessFacts {
    /// Open connections of clients.
    pub(crate) connections: u64,
    /// The most connections.
    pub(crate) max_connections: u64,
    /// True if connections are encrypted.
    pub(crate) encrypted: bool,
    /// True if only this machine can connect.
    pub(crate) loopback_only: bool,
    /// Seconds until the certificate of this node expires, negative afterwards; null without TLS.
    pub(crate) certificate_seconds: Option<i64>,
    /// The same for the first authority that expires.
    pub(crate) authority_seconds: Option<i64>,
}

/// Versions and settings of a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LevelFacts {
    /// Level of the cluster.
    pub(crate) level: u32,
    /// The highest level that this node supports.
    pub(crate) highest_level: u32,
    /// Flags of this node that differ from the settings of the cluster, which apply.
    pub(crate) differing_flags: Vec<String>,
    /// When the cluster was last backed up through this node, or as far as the log tells, in milliseconds since 1970; null if not known.
    pub(crate) backed_up_at_ms: Option<u64>,
}

/// What a node counted in the last minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RecentFacts {
    /// How many milliseconds are covered: up to 15 minutes.
    pub(crate) window_ms: u64,
    /// How often a leader was elected.
    pub(crate) leader_changes: u64,
    /// Connections of peers that were refused.
    pub(crate) refused_peers: u64,
    /// Calls on which the guest failed.
    pub(crate) guest_failures: u64,
    /// Queries that were refused because too many waited.
    pub(crate) overloaded_queries: u64,
    /// Connections of clients that were refused.
    pub(crate) rejected_connections: u64,
    /// Connections that were closed because the client did not read.
    pub(crate) stalled_clients: u64,
    /// Durable writes of the log.
    pub(crate) log_writes: u64,
    /// Their mean duration, in microseconds.
    pub(crate) mean_write_us: u64,
    /// The longest one, in microseconds.
    pub(crate) slowest_write_us: u64,
}

/// The data directory of a node that does not run.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryFacts {
    /// The path.
    pub(crate) path: String,
    /// What is there.
    pub(crate) content: DirectoryContent,
    /// Mode of the directory.
    pub(crate) mode: Option<u32>,
    /// Files that other users can read, although the directory or they should prevent it.
    pub(crate) exposed_files: Vec<String>,
    /// Whether this user owns it.
    pub(crate) is_own: bool,
    /// Space of its file system.
    pub(crate) space: Option<SpaceFacts>,
    /// 99th percentile of a durable write of 4 KiB, in microseconds.
    pub(crate) write_us: Option<u64>,
    /// The node was in quarantine when it stopped.
    pub(crate) is_quarantined: bool,
    /// The cluster refused commands, because states differ, when the node stopped.
    pub(crate) writes_stopped: bool,
    /// Decisions about entries that the node follows at its start.
    pub(crate) decisions: usize,
    /// Records next to the log that can't be read.
    pub(crate) unreadable_records: Vec<String>,
}

/// What is at the path of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirectoryContent {
    /// Nothing.
    Missing,
    /// Not a directory.
    NotADirectory,
    /// A directory without a log.
    Empty,
    /// A running process uses it.
    InUse,
    /// It can't be read, for this reason.
    Unreadable(String),
    /// A record is corrupt.
    Corrupt(String),
    /// A log. Every checksum has been compared.
    Log(StoredLogFacts),
}

/// The log of a node that does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredLogFacts {
    /// The node.
    pub(crate) node_id: String,
    /// Entries in the log.
    pub(crate) entries: u64,
    /// The last entry.
    pub(crate) last_index: u64,
    /// The last entry of the newest snapshot; 0 without one.
    pub(crate) snapshot_index: u64,
    /// Whether the store has all that the node ever acknowledged.
    pub(crate) is_complete: bool,
    /// Whether the node is a member in its own log; `None` if the log does not tell.
    pub(crate) is_member: Option<bool>,
}

/// A certificate in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// The file.
    pub(crate) file: String,
    /// Whether it is that of an authority.
    pub(crate) is_authority: bool,
    /// Seconds until it expires; negative afterwards.
    pub(crate) seconds: i64,
}
