//! The replicated state of upgrades: the module that runs, the upgrade in progress, and those that have ended.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};

use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use crate::guest::module::Description;
use crate::records::digest::Sha256;
use crate::records::signature::UpgradeSignature;
use crate::records::upgrade::{
    self, CheckResult, MAX_NAME_BYTES, MigrationRoute, UpgradeBegin, UpgradeEnd,
};
use crate::records::wire;

/// Ended upgrades that are kept. The oldest are dropped first.
const MAX_PAST: usize = 256;

/// Largest module and longest guest name in a snapshot, in bytes: far above any configured limit.
const MAX_MODULE_BYTES: u64 = 1 << 32;
const MAX_GUEST_NAME_BYTES: u64 = 1 << 16;

/// Everything about modules that is replicated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UpgradeState {
    /// The module that the log is for at this point; `None` until the first node has recorded its module.
    pub(crate) module: Option<Sha256>,
    pub(crate) history: PastUpgrades,
    /// The upgrade in progress.
    pub(crate) pending: Option<PendingUpgrade>,
    /// The signature of its module. Apart from `pending`, because it is in another part of a snapshot.
    signature: Option<String>,
}

impl UpgradeState {
    /// Begins an upgrade.
    pub(crate) fn begin(&mut self, pending: PendingUpgrade) {
        self.pending = Some(pending);
        self.signature = None;
    }

    /// Notes the signature of the upgrade in progress. A later one replaces it.
    pub(crate) fn sign(&mut self, signature: UpgradeSignature) {
        let is_pending = |pending: &PendingUpgrade| pending.upgrade == signature.upgrade;
        if self.pending.as_ref().is_some_and(is_pending) {
            self.signature = Some(signature.text);
        }
    }

    /// The signature of the upgrade in progress.
    pub(crate) fn signature(&self) -> Option<&str> {
        self.pending.as_ref()?;
        self.signature.as_deref()
    }

    /// Takes the signature from a snapshot.
    pub(crate) fn restore_signature(&mut self, signature: String) {
        self.signature = Some(signature);
    }
}

/// An ended upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastUpgrade {
    /// Index of the entry that began the upgrade.
    pub upgrade: Index,
    /// The entry that ended the upgrade, and its time. An activated module runs from there on.
    pub ended: Moment,
    /// Name of the operator who requested it.
    pub by: String,
    /// Digest of the new module.
    pub sha256: Sha256,
    /// Name and version of the new module, if it was activated.
    pub module: Option<(String, u32)>,
    /// How the upgrade ended.
    pub end: UpgradeEnd,
}

/// The replicated status of the upgrade in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeStatus {
    /// Index of the entry that began the upgrade.
    pub upgrade: Index,
    /// Name of the operator who requested it.
    pub by: String,
    /// Digest of the new module.
    pub sha256: Sha256,
    /// Size of the new module, in bytes.
    pub bytes: u64,
    /// Bytes received so far.
    pub received: u64,
    /// When the leader aborts the upgrade, in milliseconds of replicated time.
    pub deadline_ms: u64,
    /// The upgrade ends without a switch.
    pub dry_run: bool,
    /// The entry that completed the module; `None` before.
    pub staged_at: Option<Index>,
    /// Reports by node name. At most 64.
    pub reports: BTreeMap<String, CheckResult>,
}

/// The upgrade in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingUpgrade {
    pub(crate) upgrade: Index,
    pub(crate) sha256: Sha256,
    pub(crate) size: u64,
    pub(crate) deadline_ms: u64,
    pub(crate) dry_run: bool,
    pub(crate) by: String,
    /// The bytes of the module received so far.
    pub(crate) module: Vec<u8>,
    /// The entry that completed the module, and the route to the new state that was chosen there.
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

    /// Whether a node has reported ready.
    pub(crate) fn has_ready(&self) -> bool {
        let mut results = self.reports.values();
        results.any(|result| matches!(result, CheckResult::Ready { .. }))
    }

    /// Whether the new module is built from the journal, without the old module's snapshot.
    pub(crate) fn uses_journal(&self) -> bool {
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
        for (node, result) in &self.reports {
            wire::put_bytes(to, node.as_bytes())?;
            upgrade::write_result(to, result)?;
        }
        Ok(())
    }

    fn read(from: &mut dyn Read) -> io::Result<Self> {
        let mut pending = Self {
            upgrade: upgrade::read_index(from)?,
            sha256: Sha256(wire::take(from)?),
            size: wire::take_u64(from)?,
            deadline_ms: wire::take_u64(from)?,
            dry_run: upgrade::read_bool(from)?,
            by: wire::take_text(from, MAX_NAME_BYTES as u64)?,
            module: wire::take_bytes(from, MAX_MODULE_BYTES)?,
            staged: None,
            reports: BTreeMap::new(),
        };
        if upgrade::read_bool(from)? {
            pending.staged = Some((upgrade::read_index(from)?, upgrade::read_route(from)?));
        }
        for _ in 0..wire::take_u64(from)? {
            let node = wire::take_text(from, MAX_NAME_BYTES as u64)?;
            let result = upgrade::read_result(from)?;
            pending.reports.insert(node, result);
        }
        Ok(pending)
    }
}

/// The modules that have run this log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PastUpgrades {
    /// The module before the first upgrade, once it is known.
    pub(crate) first: Option<Sha256>,
    past: VecDeque<PastUpgrade>,
}

impl PastUpgrades {
    /// A history without ended upgrades.
    #[cfg(test)]
    pub(crate) fn of(first: Sha256) -> Self {
        Self {
            first: Some(first),
            ..Self::default()
        }
    }

    /// Whether this module has run the log, as far as the history goes back.
    pub(crate) fn contains(&self, module: Sha256) -> bool {
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

/// Writes the section of a snapshot: the history and the upgrade in progress.
pub(crate) fn write(
    to: &mut dyn Write,
    history: &PastUpgrades,
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
pub(crate) fn read(from: &mut dyn Read) -> io::Result<(PastUpgrades, Option<PendingUpgrade>)> {
    let mut history = PastUpgrades::default();
    if upgrade::read_bool(from)? {
        history.first = Some(Sha256(wire::take(from)?));
    }
    for _ in 0..wire::take_u64(from)? {
        history.push(read_past(from)?);
    }
    let pending = if upgrade::read_bool(from)? {
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
    upgrade::write_end(to, &past.end)
}

fn read_past(from: &mut dyn Read) -> io::Result<PastUpgrade> {
    let upgrade = upgrade::read_index(from)?;
    let ended = Moment {
        index: upgrade::read_index(from)?,
        time_ms: wire::take_u64(from)?,
    };
    let by = wire::take_text(from, MAX_NAME_BYTES as u64)?;
    let sha256 = Sha256(wire::take(from)?);
    let module = if upgrade::read_bool(from)? {
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
        end: upgrade::read_end(from)?,
    })
}
