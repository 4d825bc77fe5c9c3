//! TLS to the nodes: which authorities the client trusts, and the certificate by which the nodes know the client.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// TLS to the nodes. Cheap to clone.
#[derive(Clone)]
pub struct TlsOptions {
    config: Arc<ClientConfig>,
}

/// Files for TLS can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read, or its content is not valid.
    #[error("cannot use {}: {reason}; create it with `oarlock cert`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl TlsOptions {
    /// Reads the directory that `oarlock cert client` or `oarlock cert node` has written: `ca.crt`, and `client.crt` with
    /// `client.key` or `node.crt` with `node.key`.
    ///
    /// # Errors
    /// A file is missing or not valid.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, TlsError> {
        let dir = dir.as_ref();
        let name = if dir.join("client.crt").exists() || !dir.join("node.crt").exists() {
            "client"
        } else {
            "node"
        };
        let (certificate, key) = (
            dir.join(format!("{name}.crt")),
            dir.join(format!("{name}.key")),
        );
        let chain = certificates(&certificate)?;
        let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| invalid(&key, &error))?;
        let config = trusting(&dir.join("ca.crt"))?
            .with_client_auth_cert(chain, private)
            .map_err(|error| invalid(&key, &error))?;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Trusts the authorities in a file, without a certificate of the client. The nodes then accept only what they accept from
    /// everyone.
    ///
    /// # Errors
    /// The file is missing or not valid.
    pub fn from_ca(file: impl AsRef<Path>) -> Result<Self, TlsError> {
        let config = trusting(file.as_ref())?.with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
        })
    }

    pub(crate) fn config(&self) -> ClientConfig {
        (*self.config).clone()
    }
}

impl fmt::Debug for TlsOptions {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").finish_non_exhaustive()
    }
}

impl PartialEq for TlsOptions {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for TlsOptions {}

type TrustingBuilder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

/// TLS that trusts the authorities in a file.
fn trusting(file: &Path) -> Result<TrustingBuilder, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(file)? {
        roots
            .add(authority)
            .map_err(|error| invalid(file, &error))?;
    }
    builder(roots).map_err(|error| invalid(file, &error))
}

fn builder(roots: RootCertStore) -> Result<TrustingBuilder, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13])?;
    Ok(builder.with_root_certificates(roots))
}

/// TLS that trusts no authority, for a client that uses none.
pub(crate) fn unused() -> ClientConfig {
    builder(RootCertStore::empty())
        .unwrap_or_else(|_| unreachable!("the provider supports TLS 1.3"))
        .with_no_client_auth()
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| invalid(file, &error))?;
    let found: Result<Vec<_>, _> = read.collect();
    let found = found.map_err(|error| invalid(file, &error))?;
    if found.is_empty() {
        return Err(invalid(file, &"it contains no certificate in PEM format"));
    }
    Ok(found)
}

fn invalid(path: &Path, reason: &dyn fmt::Display) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
