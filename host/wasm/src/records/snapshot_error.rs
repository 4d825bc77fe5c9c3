//! Why a machine's snapshot can't be read.

use std::io;

use thiserror::Error;

use crate::records::digest::Sha256;

/// A snapshot can't be read or written, or is not for this machine.
#[derive(Debug, Error)]
pub enum MachineSnapshotError {
    /// Reading or writing failed, or the contents are inconsistent.
    #[error("the snapshot can't be read or written: {0}; if it is corrupt, use another copy of it")]
    Io(#[from] io::Error),
    /// The bytes are not a snapshot.
    #[error("these bytes are not a snapshot of a machine; name the right file")]
    NotASnapshot,
    /// A later version of the host wrote the snapshot.
    #[error(
        "the snapshot has format {found}, but this node supports formats 1 to 3; update the node"
    )]
    Version {
        /// The format in the snapshot.
        found: u8,
    },
    /// The snapshot contains a part of the host's state that this node does not know.
    #[error("the snapshot contains host state of the unknown kind {found}; update the node")]
    HostState {
        /// The kind in the snapshot.
        found: u8,
    },
    /// The settings in the snapshot can't be applied on this node.
    #[error("the settings in the snapshot can't be applied: {message}")]
    Settings {
        /// Why.
        message: String,
    },
    /// A frame is corrupt.
    #[error("frame {frame} of the snapshot is corrupt: {fault}; use another copy of it")]
    Corrupt {
        /// Number of the frame, from 0.
        frame: u64,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// Another module wrote the snapshot.
    #[error(
        "the snapshot was written by the module {found}, but this node was started with {expected}, which never ran in its cluster; start the node with the module of its cluster"
    )]
    OtherModule {
        /// Digest of the module that wrote the snapshot.
        found: Sha256,
        /// Digest of the module that the node was started with.
        expected: Sha256,
    },
    /// The guest's part is over the limit.
    #[error(
        "the guest's part of the snapshot takes more than {limit} bytes; raise the snapshot limit on every node"
    )]
    TooLarge {
        /// Largest allowed size in bytes.
        limit: u64,
    },
}
