//! The storm: faults that begin and end.

use std::time::Duration;

use task_queue_raft::driver::Input;
use task_queue_raft::raft::Role;

use super::node::{Node, RIGHT_EPOCH_MS};
use super::{Event, World};
use crate::sim::clocks::{self, ClockKind};
use crate::sim::profile::FaultKind;
use crate::sim::violation::Violation;

impl World {
    pub(super) fn next_fault(&mut self) -> Result<(), Violation> {
        if self.calm || self.faults_left == Some(0) {
            return Ok(());
        }
        self.faults_left = self.faults_left.map(|left| left - u64::from(!self.lull));
        let mean = self.profile.fault_interval_ms;
        let pause = self.fault_rng.millis(mean / 4, mean * 2);
        self.schedule(pause, Event::Fault);
        if self.profile.faults.is_empty() || self.lull {
            // All kinds were left out, or none comes now.
            return Ok(());
        }
        self.coverage.faults += 1;
        let kind = self.fault_rng.pick(&self.profile.faults);
        let node = self.victim();
        self.trace
            .note(self.now, node, kind as u64, || format!("fault: {kind:?}"));
        self.strike(kind, node)
    }

    fn strike(&mut self, kind: FaultKind, node: usize) -> Result<(), Violation> {
        let count = self.nodes.len();
        let length = self.fault_rng.pick(&[20, 200, 1500]);
        let length = self.fault_rng.millis(1, length);
        self.count(kind);
        match kind {
            FaultKind::Crash => return self.crash(node, length),
            FaultKind::PowerLoss => {
                for node in 0..count {
                    if self.fault_rng.chance(700) {
                        let down = self.fault_rng.millis(1, 500);
                        self.crash(node, down)?;
                    }
                }
            }
            FaultKind::Partition => {
                let side: Vec<bool> = (0..count).map(|_| self.fault_rng.chance(500)).collect();
                self.network.partition(&side);
            }
            FaultKind::OneWay => {
                let other = self.fault_rng.place(count);
                self.network.cut_one_way(node, other);
            }
            FaultKind::IsolateLeader => self.isolate(self.leader().unwrap_or(node)),
            FaultKind::RestartVoters => return self.restart_voters(self.leader().unwrap_or(node)),
            FaultKind::Heal => self.network.heal(),
            FaultKind::Pause => self.nodes[node].paused_until = self.now + length,
            FaultKind::DiskHang => self.nodes[node].disk_hangs_until = self.now + length,
            FaultKind::DiskError => self.nodes[node]
                .log
                .fail_next_write(self.fault_rng.chance(500)),
            FaultKind::DiskFull => {
                let full = self.fault_rng.chance(600);
                self.nodes[node].log.set_full(full);
            }
            FaultKind::Rot => return self.rot(node, length),
            FaultKind::ClockJump => self.jump_clock(node),
            FaultKind::SnapshotFailure => {
                let failing = self.fault_rng.chance(500);
                self.nodes[node].snapshots.set_failing(failing);
            }
            FaultKind::SnapshotRot => {
                if self.nodes[node].live.is_some() && self.nodes[node].snapshots.rot() {
                    self.coverage.rots_of_snapshots += 1;
                }
            }
            FaultKind::SnapshotOrder => self.put(node, Input::TakeSnapshot),
            // A node that diverged is in the minority; here it is one at a time.
            FaultKind::Reinstall if self.nodes.iter().any(Node::is_reinstalling) => {}
            FaultKind::Reinstall => {
                self.put(node, Input::Reinstall);
                let event = Event::Reinstall {
                    node,
                    run: self.nodes[node].run,
                    // Longer than a process is paused, which then receives it.
                    least: self.now + Duration::from_secs(3),
                };
                self.schedule(Duration::from_millis(20), event);
            }
            FaultKind::ChangeMembers => self.order_change(),
            FaultKind::Transfer => self.order_transfer(),
            FaultKind::RaiseLevel => return self.order_raise(),
            FaultKind::WipeDisk => return self.wipe_disk(node, length),
            FaultKind::OldDisk => return self.old_disk(node, length),
        }
        Ok(())
    }

    fn isolate(&mut self, leader: usize) {
        let side: Vec<bool> = (0..self.nodes.len()).map(|node| node == leader).collect();
        self.network.partition(&side);
    }

    /// The leader is cut off, and most other processes restart within a few milliseconds.
    fn restart_voters(&mut self, leader: usize) -> Result<(), Violation> {
        self.isolate(leader);
        for node in 0..self.nodes.len() {
            if node != leader && self.fault_rng.chance(800) {
                let down = self.fault_rng.millis(1, 15);
                self.crash(node, down)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, kind: FaultKind) {
        let coverage = &mut self.coverage;
        match kind {
            FaultKind::Partition
            | FaultKind::OneWay
            | FaultKind::IsolateLeader
            | FaultKind::RestartVoters => coverage.partitions += 1,
            FaultKind::Pause => coverage.pauses += 1,
            FaultKind::DiskHang => coverage.hangs += 1,
            FaultKind::ClockJump => coverage.clock_jumps += 1,
            // These are counted where they take effect.
            _ => {}
        }
    }

    /// Half of the time the one that hurts most.
    fn victim(&mut self) -> usize {
        let any = self.fault_rng.place(self.nodes.len());
        let leader = self.leader();
        leader.filter(|_| self.fault_rng.chance(500)).unwrap_or(any)
    }

    /// The leader of the newest term, if there is one.
    pub(super) fn leader(&self) -> Option<usize> {
        let cores = self
            .nodes
            .iter()
            .filter_map(|node| node.core().map(|core| (core, node.index)));
        cores
            .filter(|(core, _)| core.role() == Role::Leader)
            .max_by_key(|(core, _)| core.term())
            .map(|(_, node)| node)
    }

    /// Damages a disk, where enough others are sound: of the first members, and of those that took their places.
    /// Mostly the node is started again then, and reads it.
    fn rot(&mut self, node: usize, down: Duration) -> Result<(), Violation> {
        let unsound = |state: &Node| state.log.disk().is_some_and(|disk| disk.is_damaged());
        let damaged: Vec<_> = self.nodes.iter().filter(|state| unsound(state)).collect();
        let waiting = damaged
            .iter()
            .filter(|state| !self.operator.has_replaced(state.index))
            .count();
        // There is a spare node for each, and a majority of sound ones at any time.
        let fits = waiting < self.profile.damaged_max(self.founders)
            && damaged.len() < self.profile.spares;
        let belongs = node < self.founders || self.operator.has_used(node);
        let worse = unsound(&self.nodes[node]) && !self.operator.has_replaced(node);
        let may = if self.profile.new_stores {
            worse || self.may_lose_disk(node)
        } else {
            worse || belongs && fits
        };
        if !may {
            return Ok(());
        }
        let Some(text) = self.nodes[node].log.disk().and_then(|disk| disk.rot()) else {
            return Ok(());
        };
        self.trace.note(self.now, node, 5, || text);
        if self.fault_rng.chance(750) {
            return self.crash(node, down);
        }
        Ok(())
    }

    fn jump_clock(&mut self, node: usize) {
        if self.profile.clocks == ClockKind::MajorityRight {
            return self.set_wrong_clock();
        }
        let jump = self
            .fault_rng
            .below(2 * self.profile.clock_skew_ms.max(100));
        let epoch = &mut self.nodes[node].epoch_ms;
        *epoch = (*epoch + jump).saturating_sub(self.profile.clock_skew_ms.max(100));
    }

    /// Sets the clock of one of the nodes that may be wrong; now and then it is set right.
    fn set_wrong_clock(&mut self) {
        let most = clocks::wrong_max(self.founders);
        if most == 0 {
            return;
        }
        let node = self.founders - 1 - self.fault_rng.place(most);
        let off = if self.fault_rng.chance(200) {
            0
        } else {
            clocks::wrong(&mut self.fault_rng, self.profile.clocks_are_late)
        };
        self.nodes[node].epoch_ms = RIGHT_EPOCH_MS.saturating_add_signed(off);
        self.trace.note(self.now, node, 6, || {
            format!("its clock is off by {off} ms")
        });
    }

    /// The storm is over: all nodes run, send and write.
    pub(super) fn calm_down(&mut self) -> Result<(), Violation> {
        self.calm = true;
        self.calm_at = self.now;
        self.trace
            .note(self.now, 0, 0, || "the storm is over".to_owned());
        self.network.calm();
        // Where it takes many slow chunks, the transfer of a snapshot would exceed the timeouts here.
        self.profile.disk_max_us = self.profile.disk_max_us.min(1000);
        self.profile.inbox_max_us = self.profile.inbox_max_us.min(1000);
        self.update_all()?;
        self.mend_all()
    }

    /// All nodes run and write.
    pub(super) fn mend_all(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            let state = &mut self.nodes[node];
            state.paused_until = Duration::ZERO;
            state.disk_hangs_until = Duration::ZERO;
            state.snapshots.set_failing(false);
            state.log.mend();
            if state.live.is_none() && !state.out_of_service {
                // Instead of when it was due.
                state.run += 1;
                self.start(node)?;
            }
        }
        Ok(())
    }
}
