//! What a node concludes from audits: whether it serves, and whether the cluster accepts commands.
//!
//! Each node evaluates the committed reports by itself. A node whose state differs from a majority of the voters enters
//! quarantine: it serves no requests until it has the state of a snapshot of the leader, or agrees with the majority again, or an
//! operator accepts its state. If the hashes differ and none is that of a majority, no node knows which state is right: commands
//! are refused until an audit finds a majority again, or an operator accepts the state of one node.

use task_queue_raft::ids::{Index, NodeId};

use crate::duties::audit::AuditSituation;
use crate::duties::findings::{Findings, StateFindings, compare, compare_states};
use crate::duties::quarantine::Quarantine;
use crate::machine::audit::Audit;
use crate::records::digest::Sha256;

/// The conclusions of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditVerdict {
    quarantine: Quarantine,
    /// Audits up to this entry compared a state that has been replaced since.
    ignored_up_to: Index,
    findings: Findings,
    states: StateFindings,
    /// Equal hashes do not end the quarantine: an audit of the complete state has started it; or it is from before the last
    /// start, and the node sees audits again that are older than the one that started it.
    needs_reinstall: bool,
    /// The audit because of which commands are refused. Earlier ones do not end that.
    stopped_by: Index,
    /// The latest audit that has shown that this node differs from the majority.
    differed_at: Index,
}

impl AuditVerdict {
    /// The verdict of a node that starts. A node that stopped in quarantine starts in quarantine, which ends with a snapshot of the
    /// leader or the decision of an operator. One that refused commands
    /// refuses them: `stopped_by` is the value of [`Self::stopped_by`] when it stopped.
    #[must_use]
    pub fn starting(quarantined: bool, stopped_by: Option<Index>) -> Self {
        let mut verdict = Self::default();
        if let Some(index) = stopped_by {
            verdict.findings.writes_stopped = true;
            verdict.writes_stopped_by(Some(index));
        }
        if quarantined {
            verdict.quarantine.enter();
            verdict.needs_reinstall = true;
        }
        verdict
    }

    /// The current state of quarantine.
    #[must_use]
    pub fn quarantine(&self) -> Quarantine {
        self.quarantine
    }

    /// The result of the latest audit of state hashes.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The result of the latest audit of the complete state.
    #[must_use]
    pub fn state_findings(&self) -> &StateFindings {
        &self.states
    }

    /// A voter that is to lead instead of this node: the audits have shown that its state hash is the majority's, and not that its
    /// complete state differs. Each attempt is for another one, as long as there is one: a voter may give leadership away at once,
    /// for example because its clock is wrong.
    #[must_use]
    pub fn intact_voter(
        &self,
        audit: &Audit,
        voters: &[NodeId],
        me: &str,
        attempt: usize,
    ) -> Option<NodeId> {
        let differs = |voter: &NodeId| self.states.differing.iter().any(|id| id == voter.as_str());
        let intact = audit.intact_voters(voters, me);
        let intact: Vec<&NodeId> = intact.filter(|voter| !differs(voter)).collect();
        let place = attempt.checked_rem(intact.len())?;
        Some(intact[place].clone())
    }

    /// Whether this node serves no requests because its state differs from the majority's.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        !self.quarantine.is_serving()
    }

    /// Whether commands are refused because the states differ and no majority agrees.
    #[must_use]
    pub fn are_writes_stopped(&self) -> bool {
        self.findings.writes_stopped
    }

    /// The audit because of which commands are refused, if they are.
    #[must_use]
    pub fn stopped_by(&self) -> Option<Index> {
        self.findings.writes_stopped.then_some(self.stopped_by)
    }

    fn writes_stopped_by(&mut self, audit: Option<Index>) {
        self.stopped_by = audit.unwrap_or_default();
        tracing::error!(
            index = self.stopped_by.0,
            "audit: the states of the nodes differ and no majority agrees, so commands are refused; compare the states with \
             stale queries on each node, then accept one of them with `oarlock audit accept NODE`"
        );
    }

    /// Whether the node has served requests without interruption since `before`, a value of [`Self::quarantine`]. Only then may
    /// a response of its guest be sent to a client.
    #[must_use]
    pub fn has_served_since(&self, before: Quarantine) -> bool {
        before.is_serving() && self.quarantine == before
    }

    /// Whether the reply to a command that was submitted at `before` may be sent to its client.
    #[must_use]
    pub fn acknowledges_since(&self, before: Quarantine) -> bool {
        self.has_served_since(before) && !self.are_writes_stopped()
    }

    /// What the node's next step in the audit of state hashes depends on.
    #[must_use]
    pub fn situation(&self, audit: &Audit, leads: bool) -> AuditSituation {
        AuditSituation {
            requested_at: audit.requested_at,
            leads,
            is_quarantined: self.is_quarantined(),
            undecided: self.findings.undecided,
            are_writes_stopped: self.findings.writes_stopped,
        }
    }

    /// Refuses commands: the voters that have not reported yet had time to. Returns whether anything has changed.
    pub fn stop_writes(&mut self) -> bool {
        let stops = self.findings.undecided && !self.findings.writes_stopped;
        self.findings.writes_stopped |= stops;
        if stops {
            self.writes_stopped_by(self.findings.index);
        }
        stops
    }

    /// Ends a quarantine: the machine has the leader's state after the entry at `index`. Audits of the old state are ignored
    /// from now on. If an audit has shown meanwhile that the new state differs too, another quarantine begins.
    pub fn leave_quarantine(&mut self, index: Index) {
        self.ignored_up_to = index;
        self.findings = Findings::default();
        self.states = StateFindings::default();
        self.needs_reinstall = self.differed_at > index;
        self.quarantine.leave();
        if self.needs_reinstall {
            self.quarantine.enter();
            tracing::error!(
                index = self.differed_at.0,
                "quarantine: the state that was installed differs from the majority too, another one is installed"
            );
        }
    }

    /// Makes the quarantine permanent.
    pub fn give_up(&mut self) {
        self.quarantine.give_up();
    }

    /// Whether an audit compared a state that has been replaced since, or there was none.
    fn is_ignored(&self, audit: &Audit) -> bool {
        audit
            .requested_at
            .is_none_or(|index| index <= self.ignored_up_to)
    }

    /// Compares the committed hashes. Starts a quarantine if this node differs from a majority of the voters, and ends one if it
    /// agrees with it again. Returns whether anything has changed.
    pub fn evaluate(&mut self, audit: &Audit, voters: &[NodeId], me: &str) -> bool {
        if self.is_ignored(audit) {
            return false;
        }
        let (mut findings, majority) = compare(audit, voters);
        if majority.is_none() {
            // It does not show yet which nodes differ. A leader that was found to differ is not one to get a state from.
            findings.differing.clone_from(&self.findings.differing);
        }
        let judged = self.judge(audit, majority, findings.agreeing, me);
        // An audit without an end yet changes nothing about earlier findings, nor does one from before them.
        let is_earlier = audit.requested_at < Some(self.stopped_by);
        let is_open = (majority.is_none() || is_earlier) && !findings.writes_stopped;
        findings.writes_stopped |= is_open && self.findings.writes_stopped;
        let changed = self.findings != findings;
        if changed && (!findings.differing.is_empty() || findings.undecided) {
            tracing::error!(?findings, "audit: the states of the nodes differ");
        }
        if findings.writes_stopped && !self.findings.writes_stopped {
            self.writes_stopped_by(findings.index);
        }
        if self.findings.writes_stopped && !findings.writes_stopped {
            tracing::warn!("audit: a majority has the same state again, commands are accepted");
        }
        self.findings = findings;
        changed || judged
    }

    /// Starts or ends the quarantine of this node. Returns whether it did.
    fn judge(
        &mut self,
        audit: &Audit,
        majority: Option<Sha256>,
        agreeing: usize,
        me: &str,
    ) -> bool {
        let (Some(majority), Some(own)) = (majority, audit.own) else {
            return false;
        };
        let index = audit.requested_at.map_or(0, |index| index.0);
        if own != majority {
            self.differed_at = self.differed_at.max(Index(index));
            let enters = self.quarantine.enter();
            if enters {
                tracing::error!(
                    node = me,
                    index,
                    "quarantine: the state of this node differs from the majority, so it stops serving requests; it copies its \
                     state to `quarantine` in its data directory and installs a snapshot of the leader"
                );
            }
            return enters;
        }
        // The hash covers all earlier outcomes, so a node that has the same one again did not diverge before. A node
        // alone always agrees with itself: only an operator can accept its state.
        let agrees = agreeing > 1 && !self.needs_reinstall;
        let is_accepted = audit.accepted == Some(majority)
            || (agreeing == 1 && audit.accepted_earlier() == Some(majority));
        let is_confirmed = agrees || is_accepted;
        let ends = is_confirmed && self.quarantine.acquit();
        if ends {
            self.needs_reinstall = false;
            tracing::warn!(
                node = me,
                index,
                "quarantine: the state of this node is accepted, it serves requests again"
            );
        }
        ends
    }

    /// Compares the committed digests of complete states, and starts a quarantine if this node differs from a majority of the
    /// voters. Returns whether anything has changed.
    pub fn evaluate_states(&mut self, audit: &Audit, voters: &[NodeId], me: &str) -> bool {
        if self.is_ignored(audit) {
            return false;
        }
        // A state with wrong outcomes is wrong, however many nodes have it: an operator may have accepted that of a minority.
        let refused = &self.findings.differing;
        let (findings, majority) = if refused.is_empty() {
            compare_states(audit, voters)
        } else {
            compare_states(&audit.without(refused), voters)
        };
        let differs = majority.is_some_and(|digest| audit.own.is_some_and(|own| own != digest));
        let enters = differs && self.quarantine.enter();
        if let Some(index) = audit.requested_at.filter(|_| differs) {
            self.differed_at = self.differed_at.max(index);
        }
        self.needs_reinstall |= differs;
        if enters {
            tracing::error!(
                node = me,
                index = audit.requested_at.map_or(0, |index| index.0),
                "quarantine: the complete state of this node differs from the majority's, although its outcomes do not, so it \
                 stops serving requests; it copies its state to `quarantine` in its data directory and installs a snapshot \
                 of the leader"
            );
        }
        if self.states == findings {
            return enters;
        }
        if !findings.differing.is_empty() {
            tracing::error!(?findings, "audit: the complete states of the nodes differ");
        }
        if !findings.not_comparable.is_empty() {
            tracing::warn!(
                nodes = ?findings.not_comparable,
                "audit: the guest writes the same state in different ways, so the complete states can't be compared; make its \
                 `snapshot` depend on the state alone"
            );
        }
        self.states = findings;
        true
    }
}

#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;
