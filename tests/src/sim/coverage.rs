//! What happened in runs, counted: a simulation in which nothing happens proves nothing.

use std::ops::AddAssign;

/// How often each thing happened that the simulation is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Nodes that began to lead.
    pub elections: u64,
    /// Processes that ended without warning.
    pub crashes: u64,
    /// Disks that were replaced by empty ones.
    pub wipes: u64,
    /// Turns of a driver that a crash cut in two.
    pub torn_turns: u64,
    /// Writes that ended in an error.
    pub failed_writes: u64,
    /// Writes that removed entries which conflicted with the leader's.
    pub truncations: u64,
    /// Changes of the members that were carried out.
    pub changes: u64,
    /// Leaders that gave their leadership away.
    pub transfers: u64,
    /// Snapshots taken.
    pub snapshots: u64,
    /// Snapshots from a leader that a machine took over.
    pub restores: u64,
    /// Messages lost, by chance or to a partition.
    pub lost: u64,
    /// Messages that arrived twice.
    pub doubled: u64,
    /// Commands that clients got a reply to.
    pub replies: u64,
    /// Questions that were answered linearizably.
    pub answers: u64,
    /// Operations that were refused.
    pub refused: u64,
    /// Operations whose outcome the client never learned.
    pub unknown: u64,
}

impl Coverage {
    /// Each count with its name.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 16] {
        [
            ("elections", self.elections),
            ("crashes", self.crashes),
            ("wiped disks", self.wipes),
            ("torn turns", self.torn_turns),
            ("failed writes", self.failed_writes),
            ("truncations", self.truncations),
            ("changes of members", self.changes),
            ("transfers", self.transfers),
            ("snapshots", self.snapshots),
            ("restores", self.restores),
            ("lost messages", self.lost),
            ("doubled messages", self.doubled),
            ("replies", self.replies),
            ("answers", self.answers),
            ("refused", self.refused),
            ("unknown", self.unknown),
        ]
    }
}

impl AddAssign for Coverage {
    fn add_assign(&mut self, other: Self) {
        self.elections += other.elections;
        self.crashes += other.crashes;
        self.wipes += other.wipes;
        self.torn_turns += other.torn_turns;
        self.failed_writes += other.failed_writes;
        self.truncations += other.truncations;
        self.changes += other.changes;
        self.transfers += other.transfers;
        self.snapshots += other.snapshots;
        self.restores += other.restores;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.replies += other.replies;
        self.answers += other.answers;
        self.refused += other.refused;
        self.unknown += other.unknown;
    }
}
