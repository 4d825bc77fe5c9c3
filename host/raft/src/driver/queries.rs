//! Questions: a linearizable one waits for the index that the leader vouches for, then for the machine to get there.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Consistency, Driver, Environment, MachineTask, SubmitError};
use crate::ids::{Index, NodeId, Term};
use crate::raft::ready::ReadState;
use crate::state_machine::ReplicatedStateMachine;

struct Asked<Q, A> {
    query: Q,
    client: A,
    deadline: Duration,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The leader is being asked.
    Asking,
    /// No leader could vouch; asks again once there is another, or a little later.
    Parked,
    /// The machine has to get there first.
    WaitsFor(Index),
}

/// Questions that are not yet with the machine.
pub(super) struct Queries<Q, A> {
    next_id: u64,
    asked: BTreeMap<u64, Asked<Q, A>>,
    deadlines: BTreeSet<(Duration, u64)>,
    by_index: BTreeSet<(Index, u64)>,
    parked: BTreeSet<u64>,
    /// Under whom the parked ones were refused.
    refused_by: Option<(NodeId, Term)>,
    /// When the same leader is asked again: its answer may have been lost.
    retry_at: Duration,
}

impl<Q, A> Queries<Q, A> {
    /// None yet. They are numbered from `session` on, a random number of this run: the leader's answer to a
    /// question of this node's former run, in the same term, must not answer one of this run (it is too old).
    pub(super) fn new(session: u64) -> Self {
        Self {
            next_id: session,
            asked: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            by_index: BTreeSet::new(),
            parked: BTreeSet::new(),
            refused_by: None,
            retry_at: Duration::ZERO,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|&(deadline, _)| deadline)?;
        Some(if self.parked.is_empty() {
            deadline
        } else {
            deadline.min(self.retry_at)
        })
    }

    fn remove(&mut self, id: u64) -> Option<Asked<Q, A>> {
        let asked = self.asked.remove(&id)?;
        self.deadlines.remove(&(asked.deadline, id));
        self.parked.remove(&id);
        if let State::WaitsFor(index) = asked.state {
            self.by_index.remove(&(index, id));
        }
        Some(asked)
    }

    /// Clients whose time is up.
    pub(super) fn expire(&mut self, now: Duration, has_leader: bool) -> Vec<(A, SubmitError)> {
        let mut expired = Vec::new();
        while let Some(&(_, id)) = self.deadlines.first().filter(|(due, _)| *due <= now) {
            let error = if has_leader {
                SubmitError::TimedOut
            } else {
                SubmitError::NoLeader
            };
            expired.extend(self.remove(id).map(|asked| (asked.client, error)));
        }
        expired
    }

    pub(super) fn drain(&mut self) -> Vec<A> {
        self.deadlines.clear();
        self.by_index.clear();
        self.parked.clear();
        std::mem::take(&mut self.asked)
            .into_values()
            .map(|asked| asked.client)
            .collect()
    }
}

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    pub(super) fn on_query(
        &mut self,
        query: M::Query,
        consistency: Consistency,
        deadline: Duration,
        client: E::QueryClient,
    ) {
        if consistency == Consistency::Stale {
            return self.env.machine(MachineTask::Query(query, client));
        }
        if self.queries.asked.len() >= self.limits.waiting {
            return self.env.reject_query(
                client,
                SubmitError::Overloaded {
                    what: "questions that wait for an answer",
                },
            );
        }
        let id = self.queries.next_id;
        self.queries.next_id = id.wrapping_add(1);
        self.queries.deadlines.insert((deadline, id));
        self.queries.asked.insert(
            id,
            Asked {
                query,
                client,
                deadline,
                state: State::Asking,
            },
        );
        self.core.read(self.now, id);
    }

    /// The leader vouches for an index, or nobody does.
    pub(super) fn on_read_state(&mut self, read: ReadState) {
        let Some(asked) = self.queries.asked.get_mut(&read.id) else {
            return;
        };
        match read.index {
            Some(index) => {
                asked.state = State::WaitsFor(index);
                self.queries.by_index.insert((index, read.id));
            }
            None => {
                asked.state = State::Parked;
                self.queries.parked.insert(read.id);
                self.queries.retry_at = self.now + self.limits.read_retry;
                self.queries.refused_by = self
                    .core
                    .leader()
                    .map(|leader| (leader.clone(), self.core.term()));
            }
        }
    }

    /// Hands over the questions whose entries the machine has been given.
    pub(super) fn hand_over_queries(&mut self) {
        let handed = self.core.log().applying;
        while let Some(&(_, id)) = self
            .queries
            .by_index
            .first()
            .filter(|(index, _)| *index <= handed)
        {
            if let Some(asked) = self.queries.remove(id) {
                self.env
                    .machine(MachineTask::Query(asked.query, asked.client));
            }
        }
    }

    /// Asks again on behalf of those that nobody vouched for, once there is someone else to ask.
    pub(super) fn retry_reads(&mut self) {
        if self.queries.parked.is_empty() {
            return;
        }
        let news = self
            .leadership()
            .is_some_and(|leadership| self.queries.refused_by.as_ref() != Some(&leadership));
        if !news && self.now < self.queries.retry_at {
            return;
        }
        self.queries.retry_at = self.now + self.limits.read_retry;
        for id in std::mem::take(&mut self.queries.parked) {
            if let Some(asked) = self.queries.asked.get_mut(&id) {
                asked.state = State::Asking;
                self.core.read(self.now, id);
            }
        }
    }
}
