//! Reading a snapshot: which guest wrote it decides how, and whether, it is decoded.

use super::error::{MigrateError, RestoreError};
use super::format::{CHUNK_BYTES, MAX_SNAPSHOT_BYTES};
use super::identity::{GuestIdentity, GuestPair};
use super::old_state::{OldState, decode_state};
use super::own::own_identity;
use super::parse::Snapshot;
use crate::guest::Guest;

/// What a snapshot contains.
#[derive(Debug)]
pub(crate) struct Restored<M> {
    /// The guest's state.
    pub(crate) state: M,
    /// The SDK's own state, as it was given to [`write`](super::write()). `None` if an SDK before format 2 wrote it.
    pub(crate) runtime: Option<Vec<u8>>,
    /// It has format 1, and this version of the guest wrote it. So a module that reads only format 1 may take it back.
    pub(crate) may_go_back: bool,
}

/// Reads a snapshot. `from` returns the next chunk of at most the given number of bytes, and an empty one at the end.
/// `written_by` is the writer's version as the host knows it, 0 if unknown.
///
/// # Errors
///
/// See [`RestoreError`].
pub(crate) fn read<M: Guest>(
    written_by: u32,
    from: &mut dyn FnMut(u32) -> Vec<u8>,
) -> Result<Restored<M>, RestoreError> {
    let bytes = read_all(from)?;
    let snapshot = Snapshot::parse(&bytes)?;
    let version = snapshot.written_by.version;
    if written_by != 0 && written_by != version {
        return Err(RestoreError::WriterMismatch {
            host: written_by,
            snapshot: version,
        });
    }
    Ok(Restored {
        may_go_back: snapshot.runtime.is_none() && version == M::VERSION,
        runtime: snapshot.runtime.map(<[u8]>::to_vec),
        state: state(snapshot.written_by, snapshot.state)?,
    })
}

/// The state, decoded or migrated.
fn state<M: Guest>(written_by: GuestIdentity, bytes: &[u8]) -> Result<M, RestoreError> {
    let read_by = own_identity::<M>();
    let has_same_layout = written_by.has_layout_of(&read_by);
    if written_by.has_another_name_than(&read_by) {
        // Numbers of versions of two guests can't be compared.
        return if has_same_layout == Some(true) {
            decoded(written_by, bytes)
        } else {
            migrated(written_by, read_by, bytes)
        };
    }
    if written_by.version > M::VERSION {
        return Err(RestoreError::NewerVersion {
            name: M::NAME,
            written_by: written_by.version,
            version: M::VERSION,
        });
    }
    if written_by.version < M::VERSION {
        return migrated(written_by, read_by, bytes);
    }
    if has_same_layout == Some(false) {
        return Err(RestoreError::OtherLayout(Box::new(GuestPair {
            written_by,
            read_by,
        })));
    }
    decoded(written_by, bytes)
}

fn decoded<M: Guest>(written_by: GuestIdentity, bytes: &[u8]) -> Result<M, RestoreError> {
    decode_state(bytes).map_err(|source| RestoreError::Decode {
        written_by: Box::new(written_by),
        source,
    })
}

fn migrated<M: Guest>(
    written_by: GuestIdentity,
    read_by: GuestIdentity,
    bytes: &[u8],
) -> Result<M, RestoreError> {
    M::migrate(OldState::new(&written_by, bytes)).map_err(|source: MigrateError| {
        RestoreError::Migrate {
            pair: Box::new(GuestPair {
                written_by,
                read_by,
            }),
            source,
        }
    })
}

fn read_all(from: &mut dyn FnMut(u32) -> Vec<u8>) -> Result<Vec<u8>, RestoreError> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = from(CHUNK_BYTES as u32);
        if chunk.is_empty() {
            return Ok(bytes);
        }
        if bytes.len() + chunk.len() > MAX_SNAPSHOT_BYTES {
            return Err(RestoreError::TooLarge {
                limit: MAX_SNAPSHOT_BYTES,
            });
        }
        if bytes.is_empty() {
            bytes = chunk;
        } else {
            bytes.append(&mut chunk);
        }
    }
}
