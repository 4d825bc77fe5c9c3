//! Errors of the stores.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::ids::Index;

/// Why an operation of a store failed. Every error except [`StorageError::Full`] stops the node. A failed write is never
/// retried, because fsync reports an error only once: a second fsync could succeed although the data is lost.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system returned an error.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// The operation that failed, for example "cannot write".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The disk is full. Nothing of the write is stored, and the store is unchanged and usable: this is the only error
    /// that does not stop the node.
    #[error("{doing} {}: the disk is full ({source}); free space on it", path.display())]
    Full {
        /// The operation that failed.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The database returned an error.
    #[error("the log database failed while {doing}: {source}")]
    Database {
        /// The operation that failed, for example "appending entries".
        doing: &'static str,
        /// The error of the database.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record differs from what was written: its checksum or its structure is wrong.
    #[error(
        "{record} is corrupt: {reason}; the node must not vote or serve with it: start the node with --repair, so that it keeps its files aside and rejoins as an empty node. Do not replace the directory by an older copy: it lacks what this node has acknowledged since"
    )]
    Corrupt {
        /// The record, for example "entry 17".
        record: String,
        /// What is wrong with the record.
        reason: String,
    },
    /// Corrupt files were set aside before, and the limit of kept sets is reached.
    #[error("{} already has {limit} sets of corrupt files; move damaged-1, … to another place, then start the node again. A disk that corrupts files again and again must be replaced", path.display())]
    TooManySetAside {
        /// The data directory.
        path: PathBuf,
        /// The most sets that are kept.
        limit: u32,
    },
    /// Another process uses the store.
    #[error("{} is in use by another process; stop that process first", path.display())]
    InUse {
        /// The file or directory.
        path: PathBuf,
    },
    /// The store was written by a later version.
    #[error("{} has format {found}, and this version reads up to {known}: run a newer release of oarlock", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The version of its format.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// The store belongs to another node or cluster.
    #[error("{} belongs to {what} {found}, not {expected}: each node needs its own data directory. Correct the path or the id; do not empty the directory", path.display())]
    Foreign {
        /// The data directory.
        path: PathBuf,
        /// "node" or "cluster".
        what: &'static str,
        /// The id in the store.
        found: String,
        /// The configured id.
        expected: String,
    },
    /// The directory is a copy, and its node is the only voter of the cluster.
    #[error("{} is a copy of a data directory, and no other member can tell what it lacks: what was acknowledged after the copy was made, and members that were added since. If the original directory still exists, start the node on that one. If it is gone and no other member has data, start the node once with --accept-copy", path.display())]
    CopyOfOnlyVoter {
        /// The data directory.
        path: PathBuf,
    },
    /// The end of the log is corrupt, and its node is the only voter of the cluster.
    #[error("{}: {reason}. This node may have acknowledged what was there, and no other member has it. Keep the data directory, and start the node once with --accept-copy to go on without it", path.display())]
    LossOfOnlyVoter {
        /// The data directory.
        path: PathBuf,
        /// Where the corruption is.
        reason: String,
    },
    /// An entry, name or snapshot is over the limit of the store.
    #[error("{what} has {bytes} bytes, and the limit is {limit}: make it smaller")]
    TooLarge {
        /// What is too large, for example "entry 17".
        what: String,
        /// Its size, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The requested entry is not in the log: a bug in this program.
    #[error(
        "the log has the entries {first} to {last}, and entry {wanted} was requested; this is a bug, please report it"
    )]
    OutOfRange {
        /// The first index in the log.
        first: Index,
        /// The last index in the log.
        last: Index,
        /// The requested index.
        wanted: Index,
    },
}

impl StorageError {
    /// Whether the disk is full: the store is unchanged and usable.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Converts [`StorageError::Full`] into an error that stops the node.
    pub(super) fn into_final(self) -> Self {
        match self {
            Self::Full {
                doing,
                path,
                source,
            } => Self::Io {
                doing,
                path,
                source,
            },
            other => other,
        }
    }
}
