//! Errors of writing and reading a state.

use super::identity::{GuestIdentity, GuestPair};

/// The state cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The encoding does not support a type in the state.
    #[error(
        "the state cannot be encoded: {source}; a sequence or map in it must know its length before it is written"
    )]
    Encode {
        /// Error of the encoder.
        #[source]
        source: postcard::Error,
    },
}

/// A snapshot was refused. The current state is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The magic bytes are missing.
    #[error(
        "these bytes are not a snapshot of an oarlock guest: the magic bytes are missing; give the bytes that `snapshot` wrote"
    )]
    NotASnapshot,
    /// Bytes are missing at the end.
    #[error(
        "the snapshot is truncated: it has {length} bytes, at least {minimum} are needed; fetch it again"
    )]
    Truncated {
        /// Length found, in bytes.
        length: usize,
        /// Least possible length, in bytes.
        minimum: usize,
    },
    /// A newer SDK wrote it.
    #[error(
        "the snapshot has format {found}, and this guest reads formats 1 to {supported}; use a guest built with a newer oarlock-guest"
    )]
    UnknownFormat {
        /// Format of the snapshot.
        found: u32,
        /// Latest format that this SDK reads.
        supported: u32,
    },
    /// Length, checksum or header does not match.
    #[error("the snapshot is corrupt: {what}; fetch it again, or use another one")]
    Corrupt {
        /// What does not match.
        what: &'static str,
    },
    /// A newer version of the guest wrote it.
    #[error(
        "the snapshot was written by version {written_by} of {name}, and this is version {version}, which cannot read a newer state; use version {written_by} or later"
    )]
    NewerVersion {
        /// Name of this guest.
        name: &'static str,
        /// Version that wrote it.
        written_by: u32,
        /// Version of this guest.
        version: u32,
    },
    /// The host and the snapshot name different writers.
    #[error(
        "the host names version {host} as the writer of the snapshot, and the snapshot names version {snapshot}; one of them is wrong, take another snapshot"
    )]
    WriterMismatch {
        /// Version that the host passed.
        host: u32,
        /// Version in the snapshot.
        snapshot: u32,
    },
    /// A guest of another name wrote it.
    #[error(
        "the state is of {}, and this guest is {}: another guest may read a state differently; if you want to replace the guest, use `oarlock upgrade --replace-machine`, and in a test `TestCluster::replace_machine`",
        .0.written_by,
        .0.read_by
    )]
    OtherGuest(
        /// Both guests.
        Box<GuestPair>,
    ),
    /// A guest of the same name and version wrote it, but its state has another layout.
    #[error(
        "the layout of the state changed, but the version did not: the snapshot is of {}, and this guest is {}; its bytes could decode to a wrong state, so raise the version and write `migrate`",
        .0.written_by,
        .0.read_by
    )]
    OtherLayout(
        /// Both guests.
        Box<GuestPair>,
    ),
    /// The snapshot exceeds the size limit.
    #[error(
        "the snapshot is larger than {limit} bytes; a guest's memory cannot hold both it and the state"
    )]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes are intact, but they are not a state of this version.
    #[error(
        "the snapshot of {written_by} cannot be read as the state: {source}; if the type of the state changed, raise the version and read the old state in `migrate`"
    )]
    Decode {
        /// The guest that wrote it.
        written_by: Box<GuestIdentity>,
        /// Error of the decoder.
        #[source]
        source: postcard::Error,
    },
    /// The SDK's own part of the snapshot cannot be read.
    #[error(
        "the timers and deferred commands of the snapshot cannot be read: {reason}; use a guest built with a newer oarlock-guest"
    )]
    Runtime {
        /// What is wrong.
        reason: String,
    },
    /// `migrate` failed.
    #[error("the state of {} cannot be migrated to {}: {source}", .pair.written_by, .pair.read_by)]
    Migrate {
        /// Both guests.
        pair: Box<GuestPair>,
        /// Error of `migrate`.
        #[source]
        source: MigrateError,
    },
}

/// [`StateMachine::migrate`](crate::StateMachine::migrate) failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The guest does not implement `migrate`.
    #[error(
        "this guest has no `migrate`, so it cannot read the state of version {version}; implement it (for an unchanged layout it is `old.decode()`)"
    )]
    NotImplemented {
        /// Version that wrote the state.
        version: u32,
    },
    /// The type that `migrate` decodes has another layout than the state.
    #[error(
        "the state of version {version} has another layout ({old}) than the type that `migrate` decodes ({new}){}",
        if *only_names {
            ": only names differ; if fields were renamed, and not swapped, use `old.decode_renamed()`, otherwise decode it as the type of that version"
        } else {
            "; keep the state type of that version, decode it as that, and convert it"
        }
    )]
    OtherLayout {
        /// Version that wrote the state.
        version: u32,
        /// Fingerprint of the state.
        old: String,
        /// Fingerprint of the type.
        new: String,
        /// Only names of fields or variants differ.
        only_names: bool,
    },
    /// The bytes are not of the type that `migrate` decodes.
    #[error(
        "the state of version {version} cannot be decoded as the type that `migrate` names: {source}; use the state type of that version"
    )]
    Decode {
        /// Version that wrote the state.
        version: u32,
        /// Error of the decoder.
        #[source]
        source: postcard::Error,
    },
    /// The guest refused the state, with its own reason.
    #[error("{0}")]
    Refused(String),
}
