//! How the bytes of a connection between peers travel: as they are, or through a channel that proves who the peer is and
//! encrypts. The channel comes from the user of this library: see [`PeerSecurity`].

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ids::NodeId;

/// Secures connections between peers.
pub trait PeerSecurity: fmt::Debug + Send + Sync + 'static {
    /// Secures a connection that this node has opened to `peer`. An error if another node responds, or one that can't prove who
    /// it is.
    fn connect(&self, stream: TcpStream, peer: &NodeId) -> Securing;

    /// Secures a connection that a peer has opened. Until it succeeds, nothing about this node is sent.
    fn accept(&self, stream: TcpStream) -> Securing;
}

/// A channel that is being established.
pub type Securing = Pin<Box<dyn Future<Output = io::Result<SecuredPeer>> + Send>>;

/// A secured connection to a peer.
pub struct SecuredPeer {
    /// The bytes, in clear.
    pub stream: Box<dyn PeerBytes>,
    /// Who the peer has proved to be.
    pub identity: PeerIdentity,
    /// Completes when the peer is no longer trusted. The connection is then closed.
    pub distrusted: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Who a peer has proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: NodeId,
}

/// The bytes of a connection.
pub trait PeerBytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> PeerBytes for S {}

/// A connection to a peer, secured or not.
pub(super) struct PeerStream {
    pub(super) channel: Channel,
    /// Who the peer has proved to be. `None`: the hello alone tells.
    pub(super) identity: Option<PeerIdentity>,
    distrusted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// The bytes of a [`PeerStream`].
pub(super) enum Channel {
    Plain(TcpStream),
    Secured(Box<dyn PeerBytes>),
}

/// Completes when the peer is no longer trusted; never for a connection that is not secured.
pub(super) struct Distrusted(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl PeerStream {
    /// Secures a connection that this node has opened, within `limit`.
    pub(super) async fn connect(
        stream: TcpStream,
        security: Option<&dyn PeerSecurity>,
        peer: &NodeId,
        limit: Duration,
    ) -> io::Result<Self> {
        match security {
            Some(security) => Self::secured(security.connect(stream, peer), limit).await,
            None => Ok(Self::plain(stream)),
        }
    }

    /// Secures a connection that a peer has opened, within `limit`.
    pub(super) async fn accept(
        stream: TcpStream,
        security: Option<&dyn PeerSecurity>,
        limit: Duration,
    ) -> io::Result<Self> {
        match security {
            Some(security) => Self::secured(security.accept(stream), limit).await,
            None => Ok(Self::plain(stream)),
        }
    }

    fn plain(stream: TcpStream) -> Self {
        Self {
            channel: Channel::Plain(stream),
            identity: None,
            distrusted: None,
        }
    }

    async fn secured(securing: Securing, limit: Duration) -> io::Result<Self> {
        let late = |_| {
            let ms = limit.as_millis();
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "no secure connection within {ms} ms: the other end does not use TLS, or hangs"
                ),
            )
        };
        let secured = timeout(limit, securing).await.map_err(late)??;
        Ok(Self {
            channel: Channel::Secured(secured.stream),
            identity: Some(secured.identity),
            distrusted: Some(secured.distrusted),
        })
    }

    /// Whether the peer may send a hello with these names. A connection that is not secured may contain any.
    pub(super) fn may_be(&self, cluster_id: &str, node_id: &NodeId) -> bool {
        self.identity.as_ref().is_none_or(|identity| {
            identity.cluster_id == cluster_id && identity.node_id == *node_id
        })
    }

    /// The bytes, and what ends the connection.
    pub(super) fn into_parts(self) -> (Channel, Distrusted) {
        (self.channel, Distrusted(self.distrusted))
    }
}

impl Future for Distrusted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(distrusted) => distrusted.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.channel {
            Channel::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Channel::Secured(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.channel {
            Channel::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Channel::Secured(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.channel {
            Channel::Plain(stream) => Pin::new(stream).poll_flush(context),
            Channel::Secured(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.channel {
            Channel::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Channel::Secured(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
