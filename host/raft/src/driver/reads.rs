//! Queries of clients: to the leader for a read index, then to the state machine. See
//! [`Queries`](super::queries::Queries).

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::Driver;
use super::environment::{Environment, MachineTask};
use super::outcome::{Consistency, SubmitError};
use crate::raft::ready::ReadState;
use crate::state_machine::ReplicatedStateMachine;

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
        if self.queries.len() >= self.limits.waiting {
            self.drop_abandoned_queries();
        }
        if self.queries.len() >= self.limits.waiting {
            let what = "queries that wait for a response";
            return self
                .env
                .reject_query(client, SubmitError::Overloaded { what });
        }
        let id = self.queries.insert(query, client, deadline);
        self.core.read(self.now, id);
    }

    fn drop_abandoned_queries(&mut self) {
        let env = &self.env;
        self.queries
            .drop_abandoned(self.now, |client| env.has_gone(client));
    }

    /// The leader has confirmed a read index, or no leader could.
    pub(super) fn on_read_state(&mut self, read: ReadState) {
        match read.index {
            Some(index) => self.queries.confirm(read.id, index),
            None => {
                let retry_at = self.now + self.limits.read_retry;
                self.queries.park(read.id, self.leadership(), retry_at);
            }
        }
    }

    /// Gives the state machine the queries up to whose read index it has been given the entries.
    pub(super) fn hand_over_queries(&mut self) {
        let handed = self.core.log().applying;
        while let Some((query, client)) = self.queries.take_ready(handed) {
            if !self.env.has_gone(&client) {
                self.env.machine(MachineTask::Query(query, client));
            }
        }
    }

    /// Requests read indexes again for the parked queries, where it is time or another node leads.
    pub(super) fn retry_reads(&mut self) {
        if !self.queries.has_parked() {
            return;
        }
        // Without a leader they would stay until their deadline.
        self.drop_abandoned_queries();
        let (leadership, next_retry) = (self.leadership(), self.now + self.limits.read_retry);
        let retries = self
            .queries
            .take_retries(self.now, leadership.as_ref(), next_retry);
        for id in retries {
            self.core.read(self.now, id);
        }
    }
}
