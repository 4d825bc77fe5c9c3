//! What every queue and its clients can do, and a session of a load that does it.

use oarlock_client::load::generator::{RequestFailure, Session};
use oarlock_client::load::tally::LoadErrorKind;

/// How long a delivery is waited for, in milliseconds.
pub(super) const WAIT_MS: u64 = 10_000;
/// How long a delivered task belongs to its client, in milliseconds.
pub(super) const LEASE_MS: u64 = 60_000;

/// A queue that runs.
pub(super) trait QueueServer {
    type Client: Broker;

    /// Process ids of the nodes.
    fn pids(&self) -> Vec<u32>;

    /// Creates a queue, where that is not done by its first task.
    async fn declare(&self, _queue: &str) {}

    /// A client of one queue, with tasks of so many bytes.
    ///
    /// # Errors
    /// There is no connection.
    async fn client(&self, queue: &str, payload: usize) -> Result<Self::Client, String>;
}

/// One client of a queue, with a connection of its own.
pub(super) trait Broker: Send + 'static {
    /// Puts a task, and waits until it is durable.
    ///
    /// # Errors
    /// It is not known to be.
    fn put(&mut self) -> impl Future<Output = Result<(), String>> + Send;

    /// Waits for a task, and ends it.
    ///
    /// # Errors
    /// There was none, or it is not known to have ended.
    fn take_and_end(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// A client that repeats one work.
pub(super) struct QueueSession<B> {
    client: B,
    whole_cycle: bool,
}

impl<B: Broker> QueueSession<B> {
    /// A session that puts, or puts, takes and ends.
    pub(super) fn new(client: B, whole_cycle: bool) -> Self {
        Self {
            client,
            whole_cycle,
        }
    }

    async fn work(&mut self) -> Result<(), String> {
        self.client.put().await?;
        if self.whole_cycle {
            self.client.take_and_end().await?;
        }
        Ok(())
    }
}

impl<B: Broker> Session for QueueSession<B> {
    /// The request is the same whatever its number.
    fn push(&mut self, _number: u64) {}

    async fn complete(&mut self) -> Result<usize, RequestFailure> {
        match self.work().await {
            Ok(()) => Ok(1),
            Err(message) => Err(RequestFailure {
                kind: LoadErrorKind::Other,
                message,
                connection_lost: false,
            }),
        }
    }
}
