//! Executes one entry of the log.
//!
//! The commands go to the guest as a batch in one call, in order. A command whose reply is stored under its idempotency
//! key is left out. The batch ends before a wake-up, and before a command with the same key as an earlier one of the
//! batch, so that the earlier reply is stored when the key is looked up. If the call fails, the whole batch is rolled
//! back. Its commands then run one by one, each with its own limits. Failed ones are rolled back, the others keep their
//! effects.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::Moment;

use crate::failure::MachineFailure;
use crate::guest::call::CallView;
use crate::guest::effects::{Completion, Effects};
use crate::guest::instance::{CallOutput, ReplyKind};
use crate::guest::limits::MachineLimits;
use crate::machine::audit::Audits;
use crate::machine::keys::{KeyLookup, StoredReply};
use crate::machine::state::ReplicatedState;
use crate::records::caller::GuestCaller;
use crate::records::digest::Sha256;
use crate::records::envelope::{Envelope, EnvelopeError};
use crate::records::failure::GuestFailure;
use crate::records::outcome::{CommandOutcome, UpgradeOutcome};
use crate::records::settings::SettingsChange;
use crate::records::settings_outcome::{SettingsOutcome, SettingsRefusal};
use crate::records::upgrade::UpgradeRecord;
use crate::rollback::journal::StateCall;
use crate::rollback::recoverable::RecoverableGuest;
use crate::settings::{self, SettingsFault};
use crate::upgrade::state::UpgradeState;
use crate::upgrade::{UpgradeScope, Upgrader};

/// A command of the next batch.
struct PendingCommand {
    position: usize,
    key: Option<(String, Sha256)>,
    body: Bytes,
    caller: Option<Arc<GuestCaller>>,
}

impl PendingCommand {
    fn as_call(&self) -> (&Bytes, Option<&Arc<GuestCaller>>) {
        (&self.body, self.caller.as_ref())
    }
}

/// Executes one entry on the machine's state.
pub(crate) struct EntryExecutor<'m> {
    guest: &'m mut RecoverableGuest,
    replicated: &'m mut ReplicatedState,
    upgrader: &'m mut Upgrader,
    audits: &'m mut Audits,
    limits: &'m mut MachineLimits,
    at: Moment,
    outcomes: Vec<Option<CommandOutcome>>,
    effects: Effects,
    /// Size of outcomes and effects so far.
    bytes: u64,
    pending: Vec<PendingCommand>,
    pending_keys: HashSet<String>,
    pending_bytes: u64,
    /// Number of calls into the guest so far; part of the seed of `random`.
    calls: u32,
}

impl<'m> EntryExecutor<'m> {
    pub(crate) fn new(
        guest: &'m mut RecoverableGuest,
        replicated: &'m mut ReplicatedState,
        upgrader: &'m mut Upgrader,
        audits: &'m mut Audits,
        limits: &'m mut MachineLimits,
        at: Moment,
    ) -> Self {
        Self {
            guest,
            replicated,
            upgrader,
            audits,
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

    /// Whether an upgrade is in progress before this entry.
    pub(crate) fn has_upgrade(&self) -> bool {
        self.replicated.upgrades.pending.is_some()
    }

    /// Executes the commands. Returns their outcomes in order, and the effects of the entry.
    pub(crate) fn run(
        mut self,
        commands: &[Bytes],
    ) -> Result<(Vec<CommandOutcome>, Effects), MachineFailure> {
        self.outcomes.resize(commands.len(), None);
        self.replicated
            .keys
            .drop_expired(self.at.time_ms, self.limits);
        for (position, bytes) in commands.iter().enumerate() {
            match Envelope::decode(bytes) {
                Ok(Envelope::Command { key, body, caller }) => {
                    self.take_command(position, key, body, caller)?;
                }
                Ok(Envelope::Wake) => {
                    self.flush()?;
                    let outcome = self.wake()?;
                    self.outcomes[position] = Some(outcome);
                }
                Ok(Envelope::Runs(module)) => {
                    self.settle_module(module)?;
                    self.outcomes[position] = Some(CommandOutcome::Accepted(Bytes::new()));
                    // Every node records this when it starts. It can't make states differ, so it is no reason for an
                    // audit, and an idle cluster writes nothing.
                    continue;
                }
                Ok(Envelope::Upgrade(record)) => {
                    // Commands before the record run on the module that was active then.
                    self.flush()?;
                    let outcome = self.apply_upgrade(record)?;
                    self.outcomes[position] = Some(CommandOutcome::Upgrade(outcome));
                }
                // The audit is not replicated state; the outcome is the same on every node.
                Ok(Envelope::Audit(record)) => {
                    self.audits.hashes.take(self.at.index, record);
                    self.outcomes[position] = Some(CommandOutcome::Accepted(Bytes::new()));
                    continue;
                }
                Ok(Envelope::StateAudit(record)) => {
                    self.audits.states.take(self.at.index, record);
                    self.outcomes[position] = Some(CommandOutcome::Accepted(Bytes::new()));
                    continue;
                }
                // Commands before the record don't see it.
                Ok(Envelope::Memory(record)) => {
                    self.flush()?;
                    self.replicated.memory.apply(record);
                    self.outcomes[position] = Some(CommandOutcome::Accepted(Bytes::new()));
                    continue;
                }
                // No command depends on it.
                Ok(Envelope::Operation(record)) => {
                    self.replicated.operations.apply(self.at, record);
                    self.outcomes[position] = Some(CommandOutcome::Accepted(Bytes::new()));
                    continue;
                }
                Ok(Envelope::Signature(signature)) => {
                    self.replicated.upgrades.sign(signature);
                    self.outcomes[position] = Some(CommandOutcome::Accepted(Bytes::new()));
                }
                Ok(Envelope::Accept(acceptance)) => {
                    self.audits.hashes.accept(&acceptance);
                    self.outcomes[position] = Some(CommandOutcome::Accepted(Bytes::new()));
                    continue;
                }
                Ok(Envelope::Settings(change)) => {
                    // Commands before the record run under the settings before it.
                    self.flush()?;
                    let outcome = self.change_settings(&change)?;
                    self.outcomes[position] = Some(CommandOutcome::Settings(outcome));
                }
                // Other nodes may support this version, so this node can't determine the outcome.
                Err(error @ (EnvelopeError::Version { .. } | EnvelopeError::RecordKind { .. })) => {
                    return Err(MachineFailure::Envelope(error));
                }
                Err(error) => self.outcomes[position] = Some(CommandOutcome::Malformed(error)),
            }
            self.audits.set_due();
        }
        self.flush()?;
        self.settle_upgrade();
        let outcomes: Option<Vec<CommandOutcome>> = self.outcomes.into_iter().collect();
        let outcomes = outcomes.unwrap_or_else(|| unreachable!("each command has an outcome"));
        self.replicated.events += self.effects.events.len() as u64;
        Ok((outcomes, self.effects))
    }

    /// Skips the entry: none of its commands and records takes place.
    pub(crate) fn skip(self, commands: &[Bytes]) -> (Vec<CommandOutcome>, Effects) {
        self.audits.set_due();
        self.replicated.failures += commands.len() as u64;
        let skipped = CommandOutcome::Failed(GuestFailure::Skipped);
        (vec![skipped; commands.len()], Effects::default())
    }

    /// The first record determines the first module of the log. The outcome of later records must not depend on this
    /// node's own module, so it is the same on every node; a node with another module stops instead.
    ///
    /// A node may have been started with an earlier module of the log, because it gets the later ones from the log or
    /// from a snapshot. With its own record it finds out if its module never ran this log.
    fn settle_module(&mut self, module: Sha256) -> Result<(), MachineFailure> {
        let UpgradeState {
            module: settled,
            history,
            ..
        } = &mut self.replicated.upgrades;
        let settled = *settled.get_or_insert(module);
        history.first.get_or_insert(settled);
        let active = self.guest.module().sha256();
        if settled != active {
            return Err(MachineFailure::OtherModule {
                settled,
                own: active,
            });
        }
        match self.upgrader.required() {
            Some(own) if module == own && own != active && !history.contains(own) => {
                Err(MachineFailure::OtherModule { settled, own })
            }
            _ => Ok(()),
        }
    }

    /// The settings apply from the next command on, and later entries see them as well.
    fn change_settings(
        &mut self,
        change: &SettingsChange,
    ) -> Result<SettingsOutcome, MachineFailure> {
        if let Some(name) = settings::unknown_in(&change.values) {
            let (name, release) = (name.clone(), change.release.clone());
            return Err(SettingsFault::Unknown { name, release }.into());
        }
        let Some(now) = &mut self.replicated.settings else {
            return Ok(SettingsOutcome::Refused(SettingsRefusal::NoSettings));
        };
        let mut changed = now.clone();
        if let Err(refusal) = changed.change(&change.values) {
            return Ok(SettingsOutcome::Refused(refusal));
        }
        let limits = changed.limits_on(self.limits);
        // The code of the guest contains the stack limit, so a change of that restarts the guest.
        if let Err(reason) = self.guest.adopt_limits(&limits, self.at, false)? {
            return Ok(SettingsOutcome::Refused(SettingsRefusal::Invalid {
                reason,
            }));
        }
        *now = changed;
        *self.limits = limits;
        self.upgrader.set_limits(self.limits);
        self.replicated
            .keys
            .apply_limits(self.at.time_ms, self.limits);
        tracing::info!(index = %self.at.index, by = change.by, values = ?change.values, "settings of the cluster changed");
        Ok(SettingsOutcome::Changed)
    }

    fn apply_upgrade(&mut self, record: UpgradeRecord) -> Result<UpgradeOutcome, MachineFailure> {
        let scope = UpgradeScope {
            guest: &mut *self.guest,
            state: &mut self.replicated.upgrades,
            at: self.at,
        };
        self.upgrader.apply(record, scope)
    }

    fn settle_upgrade(&mut self) {
        let scope = UpgradeScope {
            guest: &mut *self.guest,
            state: &mut self.replicated.upgrades,
            at: self.at,
        };
        self.upgrader.settle(scope);
    }

    fn take_command(
        &mut self,
        position: usize,
        key: Option<String>,
        body: Bytes,
        caller: Option<Arc<GuestCaller>>,
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
        if seen || self.pending_bytes + body.len() as u64 > self.limits.batch_bytes {
            self.flush()?;
        }
        let key = key.map(|key| (key, Sha256::of(&body)));
        if let Some((key, digest)) = &key {
            match self.replicated.keys.look_up(key, *digest) {
                KeyLookup::New => {}
                KeyLookup::Same(reply) => {
                    let outcome = match reply.clone() {
                        StoredReply::Accepted(reply) => CommandOutcome::Accepted(reply),
                        StoredReply::Rejected(refusal) => CommandOutcome::Rejected(refusal),
                        StoredReply::Deferred(token) => CommandOutcome::Deferred(token),
                    };
                    self.outcomes[position] = Some(outcome);
                    return Ok(());
                }
                KeyLookup::Other => {
                    self.outcomes[position] = Some(CommandOutcome::KeyReused);
                    return Ok(());
                }
            }
            self.pending_keys.insert(key.clone());
        }
        self.pending_bytes += body.len() as u64;
        self.pending.push(PendingCommand {
            position,
            key,
            body,
            caller,
        });
        Ok(())
    }

    /// Runs the pending commands.
    fn flush(&mut self) -> Result<(), MachineFailure> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_keys.clear();
        self.pending_bytes = 0;
        if pending.is_empty() {
            return Ok(());
        }
        let commands = pending.iter().map(PendingCommand::as_call);
        match self.call(StateCall::of(commands))? {
            Ok(output) => self.keep(pending, output),
            Err(failure) if pending.len() == 1 => {
                self.fail(pending[0].position, failure);
            }
            Err(failure) => {
                tracing::debug!(%failure, commands = pending.len(), "a batch failed; running its commands one by one");
                for one in pending {
                    match self.call(StateCall::of([one.as_call()]))? {
                        Ok(output) => self.keep(vec![one], output),
                        Err(failure) => self.fail(one.position, failure),
                    }
                }
            }
        }
        Ok(())
    }

    /// Wakes the guest if the time has passed. A failed wake-up is not retried, because it would fail again. The guest
    /// can request another one in its next command.
    fn wake(&mut self) -> Result<CommandOutcome, MachineFailure> {
        let due = self.replicated.wake_at_ms;
        if due == 0 || self.at.time_ms < due {
            return Ok(CommandOutcome::Accepted(Bytes::new()));
        }
        self.replicated.wake_at_ms = 0;
        match self.call(StateCall::Wake)? {
            Ok(output) => {
                self.keep(Vec::new(), output);
                Ok(CommandOutcome::Accepted(Bytes::new()))
            }
            Err(failure) => {
                self.replicated.failures += 1;
                tracing::warn!(%failure, index = %self.at.index, "the guest failed in a wake-up");
                Ok(CommandOutcome::Failed(failure))
            }
        }
    }

    fn call(
        &mut self,
        call: StateCall,
    ) -> Result<Result<CallOutput, GuestFailure>, MachineFailure> {
        let number = self.calls;
        self.calls += 1;
        let (spent, deferred) = (self.bytes, &self.replicated.deferred);
        let check = |output: &CallOutput| {
            let bytes = spent + size(output);
            let limit = self.limits.entry_bytes;
            if bytes > limit {
                return Err(GuestFailure::TooLarge {
                    what: "what the commands of one entry reply and emit",
                    bytes,
                    limit,
                });
            }
            let mut new = HashSet::new();
            for reply in &output.replies {
                if let ReplyKind::Deferred(token) = reply
                    && (deferred.contains(*token) || !new.insert(*token))
                {
                    return Err(GuestFailure::BadOutcomes {
                        reason: format!("two commands are deferred under the token {token}"),
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
        let view = CallView {
            memory_is_low: self.replicated.memory.is_low(),
        };
        self.guest.run(self.at, number, view, call, &check)
    }

    /// Adds the result of a successful call to the entry.
    fn keep(&mut self, pending: Vec<PendingCommand>, output: CallOutput) {
        self.bytes += size(&output);
        for (one, reply) in pending.into_iter().zip(output.replies) {
            let (outcome, stored) = match reply {
                ReplyKind::Accepted(reply) => (
                    CommandOutcome::Accepted(reply.clone()),
                    StoredReply::Accepted(reply),
                ),
                ReplyKind::Rejected(refusal) => {
                    let stored = StoredReply::Rejected(refusal.clone());
                    (CommandOutcome::Rejected(refusal), stored)
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
                keys.store(key, digest, stored, self.at.time_ms, self.limits);
            }
        }
        let Effects {
            events,
            completions,
            wake_at_ms,
        } = output.effects;
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
            tracing::debug!(
                token,
                "the guest completed a token without a deferred command"
            );
            return;
        };
        if let Some(key) = key {
            let reply = completion.reply.clone();
            let stored = if completion.accepted {
                StoredReply::Accepted(reply)
            } else {
                StoredReply::Rejected(reply)
            };
            let keys = &mut self.replicated.keys;
            keys.complete(&key, completion.token, stored, self.limits);
        }
        self.effects.completions.push(completion);
    }

    fn fail(&mut self, position: usize, failure: GuestFailure) {
        let is_full = failure == GuestFailure::OutOfMemory && self.replicated.memory.is_low();
        let failure = if is_full {
            GuestFailure::StateFull
        } else {
            failure
        };
        self.replicated.failures += 1;
        self.outcomes[position] = Some(CommandOutcome::Failed(failure));
    }
}

/// Size of the replies and effects of a call, in bytes.
fn size(output: &CallOutput) -> u64 {
    let replies = output.replies.iter().map(|reply| match reply {
        ReplyKind::Accepted(bytes) | ReplyKind::Rejected(bytes) => bytes.len(),
        ReplyKind::Deferred(_) => 0,
    });
    let events = &output.effects.events;
    let events = events
        .iter()
        .map(|event| event.topic.len() + event.payload.len());
    let completions = &output.effects.completions;
    let completions = completions.iter().map(|done| done.reply.len());
    replies.chain(events).chain(completions).sum::<usize>() as u64
}
