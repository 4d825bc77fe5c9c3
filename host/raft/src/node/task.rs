//! A tokio task with one owner.

use std::error::Error;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A task that is aborted when this handle is dropped: it ends at its next await.
pub(super) struct OwnedTask {
    /// `None` after the task's end was observed.
    running: Option<JoinHandle<()>>,
}

impl OwnedTask {
    pub(super) fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            running: Some(runtime.spawn(work)),
        }
    }

    /// Whether the task has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.running.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end of the task. Cancel safe.
    pub(super) async fn ended(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let ended = running.await;
        self.running = None;
        if let Err(error) = ended.as_ref().map_err(|error| error as &dyn Error) {
            tracing::error!(error, "task of the network panicked or was cancelled");
        }
    }

    /// Waits for the end of the task until `deadline`, then aborts it.
    pub(super) async fn ended_by(&mut self, deadline: Instant) {
        if timeout_at(deadline, self.ended()).await.is_ok() {
            return;
        }
        if let Some(running) = self.running.take() {
            running.abort();
            let aborted = running.await.is_err();
            tracing::debug!(
                aborted,
                "task of the network was aborted: it did not end in time"
            );
        }
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}
