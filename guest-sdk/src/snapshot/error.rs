//! Why a state could not be written or read.

/// Why a state could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A type in the state has no form in the encoding.
    #[error(
        "the state has a part that cannot be written: {source}; a sequence or map in it does not know its length"
    )]
    Encode {
        /// What the encoder said.
        #[source]
        source: postcard::Error,
    },
}

/// Why a snapshot was refused. The state that was there stays.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It does not begin as a snapshot does.
    #[error(
        "these bytes are not a snapshot of an oarlock guest: they do not begin with its mark; give the file that `snapshot` wrote"
    )]
    NotASnapshot,
    /// It ends before it should.
    #[error("the snapshot is cut short: {length} bytes of at least {least}; fetch it again")]
    CutShort {
        /// Bytes there are.
        length: usize,
        /// Bytes there have to be.
        least: usize,
    },
    /// A newer SDK wrote it.
    #[error(
        "the snapshot has form {found}, and this guest reads form {known}; use a guest built with a newer oarlock-guest"
    )]
    UnknownForm {
        /// Form of the snapshot.
        found: u32,
        /// Form that this SDK reads.
        known: u32,
    },
    /// The bytes are not those that were written.
    #[error("the snapshot is damaged: {what}; fetch it again, or take another")]
    Damaged {
        /// What does not agree.
        what: &'static str,
    },
    /// A newer guest wrote it.
    #[error(
        "the snapshot was written by version {written_by} of {name}, and this is version {version}, which cannot know what is new in it; use version {written_by} or later"
    )]
    Newer {
        /// Name of this guest.
        name: &'static str,
        /// Version that wrote it.
        written_by: u32,
        /// Version of this guest.
        version: u32,
    },
    /// The host and the snapshot do not name the same writer.
    #[error(
        "the host says that version {told} wrote the snapshot, and the snapshot says {found}; one of them is not what it seems"
    )]
    WriterDiffers {
        /// What the host said.
        told: u32,
        /// What the snapshot says.
        found: u32,
    },
    /// The snapshot is larger than this guest could hold.
    #[error(
        "the snapshot is larger than {limit} bytes, more than fits in a guest's memory beside the state"
    )]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes are whole, and are not a state of this version.
    #[error(
        "the snapshot of version {version} cannot be read as the state: {source}; if the type of the state changed, the version has to rise and `migrate` has to read the old one"
    )]
    Decode {
        /// Version that wrote it.
        version: u32,
        /// What the decoder said.
        #[source]
        source: postcard::Error,
    },
    /// An older state could not be brought forward.
    #[error("the state of version {version} cannot be brought to version {to}: {source}")]
    Migrate {
        /// Version that wrote it.
        version: u32,
        /// Version of this guest.
        to: u32,
        /// Why.
        #[source]
        source: MigrateError,
    },
}

/// Why [`StateMachine::migrate`](crate::StateMachine::migrate) failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The guest does not say how.
    #[error(
        "this guest has no `migrate`, so it cannot read the state of version {version}; write one (if the layout is the same, it is `old.decode()`)"
    )]
    NotWritten {
        /// Version that wrote the state.
        version: u32,
    },
    /// The bytes are not of the type that was asked for.
    #[error(
        "the state of version {version} is not of the type that `migrate` reads it as: {source}"
    )]
    Decode {
        /// Version that wrote the state.
        version: u32,
        /// What the decoder said.
        #[source]
        source: postcard::Error,
    },
    /// The guest's own words.
    #[error("{0}")]
    Refused(String),
}
