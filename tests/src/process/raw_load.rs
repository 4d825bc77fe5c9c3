//! Load by a plain HTTP client over TLS that repeats nothing: each response other than 200, and each connection that breaks,
//! is a failure.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{SecuredCluster, eventually};
use crate::http::connection::Connection;

/// Requests on one connection. Then the next one is opened, so that handshakes are tested too.
const ON_A_CONNECTION: usize = 20;
/// Clients of each node.
const CLIENTS: usize = 2;
/// Most failures that are kept.
const KEPT: usize = 10;

/// How a client proves who it is.
#[derive(Clone)]
pub struct RawIdentity {
    tls: TlsConnector,
    /// The header with the token, if it has one.
    header: String,
}

impl RawIdentity {
    /// The certificate in a directory of `oarlock cert client`.
    pub fn certificate(dir: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(dir.join("client.crt"))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(dir.join("client.key")).expect("a key");
        let config = trusting(&dir.join("ca.crt")).with_client_auth_cert(chain, key);
        Self {
            tls: TlsConnector::from(Arc::new(config.expect("they fit"))),
            header: String::new(),
        }
    }

    /// A token, and the authorities in a file.
    pub fn token(token: &str, authorities: &Path) -> Self {
        let config = trusting(authorities).with_no_client_auth();
        Self {
            tls: TlsConnector::from(Arc::new(config)),
            header: format!("authorization: Bearer {}\r\n", token.trim()),
        }
    }

    async fn connect(&self, address: &str) -> std::io::Result<Connection<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        Ok(Connection::over(self.tls.connect(name, stream).await?))
    }
}

fn trusting(
    authorities: &Path,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(authorities).expect("a file") {
        roots
            .add(authority.expect("a certificate"))
            .expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
}

/// Clients of all nodes that send commands until they are stopped.
pub struct RawLoad {
    counts: Arc<RawCounts>,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct RawCounts {
    stop: AtomicBool,
    succeeded: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl RawCounts {
    fn fail(&self, what: String) {
        self.failed.fetch_add(1, Ordering::AcqRel);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < KEPT {
            failures.push(what);
        }
    }
}

impl RawLoad {
    /// Starts clients that send this command to each node of a cluster.
    pub fn start(secured: &SecuredCluster, identity: &RawIdentity, command: &'static str) -> Self {
        let (counts, mut clients) = (Arc::<RawCounts>::default(), JoinSet::new());
        for node in &secured.cluster.nodes {
            for _ in 0..CLIENTS {
                let (address, counts) = (node.http().0, Arc::clone(&counts));
                clients.spawn(run(address, identity.clone(), command, counts));
            }
        }
        Self { counts, clients }
    }

    /// Waits until some more commands have succeeded.
    ///
    /// # Panics
    /// A request has failed.
    pub async fn progress(&self) {
        let before = self.counts.succeeded.load(Ordering::Acquire);
        eventually("commands are applied", async || {
            self.check();
            (self.counts.succeeded.load(Ordering::Acquire) > before + 100).then_some(())
        })
        .await;
    }

    /// Stops the clients, and returns how many requests have succeeded.
    ///
    /// # Panics
    /// A request has failed.
    pub async fn end(mut self) -> u64 {
        self.counts.stop.store(true, Ordering::Release);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("no panic");
        }
        self.check();
        self.counts.succeeded.load(Ordering::Acquire)
    }

    fn check(&self) {
        let failed = self.counts.failed.load(Ordering::Acquire);
        let failures = self.counts.failures.lock();
        let failures = failures.unwrap_or_else(PoisonError::into_inner);
        assert_eq!(failed, 0, "requests failed: {failures:#?}");
    }
}

async fn run(address: String, identity: RawIdentity, command: &str, counts: Arc<RawCounts>) {
    let head = format!(
        "POST /v1/apply HTTP/1.1\r\nhost: {address}\r\n{}",
        identity.header
    );
    while !counts.stop.load(Ordering::Acquire) {
        let mut connection = match identity.connect(&address).await {
            Ok(connection) => connection,
            Err(error) => {
                counts.fail(format!("{address} can't be connected to: {error}"));
                continue;
            }
        };
        for _ in 0..ON_A_CONNECTION {
            connection.push(head.as_bytes(), command.as_bytes());
            let response = match connection.send().await {
                Ok(()) => connection.receive(false).await,
                Err(error) => Err(error.to_string()),
            };
            match response {
                Ok(response) if response.status == 200 => {
                    counts.succeeded.fetch_add(1, Ordering::AcqRel);
                }
                Ok(response) => {
                    let body = String::from_utf8_lossy(&response.body).into_owned();
                    counts.fail(format!("{address}: {} {body}", response.status));
                }
                Err(error) => {
                    counts.fail(format!("{address}: {error}"));
                    break;
                }
            }
        }
    }
}
