//! Linearizable queries, until the state machine receives them.
//!
//! Such a query first waits until the leader has confirmed a read index, and then until the state machine has the entries
//! up to it (dissertation §6.4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::outcome::SubmitError;
use crate::ids::{Index, NodeId, Term};

/// Shortest time between two searches for abandoned queries, which look at all queries.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

struct PendingQuery<Q, C> {
    query: Q,
    client: C,
    deadline: Duration,
    state: QueryState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum QueryState {
    /// A read index was requested from the leader.
    ReadIndexRequested,
    /// No leader could confirm a read index. The request is repeated under another leader, or after a pause.
    Parked,
    /// The state machine does not have the entries up to the read index yet.
    WaitsFor(Index),
}

/// Queries that the state machine does not have yet.
pub(super) struct Queries<Q, C> {
    next_id: u64,
    pending: BTreeMap<u64, PendingQuery<Q, C>>,
    deadlines: BTreeSet<(Duration, u64)>,
    by_index: BTreeSet<(Index, u64)>,
    parked: BTreeSet<u64>,
    /// The leader under which the parked queries were refused.
    refused_by: Option<(NodeId, Term)>,
    /// When the parked queries are retried with the same leader: its response may have been lost.
    retry_at: Duration,
    /// When abandoned queries may be looked for again.
    look_at: Duration,
}

impl<Q, C> Queries<Q, C> {
    /// No queries. Ids start at `session`, the random number of this run. So a late response to a query of an earlier run
    /// in the same term, whose read index is too old, does not confirm a query of this run.
    pub(super) fn new(session: u64) -> Self {
        Self {
            next_id: session,
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            by_index: BTreeSet::new(),
            parked: BTreeSet::new(),
            refused_by: None,
            retry_at: Duration::ZERO,
            look_at: Duration::ZERO,
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

    /// Pending queries.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Adds a query, and returns the id under which to request a read index.
    pub(super) fn insert(&mut self, query: Q, client: C, deadline: Duration) -> u64 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.deadlines.insert((deadline, id));
        let pending = PendingQuery {
            query,
            client,
            deadline,
            state: QueryState::ReadIndexRequested,
        };
        self.pending.insert(id, pending);
        id
    }

    /// The leader has confirmed a read index.
    pub(super) fn confirm(&mut self, id: u64, index: Index) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.state = QueryState::WaitsFor(index);
            self.by_index.insert((index, id));
        }
    }

    /// No leader could confirm a read index. `leadership` is the one of now.
    pub(super) fn park(&mut self, id: u64, leadership: Option<(NodeId, Term)>, retry_at: Duration) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.state = QueryState::Parked;
            self.parked.insert(id);
            self.retry_at = retry_at;
            self.refused_by = leadership;
        }
    }

    /// Removes a query whose read index is `handed` or below it.
    pub(super) fn take_ready(&mut self, handed: Index) -> Option<(Q, C)> {
        let &(_, id) = self
            .by_index
            .first()
            .filter(|(index, _)| *index <= handed)?;
        self.remove(id)
            .map(|pending| (pending.query, pending.client))
    }

    pub(super) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Ids whose read index must be requested again, because it is time or the leader has changed. They are no longer
    /// parked.
    pub(super) fn take_retries(
        &mut self,
        now: Duration,
        leadership: Option<&(NodeId, Term)>,
        next_retry: Duration,
    ) -> BTreeSet<u64> {
        let is_new = leadership.is_some() && self.refused_by.as_ref() != leadership;
        if !is_new && now < self.retry_at {
            return BTreeSet::new();
        }
        self.retry_at = next_retry;
        let mut retries = std::mem::take(&mut self.parked);
        retries.retain(|id| {
            let pending = self.pending.get_mut(id);
            pending
                .map(|pending| pending.state = QueryState::ReadIndexRequested)
                .is_some()
        });
        retries
    }

    /// Removes the queries whose client has gone. Looks at all of them, so it does so only from time to time.
    pub(super) fn drop_abandoned(&mut self, now: Duration, has_gone: impl Fn(&C) -> bool) {
        if now < self.look_at {
            return;
        }
        self.look_at = now + LOOK_PAUSE;
        let abandoned = self.pending.iter();
        let abandoned = abandoned.filter(|(_, pending)| has_gone(&pending.client));
        let abandoned: Vec<u64> = abandoned.map(|(&id, _)| id).collect();
        for id in abandoned {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u64) -> Option<PendingQuery<Q, C>> {
        let pending = self.pending.remove(&id)?;
        self.deadlines.remove(&(pending.deadline, id));
        self.parked.remove(&id);
        if let QueryState::WaitsFor(index) = pending.state {
            self.by_index.remove(&(index, id));
        }
        Some(pending)
    }

    /// Removes the queries whose deadline has passed.
    pub(super) fn expire(&mut self, now: Duration, has_leader: bool) -> Vec<(C, SubmitError)> {
        let mut expired = Vec::new();
        while let Some(&(_, id)) = self.deadlines.first().filter(|(due, _)| *due <= now) {
            let error = if has_leader {
                SubmitError::TimedOut
            } else {
                SubmitError::NoLeader
            };
            expired.extend(self.remove(id).map(|pending| (pending.client, error)));
        }
        expired
    }

    /// Removes all queries, and returns the clients.
    pub(super) fn drain(&mut self) -> Vec<C> {
        self.deadlines.clear();
        self.by_index.clear();
        self.parked.clear();
        std::mem::take(&mut self.pending)
            .into_values()
            .map(|pending| pending.client)
            .collect()
    }
}
