//! Files that the background tasks of a node write. A node that has stopped writes nothing more: its directory may be moved,
//! removed, or used by the next start.

use std::sync::Arc;

use tokio::sync::RwLock;
use tokio::task::JoinError;

/// The writes of one node. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileWrites(Arc<RwLock<()>>);

impl FileWrites {
    /// Runs a write on a thread that may block. The write ends even if the task that waits for it is aborted.
    ///
    /// # Errors
    /// The write panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        write: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let running = Arc::clone(&self.0).read_owned().await;
        let write = move || {
            let _running = running;
            write()
        };
        tokio::task::spawn_blocking(write).await
    }

    /// Waits for the writes that run. None begins afterwards: a task that still wants to waits until it is dropped.
    pub(crate) async fn finish(&self) {
        std::mem::forget(Arc::clone(&self.0).write_owned().await);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_of_a_write_is_awaited_although_its_task_was_aborted() {
        let writes = FileWrites::default();
        let (go_on, wait) = mpsc::channel::<()>();
        let (entered, has_entered) = mpsc::channel();
        let is_written = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let (writes, is_written) = (writes.clone(), Arc::clone(&is_written));
            async move {
                let write = move || {
                    entered.send(()).expect("the test waits");
                    wait.recv().expect("the test goes on");
                    is_written.store(true, Ordering::SeqCst);
                };
                writes.run(write).await
            }
        });
        let entered = tokio::task::spawn_blocking(move || has_entered.recv());
        entered.await.expect("no panic").expect("it began");
        task.abort();
        assert!(task.await.expect_err("aborted").is_cancelled());
        let finished = tokio::spawn(async move { writes.finish().await });
        go_on.send(()).expect("the write waits");
        finished.await.expect("no panic");
        assert!(is_written.load(Ordering::SeqCst));
    }
}
