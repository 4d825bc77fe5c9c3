//! Reading a snapshot: which guest wrote it decides how, and whether, it is decoded.

use super::error::{MigrateError, RestoreError};
use super::format::MAX_OLD_STATE_BYTES;
use super::identity::{GuestIdentity, GuestPair};
use super::old_state::OldState;
use super::own::own_identity;
use super::parse::Header;
use super::stream::{Borrowed, StateReader, Stream};
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

/// How the state is read.
enum Reading {
    /// It has the layout of this guest.
    Decoded,
    Migrated,
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
    let (mut stream, format, version) = Stream::begin(from)?;
    let header = Header::read(&mut stream, format, version).and_then(|header| {
        let reading = reading::<M>(written_by, &header.written_by)?;
        Ok((header, reading))
    });
    let (header, reading) = match header {
        Ok(header) => header,
        // That the bytes are corrupt explains all else.
        Err(error) => return Err(stream.verify().err().unwrap_or(error)),
    };
    let may_go_back = header.runtime.is_none() && version == M::VERSION;
    let state = match reading {
        Reading::Decoded => {
            let state = decode(&mut stream);
            stream.verify()?;
            state.map_err(|source| RestoreError::Decode {
                written_by: Box::new(header.written_by),
                source,
            })?
        }
        Reading::Migrated => {
            let state = stream.take_rest(MAX_OLD_STATE_BYTES)?;
            stream.verify()?;
            migrated(header.written_by, own_identity::<M>(), &state)?
        }
    };
    Ok(Restored {
        state,
        runtime: header.runtime,
        may_go_back,
    })
}

/// How the state of this writer is read.
///
/// # Errors
///
/// This guest can't read it.
fn reading<M: Guest>(host: u32, written_by: &GuestIdentity) -> Result<Reading, RestoreError> {
    let version = written_by.version;
    if host != 0 && host != version {
        return Err(RestoreError::WriterMismatch {
            host,
            snapshot: version,
        });
    }
    let read_by = own_identity::<M>();
    let has_same_layout = written_by.has_layout_of(&read_by);
    if written_by.has_another_name_than(&read_by) {
        // Numbers of versions of two guests can't be compared.
        return Ok(if has_same_layout == Some(true) {
            Reading::Decoded
        } else {
            Reading::Migrated
        });
    }
    if version > M::VERSION {
        return Err(RestoreError::NewerVersion {
            name: M::NAME,
            written_by: version,
            version: M::VERSION,
        });
    }
    if version < M::VERSION {
        return Ok(Reading::Migrated);
    }
    if has_same_layout == Some(false) {
        return Err(RestoreError::OtherLayout(Box::new(GuestPair {
            written_by: written_by.clone(),
            read_by,
        })));
    }
    Ok(Reading::Decoded)
}

/// Decodes the state as it arrives, so that only the decoded one is in memory as a whole. It is not verified yet.
fn decode<M: Guest>(stream: &mut Stream<'_>) -> postcard::Result<M> {
    let state = {
        let borrowed = Borrowed::default();
        let reader = StateReader {
            stream: &mut *stream,
            borrowed: &borrowed,
        };
        M::deserialize(&mut postcard::Deserializer::from_flavor(reader))?
    };
    if stream.is_at_end() {
        Ok(state)
    } else {
        Err(postcard::Error::DeserializeBadEncoding)
    }
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
