//! The frame of a backup, and its description.

use serde::{Deserialize, Serialize};

pub(super) const MAGIC: &[u8; 8] = b"OARLBKUP";
pub(super) const VERSION: u32 = 1;
/// Magic, version and length of the manifest.
pub(super) const HEAD_BYTES: usize = 16;
pub(super) const MAX_MANIFEST_BYTES: usize = 1 << 20;
pub(super) const DIGEST_BYTES: usize = 32;

/// The description of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The cluster that it was made of.
    pub(crate) cluster_id: String,
    /// The history of that cluster, in hex.
    pub(crate) lineage: String,
    /// The cluster level: which formats the state uses.
    pub(crate) level: u32,
    /// The node that made it.
    pub(crate) node_id: String,
    /// Term of the last entry that the state contains.
    pub(crate) term: u64,
    /// Index of that entry.
    pub(crate) index: u64,
    /// Time of that entry, in milliseconds since 1970.
    pub(crate) time_ms: u64,
    /// Length of the state machine's bytes.
    pub(crate) state_bytes: u64,
    /// The members of the cluster at that entry.
    pub(crate) members: Vec<BackupMember>,
    /// Name of the guest.
    pub(crate) guest: String,
    /// Version of the guest.
    pub(crate) guest_version: u32,
    /// The release that made the backup.
    pub(crate) release: String,
}

/// A member of the cluster of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackupMember {
    /// Its id.
    pub(crate) node_id: String,
    /// Its address for peers.
    pub(crate) peer_addr: String,
    /// Whether it votes.
    pub(crate) votes: bool,
}
