//! Upgrade records: the bytes after the version in an [`Envelope`](crate::Envelope). Numbers are little-endian; byte
//! strings and texts follow their length, eight bytes. [`upgrade`](crate::upgrade) describes the protocol.
//!
//! ```text
//! kind 0 begin     32 digest of the module · u64 its length · u64 how long voters may take, ms · u8 dry run · text who
//! kind 1 chunk     u64 upgrade · u64 offset · the rest: bytes of the module
//! kind 2 report    u64 upgrade · text node · result
//! kind 3 activate  u64 upgrade · u8 route · 32 digest of the state
//! kind 4 close     u64 upgrade · end
//! result           u8 0 ready · u64 the entry it was tried at · u8 route · 32 digest of the state
//!                  u8 1 refused · text why
//! route            u8 0 the snapshot that the old module wrote, 1 the journal
//! end              u8 0 activated | 1 dry run passed | 2 aborted · u8 cause · text message
//! ```

use std::fmt;
use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use task_queue_raft::ids::Index;

use crate::records::digest::Sha256;
use crate::records::wire;

/// Longest message in a report or at an end, in bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4096;
/// Longest name of a node or of the operator who began an upgrade, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;

const BEGIN: u8 = 0;
const CHUNK: u8 = 1;
const REPORT: u8 = 2;
const ACTIVATE: u8 = 3;
const CLOSE: u8 = 4;

/// The first record of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeBegin {
    /// Digest of the new module.
    pub sha256: Sha256,
    /// Length of the new module in bytes.
    pub bytes: u64,
    /// How long voters may take until they are ready, in milliseconds of replicated time. Then the leader aborts the
    /// upgrade.
    pub wait_ms: u64,
    /// Do everything except the switch.
    pub dry_run: bool,
    /// Name of the operator who requested the upgrade, at most 256 bytes.
    pub by: String,
}

/// How the new module gets its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationRoute {
    /// It restores the snapshot that the old module writes.
    Snapshot,
    /// The old module can't write a snapshot: the new one re-executes the commands since the last checkpoint.
    Journal,
}

/// A node's result of preparing the new module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// The module runs on this node, and restored a copy of the state.
    Ready {
        /// The last entry in that copy.
        tried_at: Index,
        /// How the module got the copy.
        route: MigrationRoute,
        /// Digest of the state as the new module wrote it.
        state: Sha256,
    },
    /// The module does not run on this node, or did not restore the state.
    Refused {
        /// The reason, for people. At most 4096 bytes.
        message: String,
    },
}

impl CheckResult {
    /// A refusal with this message, cut to the length that a report may have.
    pub(crate) fn refused(message: &str) -> Self {
        let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
        Self::Refused {
            message: message[..end].to_owned(),
        }
    }
}

/// Why an upgrade was aborted. The old module keeps running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortCause {
    /// A voter can't run the new module, or the module does not restore the state.
    NodeRefused = 1,
    /// Not every voter was ready in time, or the bytes did not all arrive in time.
    TimedOut = 2,
    /// Two nodes got different states with the new module.
    StatesDiffer = 3,
    /// The received bytes do not have the announced digest.
    ModuleCorrupt = 4,
    /// The old module could not write its snapshot at the switch, although it could before.
    OldSnapshotFailed = 5,
    /// The new module did not restore the state at the switch, although it restored the copy before.
    NewRestoreFailed = 6,
    /// On the route without the old module's snapshot, more commands arrived than are kept.
    JournalTooLarge = 7,
}

impl AbortCause {
    const ALL: [Self; 7] = [
        Self::NodeRefused,
        Self::TimedOut,
        Self::StatesDiffer,
        Self::ModuleCorrupt,
        Self::OldSnapshotFailed,
        Self::NewRestoreFailed,
        Self::JournalTooLarge,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u8 == byte)
    }

    /// The code in the HTTP API. Public API: kept stable.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NodeRefused => "module_refused",
            Self::TimedOut => "timed_out",
            Self::StatesDiffer => "states_differ",
            Self::ModuleCorrupt => "module_corrupt",
            Self::OldSnapshotFailed => "snapshot_failed",
            Self::NewRestoreFailed => "restore_failed",
            Self::JournalTooLarge => "journal_too_large",
        }
    }
}

impl fmt::Display for AbortCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeRefused => "a node refuses the new module",
            Self::TimedOut => "not every voter was ready in time",
            Self::StatesDiffer => "the state differs between nodes with the new module",
            Self::ModuleCorrupt => "the received bytes do not have the announced digest",
            Self::OldSnapshotFailed => "the old module could not write its snapshot at the switch",
            Self::NewRestoreFailed => "the new module did not restore the state at the switch",
            Self::JournalTooLarge => {
                "more commands arrived than are kept for an upgrade without the old module's snapshot"
            }
        })
    }
}

/// How an upgrade ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeEnd {
    /// The new module runs.
    Activated,
    /// It was a dry run, and every voter was ready.
    DryRunPassed,
    /// The upgrade was aborted; the old module keeps running.
    Aborted {
        /// Why.
        cause: AbortCause,
        /// Details for people; may be empty. At most 4096 bytes.
        message: String,
    },
}

impl UpgradeEnd {
    /// Aborted, without details.
    #[must_use]
    pub fn because(cause: AbortCause) -> Self {
        Self::Aborted {
            cause,
            message: String::new(),
        }
    }

    /// The code in the HTTP API. Public API: kept stable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::DryRunPassed => "dry_run_passed",
            Self::Aborted { cause, .. } => cause.code(),
        }
    }
}

impl fmt::Display for UpgradeEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Activated => f.write_str("the new module runs"),
            Self::DryRunPassed => f.write_str("every voter was ready; it was a dry run"),
            Self::Aborted { cause, message } if message.is_empty() => cause.fmt(f),
            Self::Aborted { cause, message } => write!(f, "{cause}: {message}"),
        }
    }
}

/// A record of an upgrade. See the module [`upgrade`](crate::upgrade).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeRecord {
    /// An operator requests an upgrade.
    Begin(UpgradeBegin),
    /// Bytes of the new module.
    Chunk {
        /// Index of the entry that began the upgrade.
        upgrade: Index,
        /// Number of bytes before this chunk.
        offset: u64,
        /// One byte or more.
        bytes: Bytes,
    },
    /// A node's report.
    Report {
        /// Index of the entry that began the upgrade.
        upgrade: Index,
        /// Name of the reporting node, at most 256 bytes.
        node: String,
        /// The result on that node.
        result: CheckResult,
    },
    /// The leader's record that every voter is ready.
    Activate {
        /// Index of the entry that began the upgrade.
        upgrade: Index,
        /// The route that all voters reported.
        route: MigrationRoute,
        /// Digest of the state that the voters reported.
        state: Sha256,
    },
    /// The leader's record that the upgrade ends without a switch.
    Close {
        /// Index of the entry that began the upgrade.
        upgrade: Index,
        /// How it ends.
        end: UpgradeEnd,
    },
}

impl UpgradeRecord {
    /// Encodes kind and content.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = self.write(&mut bytes);
        debug_assert!(written.is_ok(), "writing to a vector never fails");
        bytes
    }

    fn write(&self, to: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Begin(begin) => {
                wire::put_u8(to, BEGIN)?;
                write_begin(to, begin)
            }
            Self::Chunk {
                upgrade,
                offset,
                bytes,
            } => {
                wire::put_u8(to, CHUNK)?;
                wire::put_u64(to, upgrade.0)?;
                wire::put_u64(to, *offset)?;
                to.write_all(bytes)
            }
            Self::Report {
                upgrade,
                node,
                result,
            } => {
                wire::put_u8(to, REPORT)?;
                wire::put_u64(to, upgrade.0)?;
                wire::put_bytes(to, node.as_bytes())?;
                write_result(to, result)
            }
            Self::Activate {
                upgrade,
                route,
                state,
            } => {
                wire::put_u8(to, ACTIVATE)?;
                wire::put_u64(to, upgrade.0)?;
                wire::put_u8(to, *route as u8)?;
                to.write_all(&state.0)
            }
            Self::Close { upgrade, end } => {
                wire::put_u8(to, CLOSE)?;
                wire::put_u64(to, upgrade.0)?;
                write_end(to, end)
            }
        }
    }

    /// Reads what [`Self::encode`] wrote, to the last byte. A chunk shares the buffer.
    pub(crate) fn decode(mut bytes: Bytes) -> io::Result<Self> {
        let from = &mut (&mut bytes).reader();
        let record = match wire::take_u8(from)? {
            BEGIN => Self::Begin(read_begin(from)?),
            CHUNK => {
                let upgrade = read_index(from)?;
                let offset = wire::take_u64(from)?;
                return Ok(Self::Chunk {
                    upgrade,
                    offset,
                    bytes,
                });
            }
            REPORT => Self::Report {
                upgrade: read_index(from)?,
                node: wire::take_text(from, MAX_NAME_BYTES as u64)?,
                result: read_result(from)?,
            },
            ACTIVATE => Self::Activate {
                upgrade: read_index(from)?,
                route: read_route(from)?,
                state: Sha256(wire::take(from)?),
            },
            CLOSE => Self::Close {
                upgrade: read_index(from)?,
                end: read_end(from)?,
            },
            kind => {
                return Err(wire::invalid(format!(
                    "an upgrade record has the unknown kind {kind}"
                )));
            }
        };
        if bytes.is_empty() {
            return Ok(record);
        }
        Err(wire::invalid("an upgrade record has trailing bytes"))
    }
}

fn write_begin(to: &mut dyn Write, begin: &UpgradeBegin) -> io::Result<()> {
    to.write_all(&begin.sha256.0)?;
    wire::put_u64(to, begin.bytes)?;
    wire::put_u64(to, begin.wait_ms)?;
    wire::put_u8(to, begin.dry_run.into())?;
    wire::put_bytes(to, begin.by.as_bytes())
}

fn read_begin(from: &mut dyn Read) -> io::Result<UpgradeBegin> {
    Ok(UpgradeBegin {
        sha256: Sha256(wire::take(from)?),
        bytes: wire::take_u64(from)?,
        wait_ms: wire::take_u64(from)?,
        dry_run: read_bool(from)?,
        by: wire::take_text(from, MAX_NAME_BYTES as u64)?,
    })
}

pub(crate) fn read_index(from: &mut dyn Read) -> io::Result<Index> {
    Ok(Index(wire::take_u64(from)?))
}

pub(crate) fn read_bool(from: &mut dyn Read) -> io::Result<bool> {
    match wire::take_u8(from)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(wire::invalid(format!("{other} where 0 or 1 is expected"))),
    }
}

pub(crate) fn read_route(from: &mut dyn Read) -> io::Result<MigrationRoute> {
    Ok(if read_bool(from)? {
        MigrationRoute::Journal
    } else {
        MigrationRoute::Snapshot
    })
}

pub(crate) fn write_result(to: &mut dyn Write, result: &CheckResult) -> io::Result<()> {
    match result {
        CheckResult::Ready {
            tried_at,
            route,
            state,
        } => {
            wire::put_u8(to, 0)?;
            wire::put_u64(to, tried_at.0)?;
            wire::put_u8(to, *route as u8)?;
            to.write_all(&state.0)
        }
        CheckResult::Refused { message } => {
            wire::put_u8(to, 1)?;
            wire::put_bytes(to, message.as_bytes())
        }
    }
}

pub(crate) fn read_result(from: &mut dyn Read) -> io::Result<CheckResult> {
    if read_bool(from)? {
        let message = wire::take_text(from, MAX_MESSAGE_BYTES as u64)?;
        return Ok(CheckResult::Refused { message });
    }
    Ok(CheckResult::Ready {
        tried_at: read_index(from)?,
        route: read_route(from)?,
        state: Sha256(wire::take(from)?),
    })
}

pub(crate) fn write_end(to: &mut dyn Write, end: &UpgradeEnd) -> io::Result<()> {
    match end {
        UpgradeEnd::Activated => wire::put_u8(to, 0),
        UpgradeEnd::DryRunPassed => wire::put_u8(to, 1),
        UpgradeEnd::Aborted { cause, message } => {
            wire::put_u8(to, 2)?;
            wire::put_u8(to, *cause as u8)?;
            wire::put_bytes(to, message.as_bytes())
        }
    }
}

pub(crate) fn read_end(from: &mut dyn Read) -> io::Result<UpgradeEnd> {
    match wire::take_u8(from)? {
        0 => Ok(UpgradeEnd::Activated),
        1 => Ok(UpgradeEnd::DryRunPassed),
        2 => {
            let cause = wire::take_u8(from)?;
            let cause = AbortCause::from_byte(cause).ok_or_else(|| {
                wire::invalid(format!(
                    "the end of an upgrade has the unknown cause {cause}"
                ))
            })?;
            let message = wire::take_text(from, MAX_MESSAGE_BYTES as u64)?;
            Ok(UpgradeEnd::Aborted { cause, message })
        }
        other => Err(wire::invalid(format!(
            "the end of an upgrade has the unknown kind {other}"
        ))),
    }
}

#[cfg(test)]
mod tests;
