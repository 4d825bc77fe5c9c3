//! Commands whose answer the guest gives later: who waits for which, on this node.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oarlock_wasm::Completion;
use task_queue_raft::ids::Index;
use tokio::sync::oneshot;

/// Answers that are kept for a client that is about to wait for them.
const KEPT: usize = 1024;
/// … and their bytes.
const KEPT_BYTES: usize = 16 << 20;

/// Waiting clients by the token that the guest gave. Their number is bounded by that of requests under way.
#[derive(Default)]
pub(crate) struct Deferred {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, Vec<Waiting>>,
    /// The latest answers, in the order of the log.
    kept: VecDeque<(Index, Completion)>,
    kept_bytes: usize,
    next_id: u64,
}

struct Waiting {
    id: u64,
    answer: oneshot::Sender<Completion>,
}

impl Deferred {
    /// An entry gave these answers. Called on the thread that applies, in the order of the log.
    pub(crate) fn complete(&self, index: Index, completions: &[Completion]) {
        if completions.is_empty() {
            return;
        }
        let mut state = self.lock();
        for completion in completions {
            for Waiting { answer, .. } in
                state.waiting.remove(&completion.token).unwrap_or_default()
            {
                // A client that is gone wants no answer.
                let _ = answer.send(completion.clone());
            }
            state.keep(index, completion.clone());
        }
    }

    /// Waits for the answer under a token that the entry at `deferred_at` gave.
    pub(crate) async fn wait(&self, token: u64, deferred_at: Index) -> Option<Completion> {
        let (answer, receiver) = oneshot::channel();
        let id = {
            let mut state = self.lock();
            let kept = state
                .kept
                .iter()
                .rev()
                .find(|(at, done)| done.token == token && *at >= deferred_at);
            if let Some((_, completion)) = kept {
                return Some(completion.clone());
            }
            let id = state.next_id;
            state.next_id += 1;
            state
                .waiting
                .entry(token)
                .or_default()
                .push(Waiting { id, answer });
            id
        };
        let _forget = Forget {
            deferred: self,
            token,
            id,
        };
        receiver.await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here is left half-done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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

/// Takes a client off the list that stopped waiting.
struct Forget<'d> {
    deferred: &'d Deferred,
    token: u64,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let mut state = self.deferred.lock();
        if let Some(waiting) = state.waiting.get_mut(&self.token) {
            waiting.retain(|one| one.id != self.id);
            if waiting.is_empty() {
                state.waiting.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests;
