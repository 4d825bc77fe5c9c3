//! Makes running queries look from time to time whether their client still waits.
//!
//! Code of a guest compares a counter of its engine, the epoch, with a deadline at each loop and function. While queries
//! run, a thread increments the epoch. Only a query has a deadline near enough to notice, so no other call is affected.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::Engine;

/// How often a running query looks whether its client still waits.
const TICK: Duration = Duration::from_millis(10);

/// The thread that increments the epoch. It sleeps while no query runs.
pub(crate) struct EpochTicker {
    shared: Arc<SharedTicker>,
}

#[derive(Default)]
struct SharedTicker {
    state: Mutex<TickerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TickerState {
    /// Queries that run now.
    running: usize,
    /// The engine of the latest query. All modules of a node have the same one.
    engine: Option<Engine>,
    /// A query has begun since the last tick.
    was_used: bool,
    is_asleep: bool,
    is_closed: bool,
}

impl EpochTicker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system can't start a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::<SharedTicker>::default();
        let own = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("oarlock-epoch".to_owned())
            .spawn(move || own.run())?;
        Ok(Self { shared })
    }

    /// The epoch of this engine is incremented until the result is dropped.
    pub(crate) fn tick_for(&self, engine: &Engine) -> RunningQuery {
        let mut state = self.shared.lock();
        state.running += 1;
        state.was_used = true;
        if !state
            .engine
            .as_ref()
            .is_some_and(|own| Engine::same(own, engine))
        {
            state.engine = Some(engine.clone());
        }
        if std::mem::take(&mut state.is_asleep) {
            self.shared.changed.notify_one();
        }
        drop(state);
        RunningQuery(Arc::clone(&self.shared))
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_one();
    }
}

/// A query that runs, until dropped.
pub(crate) struct RunningQuery(Arc<SharedTicker>);

impl Drop for RunningQuery {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl SharedTicker {
    fn run(&self) {
        let mut state = self.lock();
        loop {
            // A query that outlives the machine is still interrupted.
            if state.is_closed && state.running == 0 {
                return;
            }
            let was_used = std::mem::take(&mut state.was_used);
            if state.running > 0 || was_used {
                let waited = self.changed.wait_timeout(state, TICK);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                if let Some(engine) = &state.engine {
                    engine.increment_epoch();
                }
            } else {
                state.is_asleep = true;
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// A panic under the lock leaves the state consistent.
    fn lock(&self) -> MutexGuard<'_, TickerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
