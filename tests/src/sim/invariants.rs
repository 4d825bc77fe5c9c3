//! The invariants that hold at every step of every run: one file for each property, with its place in the Raft paper. The
//! world reports each event to them. The first broken invariant ends the run.

mod alarms;
mod audits;
mod bounds;
mod commits_own_term;
mod committed_on_quorum;
mod election_safety;
mod exactly_once;
mod leader_append_only;
mod leader_completeness;
mod lease;
mod log_matching;
mod log_time;
mod membership;
mod monotonic;
mod persist_before_send;
mod registers;
mod state_machine_safety;
mod upgrades;

use std::collections::BTreeSet;
use std::time::Duration;

use oarlock_wasm::{Audit, PastUpgrade, Sha256};
use task_queue_raft::entry::{Entry, SnapshotMeta};
use task_queue_raft::ids::{Index, LogId, NodeId};
use task_queue_raft::message::{Message, RaftRequest};
use task_queue_raft::raft::Core;
use task_queue_raft::raft::membership::change::Change;

use super::coverage::Coverage;
use super::history::OpId;
use super::machine::{MachineKind, MachineSetup, Seen, View};
use super::profile::Profile;
use super::store::{SimLog, SimSnapshots};
use super::violation::Violation;

pub(crate) use audits::{DIFFERING_IS_SILENT, UNDECIDED_IS_SILENT};
pub(crate) use bounds::Backlog;
pub(crate) use lease::NO_ELECTION_IN_LEASE;
pub(crate) use log_time::ClocksNow;

/// A node's disk, to look at.
pub(crate) struct DiskView<'a> {
    pub(crate) id: &'a NodeId,
    pub(crate) log: &'a SimLog,
    pub(crate) snapshots: &'a SimSnapshots,
}

impl DiskView<'_> {
    fn holds(&self, id: LogId) -> bool {
        self.log.durable(|durable| durable.holds(id)) || self.snapshots.reach() >= id.index
    }
}

/// All of them.
pub(crate) struct Invariants {
    kind: MachineKind,
    bounds: bounds::Bounds,
    elections: election_safety::ElectionSafety,
    append_only: leader_append_only::LeaderAppendOnly,
    own_term: commits_own_term::CommitsOwnTerm,
    completeness: leader_completeness::LeaderCompleteness,
    committed: committed_on_quorum::CommittedOnQuorum,
    matching: log_matching::LogMatching,
    log_time: log_time::LogTime,
    monotonic: monotonic::Monotonic,
    machine: state_machine_safety::StateMachineSafety,
    once: exactly_once::ExactlyOnce,
    members: membership::Members,
    audits: audits::Audits,
    upgrades: upgrades::Upgrades,
}

impl Invariants {
    /// `machine`: what a machine is made with that is not part of any node.
    pub(crate) fn new(profile: &Profile, machine: MachineSetup) -> Self {
        let kind = profile.machine;
        Self {
            kind,
            bounds: bounds::Bounds {
                max_log_entries: profile.max_log_entries,
                limits: profile.limits.clone(),
                long_logs: BTreeSet::new(),
            },
            elections: election_safety::ElectionSafety::default(),
            append_only: leader_append_only::LeaderAppendOnly::default(),
            own_term: commits_own_term::CommitsOwnTerm::default(),
            completeness: leader_completeness::LeaderCompleteness::default(),
            committed: committed_on_quorum::CommittedOnQuorum::default(),
            matching: log_matching::LogMatching::default(),
            log_time: log_time::LogTime::default(),
            monotonic: monotonic::Monotonic::default(),
            machine: state_machine_safety::StateMachineSafety::new(
                machine,
                profile.dimensions.corruption,
            ),
            once: exactly_once::ExactlyOnce::default(),
            members: membership::Members::default(),
            audits: audits::Audits::default(),
            upgrades: upgrades::Upgrades::default(),
        }
    }

    /// The initial members.
    pub(crate) fn found<'a>(&mut self, founders: impl Iterator<Item = &'a NodeId>) {
        self.members.found(founders);
    }

    /// A node has lost its disk. From now on it counts as another node with the same name.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.elections.forget(node);
    }

    /// A node's driver has taken a turn. None of its requests has been executed yet.
    pub(crate) fn after_turn(
        &mut self,
        node: usize,
        run: u32,
        core: &Core,
        disks: &[DiskView<'_>],
    ) -> Result<(), Violation> {
        core.check();
        self.monotonic.check(node, run, core)?;
        self.elections.check(node, run, core)?;
        self.append_only.check(node, core)?;
        self.own_term.check(node, core)?;
        self.completeness.check(core, self.committed.entries())?;
        self.members.check(node, core)?;
        self.committed.check(node, run, core, disks)
    }

    /// The same, with the clocks at this time.
    pub(crate) fn on_log_time(
        &mut self,
        node: usize,
        run: u32,
        core: &Core,
        clocks: ClocksNow,
    ) -> Result<(), Violation> {
        self.log_time.check(node, run, core, clocks)
    }

    /// Any node may have taken a turn: all nodes, each with the time of its clock.
    pub(crate) fn on_leases<'a>(
        nodes: impl Iterator<Item = (&'a Core, Duration)>,
    ) -> Result<(), Violation> {
        lease::check(nodes)
    }

    /// What waits at a node after its turn.
    pub(crate) fn on_backlog(
        &mut self,
        node: usize,
        core: &Core,
        backlog: Backlog,
    ) -> Result<(), Violation> {
        self.bounds.check(node, core, backlog)
    }

    /// A message is about to be sent.
    pub(crate) fn on_send(
        &mut self,
        from: &NodeId,
        to: &NodeId,
        message: &Message,
        disk: &DiskView<'_>,
    ) -> Result<(), Violation> {
        persist_before_send::check(from, to, message, disk)?;
        self.elections.on_send(from, to, message)?;
        if let Message::Request(RaftRequest::AppendEntries(append)) = message {
            self.matching.see(append.previous, &append.entries)?;
            self.members.see(&append.entries);
        }
        Ok(())
    }

    /// A disk is about to write entries.
    pub(crate) fn on_write(&mut self, entries: &[Entry]) {
        self.members.see(entries);
    }

    /// A disk has written entries after `previous`.
    pub(crate) fn on_written(
        &mut self,
        previous: LogId,
        entries: &[Entry],
    ) -> Result<(), Violation> {
        // The first entry of a cluster may be on the disk of its creator alone when that disk is lost.
        if entries.iter().any(|entry| entry.id.index == Index(1)) {
            return Ok(());
        }
        self.matching.see(previous, entries)
    }

    /// A machine is about to apply entries.
    pub(crate) fn on_apply(
        &mut self,
        node: usize,
        committed: Index,
        entries: &[Entry],
    ) -> Result<(), Violation> {
        for entry in entries {
            if self.machine.on_apply(node, committed, entry)? {
                self.once.see(self.kind, entry)?;
                self.members.commit(entry)?;
            }
        }
        Ok(())
    }

    /// A machine has applied the entry at `index`.
    pub(crate) fn on_state(
        &mut self,
        node: usize,
        index: Index,
        view: View,
    ) -> Result<(), Violation> {
        self.machine.on_state(node, index, view)
    }

    /// A machine starts from what its disk holds.
    pub(crate) fn on_start(
        &mut self,
        node: usize,
        index: Index,
        view: View,
    ) -> Result<(), Violation> {
        self.machine.on_start(node, index, view)
    }

    /// A machine responds to a query.
    pub(crate) fn on_answer(
        &mut self,
        node: usize,
        index: Index,
        register: u8,
        seen: &Seen,
    ) -> Result<(), Violation> {
        self.machine.on_answer(node, index, register, seen)
    }

    /// A machine has restored a snapshot.
    pub(crate) fn on_restored(
        &mut self,
        node: usize,
        meta: &SnapshotMeta,
        view: View,
    ) -> Result<(), Violation> {
        self.audits.replaced(node);
        self.machine.on_restored(node, meta, view)
    }

    /// The memory of a node's guest is corrupted from now on.
    pub(crate) fn on_corrupted(&mut self, node: usize) {
        self.machine.taint(node);
    }

    /// Whether the state of a node is wrong.
    pub(crate) fn is_wrong(&self, node: usize) -> bool {
        self.machine.is_wrong(node)
    }

    /// The state hash that is right after an entry, in a run in which the memory of guests is corrupted.
    pub(crate) fn right_hash(&self, index: Index) -> Option<Sha256> {
        self.machine.right_hash(index)
    }

    /// A node has looked at the latest audit of state hashes.
    pub(crate) fn on_audit(&mut self, node: usize, audit: &Audit, voters: &[NodeId]) {
        self.audits.see(node, audit, voters);
    }

    /// The process of a node has ended.
    pub(crate) fn on_end(&mut self, node: usize) {
        self.audits.end(node);
    }

    /// A node responds to a client, with more than an error.
    pub(crate) fn on_response(&self, node: usize, is_command: bool) -> Result<(), Violation> {
        self.audits
            .on_response(node, is_command, self.machine.is_wrong(node))
    }

    /// A node knows how these upgrades ended. One whose state is wrong may know anything.
    pub(crate) fn on_upgrades(
        &mut self,
        node: usize,
        past: &[PastUpgrade],
    ) -> Result<(), Violation> {
        if self.machine.is_wrong(node) {
            return Ok(());
        }
        self.upgrades.see(node, past)
    }

    /// An operator received success for a change of members.
    pub(crate) fn on_changed(
        &self,
        node: usize,
        change: &Change,
        index: Index,
    ) -> Result<(), Violation> {
        let committed = self.committed.entries().len() as u64;
        self.members
            .on_changed(node, change, index, Index(committed))
    }

    /// Counts how upgrades ended.
    pub(crate) fn count(&self, coverage: &mut Coverage) {
        self.upgrades.count(coverage);
    }

    /// How many leaders there were.
    pub(crate) fn leaders(&self) -> u64 {
        self.elections.leaders()
    }

    /// What must have set each register, in order, once every entry that was applied anywhere is applied everywhere.
    pub(crate) fn lists(&self) -> &[Vec<OpId>] {
        self.machine.lists()
    }
}
