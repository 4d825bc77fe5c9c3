//! The running hash over everything that was applied. It is equal on all nodes at the same index.

use std::io;

use sha2::Digest;
use task_queue_raft::state_machine::Moment;

use crate::guest::effects::Effects;
use crate::guest::semantics::GuestSemantics;
use crate::machine::decisions::AppliedDecision;
use crate::records::digest::Sha256;
use crate::records::outcome::CommandOutcome;
use crate::records::wire::{put_bytes, put_u8, put_u32, put_u64};

/// A chain of SHA-256 digests, one link for each applied entry, even if it has no commands.
///
/// The first digest covers `oarlock state hash 1` and the module's digest. A link covers the digest before, the entry's
/// index and time, each outcome and each effect in order, and the time of the next wake-up. Numbers are little-endian,
/// and byte strings follow their length. The chain continues when the module changes: the record that activates it is
/// an outcome like others.
///
/// The entry that sets the cluster's level and settings is a link of its own: `oarlock settings 1`, the digest before,
/// index and time, the level, the settings as the entry contains them, and the version of the rules by which the guest
/// runs from then on.
///
/// A decision of an operator about an entry is a link before it: `oarlock decision 1`, the digest before, the index, the
/// digest of the entry's commands, and the successor's digest after a byte that tells whether there is one.
///
/// It does not cover the messages of failures, which are for people. It does not cover fuel either: a heap that was
/// restored from a snapshot uses other fuel than one that grew, although both have the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateHash(pub(crate) Sha256);

impl StateHash {
    pub(crate) fn first(module: Sha256) -> Self {
        let mut digest = sha2::Sha256::new();
        digest.update(b"oarlock state hash 1");
        digest.update(module.0);
        Self(Sha256(digest.finalize().into()))
    }

    /// Appends a link.
    pub(crate) fn extend(
        &mut self,
        at: Moment,
        outcomes: &[CommandOutcome],
        effects: &Effects,
        wake_at_ms: u64,
    ) {
        let mut link = HashLink(sha2::Sha256::new());
        link.0.update(self.0.0);
        let written = write_link(&mut link, at, outcomes, effects, wake_at_ms);
        debug_assert!(written.is_ok(), "writing to a digest never fails");
        self.0 = Sha256(link.0.finalize().into());
    }

    /// Appends the link of a decision about the entry that follows it.
    pub(crate) fn decide(&mut self, at: Moment, decision: &AppliedDecision) {
        let mut digest = sha2::Sha256::new();
        digest.update(b"oarlock decision 1");
        digest.update(self.0.0);
        digest.update(at.index.0.to_le_bytes());
        digest.update(decision.commands.0);
        digest.update([u8::from(decision.successor.is_some())]);
        digest.update(decision.successor.unwrap_or(Sha256([0; 32])).0);
        self.0 = Sha256(digest.finalize().into());
    }

    /// Appends the link of an entry that sets level and settings.
    pub(crate) fn configure(
        &mut self,
        at: Moment,
        level: u32,
        settings: &[u8],
        rules: Option<GuestSemantics>,
    ) {
        let mut link = HashLink(sha2::Sha256::new());
        link.0.update(b"oarlock settings 1");
        link.0.update(self.0.0);
        let written = put_u64(&mut link, at.index.0)
            .and_then(|()| put_u64(&mut link, at.time_ms))
            .and_then(|()| put_u32(&mut link, level))
            .and_then(|()| put_bytes(&mut link, settings))
            .and_then(|()| put_u32(&mut link, rules.map_or(0, GuestSemantics::version)));
        debug_assert!(written.is_ok(), "writing to a digest never fails");
        self.0 = Sha256(link.0.finalize().into());
    }
}

struct HashLink(sha2::Sha256);

impl io::Write for HashLink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_link(
    link: &mut HashLink,
    at: Moment,
    outcomes: &[CommandOutcome],
    effects: &Effects,
    wake_at_ms: u64,
) -> io::Result<()> {
    put_u64(link, at.index.0)?;
    put_u64(link, at.time_ms)?;
    put_u64(link, outcomes.len() as u64)?;
    for outcome in outcomes {
        write_outcome(link, outcome)?;
    }
    put_u64(link, effects.events.len() as u64)?;
    for event in &effects.events {
        put_bytes(link, event.topic.as_bytes())?;
        put_bytes(link, &event.payload)?;
    }
    put_u64(link, effects.completions.len() as u64)?;
    for completion in &effects.completions {
        put_u64(link, completion.token)?;
        put_u8(link, completion.accepted.into())?;
        put_bytes(link, &completion.reply)?;
    }
    put_u64(link, wake_at_ms)
}

fn write_outcome(link: &mut HashLink, outcome: &CommandOutcome) -> io::Result<()> {
    match outcome {
        CommandOutcome::Accepted(reply) => {
            put_u8(link, 0)?;
            put_bytes(link, reply)
        }
        CommandOutcome::Rejected(refusal) => {
            put_u8(link, 1)?;
            put_bytes(link, refusal)
        }
        CommandOutcome::Deferred(token) => {
            put_u8(link, 2)?;
            put_u64(link, *token)
        }
        CommandOutcome::Failed(failure) => {
            put_u8(link, 3)?;
            put_u8(link, failure.kind())
        }
        CommandOutcome::KeyReused => put_u8(link, 4),
        CommandOutcome::Malformed(_) => put_u8(link, 5),
        CommandOutcome::Upgrade(outcome) => {
            put_u8(link, 6)?;
            put_u8(link, outcome.kind())
        }
        CommandOutcome::Settings(outcome) => {
            put_u8(link, 7)?;
            put_u8(link, outcome.kind())
        }
    }
}

#[cfg(test)]
mod tests;
