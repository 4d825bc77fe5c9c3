//! The snapshot of a machine.
//!
//! ```text
//! 8 bytes  magic, OARSNAP and the version of the format, 2 or 3
//! frames   one byte: section · four bytes: length, at most 1 MiB · the payload · four bytes: a checksum
//! ```
//! Sections in order: the header (one frame), in version 3 the host's state, the idempotency keys, the deferred commands, the module, the ended
//! upgrades and the one in progress, the guest's own bytes, and the end (one frame), which contains the lengths of the
//! others. Version 1 has neither module nor upgrades; it can still be read. Version 3 is written from cluster level 1 on,
//! so that a node at level 0 can still read what others write. The checksum is the CRC-32C of the frame's
//! number, eight bytes counted from 0, and of all bytes before it in the frame. Numbers are little-endian. No part of a
//! snapshot is used before all of it has been read and verified.

use std::io::{self, Read, Write};

use bytes::Bytes;
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::machine::deferred::DeferredCommands;
use crate::machine::hash::StateHash;
use crate::machine::host_state;
use crate::machine::keys::KeyTable;
use crate::machine::state::ReplicatedState;
use crate::records::chunks::{ChunkReader, SnapshotChunks};
use crate::records::digest::Sha256;
use crate::records::snapshot_error::MachineSnapshotError;
use crate::records::wire;
use crate::upgrade::state;

use crate::records::frames::{Section, SnapshotFrameReader, SnapshotFrameWriter};

const MAGIC: &[u8; 7] = b"OARSNAP";
/// The version of cluster level 1, with the host's state.
const VERSION: u8 = 3;
/// The version of cluster level 0.
const LEVEL_0_VERSION: u8 = 2;
/// The version without module and upgrades.
const FIRST_VERSION: u8 = 1;

/// Largest section of keys, deferred commands, module or upgrades, in bytes: far above any configured limit.
const TABLE_BYTES: u64 = 4 << 30;
/// Largest section of the host's state, in bytes.
const HOST_STATE_BYTES: u64 = 1 << 20;

/// The module that writes a snapshot.
#[derive(Debug)]
pub(crate) struct ModuleBytes {
    pub(crate) sha256: Sha256,
    pub(crate) bytes: Bytes,
}

impl From<&GuestModule> for ModuleBytes {
    fn from(module: &GuestModule) -> Self {
        Self {
            sha256: module.sha256(),
            bytes: module.bytes().clone(),
        }
    }
}

/// A snapshot that was read and verified.
#[derive(Debug)]
pub(crate) struct MachineSnapshot {
    pub(crate) module: Sha256,
    /// The module's bytes; `None` in version 1.
    pub(crate) module_bytes: Option<Bytes>,
    /// Version of the guest.
    pub(crate) written_by: u32,
    pub(crate) replicated: ReplicatedState,
    pub(crate) guest: SnapshotChunks,
}

/// Writes a snapshot.
pub(crate) fn write(
    to: &mut dyn Write,
    module: &ModuleBytes,
    written_by: u32,
    replicated: &ReplicatedState,
    guest: &SnapshotChunks,
) -> io::Result<()> {
    let host = host_state::encode(replicated)?;
    to.write_all(MAGIC)?;
    let version = if host.is_some() {
        VERSION
    } else {
        LEVEL_0_VERSION
    };
    to.write_all(&[version])?;
    let mut frames = SnapshotFrameWriter::new(to);
    let mut section = frames.section(Section::Header);
    write_header(&mut section, module.sha256, written_by, replicated)?;
    section.finish()?;
    let mut section = frames.section(Section::HostState);
    section.write_all(host.as_deref().unwrap_or_default())?;
    let host_bytes = section.finish()?;
    let mut section = frames.section(Section::Keys);
    replicated.keys.write(&mut section)?;
    let keys = section.finish()?;
    let mut section = frames.section(Section::Deferred);
    replicated.deferred.write(&mut section)?;
    let deferred = section.finish()?;
    let mut section = frames.section(Section::Module);
    section.write_all(&module.bytes)?;
    let bytes = section.finish()?;
    let mut section = frames.section(Section::UpgradeSummary);
    state::write(
        &mut section,
        &replicated.upgrades.history,
        replicated.upgrades.pending.as_ref(),
    )?;
    let upgrades = section.finish()?;
    let mut section = frames.section(Section::Guest);
    for chunk in guest.iter() {
        section.write_all(chunk)?;
    }
    let guest = section.finish()?;
    let mut section = frames.section(Section::End);
    for length in [keys, deferred, bytes, upgrades, guest] {
        wire::put_u64(&mut section, length)?;
    }
    if host.is_some() {
        wire::put_u64(&mut section, host_bytes)?;
    }
    section.finish()?;
    Ok(())
}

/// Reads a snapshot to its last byte. The module with the digest `own`, if there is one, must have written it, or must
/// have run the log before.
pub(crate) fn read(
    from: &mut dyn Read,
    own: Option<Sha256>,
    own_limits: &MachineLimits,
) -> Result<MachineSnapshot, MachineSnapshotError> {
    let version = read_magic(from)?;
    let mut frames = SnapshotFrameReader::new(from);
    let header = frames.section(Section::Header, 1 << 20)?;
    let mut header = header.reader();
    let (module, written_by, mut replicated) = read_header(&mut header)?;
    exhausted(&mut header)?;
    let host = frames.section(Section::HostState, HOST_STATE_BYTES)?;
    if version == VERSION {
        host_state::decode(&mut host.reader(), &mut replicated)?;
    }
    // The cluster's limits at the snapshot's entry apply to the rest of it.
    let limits = &match &replicated.settings {
        Some(settings) => settings.limits_on(own_limits),
        None => *own_limits,
    };
    let keys = frames.section(Section::Keys, TABLE_BYTES)?;
    let deferred = frames.section(Section::Deferred, TABLE_BYTES)?;
    let bytes = frames.section(Section::Module, TABLE_BYTES)?;
    let upgrades = frames.section(Section::UpgradeSummary, TABLE_BYTES)?;
    let guest = frames.section(Section::Guest, limits.snapshot_bytes)?;
    let end = frames.section(Section::End, 1 << 10)?;
    frames.end()?;
    let mut end = end.reader();
    let sections: &[&SnapshotChunks] = match version {
        FIRST_VERSION => &[&keys, &deferred, &guest],
        VERSION => &[&keys, &deferred, &bytes, &upgrades, &guest, &host],
        _ => &[&keys, &deferred, &bytes, &upgrades, &guest],
    };
    for section in sections {
        if wire::take_u64(&mut end)? != section.bytes() {
            return Err(
                wire::invalid("the length of a section differs from the one in the end").into(),
            );
        }
    }
    exhausted(&mut end)?;
    let mut keys = keys.reader();
    replicated.keys = KeyTable::read(&mut keys, limits)?;
    exhausted(&mut keys)?;
    let mut deferred = deferred.reader();
    replicated.deferred = DeferredCommands::read(&mut deferred)?;
    exhausted(&mut deferred)?;
    let mut module_bytes = None;
    if version != FIRST_VERSION {
        module_bytes = Some(join_module(&bytes, module)?);
        let mut upgrades = upgrades.reader();
        let state = &mut replicated.upgrades;
        (state.history, state.pending) = state::read(&mut upgrades)?;
        exhausted(&mut upgrades)?;
    }
    if let Some(own) = own
        && module != own
        && !replicated.upgrades.history.contains(own)
    {
        return Err(MachineSnapshotError::OtherModule {
            found: module,
            expected: own,
        });
    }
    Ok(MachineSnapshot {
        module,
        module_bytes,
        written_by,
        replicated,
        guest,
    })
}

/// Joins the chunks of the module, and checks that it is the one in the header.
fn join_module(chunks: &SnapshotChunks, module: Sha256) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    for chunk in chunks.iter() {
        bytes.extend_from_slice(chunk);
    }
    if Sha256::of(&bytes) == module {
        return Ok(bytes.into());
    }
    Err(wire::invalid(
        "its module has another digest than the header",
    ))
}

/// Checks that a section has no bytes left.
fn exhausted(section: &mut ChunkReader) -> io::Result<()> {
    if section.next(1).is_empty() {
        return Ok(());
    }
    Err(wire::invalid("a section has trailing bytes"))
}

fn read_magic(from: &mut dyn Read) -> Result<u8, MachineSnapshotError> {
    let start: [u8; 8] = wire::take(from)?;
    match start {
        [magic @ .., _] if &magic != MAGIC => Err(MachineSnapshotError::NotASnapshot),
        [.., version @ FIRST_VERSION..=VERSION] => Ok(version),
        [.., found] => Err(MachineSnapshotError::Version { found }),
    }
}

fn write_header(
    to: &mut dyn Write,
    module: Sha256,
    written_by: u32,
    replicated: &ReplicatedState,
) -> io::Result<()> {
    to.write_all(&module.0)?;
    wire::put_u32(to, written_by)?;
    to.write_all(&replicated.hash.0.0)?;
    for number in [
        replicated.applied.index.0,
        replicated.applied.time_ms,
        replicated.wake_at_ms,
        replicated.events,
        replicated.failures,
    ] {
        wire::put_u64(to, number)?;
    }
    Ok(())
}

fn read_header(from: &mut dyn Read) -> io::Result<(Sha256, u32, ReplicatedState)> {
    let module = Sha256(wire::take(from)?);
    let written_by = wire::take_u32(from)?;
    let hash = StateHash(Sha256(wire::take(from)?));
    let applied = Moment {
        index: Index(wire::take_u64(from)?),
        time_ms: wire::take_u64(from)?,
    };
    Ok((
        module,
        written_by,
        ReplicatedState {
            applied,
            hash,
            wake_at_ms: wire::take_u64(from)?,
            events: wire::take_u64(from)?,
            failures: wire::take_u64(from)?,
            ..ReplicatedState::first(module)
        },
    ))
}

#[cfg(test)]
mod tests;
