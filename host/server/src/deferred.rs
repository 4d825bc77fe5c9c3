//! Deferred replies: a guest may complete a command in a later entry. The clients of this node wait here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oarlock_wasm::Completion;
use task_queue_raft::ids::Index;
use tokio::sync::oneshot;

/// Most completed replies that are kept for clients that start to wait after the completion; the oldest are dropped.
const KEPT: usize = 1024;
/// Most bytes of completed replies.
const KEPT_BYTES: usize = 16 << 20;

/// Waiting clients by the guest's token. Each request in flight has at most one waiter.
#[derive(Default)]
pub(crate) struct DeferredReplies {
    table: Mutex<ReplyTable>,
}

#[derive(Default)]
struct ReplyTable {
    waiting: HashMap<u64, Vec<Waiter>>,
    /// The latest completed replies, in the order of the log.
    kept: VecDeque<(Index, Completion)>,
    kept_bytes: usize,
    next_id: u64,
    /// The node is stopping: no reply will come.
    is_closed: bool,
}

struct Waiter {
    id: u64,
    reply: oneshot::Sender<Completion>,
}

impl DeferredReplies {
    /// Delivers the replies that the entry at `index` completed. Called on the apply thread, in the order of the log.
    pub(crate) fn complete(&self, index: Index, completions: &[Completion]) {
        if completions.is_empty() {
            return;
        }
        let mut table = self.lock();
        for completion in completions {
            for Waiter { reply, .. } in table.waiting.remove(&completion.token).unwrap_or_default()
            {
                // An error means that the client has disconnected.
                let _ = reply.send(completion.clone());
            }
            table.keep(index, completion.clone());
        }
    }

    /// Waits for the reply to a command that was deferred in the entry at `deferred_at`. `None` if the node is
    /// stopping.
    pub(crate) async fn wait(&self, token: u64, deferred_at: Index) -> Option<Completion> {
        let (reply, receiver) = oneshot::channel();
        let id = {
            let mut table = self.lock();
            let kept = table
                .kept
                .iter()
                .rev()
                .find(|(at, done)| done.token == token && *at >= deferred_at);
            if let Some((_, completion)) = kept {
                return Some(completion.clone());
            }
            if table.is_closed {
                return None;
            }
            let id = table.next_id;
            table.next_id += 1;
            table
                .waiting
                .entry(token)
                .or_default()
                .push(Waiter { id, reply });
            id
        };
        let _guard = WaiterGuard {
            deferred: self,
            token,
            id,
        };
        receiver.await.ok()
    }

    /// Ends all waiting, now and later: the node is stopping.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.is_closed = true;
        table.waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, ReplyTable> {
        // No method leaves the table inconsistent when it panics.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplyTable {
    fn keep(&mut self, index: Index, completion: Completion) {
        self.kept_bytes += completion.reply.len();
        self.kept.push_back((index, completion));
        while self.kept.len() > KEPT || self.kept_bytes > KEPT_BYTES {
            let Some((_, oldest)) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= oldest.reply.len();
        }
    }
}

/// Removes a waiter when its request ends, for example by a timeout.
struct WaiterGuard<'d> {
    deferred: &'d DeferredReplies,
    token: u64,
    id: u64,
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        let mut table = self.deferred.lock();
        if let Some(waiting) = table.waiting.get_mut(&self.token) {
            waiting.retain(|one| one.id != self.id);
            if waiting.is_empty() {
                table.waiting.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests;
