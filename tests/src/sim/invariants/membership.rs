//! Membership: the last configuration in a node's log is in effect there (dissertation §4.1). Committed configurations
//! follow each other by the rules of joint consensus (§4.3). Only a voter leads. A change that was reported to an operator
//! as done is in effect.

use std::collections::BTreeMap;

use task_queue_raft::entry::Entry;
use task_queue_raft::ids::{Index, LogId, NodeId, StoreId, Term};
use task_queue_raft::raft::membership::Membership;
use task_queue_raft::raft::membership::change::Change;
use task_queue_raft::raft::{Core, Role};

use crate::sim::violation::{Violation, ensure};

/// The entry that a founder appends.
const FIRST: LogId = LogId {
    term: Term::ZERO,
    index: Index(1),
};
const IN_FORCE: &str = "the last configuration in the log is in force (dissertation §4.1)";

/// Every configuration that was ever in a log, and those that are committed.
#[derive(Debug, Default)]
pub(crate) struct Members {
    founders: Membership,
    seen: BTreeMap<LogId, Membership>,
    committed: BTreeMap<Index, (LogId, Membership)>,
    leaders: std::collections::BTreeSet<Term>,
}

impl Members {
    pub(crate) fn found<'a>(&mut self, founders: impl Iterator<Item = &'a NodeId>) {
        self.founders = Membership::of_voters(founders, &BTreeMap::new());
    }

    pub(crate) fn see(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let Some(membership) = entry.payload.membership() {
                self.seen.insert(entry.id, membership.clone());
            }
        }
    }

    /// The last configuration that a node knows to be committed.
    fn last_committed(&self, core: &Core) -> &Membership {
        let log = core.log();
        let held = self.seen.iter().rev();
        let mut held = held.filter(|(id, _)| id.index <= log.committed() && log.holds(**id));
        let gone = self.committed.range(..=log.committed()).next_back();
        let gone = gone.map(|(_, (_, membership))| membership);
        let held = held.next().map(|(_, membership)| membership);
        held.or(gone).unwrap_or(&self.founders)
    }

    pub(crate) fn check(&mut self, node: usize, core: &Core) -> Result<(), Violation> {
        let members = core.membership();
        if core.role() == Role::Leader && self.leaders.insert(core.term()) {
            // A leaving node may be needed until the entry that removes it is committed (§4.2.2).
            let before = self.last_committed(core);
            ensure(
                members.is_voter(core.id()) || before.is_voter(core.id()),
                "only a voter is elected (dissertation §4.2.1)",
                || {
                    format!(
                        "n{node} leads term {}, and the members are {members:?}",
                        core.term()
                    )
                },
            )?;
        }
        let log = core.log();
        let there = |id: &LogId| {
            let purged = self
                .committed
                .get(&id.index)
                .is_some_and(|(known, _)| known == id);
            log.holds(*id) || purged && id.index <= log.purged().index
        };
        // What a leader has appended, present or former, or a founder, is seen only once it is on a disk or on its way. The first
        // entry has the same id from each founder: one may have begun a log, lost its disk before anybody had the entry, and begin
        // another log, whose first entry is not seen yet.
        let at = core.membership_index();
        let own = log.term_at(at).map(|term| LogId::new(term, at));
        let is_seen = |id: LogId| id != FIRST && self.seen.contains_key(&id);
        if log.stable() < at && !own.is_some_and(is_seen) {
            return Ok(());
        }
        let last = self.seen.iter().rev().find(|(id, _)| there(id));
        let as_it_should_be = match last {
            Some((_, last)) => members == last,
            // A node that waits to be added knows no members.
            None => *members == self.founders || members.members().is_empty(),
        };
        ensure(as_it_should_be, IN_FORCE, || {
            format!("n{node} has {members:?}, and its log has {last:?}")
        })
    }

    /// An entry is applied for the first time anywhere.
    pub(crate) fn commit(&mut self, entry: &Entry) -> Result<(), Violation> {
        let Some(next) = entry.payload.membership() else {
            return Ok(());
        };
        let before = self.in_force(entry.id.index);
        let voters = |members: &Membership| members.voters().cloned().collect::<Vec<_>>();
        let follows = if before.is_joint() {
            *next == before.settled()
        } else if next.is_joint() {
            // The voters of before are the old ones of the joint configuration.
            without_stores(&before.joint_with(&next.settled())) == without_stores(next)
        } else {
            // One server less, where it has lost its store.
            let lost = before
                .members()
                .keys()
                .any(|id| before.without_store_of(id, next.store_id(id)) == *next);
            voters(before) == voters(next) || lost
        };
        ensure(
            follows,
            "voters change by joint consensus (dissertation §4.3)",
            || format!("{} makes {next:?} of {before:?}", entry.id),
        )?;
        let committed = (entry.id, next.clone());
        self.committed.insert(entry.id.index, committed);
        Ok(())
    }

    fn in_force(&self, at: Index) -> &Membership {
        let before = self.committed.range(..=at).next_back();
        before.map_or(&self.founders, |(_, (_, membership))| membership)
    }

    pub(crate) fn on_changed(
        &self,
        node: usize,
        change: &Change,
        index: Index,
        committed: Index,
    ) -> Result<(), Violation> {
        // What no machine has applied yet is known only from the logs.
        let uncommitted = self.seen.iter().filter(|(id, _)| id.index == index);
        let mut found = uncommitted
            .map(|(_, members)| members)
            .chain([self.in_force(index)]);
        let done = |members: &Membership| {
            !members.is_joint() && change.apply(members).is_ok_and(|target| target == *members)
        };
        ensure(
            index <= committed && found.any(done),
            "a change that is done is in force",
            || {
                let members = self.in_force(index);
                format!("n{node} reports {change:?} as done at {index}, and there is {members:?}")
            },
        )
    }
}

/// The same without the numbers of the stores that the members vote by.
fn without_stores(members: &Membership) -> Membership {
    let without = members.members().iter().map(|(id, member)| {
        let mut member = member.clone();
        member.store_id = StoreId::NONE;
        (id.clone(), member)
    });
    Membership::new(without.collect())
}
