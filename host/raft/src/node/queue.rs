//! A queue of messages that wait for a connection: bounded in messages and in bytes, never blocking its producer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[cfg(test)]
mod tests;

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotQueued {
    /// There are as many messages or bytes in it as it may hold.
    Full,
    /// Nobody will take anything out of it again.
    Closed,
}

/// Many producers, which never wait; one consumer, which takes everything at once.
#[derive(Debug)]
pub(super) struct SendQueue<T> {
    state: Mutex<SendQueueState<T>>,
    filled: Notify,
    closing: Notify,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct SendQueueState<T> {
    waiting: VecDeque<T>,
    bytes: usize,
    closed: bool,
}

impl<T> SendQueue<T> {
    /// An empty queue for at most `max_messages` and `max_bytes`. One message always fits, however large.
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        let state = SendQueueState {
            waiting: VecDeque::new(),
            bytes: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Notify::new(),
            closing: Notify::new(),
            max_messages,
            max_bytes,
        }
    }

    /// Puts `message`, which counts for `bytes`, at the end.
    pub(super) fn push(&self, message: T, bytes: usize) -> Result<(), NotQueued> {
        let mut state = self.lock();
        if state.closed {
            return Err(NotQueued::Closed);
        }
        let full = state.waiting.len() >= self.max_messages
            || state.bytes.saturating_add(bytes) > self.max_bytes;
        if full && !state.waiting.is_empty() {
            return Err(NotQueued::Full);
        }
        state.waiting.push_back(message);
        state.bytes = state.bytes.saturating_add(bytes);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for messages and moves all of them to `into`. False once it is closed and empty. Cancel safe.
    pub(super) async fn take(&self, into: &mut VecDeque<T>) -> bool {
        loop {
            {
                let mut state = self.lock();
                if !state.waiting.is_empty() {
                    into.append(&mut state.waiting);
                    state.bytes = 0;
                    return true;
                }
                if state.closed {
                    return false;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Forgets what waits, and says how many that were.
    pub(super) fn clear(&self) -> usize {
        let mut state = self.lock();
        state.bytes = 0;
        let forgotten = state.waiting.len();
        state.waiting.clear();
        forgotten
    }

    /// Takes nothing more. What waits can still be taken out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
        self.closing.notify_waiters();
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        let closing = self.closing.notified();
        tokio::pin!(closing);
        // Registered before the flag is read, so that no close falls in between.
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Whether it has been closed.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, SendQueueState<T>> {
        // No code that can panic runs under the lock, and each field is right on its own.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
