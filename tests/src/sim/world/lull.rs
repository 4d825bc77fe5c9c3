//! Lulls: for a while exactly a quorum is healthy, and all other nodes are dead. Within a bounded time the quorum must
//! serve (liveness mode of TigerBeetle's VOPR). A cluster that needs one node more than a majority fails here.

use std::time::Duration;

use task_queue_raft::ids::{Index, NodeId, StoreId};
use task_queue_raft::raft::Core;
use task_queue_raft::raft::membership::{MemberRole, Membership};

use super::World;
use super::clients::Asking;
use crate::sim::history::{Kind, OpId, Outcome};
use crate::sim::violation::{Violation, ensure};

/// So many of the longest election timeouts a healthy quorum may take until it commits and responds.
const TIMEOUTS: u32 = 8;
/// What the storm has left in flight takes no longer than this, in addition to late messages.
const REMAINS: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(20);
const PROBE_MS: u64 = 400;
/// The client of a lull. It has no operations besides.
pub(super) const PROBER: usize = usize::MAX;

/// What a lull suspends.
struct Suspended {
    network: crate::sim::profile::NetworkProfile,
    disk_max_us: u64,
    inbox_max_us: u64,
}

impl World {
    /// Pauses the storm, if the nodes that run can form a quorum.
    pub(super) fn lull(&mut self) -> Result<(), Violation> {
        self.mend_all()?;
        let Some(alive) = self.choose_quorum() else {
            return Ok(());
        };
        let suspended = self.begin_lull(&alive)?;
        let served = self.serve(alive);
        self.lull = false;
        self.network.storm(suspended.network);
        self.profile.disk_max_us = suspended.disk_max_us;
        self.profile.inbox_max_us = suspended.inbox_max_us;
        served?;
        for node in 0..self.nodes.len() {
            if self.nodes[node].live.is_none() {
                self.restart_later(node);
            }
        }
        Ok(())
    }

    fn begin_lull(&mut self, alive: &[bool]) -> Result<Suspended, Violation> {
        self.lull = true;
        self.coverage.lulls += 1;
        self.trace.note(self.now, 0, 6, || {
            format!("the storm pauses, and alive are {alive:?}")
        });
        for (node, _) in alive.iter().enumerate().filter(|(_, alive)| !**alive) {
            self.kill(node)?;
        }
        let slow = (self.profile.disk_max_us, self.profile.inbox_max_us);
        self.profile.disk_max_us = slow.0.min(1000);
        self.profile.inbox_max_us = slow.1.min(1000);
        Ok(Suspended {
            network: self.network.calm(),
            disk_max_us: slow.0,
            inbox_max_us: slow.1,
        })
    }

    /// Ends a process, which does not restart until the lull is over.
    fn kill(&mut self, node: usize) -> Result<(), Violation> {
        self.crash(node, Duration::ZERO)?;
        self.nodes[node].run += 1;
        Ok(())
    }

    /// Takes nodes out at random, as long as the others are a quorum. Seldom, some stay that are not needed.
    fn choose_quorum(&mut self) -> Option<Vec<bool>> {
        let mut alive: Vec<bool> = self.nodes.iter().map(|node| node.live.is_some()).collect();
        if !self.is_quorum(&alive) {
            return None;
        }
        let mut order: Vec<usize> = (0..alive.len()).collect();
        while !order.is_empty() {
            let node = order.swap_remove(self.fault_rng.place(order.len()));
            let needless = alive[node] && !self.fault_rng.chance(100);
            if needless || self.nodes[node].is_reinstalling() {
                alive[node] = false;
                alive[node] = !self.is_quorum(&alive);
            }
        }
        Some(alive)
    }

    /// Whether these nodes are a quorum of every configuration that may be in effect.
    pub(super) fn is_quorum(&self, alive: &[bool]) -> bool {
        let cores = || self.nodes.iter().filter_map(super::node::Node::core);
        let committed = cores().filter(|core| core.is_membership_committed());
        let since = committed
            .map(Core::membership_index)
            .max()
            .unwrap_or(Index::ZERO);
        let mut members = cores()
            .filter(|core| core.membership_index() >= since)
            .map(Core::membership)
            .filter(|members| !members.members().is_empty())
            .peekable();
        members.peek().is_some()
            && members.all(|members| {
                let next = with_rejoining(members);
                members.reached(|id| self.counts(id, members, alive))
                    && next.reached(|id| self.counts(id, &next, alive))
            })
    }

    /// Whether these nodes can execute commands. In a log without a time, clocks that differ by more than the bound need a further one that
    /// tells which of them is right.
    fn can_begin_time(&self, alive: &[bool]) -> bool {
        let nodes = || self.nodes.iter().filter(|node| alive[node.index]);
        let has_time = nodes()
            .filter_map(super::node::Node::core)
            .all(|core| core.log().last_time_ms() > 0);
        let clocks = || nodes().map(|node| node.epoch_ms);
        let spread = clocks().max().zip(clocks().min());
        let bound = u64::try_from(
            self.max_clock_skew()
                .map_or(u128::MAX, |skew| skew.as_millis()),
        );
        has_time || spread.is_none_or(|(most, least)| most - least <= bound.unwrap_or(u64::MAX))
    }

    /// Whether a voter is alive, sound and eligible, and votes by the store that it has.
    fn counts(&self, id: &NodeId, members: &Membership, alive: &[bool]) -> bool {
        let Some(node) = self.nodes.iter().find(|node| node.id == *id) else {
            return false;
        };
        let store = members.store_id(id);
        let sound = node.log.disk().is_none_or(|disk| !disk.is_damaged());
        let eligible =
            |core: &Core| core.can_vote() && (store == StoreId::NONE || store == core.store_id());
        let sound = sound && !node.log.is_stale();
        alive[node.index] && sound && !node.is_reinstalling() && node.core().is_some_and(eligible)
    }

    /// The quorum commits a command and responds to its client.
    fn serve(&mut self, mut alive: Vec<bool>) -> Result<(), Violation> {
        let longest = self.profile.election_timeout_max * TIMEOUTS;
        let late = Duration::from_millis(self.profile.network.late_max_ms) + REMAINS;
        let mut end = self.now + late + longest;
        let mut op = None;
        loop {
            if !self.is_quorum(&alive) || !self.can_begin_time(&alive) {
                // A change of the members that was in flight needs others, or the beginning of the time does: all come back.
                alive.fill(true);
                self.mend_all()?;
                if !self.is_quorum(&alive) || !self.can_begin_time(&alive) {
                    return Ok(());
                }
                end = end.max(self.now + longest);
            }
            if self.is_answered(op) {
                return Ok(());
            }
            ensure(self.now < end, "a healthy quorum serves (§5.4.3)", || {
                format!(
                    "not in {longest:?}; alive are {alive:?}: {}",
                    self.stand(&alive)
                )
            })?;
            if op.is_none_or(|op| !self.is_open(op)) {
                op = Some(self.probe_quorum(&alive));
            }
            self.run_until(self.now + STEP)?;
        }
    }

    fn probe_quorum(&mut self, alive: &[bool]) -> OpId {
        let runs = |node: &usize| alive[*node] && self.nodes[*node].live.is_some();
        let all: Vec<usize> = (0..alive.len()).filter(runs).collect();
        let any = self.fault_rng.pick(&all);
        let leader = self.leader().filter(|leader| alive[*leader]);
        let node = leader.unwrap_or(any);
        self.begin(PROBER, node, Kind::Append, Asking::probe(PROBE_MS))
    }

    fn is_open(&self, op: OpId) -> bool {
        let op = self.history.get(op);
        op.is_some_and(|op| op.outcome == Outcome::Open)
    }

    fn is_answered(&self, op: Option<OpId>) -> bool {
        let op = op.and_then(|op| self.history.get(op));
        op.is_some_and(|op| op.outcome.is_answer())
    }

    /// What the nodes of a quorum do.
    fn stand(&self, alive: &[bool]) -> String {
        let nodes = self.nodes.iter().filter(|node| alive[node.index]);
        let text = nodes.map(|node| match node.core() {
            None => format!("{} is down", node.id),
            Some(core) => format!(
                "{} is {:?} of term {}, committed {} of {}",
                node.id,
                core.role(),
                core.term(),
                core.log().committed(),
                core.log().last()
            ),
        });
        text.collect::<Vec<_>>().join("; ")
    }
}

/// The configuration that follows once all rejoining members vote again. The leader may append it at any time, and they can
/// vote only once it is committed.
fn with_rejoining(members: &Membership) -> Membership {
    let votes = members.members().iter().map(|(id, member)| {
        let mut member = member.clone();
        if member.role == MemberRole::Rejoining {
            member.role = MemberRole::Voter;
        }
        (id.clone(), member)
    });
    Membership::new(votes.collect())
}
