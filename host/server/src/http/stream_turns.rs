//! The turns in which streams of events and log lines are sent: what is on its way to connections at the same time, over
//! all clients.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::waiting_body::CHUNK_BYTES;

/// Bytes on their way to connections: two large chunks, or many small ones.
const TURN_BYTES: usize = 2 * CHUNK_BYTES;
/// What the smallest chunk counts.
const LEAST_TURN_BYTES: usize = 1 << 10;

/// Shares the turns between all streams of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct StreamTurns(Arc<Semaphore>);

impl Default for StreamTurns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TURN_BYTES)))
    }
}

impl StreamTurns {
    /// Waits for the turn of a chunk with so many bytes. It ends when the result is dropped.
    pub(super) async fn turn(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = bytes.clamp(LEAST_TURN_BYTES, TURN_BYTES);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // The semaphore is never closed, so there is always a permit.
        Arc::clone(&self.0).acquire_many_owned(permits).await.ok()
    }

    /// Bytes on their way now.
    pub(crate) fn in_turn(&self) -> usize {
        TURN_BYTES - self.0.available_permits()
    }
}
