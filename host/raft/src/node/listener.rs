//! The connections that peers open to this node: requests in, responses out.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
use super::peers::NetworkContext;
use super::queue::SendQueue;
use super::task::OwnedTask;
use crate::message::{Message, RaftRequest, RaftResponse};
use crate::types::NodeId;

/// Pause after the operating system could not hand out a connection: it's out of file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The task that accepts connections and owns the tasks of each.
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

    /// Accepts nothing more. The task ends with its last connection; dropping it ends them all.
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
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => note_end(ended),
                accepted = socket.accept() => match accepted {
                    Ok((stream, remote)) => self.accepted(stream, remote, &mut connections),
                    Err(error) => {
                        tracing::error!(error = &error as &dyn Error, "connection not accepted");
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

    fn accepted(&self, stream: TcpStream, remote: SocketAddr, connections: &mut JoinSet<()>) {
        let limit = self.context.limits.max_connections;
        if connections.len() >= limit {
            // Closed at once: whoever floods us with connections isn't worth a task.
            self.context.stats.add_refused_connections(1);
            let (reason, detail) = (
                HelloRefusalReason::TooManyConnections,
                format!("all {limit} connections are in use"),
            );
            let refusal = Handshake::Refusal(HelloRefusal::new(reason, detail)).encode();
            // A new socket has room for so little; if not, then the peer gets no reason, and that is all.
            let told = stream.try_write(&refusal).is_ok();
            tracing::warn!(%remote, limit, told, "connection refused: too many connections");
            return;
        }
        let (connection, mut stopping) = (
            PeerConnection {
                acceptor: self.clone(),
                remote,
            },
            self.stopping.clone(),
        );
        connections.spawn(async move {
            let opened = tokio::select! {
                () = stopped(&mut stopping) => return,
                opened = connection.open(stream) => opened,
            };
            if let Some((stream, hello)) = opened {
                connection.serve(stream, &hello).await;
            }
        });
    }
}

/// Waits until the listener is told to stop, or is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

fn note_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended.as_ref().map_err(|error| error as &dyn Error) {
        tracing::error!(error, "task of a connection ended early");
    }
}

struct PeerConnection<I> {
    acceptor: Acceptor<I>,
    remote: SocketAddr,
}

impl<I: MessageSink> PeerConnection<I> {
    /// Reads the hello and answers it. None if the connection was refused.
    async fn open(&self, mut stream: TcpStream) -> Option<(TcpStream, Hello)> {
        let context = &*self.acceptor.context;
        let deadline = context.limits.hello_timeout;
        let refusal = match read_handshake(&mut stream, deadline).await {
            Ok(Handshake::Hello(hello)) => match context.check(&hello) {
                Ok(()) => return self.welcome(stream, hello).await,
                Err(refusal) => Some(refusal),
            },
            Ok(Handshake::Refusal(refusal)) => {
                self.refused(&refusal);
                None
            }
            Err(error) => {
                self.refused(&error);
                return self.explain(stream, &error).await;
            }
        };
        if let Some(refusal) = refusal {
            self.refused(&refusal);
            self.tell(stream, refusal).await;
        }
        None
    }

    async fn welcome(&self, mut stream: TcpStream, hello: Hello) -> Option<(TcpStream, Hello)> {
        let context = &*self.acceptor.context;
        let answer = Handshake::Hello(context.hello(&hello.node_id));
        let answered = match stream.set_nodelay(true) {
            Ok(()) => write_handshake(&mut stream, &answer, context.limits.hello_timeout).await,
            Err(error) => Err(HandshakeError::Io(error)),
        };
        match answered {
            Ok(()) => Some((stream, hello)),
            Err(error) => {
                self.refused(&error);
                None
            }
        }
    }

    /// Tells somebody who sent no hello what was wrong with it.
    async fn explain(
        &self,
        stream: TcpStream,
        error: &HandshakeError,
    ) -> Option<(TcpStream, Hello)> {
        if let HandshakeError::Hello(error) = error {
            self.tell(stream, error.into()).await;
        }
        None
    }

    async fn tell(&self, mut stream: TcpStream, refusal: HelloRefusal) {
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

    /// Lives with a connection until it ends.
    async fn serve(&self, stream: TcpStream, hello: &Hello) {
        let context = &*self.acceptor.context;
        let peer = &hello.node_id;
        let Some((number, responses)) = context.connection_opened(hello) else {
            tracing::info!(%peer, remote = %self.remote, "connection closed: no longer a peer");
            return;
        };
        if *self.acceptor.stopping.borrow() {
            // The network closed its queues, perhaps before this one was among them.
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
        let end = self.exchange(stream, peer, &responses).await;
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
        mut stream: TcpStream,
        peer: &NodeId,
        responses: &SendQueue<RaftResponse>,
    ) -> ConnectionEnd {
        let NetworkContext { limits, stats, .. } = &*self.acceptor.context;
        let (read, write) = stream.split();
        let alive = Notify::new();
        let reader = FrameReader::new(read, limits, stats);
        let writer = FrameWriter::new(write, limits, stats);
        tokio::select! {
            end = self.read(reader, peer, &alive) => end,
            written = writer.run(responses, &alive) => match written {
                Ok(()) => ConnectionEnd::Stopped,
                Err(error) => ConnectionEnd::Lost(error),
            },
        }
    }

    async fn read(
        &self,
        mut reader: FrameReader<'_, tokio::net::tcp::ReadHalf<'_>>,
        peer: &NodeId,
        alive: &Notify,
    ) -> ConnectionEnd {
        loop {
            let event = match reader.next::<RaftRequest>(None).await {
                Ok(IncomingFrame::KeepAlive) => {
                    alive.notify_one();
                    continue;
                }
                Ok(IncomingFrame::Message(request, bytes)) => NetworkEvent::Message {
                    from: peer.clone(),
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
