//! One entry of the log on its way through the guest.
//!
//! Its commands go to the guest in one call, in order, without those that are answered from their idempotency key. The
//! run is cut before a wake-up, and before a command whose key an earlier one of the same run bears, so that the
//! table of keys has the answer when it comes to that. If the call fails, all of it is undone and its commands are
//! run one by one, each with its own limits: those that fail are undone and reported, the others keep their effects.

use std::collections::HashSet;

use bytes::Bytes;
use task_queue_raft::state_machine::Moment;

use crate::audit::Audit;
use crate::envelope::{Envelope, EnvelopeError};
use crate::failure::GuestFailure;
use crate::host::{Completion, Effects};
use crate::instance::{CallOutput, ReplyKind};
use crate::keys::{KeyLookup, StoredReply};
use crate::limits::MachineLimits;
use crate::machine::MachineFailure;
use crate::module::Sha256;
use crate::outcome::CommandOutcome;
use crate::recover::{RecoverableGuest, StateCall};
use crate::snapshot::ReplicatedState;
use crate::upgrade::{Scene, UpgradeOutcome, UpgradeRecord, Upgrader};

/// Most bytes of commands in one call. A larger entry is cut; each node cuts it alike.
const MAX_BATCH_BYTES: usize = 64 << 20;

/// Most bytes of replies, events and completions of one entry. A command that goes over it fails.
const MAX_ENTRY_BYTES: u64 = 512 << 20;

/// A command that is to run.
struct PendingCommand {
    position: usize,
    key: Option<(String, Sha256)>,
    body: Bytes,
}

/// See the module.
pub(crate) struct EntryExecutor<'m> {
    guest: &'m mut RecoverableGuest,
    replicated: &'m mut ReplicatedState,
    upgrader: &'m mut Upgrader,
    audit: &'m mut Audit,
    limits: &'m MachineLimits,
    at: Moment,
    outcomes: Vec<Option<CommandOutcome>>,
    effects: Effects,
    /// Bytes of outcomes and effects so far.
    bytes: u64,
    pending: Vec<PendingCommand>,
    pending_keys: HashSet<String>,
    pending_bytes: usize,
    /// Calls into the guest so far: tells them apart for `random`.
    calls: u32,
}

impl<'m> EntryExecutor<'m> {
    pub(crate) fn new(
        guest: &'m mut RecoverableGuest,
        replicated: &'m mut ReplicatedState,
        upgrader: &'m mut Upgrader,
        audit: &'m mut Audit,
        limits: &'m MachineLimits,
        at: Moment,
    ) -> Self {
        Self {
            guest,
            replicated,
            upgrader,
            audit,
            limits,
            at,
            outcomes: Vec::new(),
            effects: Effects::default(),
            bytes: 0,
            pending: Vec::new(),
            pending_keys: HashSet::new(),
            pending_bytes: 0,
            calls: 0,
        }
    }

    /// Whether an upgrade is under way before it.
    pub(crate) fn has_upgrade(&self) -> bool {
        self.replicated.upgrade.is_some()
    }

    /// Runs the commands: as many outcomes, in order, and what else they did.
    pub(crate) fn run(
        mut self,
        commands: &[Bytes],
    ) -> Result<(Vec<CommandOutcome>, Effects), MachineFailure> {
        self.outcomes.resize(commands.len(), None);
        self.replicated
            .keys
            .forget_old(self.at.time_ms, self.limits);
        for (position, bytes) in commands.iter().enumerate() {
            match Envelope::decode(bytes) {
                Ok(Envelope::Command { key, body }) => self.take_command(position, key, body)?,
                Ok(Envelope::Wake) => {
                    self.flush()?;
                    let outcome = self.wake()?;
                    self.outcomes[position] = Some(outcome);
                }
                Ok(Envelope::Runs(module)) => {
                    self.settle_module(module)?;
                    self.outcomes[position] = Some(CommandOutcome::Accepted(Bytes::new()));
                    // A node that starts says it. It gives states nothing to differ at, and a cluster that nobody asks
                    // anything writes nothing.
                    continue;
                }
                Ok(Envelope::Upgrade(word)) => {
                    // It comes between two batches: what stands before it is run by the module that was active then.
                    self.flush()?;
                    let answer = self.take_word(word)?;
                    self.outcomes[position] = Some(CommandOutcome::Upgrade(answer));
                }
                // What this node makes of it is not replicated: the outcome is the same everywhere.
                Ok(Envelope::Audit(word)) => {
                    self.audit.take(self.at.index, word);
                    self.outcomes[position] = Some(CommandOutcome::Accepted(Bytes::new()));
                    continue;
                }
                // The other nodes may know it, so this one can't tell what becomes of it.
                Err(error @ EnvelopeError::Version { .. }) => {
                    return Err(MachineFailure::Envelope(error));
                }
                Err(error) => self.outcomes[position] = Some(CommandOutcome::Malformed(error)),
            }
            self.audit.is_due = true;
        }
        self.flush()?;
        self.settle_upgrade();
        let outcomes: Option<Vec<CommandOutcome>> = self.outcomes.into_iter().collect();
        let outcomes = outcomes.unwrap_or_else(|| unreachable!("each command was answered"));
        self.replicated.events += self.effects.events.len() as u64;
        Ok((outcomes, self.effects))
    }

    /// The first node's word settles what the log is for. What this node says of a later word must not depend on
    /// its own module, so it has the same outcome everywhere; a node with another module stops instead.
    ///
    /// A node may have been started with a module that the cluster has left behind, for it then has all that came after
    /// from the log or from a snapshot. Its own word tells one whose module the cluster never ran.
    fn settle_module(&mut self, module: Sha256) -> Result<(), MachineFailure> {
        let ReplicatedState {
            module: settled,
            history,
            ..
        } = &mut *self.replicated;
        let settled = *settled.get_or_insert(module);
        history.first.get_or_insert(settled);
        let (active, own) = (self.guest.module().sha256(), self.upgrader.started_with());
        if settled != active {
            return Err(MachineFailure::OtherModule {
                settled,
                own: active,
            });
        }
        if module == own && own != active && !history.knows(own) {
            return Err(MachineFailure::OtherModule { settled, own });
        }
        Ok(())
    }

    fn take_word(&mut self, word: UpgradeRecord) -> Result<UpgradeOutcome, MachineFailure> {
        let scene = Scene {
            guest: &mut *self.guest,
            replicated: &mut *self.replicated,
            at: self.at,
        };
        self.upgrader.take(word, scene)
    }

    fn settle_upgrade(&mut self) {
        let scene = Scene {
            guest: &mut *self.guest,
            replicated: &mut *self.replicated,
            at: self.at,
        };
        self.upgrader.settle(scene);
    }

    fn take_command(
        &mut self,
        position: usize,
        key: Option<String>,
        body: Bytes,
    ) -> Result<(), MachineFailure> {
        if body.len() as u64 > self.limits.command_bytes {
            self.fail(
                position,
                GuestFailure::TooLarge {
                    what: "the command",
                    bytes: body.len() as u64,
                    limit: self.limits.command_bytes,
                },
            );
            return Ok(());
        }
        let seen = key
            .as_ref()
            .is_some_and(|key| self.pending_keys.contains(key));
        if seen || self.pending_bytes + body.len() > MAX_BATCH_BYTES {
            self.flush()?;
        }
        let key = key.map(|key| (key, Sha256::of(&body)));
        if let Some((key, digest)) = &key {
            match self.replicated.keys.look_up(key, *digest) {
                KeyLookup::New => {}
                KeyLookup::Same(answer) => {
                    let again = match answer.clone() {
                        StoredReply::Accepted(reply) => CommandOutcome::Accepted(reply),
                        StoredReply::Rejected(refusal) => CommandOutcome::Rejected(refusal),
                        StoredReply::Deferred(token) => CommandOutcome::Deferred(token),
                    };
                    self.outcomes[position] = Some(again);
                    return Ok(());
                }
                KeyLookup::Other => {
                    self.outcomes[position] = Some(CommandOutcome::KeyReused);
                    return Ok(());
                }
            }
            self.pending_keys.insert(key.clone());
        }
        self.pending_bytes += body.len();
        self.pending.push(PendingCommand {
            position,
            key,
            body,
        });
        Ok(())
    }

    /// Runs what is pending.
    fn flush(&mut self) -> Result<(), MachineFailure> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_keys.clear();
        self.pending_bytes = 0;
        if pending.is_empty() {
            return Ok(());
        }
        let bodies: Vec<&Bytes> = pending.iter().map(|pending| &pending.body).collect();
        match self.call(StateCall::of(&bodies))? {
            Ok(applied) => self.keep(pending, applied),
            Err(failure) if pending.len() == 1 => {
                self.fail(pending[0].position, failure);
            }
            Err(failure) => {
                tracing::debug!(%failure, commands = pending.len(), "batch failed, running its commands one by one");
                for one in pending {
                    match self.call(StateCall::of(&[&one.body]))? {
                        Ok(applied) => self.keep(vec![one], applied),
                        Err(failure) => self.fail(one.position, failure),
                    }
                }
            }
        }
        Ok(())
    }

    /// Wakes the guest if its time has come. A wake-up that fails is not tried again: the guest would fail at it for
    /// ever. It can ask for another one at the next command.
    fn wake(&mut self) -> Result<CommandOutcome, MachineFailure> {
        let due = self.replicated.wake_at_ms;
        if due == 0 || self.at.time_ms < due {
            return Ok(CommandOutcome::Accepted(Bytes::new()));
        }
        self.replicated.wake_at_ms = 0;
        match self.call(StateCall::Wake)? {
            Ok(applied) => {
                self.keep(Vec::new(), applied);
                Ok(CommandOutcome::Accepted(Bytes::new()))
            }
            Err(failure) => {
                self.replicated.failures += 1;
                tracing::warn!(%failure, index = %self.at.index, "guest failed at a wake-up");
                Ok(CommandOutcome::Failed(failure))
            }
        }
    }

    fn call(
        &mut self,
        work: StateCall,
    ) -> Result<Result<CallOutput, GuestFailure>, MachineFailure> {
        let number = self.calls;
        self.calls += 1;
        let (spent, deferred) = (self.bytes, &self.replicated.deferred);
        let accept = |applied: &CallOutput| {
            let bytes = spent + size(applied);
            if bytes > MAX_ENTRY_BYTES {
                return Err(GuestFailure::TooLarge {
                    what: "what the commands of one entry reply and emit",
                    bytes,
                    limit: MAX_ENTRY_BYTES,
                });
            }
            let mut new = HashSet::new();
            for verdict in &applied.verdicts {
                if let ReplyKind::Deferred(token) = verdict
                    && (deferred.contains(*token) || !new.insert(*token))
                {
                    return Err(GuestFailure::BadOutcomes {
                        reason: format!("two commands wait under the token {token}"),
                    });
                }
            }
            if (deferred.len() + new.len()) as u64 > self.limits.deferred {
                return Err(GuestFailure::TooMany {
                    what: "deferred commands",
                    limit: self.limits.deferred,
                });
            }
            Ok(())
        };
        self.guest.run(self.at, number, work, &accept)
    }

    /// Takes over what a successful call gave.
    fn keep(&mut self, pending: Vec<PendingCommand>, applied: CallOutput) {
        self.bytes += size(&applied);
        for (one, verdict) in pending.into_iter().zip(applied.verdicts) {
            let (outcome, answer) = match verdict {
                ReplyKind::Accepted(reply) => (
                    CommandOutcome::Accepted(reply.clone()),
                    StoredReply::Accepted(reply),
                ),
                ReplyKind::Rejected(refusal) => {
                    let answer = StoredReply::Rejected(refusal.clone());
                    (CommandOutcome::Rejected(refusal), answer)
                }
                ReplyKind::Deferred(token) => {
                    let key = one.key.as_ref().map(|(key, _)| key.clone());
                    self.replicated.deferred.wait(token, key);
                    (
                        CommandOutcome::Deferred(token),
                        StoredReply::Deferred(token),
                    )
                }
            };
            self.outcomes[one.position] = Some(outcome);
            if let Some((key, digest)) = one.key {
                let keys = &mut self.replicated.keys;
                keys.spend(key, digest, answer, self.at.time_ms, self.limits);
            }
        }
        let Effects {
            events,
            completions,
            wake_at_ms,
        } = applied.effects;
        self.effects.events.extend(events);
        completions.into_iter().for_each(|done| self.complete(done));
        if let Some(time_ms) = wake_at_ms {
            self.replicated.wake_at_ms = time_ms;
            self.effects.wake_at_ms = wake_at_ms;
        }
    }

    fn complete(&mut self, completion: Completion) {
        let Some(key) = self.replicated.deferred.complete(completion.token) else {
            let token = completion.token;
            tracing::debug!(token, "guest completed a command that nobody waits for");
            return;
        };
        if let Some(key) = key {
            let reply = completion.reply.clone();
            let answer = if completion.accepted {
                StoredReply::Accepted(reply)
            } else {
                StoredReply::Rejected(reply)
            };
            let keys = &mut self.replicated.keys;
            keys.complete(&key, completion.token, answer, self.limits);
        }
        self.effects.completions.push(completion);
    }

    fn fail(&mut self, position: usize, failure: GuestFailure) {
        self.replicated.failures += 1;
        self.outcomes[position] = Some(CommandOutcome::Failed(failure));
    }
}

fn size(applied: &CallOutput) -> u64 {
    let replies = applied.verdicts.iter().map(|verdict| match verdict {
        ReplyKind::Accepted(bytes) | ReplyKind::Rejected(bytes) => bytes.len(),
        ReplyKind::Deferred(_) => 0,
    });
    let events = &applied.effects.events;
    let events = events
        .iter()
        .map(|event| event.topic.len() + event.payload.len());
    let completions = &applied.effects.completions;
    let completions = completions.iter().map(|done| done.reply.len());
    replies.chain(events).chain(completions).sum::<usize>() as u64
}
