//! Errors of the stores.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::types::Index;

/// Why a store could not do what it was asked. All but [`StorageError::Full`] end the node: a write that failed once
/// is never tried again as if nothing had happened (fsync reports an error only once).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "cannot write".
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The disk has no room. Nothing of the write is there, and the store goes on as it was before: the only error that
    /// does not end the node.
    #[error("{doing} {}: the disk is full ({source}); make room on it", path.display())]
    Full {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("the log database failed while {doing}: {source}")]
    Database {
        /// What was tried, as in "appending entries".
        doing: &'static str,
        /// What the database says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record is not what was written.
    #[error(
        "{record} is damaged: {reason}; this node must not vote or serve from it: start it with --repair, and it sets its files aside and gets everything from its peers; or restore the data directory from a backup"
    )]
    Corrupt {
        /// Which record, as in "entry 17".
        record: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Damaged files were set aside before, as often as they are kept.
    #[error("{} holds {limit} sets of damaged files already; remove those that nobody needs (damaged-1, …), then start again", path.display())]
    TooManySetAside {
        /// Which directory.
        path: PathBuf,
        /// How many are kept.
        limit: u32,
    },
    /// Another program holds the store.
    #[error("{} is in use by another process; stop that one first", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// The store was made by a version that this one doesn't know.
    #[error("{} has format {found}, and this version reads up to {known}: start a newer oarlock", path.display())]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The store belongs to another node or cluster.
    #[error("{} belongs to {what} {found}, not {expected}: each node needs its own data directory", path.display())]
    Foreign {
        /// Which directory.
        path: PathBuf,
        /// "node" or "cluster".
        what: &'static str,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// More bytes than a store takes.
    #[error("{what} has {bytes} bytes, and the limit is {limit}: make it smaller")]
    TooLarge {
        /// What it is, as in "entry 17".
        what: String,
        /// Its size.
        bytes: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// The caller asked for something that the log does not hold: a fault of this program.
    #[error("the log holds entries {first} to {last}, and {wanted} was asked for; this is a bug")]
    OutOfRange {
        /// First index kept.
        first: Index,
        /// Last index kept.
        last: Index,
        /// What was asked for.
        wanted: Index,
    },
}

impl StorageError {
    /// Whether only room is missing, and the store goes on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// The same, where nobody may go on.
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
