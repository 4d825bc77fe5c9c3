//! Threads that run queries concurrently with apply, each on a replica of the guest.
//!
//! **What a query observes** is the image at the time when the query starts. The machine freezes the guest before it
//! submits a query, so that is the state after the entry at which the query was submitted, or a later one. It may
//! contain a part of the next entry's commands: these are committed, but their replies have not been sent yet.

use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use task_queue_raft::state_machine::{Moment, QueryCallback};

use crate::guest::engine::THREAD_STACK_BYTES;
use crate::records::outcome::GuestQueryError;
use crate::records::query::MachineQuery;
use crate::rollback::replica::{FrozenGuest, QueryReplica, unavailable};

/// A query for a replica.
pub(crate) struct ReplicaQuery {
    pub(crate) guest: Arc<FrozenGuest>,
    /// The last applied entry when the query was submitted.
    pub(crate) at: Moment,
    pub(crate) query: MachineQuery,
    pub(crate) respond: QueryCallback<Result<Bytes, GuestQueryError>>,
}

/// Counters of a pool, read by other threads.
#[derive(Debug, Default)]
pub(crate) struct QueryCounts {
    pub(crate) waiting: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) overloaded: AtomicU64,
    pub(crate) abandoned_waiting: AtomicU64,
    pub(crate) abandoned_running: AtomicU64,
}

impl QueryCounts {
    /// A query was dropped before it began: its client has gone.
    pub(crate) fn abandon_waiting(&self) {
        self.abandoned_waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// A query was interrupted: its client has gone.
    pub(crate) fn abandon_running(&self) {
        self.abandoned_running.fetch_add(1, Ordering::Relaxed);
    }
}

/// The threads and their queue.
pub(crate) struct QueryPool {
    shared: Arc<PoolShared>,
}

struct PoolShared {
    queue: Mutex<QueryQueue>,
    changed: Condvar,
    counts: Arc<QueryCounts>,
}

#[derive(Default)]
struct QueryQueue {
    queries: VecDeque<ReplicaQuery>,
    /// The guest of the latest query. Replicas of other guests are dropped.
    guest: Option<Arc<FrozenGuest>>,
    closed: bool,
}

impl Drop for QueryPool {
    /// Threads finish their current query; waiting queries get no response.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.queries);
        drop(queue);
        drop(waiting);
        self.shared.changed.notify_all();
    }
}

impl QueryPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system can't start a thread.
    pub(crate) fn start(threads: usize, counts: Arc<QueryCounts>) -> io::Result<Self> {
        let pool = Self {
            shared: Arc::new(PoolShared {
                queue: Mutex::default(),
                changed: Condvar::new(),
                counts,
            }),
        };
        for _ in 0..threads {
            let shared = Arc::clone(&pool.shared);
            // Not joined at the end: a query may take long, and its response is not needed then.
            std::thread::Builder::new()
                .name("oarlock-query".to_owned())
                .stack_size(THREAD_STACK_BYTES)
                .spawn(move || shared.run())?;
        }
        Ok(pool)
    }

    /// The counters of this pool.
    pub(crate) fn counts(&self) -> &QueryCounts {
        &self.shared.counts
    }

    /// Runs a query of another thread, so that it is counted.
    pub(crate) fn attend<T>(&self, run: impl FnOnce() -> T) -> T {
        self.shared.attend(run)
    }

    /// Queues a query. Over the limit of waiting queries it is refused at once. Those whose client has gone don't count.
    pub(crate) fn submit(&self, query: ReplicaQuery) {
        let limit = query.guest.factory.limits.queries_waiting;
        let mut queue = self.shared.lock();
        if queue.queries.len() as u64 >= limit {
            queue.drop_abandoned(&self.shared.counts);
        }
        let waiting = queue.queries.len() as u64;
        if waiting >= limit {
            drop(queue);
            self.shared
                .counts
                .overloaded
                .fetch_add(1, Ordering::Relaxed);
            let index = query.at.index;
            return query
                .respond
                .respond(index, Err(GuestQueryError::Overloaded { waiting }));
        }
        queue.set_guest(Some(&query.guest), &self.shared.changed);
        queue.queries.push_back(query);
        self.shared
            .counts
            .waiting
            .store(waiting + 1, Ordering::Relaxed);
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Drops the replicas, because the guest has been replaced.
    pub(crate) fn drop_replicas(&self) {
        self.shared.lock().set_guest(None, &self.shared.changed);
    }
}

impl QueryQueue {
    fn drop_abandoned(&mut self, counts: &QueryCounts) {
        self.queries.retain(|query| {
            let has_gone = query.respond.client().has_gone();
            if has_gone {
                counts.abandon_waiting();
            }
            !has_gone
        });
    }

    fn set_guest(&mut self, guest: Option<&Arc<FrozenGuest>>, changed: &Condvar) {
        let is_same = match (&self.guest, guest) {
            (Some(known), Some(guest)) => Arc::ptr_eq(known, guest),
            (known, guest) => known.is_none() && guest.is_none(),
        };
        if !is_same {
            self.guest = guest.cloned();
            // Replicas of the old guest keep its memory allocated, so all threads must check theirs.
            changed.notify_all();
        }
    }
}

/// The next step of a thread.
enum PoolStep {
    Run(ReplicaQuery),
    DropReplica,
    Stop,
}

impl PoolShared {
    fn run(&self) {
        let mut replica = QueryReplica::default();
        loop {
            match self.next(&replica) {
                PoolStep::Run(query) => self.run_query(&mut replica, query),
                PoolStep::DropReplica => replica = QueryReplica::default(),
                PoolStep::Stop => return,
            }
        }
    }

    fn next(&self, replica: &QueryReplica) -> PoolStep {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return PoolStep::Stop;
            }
            if let Some(query) = queue.queries.pop_front() {
                let waiting = queue.queries.len() as u64;
                self.counts.waiting.store(waiting, Ordering::Relaxed);
                return PoolStep::Run(query);
            }
            if replica.is_in_use() && replica.is_of_another(queue.guest.as_ref()) {
                return PoolStep::DropReplica;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run_query(&self, replica: &mut QueryReplica, query: ReplicaQuery) {
        let ReplicaQuery {
            guest,
            at,
            query,
            respond,
        } = query;
        if respond.client().has_gone() {
            return self.counts.abandon_waiting();
        }
        let run = AssertUnwindSafe(|| replica.query(&guest, &query, respond.client()));
        let ran = self.attend(|| panic::catch_unwind(run));
        let (at, response) = match ran {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => (at, Err(unavailable(&error))),
            Err(_) => {
                *replica = QueryReplica::default();
                let error = io::Error::other("the query panicked in the host, which is a bug");
                (at, Err(unavailable(&error)))
            }
        };
        if matches!(response, Err(GuestQueryError::Abandoned)) {
            self.counts.abandon_running();
        }
        self.counts.completed.fetch_add(1, Ordering::Relaxed);
        respond.respond(at.index, response);
    }

    /// `run` does not panic.
    fn attend<T>(&self, run: impl FnOnce() -> T) -> T {
        self.counts.running.fetch_add(1, Ordering::Relaxed);
        let ran = run();
        self.counts.running.fetch_sub(1, Ordering::Relaxed);
        ran
    }

    /// A panic under the lock leaves the queue consistent.
    fn lock(&self) -> MutexGuard<'_, QueryQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
