//! The format of a machine's snapshot.
//!
//! ```text
//! 8 bytes  magic, OARSNAP and the version of the format, 2
//! frames   one byte: section · four bytes: length, at most 1 MiB · the payload · four bytes: a checksum
//! ```
//! Sections in order: the header (one frame), the idempotency keys, the deferred commands, the module, the upgrades that
//! have ended and the one under way, the guest's own bytes, and the end (one frame), which tells the length of the
//! others. Version 1 has neither module nor upgrades, and is read as well. The checksum is the CRC-32C of the frame's number, eight
//! bytes counted from 0, and of all that stands before it in the frame. Numbers are little-endian. Nothing of a snapshot
//! is used before all of it has been read and found whole.

use std::io::{self, Read, Write};

use bytes::Bytes;
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;
use thiserror::Error;

use crate::chunks::{ChunkReader, SnapshotChunks};
use crate::deferred::Deferred;
use crate::hash::StateHash;
use crate::keys::KeyTable;
use crate::limits::MachineLimits;
use crate::module::{GuestModule, Sha256};
use crate::upgrade::state::{self, History, PendingUpgrade};
use crate::wire;

mod frames;

use frames::{Section, SnapshotFrameReader, SnapshotFrameWriter};

const MAGIC: &[u8; 7] = b"OARSNAP";
const VERSION: u8 = 2;
/// Without module and upgrades.
const FIRST_VERSION: u8 = 1;

/// Most bytes of the keys, of the deferred commands, of the module and of the upgrades: far over what any limits give.
const TABLE_BYTES: u64 = 4 << 30;

/// Why a snapshot can't be read, or not by this machine.
#[derive(Debug, Error)]
pub enum MachineSnapshotError {
    /// Reading or writing failed, or the bytes contradict themselves.
    #[error(
        "the snapshot can't be read or written: {0}; if it is damaged, take another copy of it"
    )]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("these bytes are no snapshot of a machine; name the right file")]
    NotASnapshot,
    /// A later version wrote it.
    #[error(
        "the snapshot has format {found}, and this node knows formats 1 and 2; bring the node up to date"
    )]
    Version {
        /// The version that it names.
        found: u8,
    },
    /// A frame is damaged.
    #[error("frame {frame} of the snapshot is damaged: {fault}; take another copy of it")]
    Damaged {
        /// Which frame, counted from 0.
        frame: u64,
        /// What is wrong.
        fault: &'static str,
    },
    /// Another module wrote it.
    #[error(
        "the snapshot was written by the module {found}, and this node was started with {expected}, which its cluster never ran; start the node with the module of its cluster"
    )]
    OtherModule {
        /// Digest of the module that wrote it.
        found: Sha256,
        /// Digest of the module that the node was started with.
        expected: Sha256,
    },
    /// The guest's part is over the limit.
    #[error(
        "the guest's part of the snapshot takes more than {limit} bytes; raise the limit on every node"
    )]
    TooLarge {
        /// How large it may be.
        limit: u64,
    },
}

/// The replicated state beside the guest's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicatedState {
    /// The last entry applied.
    pub(crate) applied: Moment,
    /// What the log is for, once a node has said so. A snapshot names it in its header.
    pub(crate) module: Option<Sha256>,
    pub(crate) hash: StateHash,
    /// 0: never.
    pub(crate) wake_at_ms: u64,
    pub(crate) events: u64,
    pub(crate) failures: u64,
    pub(crate) keys: KeyTable,
    pub(crate) deferred: Deferred,
    /// UpgradeSummary that have ended.
    pub(crate) history: History,
    /// The upgrade under way.
    pub(crate) upgrade: Option<PendingUpgrade>,
}

impl ReplicatedState {
    pub(crate) fn first(module: Sha256) -> Self {
        Self {
            applied: Moment::default(),
            module: None,
            hash: StateHash::first(module),
            wake_at_ms: 0,
            events: 0,
            failures: 0,
            keys: KeyTable::default(),
            deferred: Deferred::default(),
            history: History::default(),
            upgrade: None,
        }
    }
}

/// What a snapshot says of the module that wrote it.
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

/// A snapshot that was read whole.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) module: Sha256,
    /// Its bytes. The first version of the format has none.
    pub(crate) module_bytes: Option<Bytes>,
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
    to.write_all(MAGIC)?;
    to.write_all(&[VERSION])?;
    let mut frames = SnapshotFrameWriter::new(to);
    let mut section = frames.section(Section::Header);
    write_header(&mut section, module.sha256, written_by, replicated)?;
    section.finish()?;
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
        &replicated.history,
        replicated.upgrade.as_ref(),
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
    section.finish()?;
    Ok(())
}

/// Reads a snapshot to its last byte. It has to be of the module with the digest `own`, or of one that came after it.
pub(crate) fn read(
    from: &mut dyn Read,
    own: Sha256,
    limits: &MachineLimits,
) -> Result<Snapshot, MachineSnapshotError> {
    let version = read_magic(from)?;
    let mut frames = SnapshotFrameReader::new(from);
    let header = frames.section(Section::Header, 1 << 20)?;
    let mut header = header.reader();
    let (module, written_by, mut replicated) = read_header(&mut header)?;
    exhausted(&mut header)?;
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
        _ => &[&keys, &deferred, &bytes, &upgrades, &guest],
    };
    for section in sections {
        if wire::take_u64(&mut end)? != section.bytes() {
            return Err(wire::invalid("a section is not as long as the end says").into());
        }
    }
    exhausted(&mut end)?;
    let mut keys = keys.reader();
    replicated.keys = KeyTable::read(&mut keys, limits)?;
    exhausted(&mut keys)?;
    let mut deferred = deferred.reader();
    replicated.deferred = Deferred::read(&mut deferred)?;
    exhausted(&mut deferred)?;
    let mut module_bytes = None;
    if version != FIRST_VERSION {
        module_bytes = Some(whole_module(&bytes, module)?);
        let mut upgrades = upgrades.reader();
        (replicated.history, replicated.upgrade) = state::read(&mut upgrades)?;
        exhausted(&mut upgrades)?;
    }
    if module != own && !replicated.history.knows(own) {
        return Err(MachineSnapshotError::OtherModule {
            found: module,
            expected: own,
        });
    }
    Ok(Snapshot {
        module,
        module_bytes,
        written_by,
        replicated,
        guest,
    })
}

/// The module in one piece, if it is the one that the header names.
fn whole_module(chunks: &SnapshotChunks, module: Sha256) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    for chunk in chunks.iter() {
        bytes.extend_from_slice(chunk);
    }
    if Sha256::of(&bytes) == module {
        return Ok(bytes.into());
    }
    Err(wire::invalid("its module is not the one that it names"))
}

/// Nothing may follow what was read of a section.
fn exhausted(section: &mut ChunkReader) -> io::Result<()> {
    if section.next(1).is_empty() {
        return Ok(());
    }
    Err(wire::invalid("a section is longer than what it holds"))
}

fn read_magic(from: &mut dyn Read) -> Result<u8, MachineSnapshotError> {
    let start: [u8; 8] = wire::take(from)?;
    match start {
        [magic @ .., _] if &magic != MAGIC => Err(MachineSnapshotError::NotASnapshot),
        [.., version @ (FIRST_VERSION | VERSION)] => Ok(version),
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
            // The machine settles it: it has taken the snapshot as its own.
            module: None,
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
