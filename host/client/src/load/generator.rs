//! Runs sessions for a while and counts the requests that they complete.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::tally::{LoadErrorKind, LoadTally};

/// A session that met an error waits this long before its next request, so that a node in trouble has less load.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// How long requests in flight may take after the measured time before they are dropped.
const SETTLE: Duration = Duration::from_secs(1);

/// A request that was not carried out, or may not have been.
#[derive(Clone, Debug)]
pub struct RequestFailure {
    /// What it counts as.
    pub kind: LoadErrorKind,
    /// What happened.
    pub message: String,
    /// Whether the other requests in flight in that session are lost with it.
    pub connection_lost: bool,
}

/// One client of a load.
pub trait Session: Send + 'static {
    /// How many requests may be in flight at the same time: at least one.
    fn depth(&self) -> usize {
        1
    }

    /// Prepares the request with that number. [`Session::complete`] sends it.
    fn push(&mut self, number: u64);

    /// Sends what was pushed, and waits for responses: returns how many of the oldest requests are complete, at least
    /// one.
    ///
    /// # Errors
    /// The oldest request was not carried out, or may not have been.
    fn complete(&mut self) -> impl Future<Output = Result<usize, RequestFailure>> + Send;
}

/// One load. Clones refer to the same one.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<LoadState>);

#[derive(Debug, Default)]
struct LoadState {
    next_number: AtomicU64,
    /// Set during the measured time.
    measuring: AtomicBool,
    /// Set after it.
    over: AtomicBool,
    tally: Mutex<LoadTally>,
}

impl LoadState {
    /// A poisoned lock holds counts, which are as good as before.
    fn tally(&self) -> MutexGuard<'_, LoadTally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Requests carried out so far, and those that were not.
    pub fn so_far(&self) -> (u64, u64) {
        let tally = self.0.tally();
        (tally.done(), tally.failed())
    }

    /// Lets the sessions run, for `warm_up` without counting and then as long as `measured` takes, which is polled
    /// first after the warm-up. A request counts if it ends within that time.
    pub async fn run<S: Session, T>(
        &self,
        sessions: Vec<S>,
        warm_up: Duration,
        measured: impl Future<Output = T>,
    ) -> (LoadTally, T) {
        self.0.over.store(false, Ordering::Relaxed);
        *self.0.tally() = LoadTally::default();
        let mut tasks = JoinSet::new();
        for session in sessions {
            tasks.spawn(drive(session, Arc::clone(&self.0)));
        }
        tokio::time::sleep(warm_up).await;
        let begun = Instant::now();
        self.0.measuring.store(true, Ordering::Relaxed);
        let result = measured.await;
        self.0.measuring.store(false, Ordering::Relaxed);
        let elapsed = begun.elapsed();
        self.0.over.store(true, Ordering::Relaxed);
        // What takes longer is dropped: its result no longer counts.
        let _ = tokio::time::timeout(SETTLE, async { while tasks.join_next().await.is_some() {} })
            .await;
        tasks.shutdown().await;
        let tally = LoadTally {
            elapsed,
            ..self.0.tally().clone()
        };
        (tally, result)
    }
}

/// One session: each response allows the next request.
async fn drive<S: Session>(mut session: S, shared: Arc<LoadState>) {
    let mut sent: VecDeque<Instant> = VecDeque::new();
    while !shared.over.load(Ordering::Relaxed) {
        while sent.len() < session.depth() {
            session.push(shared.next_number.fetch_add(1, Ordering::Relaxed));
            sent.push_back(Instant::now());
        }
        let outcome = session.complete().await;
        let counts = shared.measuring.load(Ordering::Relaxed);
        match outcome {
            Ok(completed) => {
                let ended = Instant::now();
                let completed = sent.drain(..completed.min(sent.len()));
                if counts {
                    let mut tally = shared.tally();
                    for begun in completed {
                        tally.latencies.record(ended - begun);
                    }
                }
            }
            Err(failure) => {
                let lost = if failure.connection_lost {
                    sent.len()
                } else {
                    1
                };
                sent.drain(..lost.min(sent.len()));
                if counts {
                    let mut tally = shared.tally();
                    *tally.errors.entry(failure.kind).or_default() += lost as u64;
                    tally.example.get_or_insert(failure.message);
                }
                if failure.kind != LoadErrorKind::Refused {
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
