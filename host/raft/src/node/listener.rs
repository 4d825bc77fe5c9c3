//! The connections that peers open to this node: requests in, responses out.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};

use super::config::PeerCheck;
use super::connection::{
    ConnectionEnd, ConnectionError, FrameReader, FrameWriter, HandshakeError, IncomingFrame,
    read_handshake, write_handshake,
};
use super::event::{MessageSink, NetworkEvent};
use super::hello::{Handshake, Hello, HelloRefusal, HelloRefusalReason};
use super::other_connections::{Identified, OtherConnections, Room};
use super::peers::NetworkContext;
use super::queue::SendQueue;
use super::security::{Channel, PeerStream};
use super::task::OwnedTask;
use crate::identity::Sender;
use crate::ids::NodeId;
use crate::message::{Message, RaftRequest, RaftResponse};

/// Pause after a failed accept, for example when the process has no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The task that accepts connections. It owns one task per connection.
pub(super) struct PeerListener {
    task: OwnedTask,
    stop: watch::Sender<bool>,
}

impl PeerListener {
    pub(super) fn spawn<I: MessageSink>(
        runtime: &Handle,
        context: Arc<NetworkContext>,
        socket: TcpListener,
        inbox: I,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let acceptor = Acceptor {
            context,
            inbox,
            stopping,
        };
        Self {
            task: OwnedTask::spawn(runtime, acceptor.run(socket)),
            stop,
        }
    }

    /// Stops accepting connections. The task ends with its last connection; dropping it aborts all of them.
    pub(super) fn into_stopping_task(self) -> OwnedTask {
        self.stop.send_replace(true);
        self.task
    }
}

#[derive(Clone)]
struct Acceptor<I> {
    context: Arc<NetworkContext>,
    inbox: I,
    stopping: watch::Receiver<bool>,
}

impl<I: MessageSink> Acceptor<I> {
    async fn run(self, socket: TcpListener) {
        let mut connections = JoinSet::new();
        let mut others = OtherConnections::of(self.context.limits.max_connections);
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => note_end(ended),
                accepted = socket.accept() => match accepted {
                    Ok((stream, remote)) => self.accepted(stream, remote, &mut connections, &mut others),
                    Err(error) => {
                        tracing::error!(error = &error as &dyn Error, "accepting a connection failed; retrying");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(socket);
        while let Some(ended) = connections.join_next().await {
            note_end(ended);
        }
    }

    fn accepted(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        connections: &mut JoinSet<()>,
        others: &mut OtherConnections,
    ) {
        let limit = self.context.limits.max_connections;
        let is_member = |id: &NodeId| self.context.is_member(id);
        let room = others.make_room(connections.len(), limit, is_member);
        if room != Room::Free {
            self.context.stats.add_refused_connections(1);
        }
        if room == Room::None {
            // Closed at once, without a task: a flood of connections must not consume memory.
            if self.context.security().is_some() {
                tracing::warn!(%remote, limit, "connection refused: too many connections");
                return;
            }
            let (reason, detail) = (
                HelloRefusalReason::TooManyConnections,
                format!("all {limit} connections of this node are in use; retry later"),
            );
            let refusal = Handshake::Refusal(HelloRefusal::new(reason, detail)).encode();
            // The send buffer of a new socket has space for it. If not, the peer only sees a closed connection.
            let reason_sent = stream.try_write(&refusal).is_ok();
            tracing::warn!(%remote, limit, reason_sent, "connection refused: too many connections");
            return;
        }
        let (connection, mut stopping) = (
            PeerConnection {
                acceptor: self.clone(),
                remote,
            },
            self.stopping.clone(),
        );
        let identified = Identified::default();
        let accepted = identified.clone();
        let task = connections.spawn(async move {
            let opened = tokio::select! {
                () = stopped(&mut stopping) => return,
                opened = connection.open(stream) => opened,
            };
            if let Some((stream, hello)) = opened {
                accepted.set(&hello.node_id);
                connection.serve(stream, &hello).await;
            }
        });
        others.add(task, identified);
    }
}

/// Waits until the listener is stopped or dropped.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

fn note_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended.as_ref().map_err(|error| error as &dyn Error) {
        tracing::error!(error, "task of a connection panicked or was cancelled");
    }
}

struct PeerConnection<I> {
    acceptor: Acceptor<I>,
    remote: SocketAddr,
}

impl<I: MessageSink> PeerConnection<I> {
    /// Secures the connection, reads the peer's hello and responds. Returns `None` if the connection is refused.
    async fn open(&self, stream: TcpStream) -> Option<(PeerStream, Hello)> {
        let context = &*self.acceptor.context;
        let deadline = context.limits.hello_timeout;
        let prepared = match stream.set_nodelay(true) {
            Ok(()) => PeerStream::accept(stream, context.security(), deadline).await,
            Err(error) => Err(error),
        };
        let mut stream = match prepared {
            Ok(stream) => stream,
            Err(error) => {
                self.refused(&HandshakeError::Security(error));
                return None;
            }
        };
        let refusal = match read_handshake(&mut stream, deadline).await {
            Ok(Handshake::Hello(hello)) => match context.check(&stream, &hello) {
                Ok(()) => return self.accept(stream, hello).await,
                Err(refusal) if hello.is_probe() => {
                    self.send_refusal(stream, context.probe_refusal(refusal))
                        .await;
                    return None;
                }
                Err(refusal) => Some(refusal),
            },
            Ok(Handshake::Refusal(refusal)) => {
                self.refused(&refusal);
                None
            }
            Err(error) => {
                self.refused(&error);
                return self.refuse_handshake(stream, &error).await;
            }
        };
        if let Some(refusal) = refusal {
            self.refused(&refusal);
            self.send_refusal(stream, refusal).await;
        }
        None
    }

    async fn accept(&self, mut stream: PeerStream, hello: Hello) -> Option<(PeerStream, Hello)> {
        let context = &*self.acceptor.context;
        let own_hello = Handshake::Hello(context.hello(&hello.node_id, hello.protocol()));
        match write_handshake(&mut stream, &own_hello, context.limits.hello_timeout).await {
            Ok(()) => Some((stream, hello)),
            Err(error) => {
                self.refused(&error);
                None
            }
        }
    }

    /// Responds to a first frame that is not a hello with the reason.
    async fn refuse_handshake(
        &self,
        stream: PeerStream,
        error: &HandshakeError,
    ) -> Option<(PeerStream, Hello)> {
        if let HandshakeError::Hello(error) = error {
            self.send_refusal(stream, error.into()).await;
        }
        None
    }

    async fn send_refusal(&self, mut stream: PeerStream, refusal: HelloRefusal) {
        let deadline = self.acceptor.context.limits.hello_timeout;
        if let Err(error) =
            write_handshake(&mut stream, &Handshake::Refusal(refusal), deadline).await
        {
            tracing::debug!(remote = %self.remote, error = &error as &dyn Error, "refusal not delivered");
        }
    }

    fn refused(&self, error: &(dyn Error + 'static)) {
        self.acceptor.context.stats.add_refused_connections(1);
        tracing::warn!(remote = %self.remote, error, "connection refused");
    }

    /// Uses a connection until it ends.
    async fn serve(&self, stream: PeerStream, hello: &Hello) {
        let context = &*self.acceptor.context;
        let peer = &hello.node_id;
        let Some((number, responses)) = context.connection_opened(hello) else {
            tracing::info!(%peer, remote = %self.remote, "connection closed: no longer a peer");
            return;
        };
        if *self.acceptor.stopping.borrow() {
            // The shutdown may have closed all queues before this one was registered.
            responses.close();
        }
        context.stats.add_connections_in(1);
        tracing::debug!(%peer, remote = %self.remote, "peer connected");
        if context.peer_check == PeerCheck::Join {
            let joined = NetworkEvent::Joined(context.cluster_id().to_owned());
            if !self.acceptor.inbox.deliver(joined).await {
                return context.connection_closed(peer, number);
            }
        }
        let begun = NetworkEvent::PeerHello(hello.peer_hello());
        if !self.acceptor.inbox.deliver(begun).await {
            return context.connection_closed(peer, number);
        }
        let end = self.exchange(stream, hello, &responses).await;
        context.connection_closed(peer, number);
        match end {
            ConnectionEnd::Stopped => {
                tracing::debug!(%peer, remote = %self.remote, "connection from peer closed");
            }
            ConnectionEnd::Lost(error @ ConnectionError::Closed) => {
                context.stats.add_lost_connections(1);
                tracing::info!(%peer, remote = %self.remote, error = &error as &dyn Error, "connection from peer lost");
            }
            ConnectionEnd::Lost(error) => {
                context.stats.add_lost_connections(1);
                tracing::warn!(%peer, remote = %self.remote, error = &error as &dyn Error, "connection from peer lost");
            }
        }
    }

    async fn exchange(
        &self,
        stream: PeerStream,
        hello: &Hello,
        responses: &SendQueue<RaftResponse>,
    ) -> ConnectionEnd {
        let (channel, distrusted) = stream.into_parts();
        let exchanging = async {
            match channel {
                Channel::Plain(mut stream) => {
                    let (read, write) = stream.split();
                    self.exchange_on(read, write, hello, responses).await
                }
                Channel::Secured(stream) => {
                    let (read, write) = tokio::io::split(stream);
                    self.exchange_on(read, write, hello, responses).await
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
        responses: &SendQueue<RaftResponse>,
    ) -> ConnectionEnd {
        let NetworkContext { limits, stats, .. } = &*self.acceptor.context;
        let alive = Notify::new();
        let reader = FrameReader::new(read, limits, stats);
        let writer = FrameWriter::new(write, limits, stats, hello.protocol());
        let sender = hello.peer_hello().sender();
        tokio::select! {
            end = self.read(reader, &sender, &alive) => end,
            written = writer.run(responses, &alive) => match written {
                Ok(()) => ConnectionEnd::Stopped,
                Err(error) => ConnectionEnd::Lost(error),
            },
        }
    }

    async fn read(
        &self,
        mut reader: FrameReader<'_, impl AsyncRead + Unpin>,
        sender: &Sender,
        alive: &Notify,
    ) -> ConnectionEnd {
        loop {
            let event = match reader.next::<RaftRequest>(None).await {
                Ok(IncomingFrame::KeepAlive) => {
                    alive.notify_one();
                    continue;
                }
                Ok(IncomingFrame::Message(request, bytes)) => NetworkEvent::Message {
                    from: sender.clone(),
                    message: Message::Request(request),
                    bytes,
                },
                Err(error) => return ConnectionEnd::Lost(error),
            };
            if !self.acceptor.inbox.deliver(event).await {
                return ConnectionEnd::Stopped;
            }
        }
    }
}
