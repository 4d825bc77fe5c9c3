//! Decisions of an operator about entries at which every node stopped.
//!
//! A decision is made offline, on every node alike: the entry is skipped, or a successor of the module executes it. The
//! applied decisions are replicated state: snapshots contain them, and the state hash covers them. So a node without the
//! decision differs from the others, which the audit finds, and a node whose decision differs from a snapshot stops.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use bytes::Bytes;
use sha2::Digest;
use task_queue_raft::ids::Index;

use crate::failure::MachineFailure;
use crate::guest::module::GuestModule;
use crate::records::digest::Sha256;
use crate::records::wire;

/// Most decisions in a snapshot.
const MAX_DECISIONS: u64 = 4096;

/// What this node does at an entry instead of executing it with the active module.
#[derive(Clone, Debug)]
pub struct EntryDecision {
    /// The entry.
    pub index: Index,
    /// Digest of its commands ([`Self::digest_of`]), so that no other entry with this index is meant.
    pub commands: Sha256,
    /// The module that executes this entry and those after it. `None`: the entry is skipped.
    pub successor: Option<GuestModule>,
}

impl EntryDecision {
    /// Digest of the commands of an entry.
    #[must_use]
    pub fn digest_of<'a>(commands: impl IntoIterator<Item = &'a Bytes>) -> Sha256 {
        let mut digest = sha2::Sha256::new();
        for command in commands {
            digest.update((command.len() as u64).to_le_bytes());
            digest.update(command);
        }
        Sha256(digest.finalize().into())
    }

    pub(crate) fn applied(&self) -> AppliedDecision {
        AppliedDecision {
            commands: self.commands,
            successor: self.successor.as_ref().map(GuestModule::sha256),
        }
    }
}

/// An applied decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppliedDecision {
    pub(crate) commands: Sha256,
    /// Digest of the module that executed the entry; `None`: it was skipped.
    pub(crate) successor: Option<Sha256>,
}

/// The applied decisions by entry.
pub(crate) type AppliedDecisions = BTreeMap<Index, AppliedDecision>;

/// The decisions of this node.
#[derive(Debug, Default)]
pub(super) struct OwnDecisions(BTreeMap<Index, EntryDecision>);

impl OwnDecisions {
    pub(super) fn new(decisions: Vec<EntryDecision>) -> Self {
        let decisions = decisions.into_iter();
        Self(
            decisions
                .map(|decision| (decision.index, decision))
                .collect(),
        )
    }

    /// The decision about this entry.
    ///
    /// # Errors
    /// The decision was made about another entry with this index.
    pub(super) fn about(
        &self,
        index: Index,
        commands: &[Bytes],
    ) -> Result<Option<&EntryDecision>, MachineFailure> {
        let Some(decision) = self.0.get(&index) else {
            return Ok(None);
        };
        let found = EntryDecision::digest_of(commands);
        if found == decision.commands {
            return Ok(Some(decision));
        }
        Err(MachineFailure::OtherEntry {
            index,
            decided: decision.commands,
            found,
        })
    }

    /// Checks that a state up to `last` has the effect of each decision of this node.
    ///
    /// # Errors
    /// Names the first entry on which the state and this node differ.
    pub(super) fn check(
        &self,
        last: Index,
        applied: &AppliedDecisions,
    ) -> Result<(), MachineFailure> {
        for (index, decision) in self.0.range(..=last) {
            if applied.get(index) != Some(&decision.applied()) {
                return Err(MachineFailure::DecisionDiffers { index: *index });
            }
        }
        Ok(())
    }
}

/// Writes the decisions for a snapshot.
pub(super) fn write(to: &mut dyn Write, decisions: &AppliedDecisions) -> io::Result<()> {
    wire::put_u64(to, decisions.len() as u64)?;
    for (index, decision) in decisions {
        wire::put_u64(to, index.0)?;
        to.write_all(&decision.commands.0)?;
        wire::put_u8(to, decision.successor.is_some().into())?;
        to.write_all(&decision.successor.unwrap_or(Sha256([0; 32])).0)?;
    }
    Ok(())
}

/// Reads what [`write`] wrote.
pub(super) fn read(from: &mut dyn Read) -> io::Result<AppliedDecisions> {
    let count = wire::take_u64(from)?;
    if count > MAX_DECISIONS {
        return Err(wire::invalid(format!(
            "a snapshot has {count} decisions about entries, but {MAX_DECISIONS} is the limit"
        )));
    }
    let mut decisions = AppliedDecisions::new();
    for _ in 0..count {
        let index = Index(wire::take_u64(from)?);
        let commands = Sha256(wire::take(from)?);
        let has_successor = wire::take_u8(from)? != 0;
        let successor = Sha256(wire::take(from)?);
        decisions.insert(
            index,
            AppliedDecision {
                commands,
                successor: has_successor.then_some(successor),
            },
        );
    }
    Ok(decisions)
}
