//! Connections between peers over TLS. Both ends prove who they are.

use std::io;

use rustls::pki_types::{CertificateDer, ServerName};
use task_queue_raft::ids::NodeId;
use task_queue_raft::node::security::{
    PeerBytes, PeerIdentity, PeerSecurity, SecuredPeer, Securing,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate::CertificateInfo;
use super::handle::TlsHandle;
use super::identity::CertOwner;

/// TLS wants the name of a host. It is not sent, and not compared: the certificate has the id of the node.
const NAME: &str = "node.invalid";

impl PeerSecurity for TlsHandle {
    fn connect(&self, stream: TcpStream, peer: &NodeId) -> Securing {
        let connector = TlsConnector::from(self.current().dialling(peer.as_str()));
        let tls = self.clone();
        Box::pin(async move {
            let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
            let stream = connector.connect(name, stream).await?;
            let chain = chain(stream.get_ref().1.peer_certificates());
            tls.secured(Box::new(stream), chain)
        })
    }

    fn accept(&self, stream: TcpStream) -> Securing {
        let acceptor = TlsAcceptor::from(self.current().peers.clone());
        let tls = self.clone();
        Box::pin(async move {
            let stream = acceptor.accept(stream).await?;
            let chain = chain(stream.get_ref().1.peer_certificates());
            tls.secured(Box::new(stream), chain)
        })
    }
}

fn chain(certificates: Option<&[CertificateDer<'static>]>) -> Vec<CertificateDer<'static>> {
    certificates.unwrap_or_default().to_vec()
}

impl TlsHandle {
    fn secured(
        self,
        stream: Box<dyn PeerBytes>,
        chain: Vec<CertificateDer<'static>>,
    ) -> io::Result<SecuredPeer> {
        let first = chain.first().map_or(&[][..], |first| first.as_ref());
        let info = CertificateInfo::of(first).map_err(io::Error::other)?;
        let CertOwner::Node(id) = info.identity.owner else {
            return Err(io::Error::other("the certificate is not that of a node"));
        };
        Ok(SecuredPeer {
            stream,
            identity: PeerIdentity {
                cluster_id: info.identity.cluster,
                node_id: NodeId::from(id),
            },
            distrusted: Box::pin(self.distrusted(chain)),
        })
    }
}
