//! Why an archive can't be used.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::backup::BackupError;

/// Why an archive can't be used. Every message names the file.
#[derive(Debug, Error)]
pub(crate) enum ArchiveError {
    /// Another process writes it.
    #[error("{} is in use: another `oarlock archive` writes it; stop that one, or use another directory", .0.display())]
    InUse(PathBuf),
    /// A file begins with other bytes.
    #[error("{} is not a segment of an archive; remove the file, or use another directory", .0.display())]
    NotASegment(PathBuf),
    /// A later release has written it.
    #[error("{} has format {found}, and this release reads {known}; use a later release", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this release.
        known: u32,
    },
    /// Bytes are not those that were written.
    #[error("{} is damaged at byte {offset}: {what}; entries after that point can't be restored from this archive: use a copy of the file, or begin a new archive in another directory", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first byte of what is damaged.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The end of the newest segment is not complete.
    #[error("{} ends with {bytes} bytes that are not complete: a crash has cut off its end, or it is damaged; what is before is sound. Run `oarlock archive` again: it writes the end again", path.display())]
    IncompleteEnd {
        /// The file.
        path: PathBuf,
        /// How many bytes can't be used.
        bytes: u64,
    },
    /// Entries between two segments are missing.
    #[error("entries {from} to {to} are missing before {}; a file of the archive was removed: bring it back, or begin a new archive in another directory", path.display())]
    Missing {
        /// The first missing entry.
        from: u64,
        /// The last one.
        to: u64,
        /// The segment after them.
        path: PathBuf,
    },
    /// Two files contradict each other.
    #[error("{} does not belong to this archive: {what}; remove it, or begin a new archive in another directory", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A base can't be used.
    #[error("{} can't be used: {source}", path.display())]
    Base {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BackupError,
    },
    /// The entries that arrived do not follow those in the archive.
    #[error(
        "the node sent what can't follow entry {after} of the archive: {what}; nothing of it was written"
    )]
    NoSuccessor {
        /// The last archived entry.
        after: u64,
        /// Why.
        what: String,
    },
    /// A file can't be read or written.
    #[error("cannot {doing} {}: {source}; check the space on the disk and the permissions", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// For `map_err`.
pub(super) fn failed(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::Io {
        doing,
        path,
        source,
    }
}
