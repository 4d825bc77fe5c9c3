//! The body of a stream of events or log lines: hands a chunk to the connection when the connection asks for one.
//!
//! Chunks for a client that does not read stay with its task, and not in a queue. So the task knows when a chunk is on its
//! way, and can give its turn to the next client.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::{Notify, mpsc};

/// Creates a body, and what sends to it.
pub(super) fn stream_body() -> (ChunkSender, StreamBody) {
    let (sender, receiver) = mpsc::channel(1);
    let demand = Arc::<Demand>::default();
    let body = StreamBody {
        receiver,
        demand: Arc::clone(&demand),
    };
    let sender = ChunkSender {
        sender,
        sent: 0,
        demand,
    };
    (sender, body)
}

/// The client has disconnected.
#[derive(Debug)]
pub(super) struct Disconnected;

/// What the connection wants.
#[derive(Debug, Default)]
struct Demand {
    /// It has asked for a chunk, and there was none.
    is_wanted: AtomicBool,
    /// Chunks that it has taken.
    taken: AtomicU64,
    changed: Notify,
}

/// Sends chunks to a [`StreamBody`].
#[derive(Debug)]
pub(super) struct ChunkSender {
    sender: mpsc::Sender<Bytes>,
    sent: u64,
    demand: Arc<Demand>,
}

impl ChunkSender {
    /// Waits until the connection asks for a chunk.
    pub(super) async fn wanted(&self) -> Result<(), Disconnected> {
        let is_wanted = || self.demand.is_wanted.load(Ordering::Acquire);
        tokio::select! {
            () = self.until(is_wanted) => Ok(()),
            () = self.sender.closed() => Err(Disconnected),
        }
    }

    /// Sends a chunk. Call it after [`Self::wanted`], once.
    pub(super) fn send(&mut self, chunk: Bytes) -> Result<(), Disconnected> {
        self.sent += 1;
        // The connection has asked for it because there is none, so there is a place.
        self.sender.try_send(chunk).map_err(|_| Disconnected)
    }

    /// Waits until the connection has taken all chunks.
    pub(super) async fn taken(&self) -> Result<(), Disconnected> {
        let is_taken = || self.demand.taken.load(Ordering::Acquire) >= self.sent;
        tokio::select! {
            () = self.until(is_taken) => Ok(()),
            () = self.sender.closed() => Err(Disconnected),
        }
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        while !condition() {
            // A change before this point has left a permit.
            self.demand.changed.notified().await;
        }
    }
}

/// The body of the response.
#[derive(Debug)]
pub(super) struct StreamBody {
    receiver: mpsc::Receiver<Bytes>,
    demand: Arc<Demand>,
}

impl HttpBody for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = self.receiver.poll_recv(context);
        let is_wanted = polled.is_pending();
        let was_wanted = self.demand.is_wanted.swap(is_wanted, Ordering::AcqRel);
        if polled.is_ready() {
            self.demand.taken.fetch_add(1, Ordering::AcqRel);
        }
        if polled.is_ready() || !was_wanted {
            self.demand.changed.notify_one();
        }
        polled.map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_chunk_is_sent_when_the_connection_asks_and_not_before() {
        let (mut sender, mut body) = stream_body();
        let mut context = Context::from_waker(std::task::Waker::noop());
        {
            let mut wanted = Box::pin(sender.wanted());
            assert!(wanted.as_mut().poll(&mut context).is_pending());
            let mut asks = Box::pin(body.frame());
            assert!(asks.as_mut().poll(&mut context).is_pending());
            assert!(wanted.as_mut().poll(&mut context).is_ready());
        }
        sender.send(Bytes::from_static(b"a")).expect("a place");
        {
            let mut taken = Box::pin(sender.taken());
            assert!(taken.as_mut().poll(&mut context).is_pending());
            let frame = body.frame().await.expect("a chunk").expect("no error");
            assert_eq!(frame.into_data().expect("data"), "a");
            assert!(taken.as_mut().poll(&mut context).is_ready());
        }
        // The chunk is on its way, and the connection has not asked for another one.
        let mut wanted = Box::pin(sender.wanted());
        assert!(wanted.as_mut().poll(&mut context).is_pending());
        drop(body);
        wanted.await.expect_err("the client has gone");
    }
}
