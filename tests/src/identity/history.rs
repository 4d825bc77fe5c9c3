//! The log that the copies are given: entries of random size, at times that move on, with wake-ups where they are due.

use bytes::Bytes;
use oarlock_wasm::{CommandOutcome, Envelope};
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use super::Plan;
use super::commands::{Commands, Language};
use crate::sim::rng::Rng;

/// 2020-01-01 UTC, in milliseconds.
const START_MS: u64 = 1_577_836_800_000;
/// Most commands of an entry.
const MOST: u64 = 64;
/// Idempotency keys: few, so that some are used again.
const KEYS: u64 = 5000;

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: Moment,
    pub(super) commands: Vec<Bytes>,
    /// It is a wake-up and holds no command.
    pub(super) wakes: bool,
}

/// Thinks of entries.
#[derive(Debug)]
pub(super) struct History {
    commands: Commands,
    rng: Rng,
    left: u64,
    at: Moment,
    /// Commands with a key, which may be sent again.
    keyed: Vec<(String, Vec<u8>)>,
}

impl History {
    pub(super) fn new(language: Language, plan: &Plan) -> Self {
        let mut rng = Rng::new(plan.seed);
        Self {
            commands: Commands::new(language, rng.fork()),
            rng,
            left: plan.commands,
            at: Moment {
                index: Index(0),
                time_ms: START_MS,
            },
            keyed: Vec::new(),
        }
    }

    /// The next entry, where the guest wants to be woken at that time (0: never). None at the end.
    pub(super) fn next(&mut self, wake_at_ms: u64) -> Option<Entry> {
        if self.left == 0 {
            return None;
        }
        self.at.index = self.at.index.next();
        // Mostly at once, and now and then long after.
        let pause = self.rng.pick(&[0, 1, 20, 20, 300, 5000]);
        self.at.time_ms += self.rng.below(pause + 1);
        if wake_at_ms != 0 && wake_at_ms <= self.at.time_ms {
            return Some(Entry {
                at: self.at,
                commands: vec![Envelope::wake()],
                wakes: true,
            });
        }
        let most = self.rng.pick(&[1, 4, MOST]);
        let count = self.rng.between(1, most).min(self.left);
        self.left -= count;
        let commands = (0..count).map(|_| self.command()).collect();
        Some(Entry {
            at: self.at,
            commands,
            wakes: false,
        })
    }

    /// What became of an entry.
    pub(super) fn learn(&mut self, outcomes: &[CommandOutcome]) {
        for outcome in outcomes {
            if let CommandOutcome::Accepted(reply) = outcome {
                self.commands.learn(reply);
            }
        }
    }

    fn command(&mut self) -> Bytes {
        let body = self.commands.next();
        if self.rng.chance(900) {
            return enveloped(None, &body);
        }
        // Under a key: a new one, the same once more, or one that was spent on something else.
        let again = self.rng.place(self.keyed.len());
        match (self.rng.below(4), self.keyed.get(again)) {
            (0, Some((key, body))) => enveloped(Some(key), body),
            (1, Some((key, _))) => enveloped(Some(key), &body),
            _ => {
                let key = format!("key-{}", self.rng.below(KEYS));
                let envelope = enveloped(Some(&key), &body);
                if self.keyed.len() < 1000 {
                    self.keyed.push((key, body));
                } else {
                    self.keyed[again] = (key, body);
                }
                envelope
            }
        }
    }
}

/// As a node puts it into the log. What is too long for that never gets there; nothing here is.
fn enveloped(key: Option<&str>, body: &[u8]) -> Bytes {
    match Envelope::command(key, body) {
        Ok(envelope) => envelope,
        Err(error) => unreachable!("keys here are short: {error}"),
    }
}
