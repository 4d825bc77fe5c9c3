//! The driver of a running node, shared by the threads that have events for it.
//!
//! Only one thread runs the driver at a time, and it is one that has an event for it: a thread that delivers an event runs the
//! driver itself if no other thread does. So a command that comes alone wakes no thread between the socket, the disk and the
//! state machine. Where another thread runs the driver, the event waits for that one, which looks for such events afterwards and
//! leaves them to the driver's own thread. That thread also runs the driver at deadlines.
//!
//! While more than a few events or requests of clients are there at once, every event is left to the own thread: those that arrive
//! until it runs share one turn of the driver, and the commands among them an entry.
//!
//! The driver blocks on nothing: the environment queues the work of disk, state machine and network.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::channels::{DriverEvent, NotRunning, Publisher};
use super::environment::ThreadEnvironment;
use super::error::FatalError;
use crate::driver::{Driver, Input};
use crate::state_machine::ReplicatedStateMachine;

/// Events that the driver handles in one turn.
const EVENTS_PER_TURN: usize = 1024;

/// Up to this many requests in flight, and events in one turn, the thread with an event runs the driver. Past it, events share turns.
const FEW: usize = 2;

/// Name of the driver's own thread, and of a thread that runs the driver, in errors.
pub(super) const DRIVER: &str = "raft-driver";

/// The driver, and the events that wait for it.
pub(super) struct SharedDriver<M: ReplicatedStateMachine> {
    waiting: Mutex<Waiting<M>>,
    /// `None` before the start and after the end.
    running: Mutex<Option<RunningDriver<M>>>,
    /// The driver's own thread, from its first turn on.
    thread: OnceLock<Thread>,
    /// There was more than [`FEW`] of something in the last turn.
    is_busy: AtomicBool,
}

/// Events in the order of their delivery.
struct Waiting<M: ReplicatedStateMachine> {
    events: VecDeque<DriverEvent<M>>,
    /// The driver has ended.
    is_closed: bool,
}

/// A driver, and what each of its turns needs.
pub(super) struct RunningDriver<M: ReplicatedStateMachine> {
    driver: Driver<M, ThreadEnvironment<M>>,
    publisher: Publisher,
    /// Zero of the node's clock.
    epoch: Instant,
    /// When the own thread runs the driver, even without an event.
    wakes_at: Duration,
    /// The events of a turn. Empty between turns; keeps its memory.
    events: VecDeque<DriverEvent<M>>,
}

/// What follows a turn.
enum AfterTurn {
    /// The next turn is due at this time, even without an event.
    Due(Duration),
    /// The node has stopped.
    Ended,
}

impl<M: ReplicatedStateMachine> SharedDriver<M> {
    /// Without a driver. Events wait for it.
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                events: VecDeque::new(),
                is_closed: false,
            }),
            running: Mutex::new(None),
            thread: OnceLock::new(),
            is_busy: AtomicBool::new(false),
        }
    }

    /// From here on, events get to this driver. Call [`Self::run`] on a thread of its own then.
    pub(super) fn start(&self, driver: RunningDriver<M>) {
        *lock(&self.running) = Some(driver);
    }

    /// Delivers an event, and runs the driver if no other thread does.
    ///
    /// # Errors
    /// The driver has ended.
    pub(super) fn deliver(&self, event: DriverEvent<M>) -> Result<(), NotRunning> {
        let was_empty = {
            let mut waiting = lock(&self.waiting);
            if waiting.is_closed {
                return Err(NotRunning);
            }
            waiting.events.push_back(event);
            waiting.events.len() == 1
        };
        if self.is_busy.load(Ordering::Relaxed) {
            // Where others wait, the thread that delivered the first one has woken it, or runs the driver itself.
            if was_empty {
                self.wake();
            }
            return Ok(());
        }
        let mut running = match self.running.try_lock() {
            Ok(running) => running,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // After its turn, the thread that runs the driver finds the event.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let due = self.turn(&mut running);
        let wakes_earlier = running
            .as_mut()
            .zip(due)
            .is_some_and(|(running, due)| running.note_due(due));
        drop(running);
        if due.is_some() && (wakes_earlier || self.has_waiting()) {
            self.wake();
        }
        Ok(())
    }

    /// Runs the driver on its own thread, until the node stops.
    pub(super) fn run(&self) {
        self.thread.get_or_init(std::thread::current);
        loop {
            let mut running = lock(&self.running);
            let due = self.turn(&mut running);
            let Some((running_driver, due)) = running.as_mut().zip(due) else {
                return;
            };
            running_driver.wakes_at = due;
            let pause = due.saturating_sub(running_driver.epoch.elapsed());
            drop(running);
            // An event that is delivered from here on finds the driver free.
            if !self.has_waiting() {
                std::thread::park_timeout(pause);
            }
        }
    }

    /// Handles the waiting events in one turn. Returns when the next one is due; `None` without a driver.
    fn turn(&self, running: &mut Option<RunningDriver<M>>) -> Option<Duration> {
        let driver = running.as_mut()?;
        self.take_waiting(&mut driver.events);
        let handled = driver.events.len();
        let turn = catch_unwind(AssertUnwindSafe(|| driver.turn()));
        let after = turn.unwrap_or_else(|panic| {
            driver.panicked(&*panic);
            AfterTurn::Ended
        });
        match after {
            AfterTurn::Due(due) => {
                let is_busy = driver.driver.requests().max(handled) > FEW;
                self.is_busy.store(is_busy, Ordering::Relaxed);
                Some(due)
            }
            AfterTurn::Ended => {
                self.close();
                *running = None;
                None
            }
        }
    }

    fn take_waiting(&self, into: &mut VecDeque<DriverEvent<M>>) {
        let mut waiting = lock(&self.waiting);
        if waiting.events.len() <= EVENTS_PER_TURN {
            std::mem::swap(&mut waiting.events, into);
        } else {
            into.extend(waiting.events.drain(..EVENTS_PER_TURN));
        }
    }

    fn has_waiting(&self) -> bool {
        !lock(&self.waiting).events.is_empty()
    }

    /// Wakes the own thread. Before its first turn this does nothing: that turn is still to come.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// No further event is accepted. Those that wait are dropped, and the own thread ends.
    fn close(&self) {
        let dropped = {
            let mut waiting = lock(&self.waiting);
            waiting.is_closed = true;
            std::mem::take(&mut waiting.events)
        };
        drop(dropped);
        self.wake();
    }
}

impl<M: ReplicatedStateMachine> RunningDriver<M> {
    /// A driver that has not run yet. `epoch`: zero of the node's clock.
    pub(super) fn new(
        driver: Driver<M, ThreadEnvironment<M>>,
        publisher: Publisher,
        epoch: Instant,
    ) -> Self {
        Self {
            driver,
            publisher,
            epoch,
            wakes_at: Duration::ZERO,
            events: VecDeque::new(),
        }
    }

    /// Whether the own thread sleeps for longer than until `due`. If so, it counts as woken.
    fn note_due(&mut self, due: Duration) -> bool {
        let is_earlier = due < self.wakes_at;
        self.wakes_at = self.wakes_at.min(due);
        is_earlier
    }

    /// Handles the events of a turn, then takes it.
    fn turn(&mut self) -> AfterTurn {
        let (driver, epoch) = (&mut self.driver, self.epoch);
        driver.handle(epoch.elapsed(), Input::Tick);
        while let Some(event) = self.events.pop_front() {
            match event {
                DriverEvent::Input(input, _permit) => driver.handle(epoch.elapsed(), input),
                DriverEvent::Fatal(error) => return self.fail(error),
                DriverEvent::Stop => {
                    driver.stop();
                    driver.env_mut().flush_replies();
                    return AfterTurn::Ended;
                }
            }
        }
        driver.turn();
        if let Some(fault) = driver.env().fault() {
            let error = FatalError::Core(fault.clone());
            return self.fail(error);
        }
        driver.env_mut().flush_replies();
        self.publisher
            .publish(driver.snapshot_failures(), driver.core());
        AfterTurn::Due(driver.next_deadline())
    }

    /// An error stops the node.
    fn fail(&mut self, error: FatalError) -> AfterTurn {
        tracing::error!(%error, "the node stops");
        self.driver.stop();
        self.driver.env_mut().flush_replies();
        self.report(error);
        AfterTurn::Ended
    }

    /// A turn has panicked. The state of the driver is unknown: clients learn that the node stops when it is dropped.
    fn panicked(&self, panic: &(dyn Any + Send)) {
        let error = FatalError::Panic {
            thread: DRIVER,
            message: panic_message(panic),
        };
        tracing::error!(%error, "the node stops");
        self.report(error);
    }

    fn report(&self, error: FatalError) {
        let _ = self.publisher.fatal.send(Some(error));
    }
}

/// The text of a panic.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "no message".to_owned())
}

/// Locks a mutex. A poisoned one is used as it is: a turn that panics is caught, and no other code under these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
