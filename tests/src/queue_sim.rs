//! Deterministic simulation of the task queue: random clients, a log with failovers, clocks that jump, replies that are lost,
//! and a checker that follows each task from its enqueue to its end.
//!
//! The queue is the state machine of the guest, compiled for this machine. A run is determined by its seed.
//!
//! The checker sees the entries in the order of the log. It requires:
//! - nothing that was acknowledged to a producer is lost, and nothing that a worker acknowledged comes back;
//! - no two workers hold a task, and each further delivery has a cause: a failure, an expired lease, a release;
//! - a valid token works, and a stale one is refused;
//! - nothing is early, attempts are counted, and at the limit a task is dead;
//! - priority, age, turns of the fairness keys within one quantum, and the order of ordering keys;
//! - limits of concurrency and rate, of queues and keys, and pauses; retry policies;
//! - windows of deduplication, and which of two tasks is kept;
//! - a full queue refuses tasks, or drops its oldest; purges and redrives;
//! - a task that waits for others is delivered after them, and is dead if one of them is removed;
//! - workers that wait are served in their order, and at once;
//! - each command of a batch has its own outcome, or none is applied;
//! - a task that is not delivered in its time is dead, and a dead one moves to the dead-letter queue if there is one;
//! - a group adds its task once, when all of its tasks are done, and another one at the first death;
//! - a schedule adds a task at each wake-up after a tick, once for all that passed, or once for each; a paused one adds none;
//! - a result is kept for its time, and a command that waits for a task learns its end at once.
//!
//! | module | content |
//! |---|---|
//! | `world` | clients and operators, and what goes wrong |
//! | `cluster` | the log, the clock, the keys of requests, restores |
//! | `checker` | what must hold at every entry |
//! | `model` | the tasks as the checker knows them |
//! | `operators` | the same for what operators do, and for commands that wait for a task |
//! | `later` | tasks that the queue adds on its own: of groups and schedules |
//! | `planted` | faults planted on purpose: the checker must catch them |

mod checker;
mod cluster;
mod later;
mod model;
mod operators;
mod planted;
mod world;

use std::ops::Range;

pub use planted::PlantedQueueFault;

use world::World;

/// Entries of one run.
const ENTRIES: usize = 400;

/// A property that a run broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueViolation {
    /// The seed of the run.
    pub seed: u64,
    /// Position in the log.
    pub entry: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for QueueViolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, entry {}: {}", self.seed, self.entry, self.what)
    }
}

/// What runs exercised, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names tell it")]
pub struct QueueCoverage {
    pub entries: u64,
    pub enqueued: u64,
    pub duplicates: u64,
    pub delivered: u64,
    pub delivered_to_waiters: u64,
    pub redelivered: u64,
    pub acknowledged: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub stale_refused: u64,
    pub extended: u64,
    pub waits_ended: u64,
    pub restores: u64,
    pub clock_jumps: u64,
    pub repeats: u64,
    pub batches: u64,
    pub results: u64,
    pub expired: u64,
    pub moved: u64,
    pub groups: u64,
    pub ticks: u64,
    pub replaced: u64,
    pub dropped: u64,
    pub refused_full: u64,
    pub purged: u64,
    pub redriven: u64,
    pub waited_for: u64,
    pub delayed_by_policy: u64,
    pub released: u64,
}

impl QueueCoverage {
    /// The counts by name.
    pub fn counts(&self) -> [(&'static str, u64); 29] {
        [
            ("entries", self.entries),
            ("tasks added", self.enqueued),
            ("duplicates", self.duplicates),
            ("deliveries", self.delivered),
            (
                "deliveries to workers that waited",
                self.delivered_to_waiters,
            ),
            ("further deliveries", self.redelivered),
            ("acknowledgements", self.acknowledged),
            ("dead tasks", self.dead),
            ("cancelled tasks", self.cancelled),
            ("stale tokens refused", self.stale_refused),
            ("extended leases", self.extended),
            ("waits that ended without a task", self.waits_ended),
            ("restores", self.restores),
            ("clock jumps", self.clock_jumps),
            ("repeated requests", self.repeats),
            ("batches", self.batches),
            ("results that were looked at", self.results),
            ("tasks that were not delivered in time", self.expired),
            ("tasks that moved to a dead-letter queue", self.moved),
            ("groups that were complete", self.groups),
            ("ticks of a schedule", self.ticks),
            ("tasks that a later one replaced", self.replaced),
            ("tasks that a full queue dropped", self.dropped),
            ("tasks that a full queue refused", self.refused_full),
            ("purged tasks", self.purged),
            ("redriven tasks", self.redriven),
            ("ends of tasks that were waited for", self.waited_for),
            (
                "attempts that a retry policy delayed",
                self.delayed_by_policy,
            ),
            ("tasks that went on after another", self.released),
        ]
    }
}

impl std::ops::AddAssign for QueueCoverage {
    fn add_assign(&mut self, more: Self) {
        self.entries += more.entries;
        self.enqueued += more.enqueued;
        self.duplicates += more.duplicates;
        self.delivered += more.delivered;
        self.delivered_to_waiters += more.delivered_to_waiters;
        self.redelivered += more.redelivered;
        self.acknowledged += more.acknowledged;
        self.dead += more.dead;
        self.cancelled += more.cancelled;
        self.stale_refused += more.stale_refused;
        self.extended += more.extended;
        self.waits_ended += more.waits_ended;
        self.restores += more.restores;
        self.clock_jumps += more.clock_jumps;
        self.repeats += more.repeats;
        self.batches += more.batches;
        self.results += more.results;
        self.expired += more.expired;
        self.moved += more.moved;
        self.groups += more.groups;
        self.ticks += more.ticks;
        self.replaced += more.replaced;
        self.dropped += more.dropped;
        self.refused_full += more.refused_full;
        self.purged += more.purged;
        self.redriven += more.redriven;
        self.waited_for += more.waited_for;
        self.delayed_by_policy += more.delayed_by_policy;
        self.released += more.released;
    }
}

/// Runs one seed.
///
/// # Errors
/// The first property that is broken.
pub fn run(seed: u64, planted: Option<PlantedQueueFault>) -> Result<QueueCoverage, QueueViolation> {
    let mut world = World::new(seed, planted);
    world.run(ENTRIES).map_err(|what| QueueViolation {
        seed,
        entry: world.entry(),
        what,
    })
}

/// Runs seeds with a planted fault until one catches it.
pub fn hunt(planted: PlantedQueueFault, seeds: Range<u64>) -> Option<QueueViolation> {
    seeds
        .into_iter()
        .find_map(|seed| run(seed, Some(planted)).err())
}
