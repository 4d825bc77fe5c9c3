//! Everything that a set of files allows, checked: a node replaces it as a whole.

use std::path::Path;
use std::sync::Arc;

use rustls::client::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use time::OffsetDateTime;

use super::certificate::{CertificateInfo, not_after};
use super::files::{CertFileError, CertFiles};
use super::identity::{CertIdentity, CertOwner};
use super::verify::{Admits, DialledVerifier, IncomingVerifier, Trust};
use crate::access::{Principal, TokenCache, TokenError, TokenKeys};

/// What a node uses for new connections.
#[derive(Debug)]
pub(crate) struct TlsState {
    trust: Arc<Trust>,
    key: Arc<SingleCertAndKey>,
    own: CertificateInfo,
    authorities_expire_at: i64,
    token_keys: TokenKeys,
    tokens: TokenCache,
    /// For connections of peers.
    pub(super) peers: Arc<ServerConfig>,
    /// For connections of clients.
    pub(super) clients: Arc<ServerConfig>,
}

impl TlsState {
    /// Reads and checks the files of a node.
    ///
    /// # Errors
    /// A file can't be used, the key is not that of the certificate, or the certificate is not one that this node would
    /// accept from a peer.
    pub(crate) fn read(dir: &Path) -> Result<Self, CertFileError> {
        let files = CertFiles::read(dir)?;
        let invalid = |name: &str, reason: String| CertFileError::Invalid {
            path: dir.join(name),
            reason,
        };
        let CertOwner::Node(_) = files.own.identity.owner else {
            let reason = format!("{} is not a node", files.own.identity);
            return Err(invalid("node.crt", reason));
        };
        let provider = Arc::new(ring::default_provider());
        let key = CertifiedKey::from_der(files.chain.clone(), files.key, &provider);
        let key = key.map_err(|error| invalid("node.key", error.to_string()))?;
        let key = Arc::new(SingleCertAndKey::from(key));
        let cluster = files.own.identity.cluster.clone();
        let trust = Trust::new(provider, &files.authorities, files.revoked, cluster)
            .map_err(|reason| invalid("ca.crt", reason))?;
        check_own(&trust, &files.chain).map_err(|reason| invalid("node.crt", reason))?;
        let trust = Arc::new(trust);
        let mut expiries = files.authorities.iter().map(|der| not_after(der));
        let authorities_expire_at = expiries
            .try_fold(i64::MAX, |first, at| at.map(|at| first.min(at)))
            .map_err(|error| invalid("ca.crt", error.to_string()))?;
        let peers = server_config(&trust, &key, Admits::Nodes);
        let mut clients = server_config(&trust, &key, Admits::Everyone);
        clients.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            peers: Arc::new(peers),
            clients: Arc::new(clients),
            trust,
            key,
            own: files.own,
            authorities_expire_at,
            token_keys: files.token_keys,
            tokens: TokenCache::default(),
        })
    }

    /// Who this node is.
    pub(crate) fn identity(&self) -> &CertIdentity {
        &self.own.identity
    }

    /// The names and addresses in the certificate of this node.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.own.hosts
    }

    /// Until when the certificate of this node is valid, in seconds since 1970.
    pub(crate) fn expires_at(&self) -> i64 {
        self.own.not_after
    }

    /// Until when all authorities in `ca.crt` are valid, in seconds since 1970.
    pub(crate) fn authorities_expire_at(&self) -> i64 {
        self.authorities_expire_at
    }

    /// Checks a token of a client.
    ///
    /// # Errors
    /// It is not accepted.
    pub(crate) fn check_token(&self, token: &str) -> Result<Arc<Principal>, TokenError> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let (cluster, revoked) = (&self.own.identity.cluster, self.trust.revoked());
        let check = || self.token_keys.check(token, cluster, revoked, now);
        self.tokens.check(token, now, check)
    }

    /// For a connection to a node that must have this id.
    pub(super) fn dialling(&self, wanted: &str) -> Arc<ClientConfig> {
        let verifier = DialledVerifier {
            trust: Arc::clone(&self.trust),
            wanted: wanted.to_owned(),
        };
        let provider = Arc::clone(&self.trust.provider);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap_or_else(|_| unreachable!("the provider supports TLS 1.3"));
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::clone(&self.key) as _);
        // The certificate names the node. A name in clear would tell others.
        config.enable_sni = false;
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }

    /// Whether a certificate that was accepted before is still accepted.
    pub(super) fn still_accepts(&self, chain: &[CertificateDer<'_>]) -> bool {
        self.trust.still_accepts(chain)
    }
}

/// A node must accept its own certificate: otherwise its peers, which have the same authorities, would not.
fn check_own(trust: &Trust, chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let Some((first, rest)) = chain.split_first() else {
        return Err("it contains no certificate".to_owned());
    };
    trust
        .check_client(first, rest, UnixTime::now())
        .map(drop)
        .map_err(|error| format!("{error}, according to the authorities in ca.crt"))
}

fn server_config(trust: &Arc<Trust>, key: &Arc<SingleCertAndKey>, admits: Admits) -> ServerConfig {
    let verifier = IncomingVerifier {
        trust: Arc::clone(trust),
        admits,
    };
    let provider = Arc::clone(&trust.provider);
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap_or_else(|_| unreachable!("the provider supports TLS 1.3"));
    let mut config = builder
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::clone(key) as _);
    // A resumed session would skip the check of the certificate.
    config.send_tls13_tickets = 0;
    config
}
