//! The connection that this node opens to a peer: requests out, responses in.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::connection::{
    ConnectionEnd, ConnectionError, FrameReader, FrameWriter, HandshakeError, IncomingFrame,
    WireMessage, read_handshake, write_handshake,
};
use super::event::{MessageSink, NetworkEvent};
use super::hello::{
    Handshake, Hello, HelloRefusal, HelloRefusalReason, PROTOCOL_VERSION, PROTOCOL_WITHOUT_IDENTITY,
};
use super::peers::{NetworkContext, Outbox};
use super::security::{Channel, PeerStream};
use super::task::OwnedTask;
use crate::address::PeerAddress;
use crate::identity::Sender;
use crate::ids::NodeId;
use crate::message::{Message, RaftRequest, RaftResponse};
use crate::random::random_u64;

#[cfg(test)]
mod tests;

/// Why a connection to a peer could not be opened.
#[derive(Debug, Error)]
enum DialError {
    #[error("no connection within {} ms: the peer or the network is down; this node retries", .0.as_millis())]
    Timeout(Duration),
    #[error(
        "the connection failed: the peer does not listen on this address, or the network is down; this node retries"
    )]
    Connect(#[source] std::io::Error),
    #[error("the handshake with the peer failed")]
    Handshake(#[from] HandshakeError),
    #[error("the peer refuses this node: {0}")]
    Refused(HelloRefusal),
    #[error("another node responds at the peer's address: {0}")]
    NotThePeer(HelloRefusal),
}

impl DialError {
    /// Whether the peer may be at another address. A node that accepts the connection and does not respond is no sign of it.
    fn is_of_address(&self) -> bool {
        use HelloRefusalReason::{Oneself, OtherCluster, WrongNode};
        match self {
            Self::Timeout(_) | Self::Connect(_) | Self::NotThePeer(_) => true,
            Self::Handshake(error) => matches!(error, HandshakeError::Security(_)),
            Self::Refused(refusal) => matches!(refusal.reason, Oneself | OtherCluster | WrongNode),
        }
    }
}

/// Keeps one connection to a peer open: dials, exchanges frames, dials again.
pub(super) struct PeerLink<I> {
    context: Arc<NetworkContext>,
    outbox: Arc<Outbox>,
    inbox: I,
    backoff: Backoff,
    /// The next attempt is at the address that the peer has announced in its hello: the configured one did not work.
    at_announced: bool,
    /// The last failure that was logged: the same failure is not logged again at each retry.
    reported: Option<String>,
}

impl<I: MessageSink> PeerLink<I> {
    /// Dials the peer of `outbox` until its queue is closed or the node shuts down.
    /// Starts after the end of `previous`, the link that it replaces, so that their events don't mix.
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
            at_announced: false,
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
                Ok((stream, hello)) => match self.connected(stream, &hello).await {
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
                    if self.switch_address(&error) {
                        self.backoff.next()
                    } else {
                        self.pause_after(&error)
                    }
                }
            };
            // Queued requests belong to the time before the failure; Raft sends new ones.
            RaftRequest::count_dropped(&self.context.stats, self.outbox.requests.clear());
            if !self.pause(pause).await {
                break;
            }
        }
        RaftRequest::count_dropped(&self.context.stats, self.outbox.requests.clear());
    }

    /// Opens a connection and completes the handshake. A peer of an older release refuses the newest version of the protocol:
    /// then the version before is used.
    async fn dial(&self) -> Result<(PeerStream, Hello), DialError> {
        match self.dial_in(PROTOCOL_VERSION).await {
            Err(DialError::Refused(refusal)) if refusal.reason == HelloRefusalReason::Version => {
                self.dial_in(PROTOCOL_WITHOUT_IDENTITY).await
            }
            dialled => dialled,
        }
    }

    async fn dial_in(&self, protocol: u16) -> Result<(PeerStream, Hello), DialError> {
        let limits = &self.context.limits;
        let address = self.target();
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let connected = timeout(limits.connect_timeout, connecting).await;
        let stream = connected
            .map_err(|_| DialError::Timeout(limits.connect_timeout))?
            .map_err(DialError::Connect)?;
        stream.set_nodelay(true).map_err(DialError::Connect)?;
        let security = self.context.security();
        let securing = PeerStream::connect(stream, security, self.peer(), limits.hello_timeout);
        let mut stream = securing.await.map_err(HandshakeError::Security)?;
        let hello = Handshake::Hello(self.context.hello(self.peer(), protocol));
        write_handshake(&mut stream, &hello, limits.hello_timeout).await?;
        match read_handshake(&mut stream, limits.hello_timeout).await? {
            Handshake::Refusal(refusal) => Err(DialError::Refused(refusal)),
            Handshake::Hello(hello) => {
                let (context, peer) = (&self.context, self.peer());
                context
                    .check_proven(&stream, &hello)
                    .and_then(|()| {
                        hello.check(context.cluster_id(), &context.node_id, |id| id == peer)
                    })
                    .and_then(|()| context.check_identity(&hello))
                    .map_err(DialError::NotThePeer)?;
                context.learn_addrs(&hello);
                Ok((stream, hello))
            }
        }
    }

    /// Uses a connection until it ends.
    async fn connected(&mut self, stream: PeerStream, hello: &Hello) -> ConnectionEnd {
        let peer = self.peer().clone();
        tracing::info!(%peer, address = %self.target().host_port(), "connected to peer");
        self.context.stats.add_connections_out(1);
        self.reported = None;
        self.outbox.connected.store(true, Ordering::Relaxed);
        let begun = [
            NetworkEvent::PeerHello(hello.peer_hello()),
            NetworkEvent::Connected(peer.clone()),
        ];
        for event in begun {
            if !self.inbox.deliver(event).await {
                return ConnectionEnd::Stopped;
            }
        }
        let mut received = false;
        let end = self.exchange(stream, hello, &mut received).await;
        self.outbox.connected.store(false, Ordering::Relaxed);
        if received {
            self.backoff.reset();
        }
        if !self.inbox.deliver(NetworkEvent::Disconnected(peer)).await {
            return ConnectionEnd::Stopped;
        }
        end
    }

    /// Writes requests and reads responses. Sets `received` at the first frame from the peer.
    async fn exchange(
        &self,
        stream: PeerStream,
        hello: &Hello,
        received: &mut bool,
    ) -> ConnectionEnd {
        let (channel, distrusted) = stream.into_parts();
        let exchanging = async {
            match channel {
                Channel::Plain(mut stream) => {
                    let (read, write) = stream.split();
                    self.exchange_on(read, write, hello, received).await
                }
                Channel::Secured(stream) => {
                    let (read, write) = tokio::io::split(stream);
                    self.exchange_on(read, write, hello, received).await
                }
            }
        };
        tokio::select! {
            end = exchanging => end,
            () = distrusted => ConnectionEnd::Lost(ConnectionError::Distrusted),
        }
    }

    async fn exchange_on(
        &self,
        read: impl AsyncRead + Unpin,
        write: impl AsyncWrite + Unpin,
        hello: &Hello,
        received: &mut bool,
    ) -> ConnectionEnd {
        let NetworkContext { limits, stats, .. } = &*self.context;
        let probe = Notify::new();
        let reader = FrameReader::new(read, limits, stats);
        let writer = FrameWriter::new(write, limits, stats, hello.protocol());
        let sender = hello.peer_hello().sender();
        tokio::select! {
            end = self.read(reader, &sender, &probe, received) => end,
            written = writer.run(&self.outbox.requests, &probe) => match written {
                Ok(()) => ConnectionEnd::Stopped,
                Err(error) => ConnectionEnd::Lost(error),
            },
        }
    }

    async fn read(
        &self,
        mut reader: FrameReader<'_, impl AsyncRead + Unpin>,
        sender: &Sender,
        probe: &Notify,
        received: &mut bool,
    ) -> ConnectionEnd {
        loop {
            let incoming = match reader.next::<RaftResponse>(Some(probe)).await {
                Ok(incoming) => incoming,
                Err(error) => return ConnectionEnd::Lost(error),
            };
            *received = true;
            if let IncomingFrame::Message(response, bytes) = incoming {
                let message = Message::Response(response);
                let event = NetworkEvent::Message {
                    from: sender.clone(),
                    message,
                    bytes,
                };
                if !self.inbox.deliver(event).await {
                    return ConnectionEnd::Stopped;
                }
            }
        }
    }

    /// Waits before the next attempt. A notification of [`Outbox::wake`] shortens the wait to `backoff_min`. Returns
    /// false if the queue was closed: there is no next attempt.
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

    /// The address of the next attempt. The system resolves a host name again at each one.
    fn target(&self) -> PeerAddress {
        let announced = self.announced().filter(|_| self.at_announced);
        announced.unwrap_or_else(|| self.outbox.address.clone())
    }

    /// The address in the peer's latest hello, if it differs from the configured one.
    fn announced(&self) -> Option<PeerAddress> {
        let (context, configured) = (&self.context, &self.outbox.address);
        let address = context.peer_addr(self.peer())?;
        let announced: PeerAddress = format!("{}@{address}", configured.id).parse().ok()?;
        (announced.host_port() != configured.host_port()).then_some(announced)
    }

    /// If the peer may have moved, the next attempt is at its other address. Returns whether it is.
    fn switch_address(&mut self, error: &DialError) -> bool {
        let switches = error.is_of_address() && self.announced().is_some();
        self.at_announced = switches && !self.at_announced;
        switches
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

    /// Logs a new failure as a warning, and a repeated one at debug level only.
    fn report(&mut self, what: &'static str, error: &(dyn Error + 'static)) {
        let (peer, address) = (self.peer(), self.target().host_port());
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

/// Pauses between attempts: each is twice the one before, from `min` to `max`.
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

/// A random pause between half of `pause` and `pause`. It keeps nodes that lost connections together from
/// reconnecting all at once.
fn jittered(pause: Duration) -> Duration {
    let random = random_u64() >> 32;
    let share = random as f64 / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}
