//! Connections of clients over TLS. The node proves who it is; a client with a certificate does so too.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::CertificateInfo;
use super::handle::TlsHandle;
use super::identity::CertOwner;
use crate::access::{Principal, Requester, RoleSet};

/// A connection of a client.
pub(crate) struct SecuredClient<S> {
    /// The bytes, in clear.
    pub(crate) stream: TlsStream<S>,
    /// Who the client has proved to be.
    pub(crate) caller: Requester,
    /// Completes when the certificate of the client is no longer trusted.
    pub(crate) distrusted: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl TlsHandle {
    /// Secures a connection that a client has opened.
    ///
    /// # Errors
    /// The client does not use TLS, or its certificate is not accepted.
    pub(crate) async fn accept_client<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        stream: S,
    ) -> io::Result<SecuredClient<S>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current().clients));
        let stream = acceptor.accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let Some(chain) = chain.map(<[_]>::to_vec) else {
            return Ok(SecuredClient {
                stream,
                caller: Requester::Unknown,
                distrusted: Box::pin(std::future::pending()),
            });
        };
        let first = chain.first().map_or(&[][..], |first| first.as_ref());
        let info = CertificateInfo::of(first).map_err(io::Error::other)?;
        let (name, roles) = match info.identity.owner {
            CertOwner::Client(name, roles) => (name, roles),
            // A node can do everything anyway.
            CertOwner::Node(id) => (format!("node/{id}"), RoleSet::all()),
            CertOwner::Authority => {
                return Err(io::Error::other(
                    "the certificate of an authority is none of a client",
                ));
            }
        };
        // A certificate has no scopes: its owner is not limited in any.
        let principal = Principal::new(name, roles, BTreeMap::new()).map_err(io::Error::other)?;
        Ok(SecuredClient {
            stream,
            caller: Requester::Known(Arc::new(principal)),
            distrusted: Box::pin(self.distrusted(chain)),
        })
    }
}
