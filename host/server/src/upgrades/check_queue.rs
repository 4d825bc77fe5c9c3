//! Uploaded modules that wait for their check: one is checked at a time, and few wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many modules may be checked or wait. Each keeps its request's body in memory.
const PLACES: usize = 8;

/// The modules that are checked or wait. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CheckQueue {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// A place in the queue; free again when dropped.
#[derive(Debug)]
pub(super) struct CheckPlace {
    permit: OwnedSemaphorePermit,
    turn: Arc<Semaphore>,
}

/// The right to check a module now; it ends when dropped.
#[derive(Debug)]
pub(super) struct CheckTurn {
    _place: OwnedSemaphorePermit,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Default for CheckQueue {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

impl CheckQueue {
    /// Takes a place. `None` if all are taken.
    pub(super) fn enter(&self) -> Option<CheckPlace> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let turn = Arc::clone(&self.turn);
        Some(CheckPlace { permit, turn })
    }
}

impl CheckPlace {
    /// Waits for the modules before it.
    pub(super) async fn turn(self) -> CheckTurn {
        CheckTurn {
            _place: self.permit,
            // The semaphore is never closed, so there is always a permit.
            _turn: self.turn.acquire_owned().await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn one_module_is_checked_at_a_time_and_few_wait() {
        let queue = CheckQueue::default();
        let first = queue.enter().expect("a place").turn().await;
        let mut waiting: Vec<_> = (1..PLACES)
            .map(|_| queue.enter().expect("a place"))
            .collect();
        assert!(queue.enter().is_none(), "all places are taken");

        let mut second = pin!(waiting.pop().expect("a place").turn());
        let mut context = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(matches!(second.as_mut().poll(&mut context), Poll::Ready(_)));
        assert!(queue.enter().is_some());
    }
}
