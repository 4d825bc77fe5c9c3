//! The follower's side of replication: §5.3.

use crate::entry::Entry;
use crate::ids::{Index, LogId, NodeId, Term};
use crate::message::{AppendEntries, AppendEntriesResponse, AppendResult, RaftResponse};
use crate::raft::Core;
use crate::raft::role::KnownLeader;

impl Core {
    /// A heartbeat, or entries from the leader.
    pub(super) fn on_append_entries(&mut self, from: &NodeId, append: AppendEntries) {
        if append.term < self.hard_state.term {
            return self.respond_to_append(from, append.round, AppendResult::Ignored, None);
        }
        if !self.follow(append.term, from) || self.has_other_history(from, &append) {
            return;
        }
        if !self.may_acknowledge(from) {
            return;
        }
        let lease = self.grant_lease();
        let heartbeat = append.entries.is_empty();
        let leader_commit = append.leader_commit;
        let Some(result) = self.accept_entries(append.previous, append.entries, leader_commit)
        else {
            return;
        };
        let result = match result {
            // The response to a heartbeat does not wait for the disk, because reads and the quorum check wait for it. So it
            // acknowledges durable entries only.
            AppendResult::Matched(index) if heartbeat => {
                AppendResult::Matched(index.min(self.log.stable()))
            }
            result => result,
        };
        self.respond_to_append(from, append.round, result, lease);
        if heartbeat && self.log.committed >= leader_commit {
            self.repeat_store_mismatch(from);
        }
    }

    /// Follows the sender of a leader's message in `term`: a candidate steps back, and the election timeout starts again
    /// (§5.2).
    ///
    /// Returns false if this node is itself the leader of the term. Two leaders of one term exist only if a disk has lost a
    /// vote or a message is forged. No reaction is safe then, so the message is dropped.
    #[must_use]
    pub(super) fn follow(&mut self, term: Term, leader: &NodeId) -> bool {
        if self.role.is_leader() && term == self.hard_state.term {
            return false;
        }
        let leader = KnownLeader {
            id: leader.clone(),
            heard_at: self.now,
        };
        self.become_follower(term, Some(leader));
        self.clocks.has_yielded = false;
        self.rearm_election();
        true
    }

    /// Whether the leader has another entry where this node has a committed one. Then the core has stopped.
    fn has_other_history(&mut self, from: &NodeId, append: &AppendEntries) -> bool {
        let ids = append.entries.iter().map(|entry| entry.id);
        let mut sent = std::iter::once(append.previous).chain(ids);
        sent.any(|theirs| self.conflicts(from, theirs))
    }

    fn respond_to_append(
        &mut self,
        to: &NodeId,
        round: u64,
        result: AppendResult,
        lease_ms: Option<u64>,
    ) {
        let response = AppendEntriesResponse {
            term: self.hard_state.term,
            round,
            result,
        };
        let response = match lease_ms {
            None => RaftResponse::AppendEntries(response),
            Some(ms) => RaftResponse::LeaseGranted(response, ms),
        };
        match result {
            AppendResult::Matched(index) if index > self.log.stable() => self.respond(to, response),
            _ => self.respond_in_term(to, response),
        }
    }

    /// Returns `None` if the log has no room for any of the entries. Then nothing is sent, as if the request was lost: the
    /// leader sends them again after a heartbeat.
    fn accept_entries(
        &mut self,
        previous: LogId,
        entries: Vec<Entry>,
        leader_commit: Index,
    ) -> Option<AppendResult> {
        if previous.index >= self.log.purged().index && !self.log.holds(previous) {
            let hint = self
                .log
                .agreement_below(LogId::new(previous.term, previous.index.previous()));
            return Some(AppendResult::Mismatch {
                rejected: previous,
                hint,
            });
        }
        let heartbeat = entries.is_empty();
        let mut last = previous.index;
        let mut members_changed = false;
        for entry in entries {
            let is_new = entry.id.index > self.log.last().index;
            if is_new && self.lags_too_far(leader_commit) {
                break;
            }
            last = entry.id.index;
            members_changed |= self.accept_entry(entry);
        }
        if members_changed {
            self.on_members_changed();
        }
        self.log.committed = self.log.committed.max(leader_commit.min(last));
        self.configurations.compact(self.log.committed);
        self.check_named_store();
        self.update_eligibility();
        let none = !heartbeat && last == previous.index;
        (!none).then(|| AppendResult::Matched(last.max(self.log.committed)))
    }

    /// Keeps an entry that agrees, replaces one that conflicts, appends one that is new. An entry that agrees is never removed:
    /// the message may be old, and later entries may already be acknowledged (§5.3). Returns whether the configuration in effect
    /// may have changed.
    fn accept_entry(&mut self, entry: Entry) -> bool {
        if entry.id.index <= self.log.committed || self.log.holds(entry.id) {
            return false;
        }
        let mut members_change = false;
        if entry.id.index <= self.log.last().index {
            self.log.truncate(entry.id.index);
            self.configurations.truncate(entry.id.index);
            self.clusters.truncate(entry.id.index);
            members_change = true;
        }
        members_change |= self.adopt_configuration(&entry);
        self.log.append(entry);
        members_change
    }

    /// A configuration is in effect as soon as it is appended, committed or not (dissertation §4.1). Returns whether the entry
    /// contains one.
    pub(super) fn adopt_configuration(&mut self, entry: &Entry) -> bool {
        let Some(membership) = entry.payload.membership() else {
            return false;
        };
        let membership = membership.clone();
        self.configurations.append(entry.id.index, membership);
        if let Some(record) = entry.payload.cluster() {
            self.clusters.append(entry.id.index, record);
            self.check_level(record.level);
        }
        true
    }
}
