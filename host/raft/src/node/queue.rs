//! The queue of messages to one peer: bounded in messages and in bytes. Its producers never block.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[cfg(test)]
mod tests;

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotQueued {
    /// The queue is at its limit of messages or bytes.
    Full,
    /// The queue is closed: its connection has ended.
    Closed,
}

/// A queue with many producers, which never block, and one consumer, which takes all messages at once.
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
    /// An empty queue with a limit of messages and bytes. An empty queue accepts a message of any size.
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

    /// Appends `message`, which counts as `bytes`.
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

    /// Waits for messages and moves all of them to `into`. Returns false if the queue is closed and empty. Cancel safe.
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

    /// Drops all queued messages and returns their number.
    pub(super) fn clear(&self) -> usize {
        let mut state = self.lock();
        state.bytes = 0;
        let dropped = state.waiting.len();
        state.waiting.clear();
        dropped
    }

    /// Accepts no more messages. The consumer still receives the queued ones.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
        self.closing.notify_waiters();
    }

    /// Waits until the queue is closed.
    pub(super) async fn closed(&self) {
        let closing = self.closing.notified();
        tokio::pin!(closing);
        // Registered before the flag is read, so that a close in between is not missed.
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Whether the queue is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, SendQueueState<T>> {
        // No code under the lock can panic, and no invariant spans two fields.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
