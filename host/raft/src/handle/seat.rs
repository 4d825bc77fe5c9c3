//! The driver of a running node, and the events that wait for it.
//!
//! Only one thread runs the driver at a time, and it is the one that has an event for it: a thread that delivers an event
//! takes the turn itself where the driver is free. So a command that comes alone wakes no thread between the socket, the
//! disk and the state machine. Where the driver is taken, the event waits for the thread that has it. After its turn, that
//! thread hands what has arrived meanwhile to the driver's own thread, so no other thread stays longer than one turn. The
//! own thread also takes the turns that are due at a deadline.
//!
//! While more than a few requests of clients are in flight, every event goes to the own thread at once: those that arrive until
//! that thread runs share its turn, and the requests among them an entry.
//!
//! A turn blocks on nothing: the environment queues the work of disk, state machine and network.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::channels::{DriverEvent, NotRunning, Publisher};
use super::environment::ThreadEnvironment;
use super::error::FatalError;
use crate::driver::{Driver, Input};
use crate::state_machine::ReplicatedStateMachine;

/// Events that the driver handles before one turn.
const EVENTS_PER_TURN: usize = 1024;

/// Up to this many requests in flight, the thread with an event takes the turn. Past it, events share turns.
const FEW_REQUESTS: usize = 2;

/// Name of the driver's own thread, and of a thread that takes its turn, in errors.
pub(super) const DRIVER: &str = "raft-driver";

/// The driver, and the events that wait for it.
pub(super) struct Seat<M: ReplicatedStateMachine> {
    waiting: Mutex<Waiting<M>>,
    /// `None` before the start and after the end.
    seated: Mutex<Option<Seated<M>>>,
    /// The driver's own thread, from its first turn on.
    thread: OnceLock<Thread>,
    /// When that thread takes a turn by itself: microseconds of the node's clock.
    wakes_at: AtomicU64,
    /// More than [`FEW_REQUESTS`] were in flight after the last turn.
    is_busy: AtomicBool,
}

/// Events in the order of their delivery.
struct Waiting<M: ReplicatedStateMachine> {
    events: VecDeque<DriverEvent<M>>,
    /// The driver has ended.
    is_closed: bool,
}

/// A driver, and what each of its turns needs.
pub(super) struct Seated<M: ReplicatedStateMachine> {
    pub(super) driver: Driver<M, ThreadEnvironment<M>>,
    pub(super) publisher: Publisher,
    /// Zero of the node's clock.
    pub(super) epoch: Instant,
}

/// What follows a turn.
enum AfterTurn {
    /// The next turn is due at this time, even without an event.
    Due(Duration),
    /// The node has stopped.
    Ended,
}

impl<M: ReplicatedStateMachine> Seat<M> {
    /// A seat without a driver. Events wait for it.
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                events: VecDeque::new(),
                is_closed: false,
            }),
            seated: Mutex::new(None),
            thread: OnceLock::new(),
            wakes_at: AtomicU64::new(0),
            is_busy: AtomicBool::new(false),
        }
    }

    /// Gives the seat its driver. Call [`Self::run`] on a thread of its own then.
    pub(super) fn begin(&self, seated: Seated<M>) {
        *lock(&self.seated) = Some(seated);
    }

    /// Delivers an event, and takes the driver's turn if no other thread has it.
    ///
    /// # Errors
    /// The driver has ended.
    pub(super) fn deliver(&self, event: DriverEvent<M>) -> Result<(), NotRunning> {
        let shares_a_turn = self.is_busy.load(Ordering::Relaxed);
        let was_empty = {
            let mut waiting = lock(&self.waiting);
            if waiting.is_closed {
                return Err(NotRunning);
            }
            waiting.events.push_back(event);
            waiting.events.len() == 1
        };
        if shares_a_turn {
            // Where others wait, the thread that delivered the first one has woken it, or takes the turn itself.
            if was_empty {
                self.wake();
            }
            return Ok(());
        }
        let mut seated = match self.seated.try_lock() {
            Ok(seated) => seated,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // After its turn, the thread that has the driver finds the event.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let due = self.turn(&mut seated);
        let is_due_earlier = due.is_some_and(|due| self.note_due(due));
        drop(seated);
        if due.is_some() && (is_due_earlier || self.has_waiting()) {
            self.wake();
        }
        Ok(())
    }

    /// Takes the turns of the driver's own thread, until the node stops.
    pub(super) fn run(&self) {
        self.thread.get_or_init(std::thread::current);
        loop {
            let mut seated = lock(&self.seated);
            let Some(due) = self.turn(&mut seated) else {
                return;
            };
            let Some(now) = seated.as_ref().map(|seated| seated.epoch.elapsed()) else {
                return;
            };
            self.wakes_at.store(micros(due), Ordering::Release);
            drop(seated);
            // An event that is delivered from here on finds the driver free.
            if !self.has_waiting() {
                std::thread::park_timeout(due.saturating_sub(now));
            }
        }
    }

    /// Handles the waiting events, then takes one turn. Returns when the next one is due; `None` without a driver.
    fn turn(&self, seated: &mut Option<Seated<M>>) -> Option<Duration> {
        let running = seated.as_mut()?;
        let events = self.take_waiting();
        let turn = catch_unwind(AssertUnwindSafe(|| running.turn(events)));
        let after = turn.unwrap_or_else(|panic| {
            let error = FatalError::Panic {
                thread: DRIVER,
                message: panic_message(&*panic),
            };
            tracing::error!(%error, "the node stops");
            running.report(error);
            AfterTurn::Ended
        });
        match after {
            AfterTurn::Due(due) => {
                let is_busy = running.driver.requests() > FEW_REQUESTS;
                self.is_busy.store(is_busy, Ordering::Relaxed);
                Some(due)
            }
            AfterTurn::Ended => {
                self.close();
                *seated = None;
                None
            }
        }
    }

    fn take_waiting(&self) -> VecDeque<DriverEvent<M>> {
        let mut waiting = lock(&self.waiting);
        if waiting.events.len() <= EVENTS_PER_TURN {
            return std::mem::take(&mut waiting.events);
        }
        let later = waiting.events.split_off(EVENTS_PER_TURN);
        std::mem::replace(&mut waiting.events, later)
    }

    fn has_waiting(&self) -> bool {
        !lock(&self.waiting).events.is_empty()
    }

    /// Whether the own thread sleeps for longer than until `due`. If so, it counts as woken. Only the thread that has the
    /// driver calls this.
    fn note_due(&self, due: Duration) -> bool {
        let due = micros(due);
        let is_earlier = due < self.wakes_at.load(Ordering::Acquire);
        if is_earlier {
            self.wakes_at.store(due, Ordering::Release);
        }
        is_earlier
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

impl<M: ReplicatedStateMachine> Seated<M> {
    /// Handles events, then takes a turn.
    fn turn(&mut self, events: VecDeque<DriverEvent<M>>) -> AfterTurn {
        let (driver, epoch) = (&mut self.driver, self.epoch);
        driver.handle(epoch.elapsed(), Input::Tick);
        for event in events {
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
        self.publisher.publish(driver.core());
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

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Locks a mutex. A poisoned one is used as it is: a turn that panics is caught, and no other code under these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
