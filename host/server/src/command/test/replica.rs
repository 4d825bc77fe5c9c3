//! One copy of a guest: the machine of a node, without a log.

use std::fmt;
use std::sync::mpsc::{self, Receiver};

use bytes::Bytes;
use oarlock_wasm::{
    CheckResult, CommandOutcome, Effects, Envelope, GuestModule, GuestQueryError, GuestSemantics,
    MachineLimits, Sha256, UpgradeBegin, UpgradeOutcome, UpgradeRecord, WasmMachine,
};
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::{Moment, ReplicatedStateMachine};

use super::result::{StepReply, StepResult};
use super::suite::StepAction;
use crate::upgrades::check_succession;

/// Time of the first step, in milliseconds: 2020-01-01 UTC, as in the harness of the SDK.
pub(crate) const START_MS: u64 = 1_577_836_800_000;

/// Indexes of one step. All copies apply a step at the same indexes, also one with an upgrade before the step, because a
/// guest can read its index.
const STEP_INDEXES: u64 = 1 << 20;
/// The first index for commands and wake-ups of a step. Those before it are for the records of an upgrade.
const FIRST_COMMAND: u64 = 1 << 19;

/// Most wake-ups in one step.
const MAX_WAKES: u32 = 10_000;

/// Size of the parts in which an upgrade sends a module, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// A copy.
pub(crate) struct Replica {
    machine: WasmMachine,
    effects: Receiver<Effects>,
    at: Moment,
}

impl Replica {
    /// A copy without any command. `known` are modules that an upgrade of it needs.
    ///
    /// # Errors
    /// The guest does not start.
    pub(crate) fn new(module: &GuestModule, known: &[&GuestModule]) -> Result<Self, String> {
        let (sender, effects) = mpsc::channel();
        let listener = Box::new(move |_: Moment, effects: &Effects, _: u64| {
            // The receiver is dropped together with the machine.
            let _ = sender.send(effects.clone());
        });
        let limits = MachineLimits {
            semantics: GuestSemantics::LATEST,
            ..MachineLimits::default()
        };
        let machine = WasmMachine::new(module.clone(), limits, Some(listener));
        let known = known.iter().map(|module| (*module).clone()).collect();
        Ok(Self {
            machine: machine
                .map_err(|error| error.to_string())?
                .following_the_log()
                .with_known_modules(known),
            effects,
            at: Moment {
                index: Index(0),
                time_ms: START_MS,
            },
        })
    }

    /// The complete state, as a node writes it.
    ///
    /// # Errors
    /// The guest does not write its state.
    pub(crate) fn snapshot(&mut self) -> Result<Vec<u8>, String> {
        let mut snapshot = Vec::new();
        let written = self.machine.snapshot(&mut snapshot);
        written.map_err(|error| error.to_string())?;
        Ok(snapshot)
    }

    /// A new copy, restored from the state of this one.
    ///
    /// # Errors
    /// The guest does not write or restore its state.
    pub(crate) fn restored(&mut self, known: &[&GuestModule]) -> Result<Self, String> {
        let snapshot = self.snapshot()?;
        let mut copy = Self::new(self.machine.module(), known)?;
        let restored = copy.machine.restore(&mut snapshot.as_slice());
        restored.map_err(|error| error.to_string())?;
        copy.at = self.at;
        // A restored machine reports no effects, and empty ones are not of any step.
        copy.take_effects();
        Ok(copy)
    }

    /// Executes step number `number`, from 0.
    ///
    /// # Errors
    /// The machine can't continue, or its guest wakes itself without end.
    pub(crate) fn step(
        &mut self,
        number: usize,
        action: &StepAction,
    ) -> Result<StepResult, String> {
        self.begin(number, FIRST_COMMAND);
        let reply = match action {
            StepAction::Send { body, key, caller } => {
                let command = match caller {
                    Some(caller) => Envelope::called(caller, key.as_deref(), body),
                    None => Envelope::command(key.as_deref(), body),
                };
                let outcome = self.apply(command.map_err(|error| error.to_string())?)?;
                self.wake_until(self.at.time_ms)?;
                Some(reply(outcome))
            }
            StepAction::Query(query) => Some(response(self.machine.query(self.at, query.clone()))),
            StepAction::Advance(by_ms) => {
                let until = self.at.time_ms.saturating_add(*by_ms);
                self.wake_until(until)?;
                self.at.time_ms = until;
                None
            }
        };
        Ok(StepResult {
            reply,
            effects: self.take_effects(),
            wake_at_ms: self.machine.status().get().counts.wake_at_ms,
            state: self.state()?,
        })
    }

    /// Digest of the state as the guest writes it.
    ///
    /// # Errors
    /// The guest does not write its state.
    pub(crate) fn state(&mut self) -> Result<Sha256, String> {
        self.machine
            .guest_digest()
            .map_err(|error| error.to_string())
    }

    /// Upgrades to another module before step number `number`, as a cluster of one node does.
    ///
    /// # Errors
    /// The module has another name or layout than the active one, or the upgrade is refused or aborted.
    pub(crate) fn upgrade(&mut self, number: usize, module: &GuestModule) -> Result<(), String> {
        let active = self.machine.status().module();
        check_succession(&(&active).into(), &module.into(), false)
            .map_err(|error| error.to_string())?;
        self.begin(number, 0);
        let begun = UpgradeBegin {
            sha256: module.sha256(),
            bytes: module.bytes().len() as u64,
            wait_ms: 60_000,
            dry_run: false,
            by: "oarlock test".to_owned(),
        };
        let outcome = self.record(&UpgradeRecord::Begin(begun))?;
        expect_upgrade(outcome == UpgradeOutcome::Begun, &outcome)?;
        let upgrade = self.at.index;
        let mut offset = 0;
        for part in module.bytes().chunks(CHUNK_BYTES) {
            self.record(&UpgradeRecord::Chunk {
                upgrade,
                offset,
                bytes: Bytes::copy_from_slice(part),
            })?;
            offset += part.len() as u64;
        }
        let result = self.machine.status().upgrades().own_check().cloned();
        let Some(CheckResult::Ready { route, state, .. }) = result else {
            return Err(match result {
                Some(CheckResult::Refused { message }) => message,
                _ => "the new module was not prepared".to_owned(),
            });
        };
        let result = CheckResult::Ready {
            tried_at: self.at.index,
            route,
            state,
        };
        let node = "copy".to_owned();
        self.record(&UpgradeRecord::Report {
            upgrade,
            node,
            result,
        })?;
        let outcome = self.record(&UpgradeRecord::Activate {
            upgrade,
            route,
            state,
        })?;
        if outcome != UpgradeOutcome::Activated {
            let past = self.machine.status().upgrades().past;
            let end = past.last().map(|past| past.end.to_string());
            return Err(end.unwrap_or_else(|| format!("{outcome:?}")));
        }
        self.take_effects();
        Ok(())
    }

    fn begin(&mut self, number: usize, first: u64) {
        self.at.index = Index((number as u64 + 1) * STEP_INDEXES + first);
    }

    fn record(&mut self, record: &UpgradeRecord) -> Result<UpgradeOutcome, String> {
        match self.apply(Envelope::upgrade(record))? {
            CommandOutcome::Upgrade(UpgradeOutcome::Refused(refusal)) => Err(refusal.to_string()),
            CommandOutcome::Upgrade(outcome) => Ok(outcome),
            other => Err(format!("an upgrade record had the outcome {other:?}")),
        }
    }

    fn apply(&mut self, command: Bytes) -> Result<CommandOutcome, String> {
        self.at.index = self.at.index.next();
        let outcomes = self.machine.apply(self.at, &[command]);
        let mut outcomes = outcomes.map_err(|error| error.to_string())?;
        outcomes.pop().ok_or_else(|| "no outcome".to_owned())
    }

    /// Wakes the guest at each time that it asks for, up to and including `until`, as a leader does.
    fn wake_until(&mut self, until: u64) -> Result<(), String> {
        for _ in 0..MAX_WAKES {
            let due = self.machine.status().get().counts.wake_at_ms;
            if due == 0 || due > until {
                return Ok(());
            }
            self.at.time_ms = self.at.time_ms.max(due);
            self.apply(Envelope::wake())?;
        }
        Err(format!(
            "the guest asked for more than {MAX_WAKES} wake-ups in one step; ask for a later time in `wake`"
        ))
    }

    fn take_effects(&mut self) -> Effects {
        let mut all = Effects::default();
        for effects in self.effects.try_iter() {
            all.events.extend(effects.events);
            all.completions.extend(effects.completions);
        }
        all
    }
}

fn expect_upgrade(is_expected: bool, outcome: &UpgradeOutcome) -> Result<(), String> {
    if is_expected {
        return Ok(());
    }
    Err(format!("an upgrade record had the outcome {outcome:?}"))
}

fn reply(outcome: CommandOutcome) -> StepReply {
    let failed = |code, message: &dyn fmt::Display| StepReply::Failed {
        code,
        message: message.to_string(),
    };
    match outcome {
        CommandOutcome::Accepted(reply) => StepReply::Accepted(reply),
        CommandOutcome::Rejected(refusal) => StepReply::Refused(refusal),
        CommandOutcome::Deferred(token) => StepReply::Deferred(token),
        CommandOutcome::Failed(failure) => failed(failure.code(), &failure),
        CommandOutcome::KeyReused => failed(
            "key_reused",
            &"the idempotency key was already used with another command",
        ),
        CommandOutcome::Malformed(error) => failed("malformed", &error),
        CommandOutcome::Upgrade(_) | CommandOutcome::Settings(_) => {
            failed("malformed", &"the command is a record of the host")
        }
    }
}

fn response(response: Result<Bytes, GuestQueryError>) -> StepReply {
    match response {
        Ok(response) => StepReply::Accepted(response),
        Err(GuestQueryError::Refused(refusal)) => StepReply::Refused(refusal),
        Err(GuestQueryError::Failed(failure)) => StepReply::Failed {
            code: failure.code(),
            message: failure.to_string(),
        },
        Err(error) => StepReply::Failed {
            code: "no_query",
            message: error.to_string(),
        },
    }
}
