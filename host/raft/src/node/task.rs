//! A task that somebody owns.

use std::error::Error;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A task that ends with its owner, at its next await.
pub(super) struct OwnedTask {
    /// None once its end has been seen.
    running: Option<JoinHandle<()>>,
}

impl OwnedTask {
    pub(super) fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            running: Some(runtime.spawn(work)),
        }
    }

    /// Whether nothing of it runs any more.
    pub(super) fn is_finished(&self) -> bool {
        self.running.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it has ended. Cancel safe.
    pub(super) async fn ended(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let ended = running.await;
        self.running = None;
        if let Err(error) = ended.as_ref().map_err(|error| error as &dyn Error) {
            tracing::error!(error, "task of the network ended early");
        }
    }

    /// Waits until it has ended, and makes it end at `deadline`.
    pub(super) async fn ended_by(&mut self, deadline: Instant) {
        if timeout_at(deadline, self.ended()).await.is_ok() {
            return;
        }
        if let Some(running) = self.running.take() {
            running.abort();
            let aborted = running.await.is_err();
            tracing::debug!(aborted, "task of the network did not end in time");
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
