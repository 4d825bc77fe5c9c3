//! Which certificates are accepted: signed by a trusted authority, valid now, not revoked, and of the right owner.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError as RustlsCertificateError, DigitallySignedStruct, DistinguishedName, Error,
    OtherError, RootCertStore, SignatureScheme,
};

use super::certificate::CertificateInfo;
use super::identity::CertOwner;

/// What a node trusts.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    /// Checks chain, time and purpose of the certificate of a client.
    chain: Arc<dyn ClientCertVerifier>,
    revoked: BTreeSet<String>,
    /// The cluster that certificates must have.
    cluster: String,
}

/// Why a certificate is not accepted. Its debug output is its text, because that is what an error of rustls contains.
struct Untrusted(String);

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untrusted {}

fn untrusted(reason: String) -> Error {
    let error = OtherError(Arc::new(Untrusted(reason)));
    Error::InvalidCertificate(RustlsCertificateError::Other(error))
}

impl Trust {
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        authorities: &[CertificateDer<'static>],
        revoked: BTreeSet<String>,
        cluster: String,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots
                .add(authority.clone())
                .map_err(|error| format!("an authority is not valid: {error}"))?;
        }
        let roots = Arc::new(roots);
        let chain =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .map_err(|error| error.to_string())?;
        Ok(Self {
            provider,
            roots,
            chain,
            revoked,
            cluster,
        })
    }

    /// Serial numbers of certificates and ids of tokens that are not accepted.
    pub(super) fn revoked(&self) -> &BTreeSet<String> {
        &self.revoked
    }

    /// The identity of a certificate, if it is not revoked and of this cluster.
    fn identified(&self, certificate: &CertificateDer<'_>) -> Result<CertificateInfo, Error> {
        let info =
            CertificateInfo::of(certificate).map_err(|error| untrusted(error.to_string()))?;
        if self.revoked.contains(&info.serial) {
            return Err(Error::InvalidCertificate(RustlsCertificateError::Revoked));
        }
        if info.identity.cluster != self.cluster {
            return Err(untrusted(format!(
                "the certificate {} is of another cluster than {:?}",
                info.identity, self.cluster
            )));
        }
        Ok(info)
    }

    /// Checks the certificate of a client, which may be a node.
    pub(super) fn check_client(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<CertificateInfo, Error> {
        self.chain
            .verify_client_cert(certificate, intermediates, now)?;
        self.identified(certificate)
    }

    /// Checks the certificate of a node that has opened a connection.
    fn check_peer(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let info = self.check_client(certificate, intermediates, now)?;
        match info.identity.owner {
            CertOwner::Node(_) => Ok(()),
            CertOwner::Client(..) | CertOwner::Authority => Err(untrusted(format!(
                "the certificate {} is not that of a node, and only nodes may use the peer port",
                info.identity
            ))),
        }
    }

    /// Checks the certificate of the node at an address.
    fn check_dialled(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        wanted: &str,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        let info = self.identified(certificate)?;
        match &info.identity.owner {
            CertOwner::Node(id) if id == wanted => Ok(()),
            _ => Err(untrusted(format!(
                "the certificate {} is not that of the node {wanted}",
                info.identity
            ))),
        }
    }

    /// Whether a certificate that was accepted before is still accepted.
    pub(super) fn still_accepts(&self, chain: &[CertificateDer<'_>]) -> bool {
        chain
            .split_first()
            .is_some_and(|(first, rest)| self.check_client(first, rest, UnixTime::now()).is_ok())
    }
}

/// Who may connect to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admits {
    /// Nodes with a certificate.
    Nodes,
    /// Everyone. A certificate, where there is one, must be valid.
    Everyone,
}

/// Checks the certificates of those who connect to a port of this node.
#[derive(Debug)]
pub(super) struct IncomingVerifier {
    pub(super) trust: Arc<Trust>,
    pub(super) admits: Admits,
}

impl ClientCertVerifier for IncomingVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.admits == Admits::Nodes
    }

    /// None: the names of the authorities are not told to those who have proved nothing.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.admits {
            Admits::Nodes => self.trust.check_peer(certificate, intermediates, now)?,
            Admits::Everyone => {
                drop(self.trust.check_client(certificate, intermediates, now)?);
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let chain = &self.trust.chain;
        chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let chain = &self.trust.chain;
        chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.chain.supported_verify_schemes()
    }
}

/// Checks the certificate of a node that this node dials.
#[derive(Debug)]
pub(super) struct DialledVerifier {
    pub(super) trust: Arc<Trust>,
    /// The id of the node.
    pub(super) wanted: String,
}

impl ServerCertVerifier for DialledVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (trust, wanted) = (&self.trust, &self.wanted);
        trust.check_dialled(certificate, intermediates, now, wanted)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let chain = &self.trust.chain;
        chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let chain = &self.trust.chain;
        chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.chain.supported_verify_schemes()
    }
}
