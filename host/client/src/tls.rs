//! TLS to the nodes: which authorities the client trusts, and the certificate by which the nodes know the client.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::HeaderValue;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

/// TLS to the nodes. Cheap to clone.
#[derive(Clone)]
pub struct TlsOptions {
    config: Arc<ClientConfig>,
}

/// A token, by which the nodes know a client without a certificate. `oarlock token create` prints one.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(HeaderValue);

impl AccessToken {
    /// The token in a text, without the spaces around it.
    ///
    /// # Errors
    /// The text can't be in a header.
    pub fn new(text: &str) -> Result<Self, TlsError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TlsError::Token);
        }
        let value = HeaderValue::from_str(&format!("Bearer {text}"));
        let mut value = value.map_err(|_| TlsError::Token)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value of the header `Authorization`.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for AccessToken {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").finish_non_exhaustive()
    }
}

/// Files for TLS can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A text is not a token.
    #[error("this is not a token; create one with `oarlock token create`")]
    Token,
    /// Other users can use a private key.
    #[error("other users can use the private key {} (mode {mode:o}); run `chmod 600` on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
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
        check_private(&key)?;
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

/// A key is for its owner only.
#[cfg(unix)]
fn check_private(key: &Path) -> Result<(), TlsError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(key).map_err(|error| invalid(key, &error))?;
    match metadata.mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(TlsError::Exposed {
            path: key.to_owned(),
            mode,
        }),
    }
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), TlsError> {
    Ok(())
}

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

/// Why the two ends did not agree on a secure connection, if an error comes from that. The node has then received no request.
pub(crate) fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let error = innermost(error)?;
    let text = match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::UnknownIssuer => {
                "the node has a certificate of an authority that this client does not trust: use the ca.crt of its cluster".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate of the node does not have the name or address of the endpoint: create it with `oarlock cert node ID --host NAME`".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate of the node has expired: run `oarlock cert renew`".to_owned()
            }
            reason => format!("the certificate of the node is not accepted: {reason:?}"),
        },
        rustls::Error::AlertReceived(alert) if is_of_certificate(*alert) => {
            format!("the node does not accept the certificate of this client: {alert:?}")
        }
        _ => return None,
    };
    Some(text)
}

/// A node sends these before it reads a request.
fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

/// The error of TLS among the sources of an error.
fn innermost<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An error of IO shows the sources of the error within, and not that error.
        let within = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match within {
            Some(within) => Some(within),
            None => error.source(),
        };
    }
    None
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
