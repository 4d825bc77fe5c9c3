//! Tests of the machine with real guests.

use std::sync::{Arc, Mutex, mpsc};

use task_queue_raft::ids::Index;

use super::*;
use crate::guest::effects::{Completion, GuestEvent};
use crate::guest::limits::LimitsError;
use crate::records::envelope::{Envelope, EnvelopeError};
use crate::records::failure::GuestFailure;
use crate::records::settings_outcome::SettingsOutcome;
use crate::testing::{counter, faulty, kv, limits, op, op_long, queue, scripted};

mod audit;
mod callers;
mod decisions;
mod deferred;
mod effects;
mod guests;
mod injected;
mod keys;
mod levels;
mod memory;
mod operations;
mod queries;
mod query_threads;
mod random_histories;
mod rollback;
mod rules;
mod settings;
mod snapshots;
mod state_audit;
mod stops;
mod upgrades;

type Seen = Arc<Mutex<Vec<(Moment, Effects)>>>;

/// A machine to which entries are applied one after the other, a second apart.
struct Node {
    machine: WasmMachine,
    limits: MachineLimits,
    seen: Seen,
    /// One message for each change of an upgrade.
    changes: mpsc::Receiver<()>,
}

impl Node {
    fn new(module: GuestModule) -> Self {
        Self::with_limits(module, limits())
    }

    fn with_limits(module: GuestModule, limits: MachineLimits) -> Self {
        let seen = Seen::default();
        let listener = seen.clone();
        let listener: EffectsListener = Box::new(move |at, effects, _| {
            listener.lock().unwrap().push((at, effects.clone()));
        });
        let machine = WasmMachine::new(module, limits, Some(listener)).unwrap();
        let machine = machine.with_preparation_spawner(Box::new(|work| {
            std::thread::spawn(work);
            Ok(())
        }));
        let (changed, changes) = mpsc::channel();
        machine.status().on_upgrade(move || {
            // The test may have ended.
            let _ = changed.send(());
        });
        Self {
            machine,
            limits,
            seen,
            changes,
        }
    }

    fn next(&self) -> Moment {
        let last = self.counts().applied;
        Moment {
            index: Index(last.index.0 + 1),
            time_ms: last.time_ms + 1_000,
        }
    }

    /// Applies an entry of envelopes.
    fn entry(&mut self, envelopes: &[Bytes]) -> Vec<CommandOutcome> {
        let outcomes = self.machine.apply(self.next(), envelopes).unwrap();
        assert_eq!(outcomes.len(), envelopes.len());
        outcomes
    }

    /// Applies an entry of commands without keys.
    fn batch<C: AsRef<[u8]>>(&mut self, commands: &[C]) -> Vec<CommandOutcome> {
        let envelopes: Vec<Bytes> = commands.iter().map(|body| plain(body.as_ref())).collect();
        self.entry(&envelopes)
    }

    fn send(&mut self, command: impl AsRef<[u8]>) -> CommandOutcome {
        self.batch(&[command]).remove(0)
    }

    fn send_with_key(&mut self, key: &str, command: impl AsRef<[u8]>) -> CommandOutcome {
        self.entry(&[keyed(key, command.as_ref())]).remove(0)
    }

    fn query(&mut self, query: impl AsRef<[u8]>) -> Result<Bytes, GuestQueryError> {
        let at = self.counts().applied;
        self.machine
            .query(at, Bytes::copy_from_slice(query.as_ref()).into())
    }

    /// The value of the faulty guest or of the counter.
    fn value(&mut self) -> String {
        let response = self.query(r#"{"get":{}}"#).unwrap();
        let text = std::str::from_utf8(&response).unwrap();
        let value = text.strip_prefix("{\"value\":").unwrap();
        value.strip_suffix('}').unwrap().to_owned()
    }

    fn counts(&self) -> MachineCounters {
        self.machine.status().get().counts
    }

    fn snapshot(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.machine.snapshot(&mut bytes).unwrap();
        bytes
    }

    /// Another machine that restored a snapshot of this one.
    fn restored(&mut self) -> Self {
        let snapshot = self.snapshot();
        let mut other = Self::with_limits(self.machine.module().clone(), self.limits);
        other.machine.restore(&mut snapshot.as_slice()).unwrap();
        other
    }

    fn seen(&self) -> Vec<(Moment, Effects)> {
        self.seen.lock().unwrap().clone()
    }

    fn events(&self) -> Vec<GuestEvent> {
        let seen = self.seen();
        seen.into_iter()
            .flat_map(|(_, effects)| effects.events)
            .collect()
    }
}

fn plain(body: &[u8]) -> Bytes {
    Envelope::command(None, body).unwrap()
}

fn keyed(key: &str, body: &[u8]) -> Bytes {
    Envelope::command(Some(key), body).unwrap()
}

fn accepted(reply: impl AsRef<[u8]>) -> CommandOutcome {
    CommandOutcome::Accepted(Bytes::copy_from_slice(reply.as_ref()))
}

fn add(by: i64) -> String {
    format!("{{\"add\":{{\"by\":{by}}}}}")
}

fn value(value: i64) -> CommandOutcome {
    accepted(format!("{{\"value\":{value}}}"))
}

/// The `code` of a failure, or the kind of another outcome.
fn code(outcome: &CommandOutcome) -> &'static str {
    match outcome {
        CommandOutcome::Accepted(_) => "accepted",
        CommandOutcome::Rejected(_) => "rejected",
        CommandOutcome::Deferred(_) => "deferred",
        CommandOutcome::Failed(failure) => failure.code(),
        CommandOutcome::KeyReused => "key_reused",
        CommandOutcome::Malformed(_) => "malformed",
        CommandOutcome::Upgrade(_) => "upgrade",
        CommandOutcome::Settings(SettingsOutcome::Changed) => "changed",
        CommandOutcome::Settings(SettingsOutcome::Refused(_)) => "refused",
    }
}

fn codes(outcomes: &[CommandOutcome]) -> Vec<&'static str> {
    outcomes.iter().map(code).collect()
}

/// Checks that the replicated state of two machines is equal, including the bytes of their snapshots.
fn assert_same(one: &mut Node, other: &mut Node) {
    let replicated = |node: &Node| MachineCounters {
        memory_bytes: 0,
        rollbacks: 0,
        last_rollback_us: 0,
        ..node.counts()
    };
    assert_eq!(replicated(one), replicated(other));
    assert_eq!(one.machine.state_hash(), other.machine.state_hash());
    assert!(one.snapshot() == other.snapshot(), "snapshots differ");
}
