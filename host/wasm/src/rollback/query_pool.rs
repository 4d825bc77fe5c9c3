//! Threads that run queries concurrently with apply, each on a replica of the guest.
//!
//! **Each class of queries has threads of its own**, so that a query that is expected to be short never waits for a long one.
//! A query that needs more fuel than its class allows fails, and its sender sends it again as a long one. See decision record
//! 0059.
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
use crate::records::failure::GuestFailure;
use crate::records::outcome::GuestQueryError;
use crate::records::query::{MachineQuery, QueryClass};
use crate::rollback::replica::{FrozenGuest, QueryReplica, unavailable};

const CLASSES: usize = QueryClass::ALL.len();

/// The threads of a pool.
#[derive(Clone, Copy, Debug)]
pub struct QueryThreads {
    /// Threads for short queries, and as many for long ones. One more is for the first queries of connections.
    pub count: usize,
    /// Called on each thread that does not run short queries, when it starts: for example to lower its priority.
    pub in_background: fn(),
}

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
    /// Wakes the threads of a class.
    changed: [Condvar; CLASSES],
    counts: Arc<QueryCounts>,
}

#[derive(Default)]
struct QueryQueue {
    /// The queries that wait, by class.
    queries: [VecDeque<ReplicaQuery>; CLASSES],
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
        self.shared.wake_all();
    }
}

impl QueryPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system can't start a thread.
    pub(crate) fn start(threads: QueryThreads, counts: Arc<QueryCounts>) -> io::Result<Self> {
        let pool = Self {
            shared: Arc::new(PoolShared {
                queue: Mutex::default(),
                changed: Default::default(),
                counts,
            }),
        };
        for class in QueryClass::ALL {
            let count = match class {
                QueryClass::Short | QueryClass::Long => threads.count,
                QueryClass::New => 1,
            };
            for _ in 0..count {
                pool.start_thread(class, threads.in_background)?;
            }
        }
        Ok(pool)
    }

    fn start_thread(&self, class: QueryClass, in_background: fn()) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        // Not joined at the end: a query may take long, and its response is not needed then.
        std::thread::Builder::new()
            .name(format!("oarlock-q-{}", class.name()))
            .stack_size(THREAD_STACK_BYTES)
            .spawn(move || {
                if class != QueryClass::Short {
                    in_background();
                }
                shared.run(class);
            })?;
        Ok(())
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
        self.shared.submit(query);
    }

    /// Drops the replicas, because the guest has been replaced.
    pub(crate) fn drop_replicas(&self) {
        if self.shared.lock().set_guest(None) {
            self.shared.wake_all();
        }
    }
}

impl QueryQueue {
    fn waiting(&self) -> u64 {
        self.queries.iter().map(VecDeque::len).sum::<usize>() as u64
    }

    fn drop_abandoned(&mut self, counts: &QueryCounts) {
        for queries in &mut self.queries {
            queries.retain(|query| {
                let has_gone = query.respond.client().has_gone();
                if has_gone {
                    counts.abandon_waiting();
                }
                !has_gone
            });
        }
    }

    /// Returns whether it is another guest: replicas of the one before keep its memory allocated, so all threads must check theirs.
    fn set_guest(&mut self, guest: Option<&Arc<FrozenGuest>>) -> bool {
        let is_same = match (&self.guest, guest) {
            (Some(known), Some(guest)) => Arc::ptr_eq(known, guest),
            (known, guest) => known.is_none() && guest.is_none(),
        };
        if !is_same {
            self.guest = guest.cloned();
        }
        !is_same
    }
}

/// The next step of a thread.
enum PoolStep {
    Run(ReplicaQuery),
    DropReplica,
    Stop,
}

impl PoolShared {
    fn submit(&self, query: ReplicaQuery) {
        let limit = query.guest.factory.limits.queries_waiting;
        let mut queue = self.lock();
        if queue.waiting() >= limit {
            queue.drop_abandoned(&self.counts);
        }
        let waiting = queue.waiting();
        if waiting >= limit {
            drop(queue);
            self.counts.overloaded.fetch_add(1, Ordering::Relaxed);
            let index = query.at.index;
            return query
                .respond
                .respond(index, Err(GuestQueryError::Overloaded { waiting }));
        }
        let is_other_guest = queue.set_guest(Some(&query.guest));
        let class = query.query.class as usize;
        queue.queries[class].push_back(query);
        self.counts.waiting.store(waiting + 1, Ordering::Relaxed);
        drop(queue);
        if is_other_guest {
            self.wake_all();
        } else {
            self.changed[class].notify_one();
        }
    }

    fn wake_all(&self) {
        self.changed.iter().for_each(Condvar::notify_all);
    }

    /// A thread for queries of one class.
    fn run(&self, class: QueryClass) {
        let mut replica = QueryReplica::default();
        loop {
            match self.next(class, &replica) {
                PoolStep::Run(query) => self.run_query(&mut replica, query),
                PoolStep::DropReplica => replica = QueryReplica::default(),
                PoolStep::Stop => return,
            }
        }
    }

    fn next(&self, class: QueryClass, replica: &QueryReplica) -> PoolStep {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return PoolStep::Stop;
            }
            if let Some(query) = queue.queries[class as usize].pop_front() {
                self.counts
                    .waiting
                    .store(queue.waiting(), Ordering::Relaxed);
                return PoolStep::Run(query);
            }
            if replica.is_in_use() && replica.is_of_another(queue.guest.as_ref()) {
                return PoolStep::DropReplica;
            }
            queue = self.changed[class as usize]
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
        let limit = guest.factory.limits.fuel_per_query;
        let is_limited = query.class.fuel(limit) < limit;
        let response = match response {
            Err(GuestQueryError::Failed(GuestFailure::OutOfFuel)) if is_limited => {
                Err(GuestQueryError::NotShort)
            }
            response => response,
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
