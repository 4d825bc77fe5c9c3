//! This node's part in the upgrade protocol: it proposes its own report. On the leader it also proposes the decision:
//! activate once all voters are ready, or abort.
//!
//! All decisions follow from the replicated state, so a new leader continues where the previous one stopped.

use task_queue_raft::ids::{Index, NodeId};

use crate::machine::status::UpgradeSummary;
use crate::records::digest::Sha256;
use crate::records::upgrade::{
    AbortCause, CheckResult, MAX_MESSAGE_BYTES, MigrationRoute, UpgradeEnd, UpgradeRecord,
};
use crate::upgrade::state::UpgradeStatus;

/// The next action of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeStep {
    /// Propose this record.
    Propose(UpgradeRecord),
    /// Wait for a change, or until this time (milliseconds of replicated time, since 1970).
    WaitUntil(Option<u64>),
}

/// What the next action of a node depends on, besides the upgrade.
#[derive(Clone, Copy, Debug)]
pub struct UpgradeSituation<'a> {
    /// Name of the node.
    pub me: &'a str,
    /// Why the node does not accept the module, whatever its check says. It then reports this. If the other nodes accept the
    /// module nevertheless, because this one is no voter, it follows them.
    pub refusal: Option<&'a str>,
    /// The current voters.
    pub voters: &'a [NodeId],
    /// The node leads, and has committed an entry of its term.
    pub leads: bool,
    /// The last record that it proposed.
    pub proposed: Option<&'a UpgradeRecord>,
    /// Replicated time, in milliseconds since 1970.
    pub now_ms: u64,
}

impl UpgradeSummary {
    /// The next action of a node.
    #[must_use]
    pub fn next_step(&self, node: UpgradeSituation<'_>) -> UpgradeStep {
        let Some(pending) = &self.pending else {
            return UpgradeStep::WaitUntil(None);
        };
        let refused = node.refusal.map(CheckResult::refused);
        if let Some(result) = refused.as_ref().or(self.own_check())
            && pending.staged_at.is_some()
            && pending.reports.get(node.me) != Some(result)
        {
            let report = UpgradeRecord::Report {
                upgrade: pending.upgrade,
                node: node.me.to_owned(),
                result: result.clone(),
            };
            // A report that was committed and is still missing was over the limit for reports.
            if node.proposed != Some(&report) {
                return UpgradeStep::Propose(report);
            }
        }
        if !node.leads {
            return UpgradeStep::WaitUntil(None);
        }
        match decide(pending, node.voters, node.now_ms) {
            Some(record) => UpgradeStep::Propose(record),
            None => UpgradeStep::WaitUntil(Some(pending.deadline_ms)),
        }
    }

    /// The entry that activated a module last.
    #[must_use]
    pub fn last_activated(&self) -> Option<Index> {
        let mut past = self.past.iter().rev();
        past.find(|past| past.end == UpgradeEnd::Activated)
            .map(|past| past.ended.index)
    }
}

/// The leader's decision, or `None` while reports are missing and the deadline is not over.
fn decide(pending: &UpgradeStatus, voters: &[NodeId], now_ms: u64) -> Option<UpgradeRecord> {
    let upgrade = pending.upgrade;
    let close = |end| Some(UpgradeRecord::Close { upgrade, end });
    let abort = |cause, message| close(UpgradeEnd::Aborted { cause, message });
    let mut ready = Vec::new();
    let mut missing = Vec::new();
    for voter in voters {
        match pending.reports.get(voter.as_str()) {
            Some(CheckResult::Refused { message }) => {
                return abort(
                    AbortCause::NodeRefused,
                    cut(format!("{}: {message}", voter.as_str())),
                );
            }
            Some(CheckResult::Ready {
                tried_at,
                route,
                state,
            }) => ready.push(ReadyVoter {
                voter,
                tried_at: *tried_at,
                route: *route,
                state: *state,
            }),
            None => missing.push(voter.as_str()),
        }
    }
    if let Some(reason) = difference(&ready) {
        return abort(AbortCause::StatesDiffer, cut(reason));
    }
    if pending.staged_at.is_some()
        && missing.is_empty()
        && let Some(first) = ready.first()
    {
        if pending.dry_run {
            return close(UpgradeEnd::DryRunPassed);
        }
        let (route, state) = (first.route, first.state);
        return Some(UpgradeRecord::Activate {
            upgrade,
            route,
            state,
        });
    }
    if now_ms < pending.deadline_ms {
        return None;
    }
    let reason = if pending.staged_at.is_some() {
        format!("no report from {}", missing.join(", "))
    } else {
        let (received, bytes) = (pending.received, pending.bytes);
        format!("{received} of {bytes} bytes of the module arrived")
    };
    abort(AbortCause::TimedOut, cut(reason))
}

struct ReadyVoter<'a> {
    voter: &'a NodeId,
    tried_at: Index,
    route: MigrationRoute,
    state: Sha256,
}

/// A contradiction between two reports. States after different entries can't be compared, except on the journal route:
/// there all voters must arrive at the same state.
fn difference(ready: &[ReadyVoter<'_>]) -> Option<String> {
    let first = ready.first()?;
    ready.iter().find_map(|other| {
        let journal = [first, other].iter().any(|one| one.route == MigrationRoute::Journal);
        let comparable = first.tried_at == other.tried_at || journal;
        let differ = first.route != other.route || (comparable && first.state != other.state);
        differ.then(|| {
            let (one, two) = (first.voter.as_str(), other.voter.as_str());
            format!(
                "the state hash is {} on {one} and {} on {two}; the module's `restore` or `snapshot` is not deterministic",
                first.state, other.state
            )
        })
    })
}

/// Shortens a reason to the limit of the log.
fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(MAX_MESSAGE_BYTES));
    reason
}

#[cfg(test)]
mod tests;
