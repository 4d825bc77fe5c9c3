//! The words of an upgrade as bytes: what follows version and kind in an [`Envelope`](crate::Envelope). Numbers are
//! little-endian; bytes and texts stand behind their length, eight bytes.
//!
//! ```text
//! kind 0 begin     32 digest of the module · u64 its length · u64 how long voters may take, ms · u8 dry run · text who
//! kind 1 chunk     u64 upgrade · u64 offset · the rest: bytes of the module
//! kind 2 report    u64 upgrade · text node · verdict
//! kind 3 activate  u64 upgrade · u8 route · 32 digest of the state
//! kind 4 close     u64 upgrade · end
//! verdict          u8 0 ready · u64 the entry it was tried at · u8 route · 32 digest of the state
//!                  u8 1 refused · text why
//! route            u8 0 the state as the old module wrote it, 1 the journal
//! end              u8 0 activated | 1 tried out | 2 abandoned · u8 cause · text words
//! ```

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use task_queue_raft::ids::Index;

use super::state::{AbortCause, UpgradeEnd};
use crate::module::Sha256;
use crate::wire;

/// Longest words in a report or at an end, in bytes.
pub(crate) const MAX_WORDS_BYTES: usize = 4096;
/// Longest name of a node or of who began an upgrade, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;

const BEGIN: u8 = 0;
const CHUNK: u8 = 1;
const REPORT: u8 = 2;
const ACTIVATE: u8 = 3;
const CLOSE: u8 = 4;

/// The first word of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeBegin {
    /// Digest of the new module.
    pub sha256: Sha256,
    /// Its length.
    pub bytes: u64,
    /// How long voters may take to be ready, in milliseconds of replicated time.
    pub wait_ms: u64,
    /// Everything but the switch.
    pub dry_run: bool,
    /// Who asked for it, up to 256 bytes.
    pub by: String,
}

/// How the new module comes to its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationRoute {
    /// It reads what the old one wrote.
    Snapshot,
    /// The old one can't write its state: it runs the commands again, from the last checkpoint on.
    Journal,
}

/// What a node says of the new module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// It runs here, and took a copy of the state.
    Ready {
        /// The last entry in that copy.
        tried_at: Index,
        /// How it came to it.
        route: MigrationRoute,
        /// Digest of it, as the new module wrote it.
        state: Sha256,
    },
    /// It does not.
    Refused {
        /// Why, for people.
        message: String,
    },
}

/// What is said in the log about an upgrade. See the module [`upgrade`](crate::upgrade).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeRecord {
    /// An operator wants one.
    Begin(UpgradeBegin),
    /// Bytes of the new module.
    Chunk {
        /// Index of the entry that began it.
        upgrade: Index,
        /// How many bytes came before.
        offset: u64,
        /// One or more.
        bytes: Bytes,
    },
    /// A node's report.
    Report {
        /// Index of the entry that began it.
        upgrade: Index,
        /// Whose.
        node: String,
        /// What it says.
        result: CheckResult,
    },
    /// The leader's: every voter is ready.
    Activate {
        /// Index of the entry that began it.
        upgrade: Index,
        /// The one that all of them took.
        route: MigrationRoute,
        /// The state that all of them came to.
        state: Sha256,
    },
    /// The leader's: it won't come to a switch.
    Close {
        /// Index of the entry that began it.
        upgrade: Index,
        /// How it ends.
        end: UpgradeEnd,
    },
}

impl UpgradeRecord {
    /// Kind and content.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = self.write(&mut bytes);
        debug_assert!(written.is_ok(), "a vector takes everything");
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

    /// Reads what [`Self::encode`] wrote, to its last byte. A chunk's bytes are shared.
    pub(crate) fn decode(mut bytes: Bytes) -> io::Result<Self> {
        let from = &mut (&mut bytes).reader();
        let word = match wire::take_u8(from)? {
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
            kind => return Err(wire::invalid(format!("a word of the unknown kind {kind}"))),
        };
        if bytes.is_empty() {
            return Ok(word);
        }
        Err(wire::invalid("a word is longer than what it holds"))
    }
}

pub(super) fn write_begin(to: &mut dyn Write, begin: &UpgradeBegin) -> io::Result<()> {
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

pub(super) fn read_index(from: &mut dyn Read) -> io::Result<Index> {
    Ok(Index(wire::take_u64(from)?))
}

pub(super) fn read_bool(from: &mut dyn Read) -> io::Result<bool> {
    match wire::take_u8(from)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(wire::invalid(format!("{other} where 0 or 1 should be"))),
    }
}

pub(super) fn read_route(from: &mut dyn Read) -> io::Result<MigrationRoute> {
    Ok(if read_bool(from)? {
        MigrationRoute::Journal
    } else {
        MigrationRoute::Snapshot
    })
}

pub(super) fn write_result(to: &mut dyn Write, result: &CheckResult) -> io::Result<()> {
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

pub(super) fn read_result(from: &mut dyn Read) -> io::Result<CheckResult> {
    if read_bool(from)? {
        let message = wire::take_text(from, MAX_WORDS_BYTES as u64)?;
        return Ok(CheckResult::Refused { message });
    }
    Ok(CheckResult::Ready {
        tried_at: read_index(from)?,
        route: read_route(from)?,
        state: Sha256(wire::take(from)?),
    })
}

pub(super) fn write_end(to: &mut dyn Write, end: &UpgradeEnd) -> io::Result<()> {
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

pub(super) fn read_end(from: &mut dyn Read) -> io::Result<UpgradeEnd> {
    match wire::take_u8(from)? {
        0 => Ok(UpgradeEnd::Activated),
        1 => Ok(UpgradeEnd::DryRunPassed),
        2 => {
            let cause = wire::take_u8(from)?;
            let cause = AbortCause::from_byte(cause)
                .ok_or_else(|| wire::invalid(format!("an end has the unknown cause {cause}")))?;
            let message = wire::take_text(from, MAX_WORDS_BYTES as u64)?;
            Ok(UpgradeEnd::Aborted { cause, message })
        }
        other => Err(wire::invalid(format!("an end of the unknown kind {other}"))),
    }
}

#[cfg(test)]
mod tests;
