//! What the host of a node does in addition to Raft, in the runs of the guest: it takes part in audits and upgrades, and gates what its
//! clients get. The decisions are those of the product (`oarlock_wasm`, module `duties`). Here they are made at intervals.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use oarlock_wasm::{
    Audit, AuditDuties, AuditRecord, AuditVerdict, CommandOutcome, Envelope, Quarantine,
    RETRY_PAUSE, StatusHandle, UpgradeOutcome, UpgradeRecord, UpgradeSituation, UpgradeStep,
};
use task_queue_raft::driver::{Input, SubmitError};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::message::AdminRequest;
use task_queue_raft::raft::Core;

use super::{Event, World};
use crate::sim::history::{OpId, Outcome};
use crate::sim::machine::Told;
use crate::sim::planted::Planted;
use crate::sim::violation::Violation;

/// Numbers of proposals of hosts and operators: from here on.
pub(super) const FIRST_PROPOSAL: OpId = 1 << 63;
/// A host looks after its duties so often.
const INTERVAL: Duration = Duration::from_millis(40);
/// Timeout of one proposal.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How often a leader requests state hashes, and complete states.
const AUDITS: Duration = Duration::from_millis(250);
const STATE_AUDITS: Duration = Duration::from_millis(1500);

/// Who waits for a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proposer {
    Audit,
    StateAudit(AuditRecord),
    Upgrade(UpgradeRecord),
    Readiness,
    /// A wake-up of the guest.
    Wake,
    /// The operator who upgrades.
    Upgrading,
    /// An operator who does nothing with the outcome.
    Ignored,
}

/// The duties of a process, and where they are.
pub(super) struct HostTasks {
    pub(super) verdict: AuditVerdict,
    duties: AuditDuties,
    /// The last record of an upgrade that it has proposed.
    upgrade: Option<UpgradeRecord>,
    upgrade_after: Duration,
    /// The audit of complete states that it has reported for.
    reported: Option<Index>,
    audit_at: Duration,
    state_audit_at: Duration,
    /// It has proposed which module it runs.
    is_ready: bool,
    activated: Option<Index>,
    /// Reinstalls before the one that ends the quarantine.
    reinstalls: Option<u64>,
}

impl HostTasks {
    /// Of a process that starts, perhaps in quarantine, or where commands are refused since an audit.
    pub(super) fn new(quarantined: bool, stopped_by: Option<Index>) -> Self {
        Self {
            verdict: AuditVerdict::starting(quarantined, stopped_by),
            duties: AuditDuties::default(),
            upgrade: None,
            upgrade_after: Duration::ZERO,
            reported: None,
            audit_at: Duration::ZERO,
            state_audit_at: Duration::ZERO,
            is_ready: false,
            activated: None,
            reinstalls: None,
        }
    }
}

/// What a host sees of its node.
struct NodeView {
    me: NodeId,
    voters: Vec<NodeId>,
    leader: Option<NodeId>,
    leads: bool,
    level: u32,
    now: Duration,
    log_time_ms: u64,
    reinstalled: u64,
    is_reinstalling: bool,
    reinstalled_at: Index,
}

impl NodeView {
    fn of(core: &Core, now: Duration) -> Self {
        Self {
            me: core.id().clone(),
            voters: core.membership().voters().cloned().collect(),
            leader: core.leader().cloned(),
            leads: core.has_committed_in_term(),
            level: core.cluster().level,
            now,
            log_time_ms: core.log_time_ms(now),
            reinstalled: core.reinstalled(),
            is_reinstalling: core.reinstalling().is_some(),
            reinstalled_at: core.reinstalled_at(),
        }
    }
}

impl World {
    /// The host of a process looks after its duties, again and again.
    pub(super) fn host_step(&mut self, node: usize, run: u32) -> Result<(), Violation> {
        self.schedule(INTERVAL, Event::Host { node, run });
        let now = self.nodes[node].clock(self.now);
        let Some(live) = &self.nodes[node].live else {
            return Ok(());
        };
        let Some(guest) = live.applier.machine().guest() else {
            return Ok(());
        };
        let status = guest.status().clone();
        let view = NodeView::of(live.driver.core(), now);
        self.take_part_in_audits(node, &view, &status)?;
        self.take_part_in_upgrades(node, &view, &status)?;
        self.end_quarantine(node, run, &view);
        self.keep_time(node, &view, &status);
        self.tell_module(node, &view, &status);
        Ok(())
    }

    fn host(&mut self, node: usize) -> Option<&mut HostTasks> {
        self.nodes[node].live.as_mut()?.host.as_mut()
    }

    /// Whether a proposal of this host waits for its outcome.
    fn waits(&self, node: usize, of: impl Fn(&Proposer) -> bool) -> bool {
        let mut open = self.proposals.values();
        open.any(|(at, proposer)| *at == node && of(proposer))
    }

    // ----- audits -----

    fn take_part_in_audits(
        &mut self,
        node: usize,
        view: &NodeView,
        status: &StatusHandle,
    ) -> Result<(), Violation> {
        if !self.profile.dimensions.audits {
            return Ok(());
        }
        let (audit, states) = (status.audit(), status.state_audit());
        let (me, voters) = (view.me.as_str(), &view.voters[..]);
        let lies = self.lies(node);
        let Some(host) = self.host(node) else {
            return Ok(());
        };
        let before = host.verdict.is_quarantined();
        if lies {
            host.verdict.evaluate(&as_reported(&audit, me), voters, me);
            host.verdict
                .evaluate_states(&as_reported(&states, me), voters, me);
        } else {
            host.verdict.evaluate(&audit, voters, me);
            host.verdict.evaluate_states(&states, voters, me);
        }
        let (now, stopped) = (
            host.verdict.is_quarantined(),
            host.verdict.are_writes_stopped(),
        );
        self.invariants.on_audit(node, &audit, voters);
        self.record_verdict(node);
        if now != before {
            self.coverage.quarantines += u64::from(now);
            self.trace.note(self.now, node, 20 + u64::from(now), || {
                format!("in quarantine: {now}, by {audit:?}")
            });
        }
        self.report_hash(node, view, &audit, stopped);
        if view.level > 0 && self.profile.dimensions.corruption {
            self.report_state(node, view, &states);
        }
        Ok(())
    }

    /// Records quarantine and stopped writes on the disk.
    fn record_verdict(&mut self, node: usize) {
        let host = self.host(node).map(|host| &host.verdict);
        let record = host.map(|verdict| (verdict.is_quarantined(), verdict.stopped_by()));
        if let Some((quarantined, stopped_by)) = record {
            self.nodes[node].quarantined = quarantined;
            self.nodes[node].stopped_by = stopped_by;
        }
    }

    /// As the product's task of audits does, from one step to the next.
    fn report_hash(&mut self, node: usize, view: &NodeView, audit: &Audit, stopped: bool) {
        let waits = self.waits(node, |proposer| *proposer == Proposer::Audit);
        let lies = self.lies(node);
        let Some(host) = self.host(node) else { return };
        let situation = host.verdict.situation(audit, view.leads);
        host.duties.note(situation, view.now);
        let mut report = audit.missing_report(view.me.as_str());
        host.duties.set_report_missing(report.is_some());
        if lies && let Some(AuditRecord::Report { hash, .. }) = &mut report {
            let Some(other) = audit.reports.values().next() else {
                return;
            };
            *hash = *other;
        }
        if host
            .duties
            .stop_writes_at()
            .is_some_and(|at| at <= view.now)
            && host.verdict.stop_writes()
        {
            self.coverage.stopped_writes += 1;
        }
        let Some(host) = self.host(node) else { return };
        if (view.leads || stopped) && host.audit_at <= view.now {
            host.audit_at = view.now + AUDITS;
            host.duties.request(audit.is_due, view.now);
        }
        let due = match report {
            Some(report) if host.duties.may_report(view.now) && !waits => {
                host.duties.report_attempted(view.now);
                Some(report)
            }
            _ if waits => None,
            _ => host
                .duties
                .takes_request(view.now)
                .then_some(AuditRecord::Request),
        };
        let hands_over = host.duties.hand_over_at().is_some_and(|at| at <= view.now);
        if hands_over {
            let attempt = host.duties.hand_overs();
            let to = host
                .verdict
                .intact_voter(audit, &view.voters, view.me.as_str(), attempt);
            host.duties.handed_over();
            self.order_at(node, AdminRequest::Transfer(to));
        }
        if let Some(record) = due {
            self.coverage.audits += u64::from(record == AuditRecord::Request);
            self.propose_at(node, Envelope::audit(&record), Proposer::Audit);
        }
    }

    /// Planted: a node whose state is wrong reports what another one has reported, and judges itself by its report. It waits for that
    /// while a node has a right state.
    fn lies(&self, node: usize) -> bool {
        let is_right =
            |node: &super::node::Node| node.live.is_some() && !self.invariants.is_wrong(node.index);
        self.planted == Some(Planted::ReportsLie)
            && self.invariants.is_wrong(node)
            && self.nodes.iter().any(is_right)
    }

    /// As the product's task of audits of the complete state does.
    fn report_state(&mut self, node: usize, view: &NodeView, audit: &Audit) {
        if self.waits(node, |proposer| matches!(proposer, Proposer::StateAudit(_))) {
            return;
        }
        let lies = self.lies(node);
        let Some(host) = self.host(node) else { return };
        let report = audit.missing_report(view.me.as_str());
        let mut report = report.filter(|_| host.reported != audit.requested_at);
        if lies && let Some(AuditRecord::Report { hash, .. }) = &mut report {
            let Some(other) = audit.reports.values().next() else {
                return;
            };
            *hash = *other;
        }
        let is_due = view.leads && audit.is_due && host.state_audit_at <= view.now;
        if is_due {
            host.state_audit_at = view.now + STATE_AUDITS;
        }
        if let Some(record) = report.or(is_due.then_some(AuditRecord::Request)) {
            let data = Envelope::state_audit(&record);
            self.propose_at(node, data, Proposer::StateAudit(record));
        }
    }

    // ----- quarantine -----

    /// The state of a node in quarantine is replaced by one of a leader that does not differ.
    fn end_quarantine(&mut self, node: usize, run: u32, view: &NodeView) {
        let Some(host) = self.host(node) else { return };
        if !host.verdict.is_quarantined() {
            host.reinstalls = None;
            return;
        }
        match host.reinstalls {
            Some(before) if view.reinstalled > before => {
                host.reinstalls = None;
                host.verdict.leave_quarantine(view.reinstalled_at);
                self.nodes[node].quarantined = host.verdict.is_quarantined();
                self.coverage.rejoined += 1;
                self.trace.note(self.now, node, 22, || {
                    format!("serves again, with the state after {}", view.reinstalled_at)
                });
            }
            Some(_) if view.is_reinstalling => {}
            _ => {
                let differing = &host.verdict.findings().differing;
                let is_intact =
                    |id: &NodeId| *id != view.me && !differing.iter().any(|one| one == id.as_str());
                if !view.leader.as_ref().is_some_and(is_intact) {
                    return;
                }
                host.reinstalls = Some(view.reinstalled);
                self.put(node, Input::Reinstall);
                let least = self.now + 4 * INTERVAL;
                self.schedule(INTERVAL / 2, Event::Reinstall { node, run, least });
            }
        }
    }

    /// Whether the product would refuse a command now.
    fn refuses_commands(&self, node: usize) -> bool {
        let host = self.nodes[node]
            .live
            .as_ref()
            .and_then(|live| live.host.as_ref());
        host.is_some_and(|host| {
            let quarantined =
                host.verdict.is_quarantined() && self.planted != Some(Planted::QuarantineIgnored);
            let stopped = host.verdict.are_writes_stopped()
                && self.planted != Some(Planted::WritesNotStopped);
            quarantined || stopped
        })
    }

    /// A client's request reaches a node. Returns whether the host refuses it at once.
    pub(super) fn enter_gate(&mut self, node: usize, op: OpId, is_command: bool) -> bool {
        if is_command && self.refuses_commands(node) {
            return true;
        }
        let host = self.nodes[node]
            .live
            .as_ref()
            .and_then(|live| live.host.as_ref());
        if let Some(host) = host {
            self.gates.insert(op, host.verdict.quarantine());
        }
        false
    }

    /// A node has an answer for a client: what the client gets.
    pub(super) fn leave_gate(
        &mut self,
        node: usize,
        op: OpId,
        is_command: bool,
        answer: Outcome,
    ) -> Result<Outcome, Violation> {
        let Some(before) = self.gates.remove(&op) else {
            return Ok(answer);
        };
        let host = self.nodes[node]
            .live
            .as_ref()
            .and_then(|live| live.host.as_ref());
        let passes = host.is_none_or(|host| match self.planted {
            Some(Planted::QuarantineIgnored) => !is_command || !host.verdict.are_writes_stopped(),
            Some(Planted::WritesNotStopped) => host.verdict.has_served_since(before),
            _ if is_command => host.verdict.acknowledges_since(before),
            _ => host.verdict.has_served_since(before),
        });
        if !passes {
            self.coverage.withheld += 1;
            return Ok(if is_command {
                Outcome::Unknown
            } else {
                Outcome::Refused
            });
        }
        self.invariants.on_response(node, is_command)?;
        if self.invariants.is_wrong(node) {
            // No audit has shown it yet, so the client may get anything.
            return Ok(Outcome::Unknown);
        }
        Ok(answer)
    }

    // ----- upgrades -----

    fn take_part_in_upgrades(
        &mut self,
        node: usize,
        view: &NodeView,
        status: &StatusHandle,
    ) -> Result<(), Violation> {
        let upgrades = status.upgrades();
        self.invariants.on_upgrades(node, &upgrades.past)?;
        let waits = self.waits(node, |proposer| matches!(proposer, Proposer::Upgrade(_)));
        let never_ends = self.planted == Some(Planted::UpgradeNeverEnds);
        let Some(host) = self.host(node) else {
            return Ok(());
        };
        let activated = upgrades.last_activated();
        if activated > host.activated {
            host.activated = activated;
            self.put(node, Input::TakeSnapshot);
        }
        let Some(host) = self.host(node) else {
            return Ok(());
        };
        if waits || view.now < host.upgrade_after {
            return Ok(());
        }
        let situation = UpgradeSituation {
            me: view.me.as_str(),
            refusal: None,
            voters: &view.voters,
            leads: view.leads && !never_ends,
            proposed: host.upgrade.as_ref(),
            now_ms: view.log_time_ms,
        };
        if let UpgradeStep::Propose(record) = upgrades.next_step(situation) {
            let data = Envelope::upgrade(&record);
            self.propose_at(node, data, Proposer::Upgrade(record));
        }
        Ok(())
    }

    /// A node that has found a leader proposes which module it was started with, or runs.
    fn tell_module(&mut self, node: usize, view: &NodeView, status: &StatusHandle) {
        let waits = self.waits(node, |proposer| *proposer == Proposer::Readiness);
        let Some(host) = self.host(node) else { return };
        if !host.is_ready && !waits && view.leader.is_some() {
            let module = status.get().sha256;
            self.propose_at(node, Envelope::runs(module), Proposer::Readiness);
        }
    }

    // ----- time -----

    /// As the product's timekeeper does: the leader wakes the guest once the log has reached the time.
    fn keep_time(&mut self, node: usize, view: &NodeView, status: &StatusHandle) {
        let waits = self.waits(node, |proposer| *proposer == Proposer::Wake);
        let writes = self
            .host(node)
            .is_some_and(|host| !host.verdict.are_writes_stopped());
        let now_ms = match self.planted {
            Some(Planted::WakeForgotten) => 0,
            Some(Planted::WakesByOwnClock) => self.nodes[node].wall_ms(self.now),
            _ => view.log_time_ms,
        };
        if view.leads && writes && !waits && is_due(status, now_ms) {
            self.coverage.wakes += 1;
            self.propose_at(node, Envelope::wake(), Proposer::Wake);
        }
    }

    /// Whether the guest of a leader waits for a wake-up that is due.
    pub(super) fn is_wake_due(&self, leader: usize) -> bool {
        let live = self.nodes[leader].live.as_ref();
        live.is_some_and(|live| {
            let view = NodeView::of(live.driver.core(), self.nodes[leader].clock(self.now));
            let guest = live.applier.machine().guest();
            guest.is_some_and(|guest| is_due(guest.status(), view.log_time_ms))
        })
    }

    // ----- proposals -----

    /// Proposes a record of a host or of an operator.
    pub(super) fn propose_at(&mut self, node: usize, data: Bytes, proposer: Proposer) {
        if self.nodes[node].live.is_none() {
            return;
        }
        let number = FIRST_PROPOSAL + self.proposed;
        self.proposed += 1;
        self.trace.note(self.now, node, number, || {
            format!("proposes record {}: {proposer:?}", number - FIRST_PROPOSAL)
        });
        self.proposals.insert(number, (node, proposer));
        let deadline = self.nodes[node].clock(self.now + TIMEOUT);
        self.put(
            node,
            Input::Propose {
                data,
                deadline,
                forward: true,
                client: number,
            },
        );
    }

    /// The outcome of a proposal, with the index of its entry.
    pub(super) fn proposer_hears(
        &mut self,
        number: OpId,
        outcome: Result<(Index, Told), SubmitError>,
    ) {
        let Some((node, proposer)) = self.proposals.remove(&number) else {
            return;
        };
        self.trace.note(self.now, node, number, || {
            format!("record {} ends: {outcome:?}", number - FIRST_PROPOSAL)
        });
        let now = self.nodes[node].clock(self.now);
        let done = outcome.is_ok();
        match (proposer, self.host(node)) {
            (Proposer::Upgrade(record), Some(host)) => {
                let refused = matches!(
                    &outcome,
                    Ok((_, Told::Record(outcome)))
                        if matches!(**outcome, CommandOutcome::Upgrade(UpgradeOutcome::Refused(_)))
                );
                if done && !refused {
                    host.upgrade = Some(record);
                } else {
                    host.upgrade_after = now + RETRY_PAUSE;
                }
            }
            (Proposer::StateAudit(AuditRecord::Report { requested_at, .. }), Some(host))
                if done =>
            {
                host.reported = Some(requested_at);
            }
            (Proposer::Readiness, Some(host)) => host.is_ready |= done,
            (Proposer::Upgrading, _) => self.go_on_upgrading(outcome.ok()),
            _ => {}
        }
    }

    /// A process has ended: its proposals get no outcome any more.
    pub(super) fn hosts_lose(&mut self, node: usize) {
        let lost = self.proposals.extract_if(.., |_, (at, _)| *at == node);
        let lost: Vec<_> = lost.map(|(_, (_, proposer))| proposer).collect();
        if lost.contains(&Proposer::Upgrading) {
            self.go_on_upgrading(None);
        }
        self.invariants.on_end(node);
    }

    /// A node whose state is wrong, which no audit has shown, although a majority is right. `has_time`: audits had time to show it;
    /// one follows each command. Before the states are compared as a whole, at level 0, a wrong register may stay unread.
    pub(super) fn hidden_difference(&self, has_time: bool) -> Option<String> {
        let led = self.nodes[self.leader()?].core()?;
        let comes_out = has_time && led.cluster().level > 0 && self.is_majority_right(led);
        let is_hidden = |node: &&super::node::Node| {
            let live = node.live.as_ref();
            let host = live.and_then(|live| live.host.as_ref());
            let is_shown = host.is_none_or(|host| host.verdict.is_quarantined());
            let is_member = led.membership().contains(&node.id);
            is_member && !is_shown && self.invariants.is_wrong(node.index)
        };
        let hidden = self.nodes.iter().find(is_hidden).filter(|_| comes_out)?;
        Some(format!(
            "the state of {} is wrong, and no audit has shown it",
            hidden.id
        ))
    }

    fn is_majority_right(&self, led: &Core) -> bool {
        let voters = || led.membership().voters();
        let is_right = |id: &&NodeId| {
            let node = self.ids.iter().position(|other| other == *id);
            node.is_some_and(|node| !self.invariants.is_wrong(node))
        };
        2 * voters().filter(is_right).count() > voters().count()
    }

    /// What keeps the cluster from being at rest: an audit or an upgrade that has not ended, a node that does not serve.
    pub(super) fn host_unrest(&self, leader: usize) -> Option<String> {
        let led = self.nodes[leader].core()?;
        // A removed node may go on for ever.
        let is_member = |node: usize| led.membership().contains(&self.ids[node]);
        let mut proposals = self.proposals.iter();
        if let Some((number, waits)) = proposals.find(|(_, (node, _))| is_member(*node)) {
            return Some(format!(
                "record {} of {waits:?} waits",
                number - FIRST_PROPOSAL
            ));
        }
        if self.is_wake_due(leader) {
            return Some(format!("{} does not wake its guest", led.id()));
        }
        for node in self
            .nodes
            .iter()
            .filter(|node| led.membership().contains(&node.id))
        {
            let live = node.live.as_ref()?;
            let (host, guest) = (live.host.as_ref()?, live.applier.machine().guest()?);
            let (verdict, status) = (&host.verdict, guest.status());
            if verdict.is_quarantined() || verdict.are_writes_stopped() {
                return Some(format!("{} does not serve: {verdict:?}", node.id));
            }
            if status.upgrades().pending.is_some() {
                return Some(format!("an upgrade has not ended: {:?}", status.upgrades()));
            }
            if !self.profile.dimensions.audits {
                continue;
            }
            let states = (led.cluster().level > 0 && self.profile.dimensions.corruption)
                .then(|| status.state_audit());
            for audit in states.into_iter().chain([status.audit()]) {
                let missing = audit.missing_report(node.id.as_str()).is_some();
                if audit.is_due && node.index == leader || missing {
                    return Some(format!("an audit has not ended at {}: {audit:?}", node.id));
                }
            }
        }
        None
    }
}

/// Whether the guest wants to be woken at this time, or before.
fn is_due(status: &StatusHandle, now_ms: u64) -> bool {
    let wake_at_ms = status.get().counts.wake_at_ms;
    wake_at_ms != 0 && wake_at_ms <= now_ms
}

/// The gates that clients' requests have passed, with what was known of the node then.
pub(super) type Gates = BTreeMap<OpId, Quarantine>;
/// Proposals of hosts and operators without an outcome, and at which node.
pub(super) type Proposals = BTreeMap<OpId, (usize, Proposer)>;

/// The audit as a node sees it that judges itself by its report.
fn as_reported(audit: &Audit, me: &str) -> Audit {
    Audit {
        own: audit.reports.get(me).copied(),
        ..audit.clone()
    }
}
