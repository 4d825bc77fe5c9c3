//! What upgrades leave in the replicated state: the one under way, and those that have ended.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, Read, Write};

use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use super::words::{self, CheckResult, MAX_NAME_BYTES, MigrationRoute, UpgradeBegin};
use crate::module::{Description, Sha256};
use crate::wire;

/// UpgradeSummary that have ended and are remembered, the oldest forgotten first.
const MAX_PAST: usize = 256;

/// Longest module and longest name of one, as a snapshot may hold them: far over what limits allow.
const MAX_MODULE_BYTES: u64 = 1 << 32;
const MAX_GUEST_NAME_BYTES: u64 = 1 << 16;

/// Why an upgrade came to nothing. The old module goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortCause {
    /// A voter can't run the new module, or it does not take the state.
    NodeRefused = 1,
    /// Not every voter was ready in time, or the bytes did not all arrive.
    TimedOut = 2,
    /// Two nodes came to different states.
    StatesDiffer = 3,
    /// The bytes have another digest than was announced.
    ModuleCorrupt = 4,
    /// The old module could not write its state at the switch, though it could before.
    OldSnapshotFailed = 5,
    /// The new module did not take the state at the switch, though it took the copy before.
    NewRestoreFailed = 6,
    /// Without the old module's help, more commands came than are kept.
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

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u8 == byte)
    }

    /// One word, for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NodeRefused => "refused",
            Self::TimedOut => "timed_out",
            Self::StatesDiffer => "differs",
            Self::ModuleCorrupt => "damaged",
            Self::OldSnapshotFailed => "old_silent",
            Self::NewRestoreFailed => "new_refused",
            Self::JournalTooLarge => "too_long",
        }
    }
}

impl fmt::Display for AbortCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeRefused => "a node refuses the new module",
            Self::TimedOut => "not every voter was ready in time",
            Self::StatesDiffer => "nodes came to different states with the new module",
            Self::ModuleCorrupt => "the bytes that arrived are not those that were announced",
            Self::OldSnapshotFailed => "the old module could not write its state at the switch",
            Self::NewRestoreFailed => "the new module did not take the state at the switch",
            Self::JournalTooLarge => {
                "more commands came than are kept for a new module that does without the old one's help"
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
    /// The old module goes on.
    Aborted {
        /// Why.
        cause: AbortCause,
        /// More about it, for people; may be empty.
        message: String,
    },
}

impl UpgradeEnd {
    /// Abandoned, with nothing more to say.
    #[must_use]
    pub fn because(cause: AbortCause) -> Self {
        Self::Aborted {
            cause,
            message: String::new(),
        }
    }

    /// One word, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::DryRunPassed => "tried_out",
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

/// An upgrade that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastUpgrade {
    /// Index of the entry that began it.
    pub upgrade: Index,
    /// The entry that ended it, and its time. An activated module runs from there on.
    pub ended: Moment,
    /// Who asked for it.
    pub by: String,
    /// Digest of the module that it was about.
    pub sha256: Sha256,
    /// The name and version of a module that was activated.
    pub module: Option<(String, u32)>,
    /// How it ended.
    pub end: UpgradeEnd,
}

/// An upgrade that is under way, as far as it is replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeStatus {
    /// Index of the entry that began it.
    pub upgrade: Index,
    /// Who asked for it.
    pub by: String,
    /// Digest of the new module.
    pub sha256: Sha256,
    /// Length of the new module.
    pub bytes: u64,
    /// How many of them have arrived.
    pub received: u64,
    /// When the leader gives it up, in milliseconds of replicated time.
    pub deadline_ms: u64,
    /// Nothing is activated.
    pub dry_run: bool,
    /// The entry with which all bytes were there.
    pub staged_at: Option<Index>,
    /// What nodes have reported.
    pub reports: BTreeMap<String, CheckResult>,
}

/// The upgrade under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingUpgrade {
    pub(crate) upgrade: Index,
    pub(crate) sha256: Sha256,
    pub(crate) size: u64,
    pub(crate) deadline_ms: u64,
    pub(crate) dry_run: bool,
    pub(crate) by: String,
    /// What has arrived of the module.
    pub(crate) module: Vec<u8>,
    /// The entry with which all of it was there, and the way to the new state that was found then.
    pub(crate) staged: Option<(Index, MigrationRoute)>,
    pub(crate) reports: BTreeMap<String, CheckResult>,
}

impl PendingUpgrade {
    pub(crate) fn new(begin: UpgradeBegin, at: Moment) -> Self {
        Self {
            upgrade: at.index,
            sha256: begin.sha256,
            size: begin.bytes,
            deadline_ms: at.time_ms.saturating_add(begin.wait_ms),
            dry_run: begin.dry_run,
            by: begin.by,
            module: Vec::new(),
            staged: None,
            reports: BTreeMap::new(),
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        let mut verdicts = self.reports.values();
        verdicts.any(|verdict| matches!(verdict, CheckResult::Ready { .. }))
    }

    /// Whether the new module goes without the old one's help.
    pub(crate) fn goes_by_journal(&self) -> bool {
        matches!(self.staged, Some((_, MigrationRoute::Journal)))
    }

    pub(crate) fn ended(
        self,
        end: UpgradeEnd,
        ended: Moment,
        module: Option<&Description>,
    ) -> PastUpgrade {
        PastUpgrade {
            upgrade: self.upgrade,
            ended,
            by: self.by,
            sha256: self.sha256,
            module: module.map(|module| (module.name.clone(), module.version)),
            end,
        }
    }

    pub(crate) fn status(&self) -> UpgradeStatus {
        UpgradeStatus {
            upgrade: self.upgrade,
            by: self.by.clone(),
            sha256: self.sha256,
            bytes: self.size,
            received: self.module.len() as u64,
            deadline_ms: self.deadline_ms,
            dry_run: self.dry_run,
            staged_at: self.staged.map(|(index, _)| index),
            reports: self.reports.clone(),
        }
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        wire::put_u64(to, self.upgrade.0)?;
        to.write_all(&self.sha256.0)?;
        wire::put_u64(to, self.size)?;
        wire::put_u64(to, self.deadline_ms)?;
        wire::put_u8(to, self.dry_run.into())?;
        wire::put_bytes(to, self.by.as_bytes())?;
        wire::put_bytes(to, &self.module)?;
        match self.staged {
            None => wire::put_u8(to, 0)?,
            Some((index, route)) => {
                wire::put_u8(to, 1)?;
                wire::put_u64(to, index.0)?;
                wire::put_u8(to, route as u8)?;
            }
        }
        wire::put_u64(to, self.reports.len() as u64)?;
        for (node, verdict) in &self.reports {
            wire::put_bytes(to, node.as_bytes())?;
            words::write_result(to, verdict)?;
        }
        Ok(())
    }

    fn read(from: &mut dyn Read) -> io::Result<Self> {
        let mut pending = Self {
            upgrade: words::read_index(from)?,
            sha256: Sha256(wire::take(from)?),
            size: wire::take_u64(from)?,
            deadline_ms: wire::take_u64(from)?,
            dry_run: words::read_bool(from)?,
            by: wire::take_text(from, MAX_NAME_BYTES as u64)?,
            module: wire::take_bytes(from, MAX_MODULE_BYTES)?,
            staged: None,
            reports: BTreeMap::new(),
        };
        if words::read_bool(from)? {
            pending.staged = Some((words::read_index(from)?, words::read_route(from)?));
        }
        for _ in 0..wire::take_u64(from)? {
            let node = wire::take_text(from, MAX_NAME_BYTES as u64)?;
            let verdict = words::read_result(from)?;
            pending.reports.insert(node, verdict);
        }
        Ok(pending)
    }
}

/// The modules that this log was run by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The one before the first upgrade, once it is known.
    pub(crate) first: Option<Sha256>,
    past: VecDeque<PastUpgrade>,
}

impl History {
    /// One in which no upgrade has ended yet.
    #[cfg(test)]
    pub(crate) fn of(first: Sha256) -> Self {
        Self {
            first: Some(first),
            ..Self::default()
        }
    }

    /// Whether the log was run by this module at some time, as far as is remembered.
    pub(crate) fn knows(&self, module: Sha256) -> bool {
        let activated =
            |past: &PastUpgrade| past.end == UpgradeEnd::Activated && past.sha256 == module;
        self.first == Some(module) || self.past.iter().any(activated)
    }

    pub(crate) fn push(&mut self, past: PastUpgrade) {
        self.past.push_back(past);
        if self.past.len() > MAX_PAST {
            self.past.pop_front();
        }
    }

    pub(crate) fn past(&self) -> impl DoubleEndedIterator<Item = &PastUpgrade> {
        self.past.iter()
    }
}

/// Writes the section of a snapshot: history, and the upgrade under way.
pub(crate) fn write(
    to: &mut dyn Write,
    history: &History,
    pending: Option<&PendingUpgrade>,
) -> io::Result<()> {
    wire::put_u8(to, history.first.is_some().into())?;
    if let Some(first) = history.first {
        to.write_all(&first.0)?;
    }
    wire::put_u64(to, history.past.len() as u64)?;
    for past in &history.past {
        write_past(to, past)?;
    }
    wire::put_u8(to, pending.is_some().into())?;
    pending.map_or(Ok(()), |pending| pending.write(to))
}

/// Reads what [`write`] wrote.
pub(crate) fn read(from: &mut dyn Read) -> io::Result<(History, Option<PendingUpgrade>)> {
    let mut history = History::default();
    if words::read_bool(from)? {
        history.first = Some(Sha256(wire::take(from)?));
    }
    for _ in 0..wire::take_u64(from)? {
        history.push(read_past(from)?);
    }
    let pending = if words::read_bool(from)? {
        Some(PendingUpgrade::read(from)?)
    } else {
        None
    };
    Ok((history, pending))
}

fn write_past(to: &mut dyn Write, past: &PastUpgrade) -> io::Result<()> {
    wire::put_u64(to, past.upgrade.0)?;
    wire::put_u64(to, past.ended.index.0)?;
    wire::put_u64(to, past.ended.time_ms)?;
    wire::put_bytes(to, past.by.as_bytes())?;
    to.write_all(&past.sha256.0)?;
    wire::put_u8(to, past.module.is_some().into())?;
    if let Some((name, version)) = &past.module {
        wire::put_bytes(to, name.as_bytes())?;
        wire::put_u32(to, *version)?;
    }
    words::write_end(to, &past.end)
}

fn read_past(from: &mut dyn Read) -> io::Result<PastUpgrade> {
    let upgrade = words::read_index(from)?;
    let ended = Moment {
        index: words::read_index(from)?,
        time_ms: wire::take_u64(from)?,
    };
    let by = wire::take_text(from, MAX_NAME_BYTES as u64)?;
    let sha256 = Sha256(wire::take(from)?);
    let module = if words::read_bool(from)? {
        Some((
            wire::take_text(from, MAX_GUEST_NAME_BYTES)?,
            wire::take_u32(from)?,
        ))
    } else {
        None
    };
    Ok(PastUpgrade {
        upgrade,
        ended,
        by,
        sha256,
        module,
        end: words::read_end(from)?,
    })
}
