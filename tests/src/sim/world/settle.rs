//! After the storm: within a bounded time there is a leader, every client that waits has a response, and all nodes are in
//! the same state. Then the whole history is checked.

use std::time::Duration;

use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::raft::membership::{Member, MemberRole};

use super::World;
use super::clients::Asking;
use super::node::{Node, RIGHT_EPOCH_MS};
use crate::sim::clocks::ClockKind;
use crate::sim::history::{Kind, Outcome};
use crate::sim::profile::FaultKind;
use crate::sim::violation::{Violation, ensure};

/// More than ten of the longest election timeouts, and longer than any client waits.
const LIMIT: Duration = Duration::from_secs(10);
const SETTLES: &str = "a healed cluster settles (§5.4.3, §5.6)";
/// Name of the invariant that audits leave no difference hidden.
pub(crate) const FINDS_DIFFERENCE: &str =
    "an audit finds a state that differs from a right majority's";
const STEP: Duration = Duration::from_millis(50);
const PROBE_MS: u64 = 4000;
/// The bound, and what right clocks differ by, in milliseconds.
const RIGHT_MS: i64 = 600;
const REST: Duration = Duration::from_millis(500);

impl World {
    pub(super) fn settle(&mut self) -> Result<(), Violation> {
        self.calm_down()?;
        match self.recover() {
            Err(violation) if violation.invariant == SETTLES && self.has_lost_quorum() => {
                self.coverage.lost_quorums += 1;
            }
            recovered => recovered?,
        }
        self.check_states()?;
        let lists = self.invariants.lists();
        (0..)
            .zip(lists)
            .try_for_each(|(register, list)| self.history.check_register(register, list))
    }

    fn recover(&mut self) -> Result<(), Violation> {
        self.wait_until_settled()?;
        self.probe()?;
        self.probed = true;
        self.wait_until_settled()?;
        self.wait_for_right_clock()?;
        self.rest()
    }

    /// Whether an operator has removed nodes while others had lost their disks, so that those left are no quorum.
    fn has_lost_quorum(&self) -> bool {
        let changes = self.profile.faults.contains(&FaultKind::ChangeMembers);
        let all = vec![true; self.nodes.len()];
        self.profile.new_stores && changes && !self.is_quorum(&all)
    }

    /// A cluster whose states differ may wait for voters that never report, and a few audits.
    fn limit(&self) -> Duration {
        if self.profile.dimensions.corruption {
            6 * LIMIT
        } else {
            LIMIT
        }
    }

    fn wait_until_settled(&mut self) -> Result<(), Violation> {
        let limit = self.limit();
        let end = self.now + limit;
        while let Some(unrest) = self.unrest() {
            if self.now >= end
                && let Some(detail) = self.hidden_difference(true)
            {
                return Err(Violation {
                    invariant: FINDS_DIFFERENCE,
                    detail: format!("after {limit:?}: {detail}"),
                });
            }
            ensure(self.now < end, SETTLES, || {
                format!("after {limit:?}: {unrest}")
            })?;
            self.run_until(self.now + STEP)?;
        }
        Ok(())
    }

    /// What is not yet as it should be.
    fn unrest(&self) -> Option<String> {
        let Some(leader) = self.leader() else {
            return Some("there is no leader".to_owned());
        };
        let Some(led) = self.nodes[leader].core() else {
            return Some(format!("n{leader} is down"));
        };
        if let Some((id, op)) = self.history.open().next() {
            return Some(format!("op {id} has no response: {op:?}"));
        }
        if let Some((order, what)) = self.operator.open().next() {
            return Some(format!("there is no response to order {order}: {what:?}"));
        }
        if led.membership().is_joint() || !led.is_membership_committed() {
            return Some(format!("a membership change is in progress at n{leader}"));
        }
        let returning = |member: &Member| member.role == MemberRole::Rejoining;
        if led.membership().members().values().any(returning) {
            return Some(format!("{:?} is rejoining", led.membership()));
        }
        let end = led.log().last().index;
        for node in self
            .nodes
            .iter()
            .filter(|node| led.membership().contains(&node.id))
        {
            let Some(core) = node.core() else {
                return Some(format!("{} is down", node.id));
            };
            if !core.can_vote() && led.membership().is_voter(&node.id) {
                return Some(format!(
                    "{} may not vote: {:?}",
                    node.id,
                    core.voting_status()
                ));
            }
            if core
                .snapshot()
                .is_some_and(|meta| node.snapshots.is_rotten(meta))
            {
                return Some(format!("the newest snapshot of {} is rotten", node.id));
            }
            if core.leader() != Some(led.id()) || core.term() != led.term() {
                let (role, term, follows) = (core.role(), core.term(), core.leader());
                return Some(format!(
                    "{} is {role:?} in term {term} and follows {follows:?}, not {}",
                    node.id,
                    led.id()
                ));
            }
            if (core.log().applied(), core.log().last().index) != (end, end) {
                let (applied, last) = (core.log().applied(), core.log().last());
                return Some(format!(
                    "{} has applied {applied} of {last}, and the log ends at {end}",
                    node.id
                ));
            }
        }
        self.hidden_difference(self.probed)
            .or_else(|| self.host_unrest(leader))
    }

    /// A leader whose clock is wrong gives its leadership away, if the clocks of a majority are right. Attempts that failed in
    /// the storm have made its attempts rarer.
    fn wait_for_right_clock(&mut self) -> Result<(), Violation> {
        if self.profile.clocks != ClockKind::MajorityRight {
            return Ok(());
        }
        let end = self.now + self.profile.election_timeout_max * 100;
        while let Some(off) = self.leaders_offset().filter(|off| off.abs() > RIGHT_MS) {
            ensure(
                self.now < end,
                "a node with a wrong clock does not lead while another one can",
                || format!("the leader's clock is off by {off} ms"),
            )?;
            self.run_until(self.now + STEP)?;
        }
        self.wait_until_settled()
    }

    /// By how much the leader's clock is wrong, in milliseconds.
    fn leaders_offset(&self) -> Option<i64> {
        let epoch = self.nodes[self.leader()?].epoch_ms;
        i64::try_from(i128::from(epoch) - i128::from(RIGHT_EPOCH_MS)).ok()
    }

    /// Every node accepts a command and a query, and responds to both.
    fn probe(&mut self) -> Result<(), Violation> {
        for node in self.members() {
            for kind in [Kind::Append, Kind::Read] {
                self.probe_node(node, kind)?;
            }
        }
        Ok(())
    }

    /// The current members.
    pub(super) fn members(&self) -> Vec<usize> {
        let led = self.leader().and_then(|leader| self.nodes[leader].core());
        let member = |id: &NodeId| led.is_some_and(|led| led.membership().contains(id));
        (0..self.ids.len())
            .filter(|&node| member(&self.ids[node]))
            .collect()
    }

    /// Earlier requests in flight may reach a limit, so that it is refused at first: then it is sent again.
    fn probe_node(&mut self, node: usize, kind: Kind) -> Result<(), Violation> {
        let end = self.now + self.limit();
        loop {
            let op = self.begin(0, node, kind, Asking::probe(PROBE_MS));
            self.run_until(self.now + STEP)?;
            self.wait_until_settled()?;
            let outcome = self.history.get(op).map(|op| op.outcome);
            // A change of the members that was late in the storm may have taken the node out meanwhile.
            if outcome.is_some_and(Outcome::is_answer) || !self.members().contains(&node) {
                return Ok(());
            }
            // The states of so many nodes are wrong that no audit can tell which.
            if self.invariants.is_wrong(node) {
                return Ok(());
            }
            ensure(
                self.now < end,
                "a healed cluster serves (§5.4.3, §8)",
                || format!("op {op}, {kind:?}: {outcome:?}"),
            )?;
        }
    }

    /// With nothing to do, a cluster sends heartbeats and writes nothing.
    fn rest(&mut self) -> Result<(), Violation> {
        // A command that was delayed in the storm is applied when it arrives.
        let latest =
            self.calm_at + Duration::from_millis(self.profile.network.late_max_ms.max(300));
        self.run_until(latest.max(self.now) + REST)?;
        self.let_disks_finish()?;
        // What was begun before ends first, after its pauses: an upgrade, and reports of the audits that follow it.
        let end = self.now + 2 * LIMIT;
        loop {
            let restless = self.restless()?;
            let Some(detail) = restless else {
                return Ok(());
            };
            ensure(self.now < end, "an idle cluster is quiet", || detail)?;
        }
    }

    /// Runs for a while. What was not quiet in it, if something was not.
    fn restless(&mut self) -> Result<Option<String>, Violation> {
        let (events, writes) = (self.trace.events(), self.writes);
        self.run_until(self.now + REST)?;
        let (events, writes) = (self.trace.events() - events, self.writes - writes);
        let rounds = REST.as_millis() / self.profile.heartbeat_interval.as_millis() + 2;
        // Each peer, for the heartbeat and for the clocks: sent, arrived, handled, response sent, arrived, handled. A node that is
        // not eligible to vote probes all others: removed nodes whose disks were lost go on with that.
        let probing = |node: &&Node| node.core().is_some_and(|core| !core.can_vote());
        let probing = self.nodes.iter().filter(probing).count() as u64;
        let each = self.nodes.len() as u64 * (12 + 8 * probing);
        let most = u64::try_from(rounds).unwrap_or(u64::MAX) * each;
        // Where any clock may be wrong, a leader may transfer its leadership at any time.
        let may_write = self.profile.clocks == ClockKind::Any;
        let is_quiet = (writes == 0 || may_write) && events <= most;
        Ok((!is_quiet).then(|| {
            format!("{events} events, where {most} would do, and {writes} writes in {REST:?}")
        }))
    }

    /// A disk that hung in the storm continues at its time; a node that is no member may still have one that hangs.
    fn let_disks_finish(&mut self) -> Result<(), Violation> {
        let end = self.now + LIMIT;
        let is_busy = |live: &super::node::Live| !live.disk_tasks.is_empty();
        while self
            .nodes
            .iter()
            .any(|node| node.live.as_ref().is_some_and(is_busy))
        {
            ensure(self.now < end, "a disk ends what it was given", || {
                format!("after {LIMIT:?} one still works")
            })?;
            self.run_until(self.now + STEP)?;
        }
        Ok(())
    }

    fn check_states(&mut self) -> Result<(), Violation> {
        for node in &self.nodes {
            let Some(live) = &node.live else { continue };
            let index: Index = live.applier.last().index;
            self.invariants
                .on_state(node.index, index, live.applier.machine().view())?;
        }
        Ok(())
    }
}
