//! The connection that this node opens to a peer: requests out, responses in.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::connection::{
    ConnectionEnd, FrameReader, FrameWriter, HandshakeError, IncomingFrame, WireMessage,
    read_handshake, write_handshake,
};
use super::event::{MessageSink, NetworkEvent};
use super::hello::{Handshake, HelloRefusal};
use super::peers::{NetworkContext, Outbox};
use super::task::OwnedTask;
use crate::message::{Message, RaftRequest, RaftResponse};
use crate::types::NodeId;

#[cfg(test)]
mod tests;

/// Why a connection did not come about.
#[derive(Debug, Error)]
enum DialError {
    #[error("no connection within {} ms: it's down, or the network between is", .0.as_millis())]
    Timeout(Duration),
    #[error("nothing listens there, or the network doesn't lead there")]
    Connect(#[source] std::io::Error),
    #[error("the peer's hello went wrong")]
    Handshake(#[from] HandshakeError),
    #[error("the peer refuses this node: {0}")]
    Refused(HelloRefusal),
    #[error("the node that answers is not the peer: {0}")]
    NotThePeer(HelloRefusal),
}

/// Keeps a connection to one peer.
pub(super) struct PeerLink<I> {
    context: Arc<NetworkContext>,
    outbox: Arc<Outbox>,
    inbox: I,
    backoff: Backoff,
    /// The failure that has been reported, so that a peer that stays away costs one line and not one a second.
    reported: Option<String>,
}

impl<I: MessageSink> PeerLink<I> {
    /// Dials the peer of `outbox` again and again until its queue is closed or the node stops.
    /// Begins once `previous`, the link that it replaces, has ended, so that their events don't mix.
    pub(super) fn spawn(
        runtime: &Handle,
        context: Arc<NetworkContext>,
        outbox: Arc<Outbox>,
        inbox: I,
        previous: Option<OwnedTask>,
    ) -> OwnedTask {
        let backoff = Backoff::new(context.limits.backoff_min, context.limits.backoff_max);
        let link = Self {
            context,
            outbox,
            inbox,
            backoff,
            reported: None,
        };
        OwnedTask::spawn(runtime, async move {
            if let Some(mut previous) = previous {
                previous.ended().await;
            }
            link.run().await;
        })
    }

    async fn run(mut self) {
        loop {
            let dialled = tokio::select! {
                () = self.outbox.requests.closed() => break,
                dialled = self.dial() => dialled,
            };
            let pause = match dialled {
                Ok(stream) => match self.connected(stream).await {
                    ConnectionEnd::Stopped => break,
                    ConnectionEnd::Lost(error) => {
                        self.context.stats.add_lost_connections(1);
                        self.report("connection to peer lost", &error);
                        self.backoff.next()
                    }
                },
                Err(error) => {
                    self.context.stats.add_failed_dials(1);
                    self.report("peer not reached", &error);
                    self.pause_after(&error)
                }
            };
            // What waits was meant for the situation before.
            RaftRequest::count_dropped(&self.context.stats, self.outbox.requests.clear());
            if !self.pause(pause).await {
                break;
            }
        }
        RaftRequest::count_dropped(&self.context.stats, self.outbox.requests.clear());
    }

    /// A connection on which both nodes have introduced themselves.
    async fn dial(&self) -> Result<TcpStream, DialError> {
        let limits = &self.context.limits;
        let address = &self.outbox.address;
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let connected = timeout(limits.connect_timeout, connecting).await;
        let mut stream = connected
            .map_err(|_| DialError::Timeout(limits.connect_timeout))?
            .map_err(DialError::Connect)?;
        stream.set_nodelay(true).map_err(DialError::Connect)?;
        let hello = Handshake::Hello(self.context.hello(self.peer()));
        write_handshake(&mut stream, &hello, limits.hello_timeout).await?;
        match read_handshake(&mut stream, limits.hello_timeout).await? {
            Handshake::Refusal(refusal) => Err(DialError::Refused(refusal)),
            Handshake::Hello(hello) => {
                let (context, peer) = (&self.context, self.peer());
                hello
                    .check(context.cluster_id(), &context.node_id, |id| id == peer)
                    .map_err(DialError::NotThePeer)?;
                context.learn_client_addr(&hello);
                Ok(stream)
            }
        }
    }

    /// Lives with a connection until it ends.
    async fn connected(&mut self, stream: TcpStream) -> ConnectionEnd {
        let peer = self.peer().clone();
        tracing::info!(%peer, address = %self.outbox.address.host_port(), "connected to peer");
        self.context.stats.add_connections_out(1);
        self.reported = None;
        self.outbox.connected.store(true, Ordering::Relaxed);
        if !self
            .inbox
            .deliver(NetworkEvent::Connected(peer.clone()))
            .await
        {
            return ConnectionEnd::Stopped;
        }
        let mut heard = false;
        let end = self.exchange(stream, &mut heard).await;
        self.outbox.connected.store(false, Ordering::Relaxed);
        if heard {
            self.backoff.reset();
        }
        if !self.inbox.deliver(NetworkEvent::Disconnected(peer)).await {
            return ConnectionEnd::Stopped;
        }
        end
    }

    /// Writes requests and reads responses. `heard` becomes true with the first frame that comes.
    async fn exchange(&self, mut stream: TcpStream, heard: &mut bool) -> ConnectionEnd {
        let NetworkContext { limits, stats, .. } = &*self.context;
        let (read, write) = stream.split();
        let ask = Notify::new();
        let reader = FrameReader::new(read, limits, stats);
        let writer = FrameWriter::new(write, limits, stats);
        tokio::select! {
            end = self.read(reader, &ask, heard) => end,
            written = writer.run(&self.outbox.requests, &ask) => match written {
                Ok(()) => ConnectionEnd::Stopped,
                Err(error) => ConnectionEnd::Lost(error),
            },
        }
    }

    async fn read(
        &self,
        mut reader: FrameReader<'_, tokio::net::tcp::ReadHalf<'_>>,
        ask: &Notify,
        heard: &mut bool,
    ) -> ConnectionEnd {
        loop {
            let incoming = match reader.next::<RaftResponse>(Some(ask)).await {
                Ok(incoming) => incoming,
                Err(error) => return ConnectionEnd::Lost(error),
            };
            *heard = true;
            if let IncomingFrame::Message(response, bytes) = incoming {
                let message = Message::Response(response);
                let event = NetworkEvent::Message {
                    from: self.peer().clone(),
                    message,
                    bytes,
                };
                if !self.inbox.deliver(event).await {
                    return ConnectionEnd::Stopped;
                }
            }
        }
    }

    /// Waits before the next attempt; shorter if something says that it's worth it. False if there is none.
    async fn pause(&self, pause: Duration) -> bool {
        let least = self.context.limits.backoff_min.min(pause);
        let waiting = async {
            sleep(least).await;
            tokio::select! {
                () = sleep(pause.saturating_sub(least)) => (),
                () = self.outbox.wake.notified() => (),
            }
        };
        tokio::select! {
            () = self.outbox.requests.closed() => false,
            () = waiting => true,
        }
    }

    fn pause_after(&mut self, error: &DialError) -> Duration {
        match error {
            DialError::Refused(_) | DialError::NotThePeer(_) => {
                jittered(self.context.limits.backoff_refused)
            }
            DialError::Timeout(_) | DialError::Connect(_) | DialError::Handshake(_) => {
                self.backoff.next()
            }
        }
    }

    /// One line for a failure that is new, and none that people see while it repeats.
    fn report(&mut self, what: &'static str, error: &(dyn Error + 'static)) {
        let (peer, address) = (self.peer(), self.outbox.address.host_port());
        let text = error.to_string();
        if self.reported.as_ref() == Some(&text) {
            tracing::debug!(%peer, address, error, "{what}");
        } else {
            tracing::warn!(%peer, address, error, "{what}");
            self.reported = Some(text);
        }
    }

    fn peer(&self) -> &NodeId {
        &self.outbox.address.id
    }
}

/// Pauses that double from `min` to `max`.
#[derive(Debug)]
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    fn reset(&mut self) {
        self.next = self.min;
    }

    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        jittered(pause)
    }
}

/// From half of `pause` to all of it, so that nodes that lost each other at one time don't return at one time.
fn jittered(pause: Duration) -> Duration {
    // A new RandomState hashes with a new key: enough randomness for this, and no crate for it.
    let random = RandomState::new().hash_one(pause) >> 32;
    let share = random as f64 / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}
