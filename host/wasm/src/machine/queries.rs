//! Queries of a machine: on threads of their own if there are any, and on the applying thread otherwise.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::{ClientWatch, Moment, QueryCallback};

use crate::guest::limits::MachineLimits;
use crate::records::failure::GuestFailure;
use crate::records::outcome::GuestQueryError;
use crate::records::query::{MachineQuery, QueryClass};
use crate::rollback::query_pool::{QueryCounts, QueryPool, QueryThreads, ReplicaQuery};
use crate::rollback::recoverable::RecoverableGuest;
use crate::rollback::replica::unavailable;

/// A query that waits for the next freeze of the guest.
struct WaitingQuery {
    at: Moment,
    query: MachineQuery,
    respond: QueryCallback<Result<Bytes, GuestQueryError>>,
}

/// The threads for queries, and the queries that wait for the next freeze. One freeze serves all waiting queries; it
/// comes when the machine is idle, or when enough calls were made since the last one.
#[derive(Default)]
pub(super) struct QueryDispatcher {
    /// `None`: queries run on the applying thread.
    pool: Option<QueryPool>,
    waiting: Vec<WaitingQuery>,
}

impl QueryDispatcher {
    /// Starts threads for queries.
    ///
    /// # Errors
    /// The operating system can't start a thread.
    pub(super) fn start_threads(
        &mut self,
        threads: QueryThreads,
        counts: Arc<QueryCounts>,
    ) -> io::Result<()> {
        self.pool = Some(QueryPool::start(threads, counts)?);
        Ok(())
    }

    /// Runs a query on another thread, if there are threads and the guest has an image; otherwise on this thread.
    pub(super) fn submit(
        &mut self,
        guest: &mut RecoverableGuest,
        limits: &MachineLimits,
        at: Moment,
        query: MachineQuery,
        respond: QueryCallback<Result<Bytes, GuestQueryError>>,
    ) {
        let is_valid = guest.module().has_queries() && too_large(&query.request, limits).is_none();
        if !is_valid || self.pool.is_none() {
            return self.run_now(guest, limits, at, query, respond);
        }
        // The pool refuses queries over the limit.
        let is_full = self.waiting.len() as u64 >= limits.queries_waiting;
        self.waiting.push(WaitingQuery { at, query, respond });
        if is_full || guest.is_ready_for_queries() {
            self.dispatch(guest, limits);
        }
    }

    /// Dispatches the waiting queries if a freeze is cheap or worth it now.
    pub(super) fn dispatch_if_ready(
        &mut self,
        guest: &mut RecoverableGuest,
        limits: &MachineLimits,
    ) {
        if !self.waiting.is_empty() && guest.is_ready_for_queries() {
            self.dispatch(guest, limits);
        }
    }

    /// Freezes the guest, and submits the waiting queries to the threads.
    pub(super) fn dispatch(&mut self, guest: &mut RecoverableGuest, limits: &MachineLimits) {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(now) = waiting.last().map(|last| last.at) else {
            return;
        };
        let frozen = guest.frozen(now);
        for WaitingQuery { at, query, respond } in waiting {
            match (&frozen, &self.pool) {
                (Ok(Some(frozen)), Some(pool)) => pool.submit(ReplicaQuery {
                    guest: Arc::clone(frozen),
                    at,
                    query,
                    respond,
                }),
                (Err(failure), _) => respond.respond(at.index, Err(unavailable(failure))),
                _ => self.run_now(guest, limits, now, query, respond),
            }
        }
    }

    /// Runs a query on this thread, unless its client has gone.
    fn run_now(
        &self,
        guest: &mut RecoverableGuest,
        limits: &MachineLimits,
        at: Moment,
        mut query: MachineQuery,
        respond: QueryCallback<Result<Bytes, GuestQueryError>>,
    ) {
        // Where there is one thread, a query has no reason to begin again.
        query.class = QueryClass::Long;
        let counts = self.pool.as_ref().map(QueryPool::counts);
        if respond.client().has_gone() {
            counts.inspect(|counts| counts.abandon_waiting());
            return;
        }
        let mut run = || query_now(guest, limits, at, &query, respond.client());
        let response = match &self.pool {
            Some(pool) => pool.attend(run),
            None => run(),
        };
        if matches!(response, Err(GuestQueryError::Abandoned)) {
            counts.inspect(|counts| counts.abandon_running());
        }
        respond.respond(at.index, response);
    }

    /// Drops the replicas of the guest that was replaced, so that its memory is freed.
    pub(super) fn drop_replicas(&self) {
        if let Some(pool) = &self.pool {
            pool.drop_replicas();
        }
    }
}

/// Runs a query on this thread.
pub(super) fn query_now(
    guest: &mut RecoverableGuest,
    limits: &MachineLimits,
    at: Moment,
    query: &MachineQuery,
    client: &ClientWatch,
) -> Result<Bytes, GuestQueryError> {
    if let Some(error) = too_large(&query.request, limits) {
        return Err(error);
    }
    if !guest.module().has_queries() {
        return Err(GuestQueryError::NotSupported);
    }
    let response = guest.query(at, query, client);
    response.unwrap_or_else(|failure| Err(unavailable(&failure)))
}

fn too_large(request: &[u8], limits: &MachineLimits) -> Option<GuestQueryError> {
    let bytes = request.len() as u64;
    (bytes > limits.command_bytes).then_some(GuestQueryError::Failed(GuestFailure::TooLarge {
        what: "the query",
        bytes,
        limit: limits.command_bytes,
    }))
}
