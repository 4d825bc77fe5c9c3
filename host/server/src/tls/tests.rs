//! Files, identities and connections: what is accepted, and each reason for which something is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, ClientConfig};
use task_queue_raft::ids::NodeId;
use task_queue_raft::node::security::{PeerSecurity, SecuredPeer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::CertificateInfo;
use super::files;
use super::handle::TlsHandle;
use super::identity::CertOwner;
use super::issue::{self, Authority, CertificateRequest};
use crate::access::RoleSet;

const DAYS: u32 = 30;

/// An authority, and directories of nodes and clients.
pub(crate) struct Certificates {
    pub(crate) dir: TempDir,
}

impl Certificates {
    pub(crate) fn of(cluster: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Authority::create(dir.path(), cluster, DAYS, false).expect("an authority");
        Self { dir }
    }

    fn issue(&self, owner: CertOwner, name: &str) -> PathBuf {
        let authority = Authority::read(self.dir.path()).expect("an authority");
        let dir = self.dir.path().join(name);
        let request = CertificateRequest {
            owner,
            hosts: ["localhost", "127.0.0.1", "node.example"]
                .map(str::to_owned)
                .to_vec(),
            days: DAYS,
        };
        authority
            .issue(&request, &dir, true)
            .expect("a certificate");
        dir
    }

    pub(crate) fn node(&self, id: &str) -> PathBuf {
        self.issue(CertOwner::Node(id.to_owned()), id)
    }

    pub(crate) fn client(&self, name: &str, roles: &str) -> PathBuf {
        let roles: RoleSet = roles.parse().expect("roles");
        self.issue(CertOwner::Client(name.to_owned(), roles), name)
    }
}

fn handle(dir: &Path) -> TlsHandle {
    TlsHandle::open(dir.to_owned()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(dir: &Path) -> String {
    let error = TlsHandle::open(dir.to_owned()).expect_err("a file is not valid");
    error.to_string()
}

/// Both ends of a connection, as the security of each end sees it.
async fn connect(
    from: &TlsHandle,
    wanted: &str,
    to: &TlsHandle,
) -> (std::io::Result<SecuredPeer>, std::io::Result<SecuredPeer>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let addr = listener.local_addr().expect("an address");
    let accepting = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        to.accept(stream).await
    };
    let dialling = async {
        let stream = TcpStream::connect(addr).await.expect("it listens");
        let secured = from.connect(stream, &NodeId::from(wanted)).await;
        // A client learns with the first byte whether the server accepts its certificate.
        match secured {
            Ok(mut peer) => {
                peer.stream.write_all(b"x").await?;
                peer.stream.flush().await?;
                Ok(peer)
            }
            Err(error) => Err(error),
        }
    };
    tokio::join!(dialling, accepting)
}

#[tokio::test]
async fn two_nodes_of_a_cluster_prove_who_they_are() {
    let certificates = Certificates::of("prod");
    let (a, b) = (
        handle(&certificates.node("a")),
        handle(&certificates.node("b")),
    );
    let (dialled, accepted) = connect(&a, "b", &b).await;
    let (dialled, mut accepted) = (dialled.expect("b answers"), accepted.expect("a connects"));
    assert_eq!(dialled.identity.node_id, NodeId::from("b"));
    assert_eq!(accepted.identity.node_id, NodeId::from("a"));
    assert_eq!(accepted.identity.cluster_id, "prod");
    let mut byte = [0];
    accepted.stream.read_exact(&mut byte).await.expect("a byte");
    assert_eq!(&byte, b"x");
}

#[tokio::test]
async fn a_node_with_another_id_than_the_dialled_one_is_refused() {
    let certificates = Certificates::of("prod");
    let (a, b) = (
        handle(&certificates.node("a")),
        handle(&certificates.node("b")),
    );
    let (dialled, accepted) = connect(&a, "c", &b).await;
    let error = dialled.err().expect("b is not c").to_string();
    assert!(error.contains("not that of the node c"), "{error}");
    assert!(accepted.is_err());
}

#[tokio::test]
async fn a_node_of_another_authority_or_another_cluster_is_refused() {
    let certificates = Certificates::of("prod");
    let a = handle(&certificates.node("a"));
    let b = handle(&certificates.node("b"));
    let strange = Certificates::of("prod");
    let stranger = handle(&strange.node("b"));
    for (dialled, accepted) in [
        connect(&a, "b", &stranger).await,
        connect(&stranger, "a", &a).await,
    ] {
        assert!(dialled.is_err() && accepted.is_err());
    }
    // The same authority has signed certificates of another cluster.
    let other = certificates.dir.path().join("other");
    fs::create_dir(&other).expect("a directory");
    let as_ca = Authority::create(&other, "test", DAYS, false);
    as_ca.expect("an authority");
    let both = [other.join("ca.crt"), certificates.dir.path().join("ca.crt")];
    let both = both
        .map(|file| fs::read_to_string(file).expect("text"))
        .concat();
    let authority = Authority::read(&other).expect("an authority");
    let dir = other.join("b");
    let request = CertificateRequest {
        owner: CertOwner::Node("b".to_owned()),
        hosts: Vec::new(),
        days: DAYS,
    };
    authority
        .issue(&request, &dir, false)
        .expect("a certificate");
    for trusting in [&dir, &certificates.node("a")] {
        fs::write(trusting.join("ca.crt"), &both).expect("writable");
    }
    let other_ca = dir.clone();
    let (a, other) = (handle(&certificates.dir.path().join("a")), handle(&dir));
    let (dialled, accepted) = connect(&other, "a", &a).await;
    assert!(accepted.is_err());
    let error = dialled.err().expect("another cluster").to_string();
    assert!(error.contains("another cluster"), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let addr = listener.local_addr().expect("an address");
    let accepting = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        a.accept(stream).await
    };
    let (received, accepted) =
        tokio::join!(probe(addr, Some((&dir, "node")), &other_ca), accepting);
    assert!(received.is_err());
    let error = accepted.err().expect("another cluster").to_string();
    assert!(error.contains("another cluster"), "{error}");
    let (dialled, _) = connect(&b, "b", &other).await;
    assert!(dialled.is_err());
}

/// A client of TLS with any certificate, or none, that checks nothing itself.
async fn secure(
    addr: std::net::SocketAddr,
    dir: Option<(&Path, &str)>,
    ca: &Path,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in files::authorities(ca).expect("authorities") {
        roots.add(authority).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let config = match dir {
        None => builder.with_no_client_auth(),
        Some((dir, name)) => {
            let chain =
                files::certificates(&dir.join(format!("{name}.crt"))).expect("a certificate");
            let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key"))).expect("a key");
            builder
                .with_client_auth_cert(chain, key)
                .expect("they belong together")
        }
    };
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// What it receives after it has sent something.
async fn probe(
    addr: std::net::SocketAddr,
    dir: Option<(&Path, &str)>,
    ca: &Path,
) -> std::io::Result<Vec<u8>> {
    let mut stream = secure(addr, dir, ca).await?;
    stream.write_all(b"hello").await?;
    stream.flush().await?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await?;
    Ok(received)
}

/// What it receives without sending anything.
async fn listen(
    addr: std::net::SocketAddr,
    dir: Option<(&Path, &str)>,
    ca: &Path,
) -> std::io::Result<()> {
    let mut stream = secure(addr, dir, ca).await?;
    let received = stream.read_to_end(&mut Vec::new()).await;
    match received {
        // The test drops a connection that is accepted.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        received => received.map(drop),
    }
}

#[tokio::test]
async fn only_a_certificate_of_a_node_is_accepted_on_the_peer_port_and_nothing_is_sent_before() {
    let certificates = Certificates::of("prod");
    let node = handle(&certificates.node("a"));
    let client = certificates.client("ann", "all");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let addr = listener.local_addr().expect("an address");
    for dir in [None, Some((client.as_path(), "client"))] {
        let accepting = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            node.accept(stream).await
        };
        let (received, accepted) =
            tokio::join!(probe(addr, dir, certificates.dir.path()), accepting);
        assert!(accepted.is_err());
        assert!(received.is_err(), "it was told {received:?}");
    }
    // Plain bytes, such as a hello without TLS.
    let mut plain = TcpStream::connect(addr).await.expect("it listens");
    let (stream, _) = listener.accept().await.expect("a connection");
    let accepting = tokio::spawn(node.accept(stream));
    plain
        .write_all(b"\0\0\0\x40OARL garbage")
        .await
        .expect("it reads");
    let mut received = Vec::new();
    let _ = plain.read_to_end(&mut received).await;
    assert!(accepting.await.expect("no panic").is_err());
    assert!(
        received.len() <= 7,
        "no more than a TLS alert: {received:?}"
    );
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_its_open_connections_end() {
    let certificates = Certificates::of("prod");
    let (at_a, at_b) = (certificates.node("a"), certificates.node("b"));
    let (a, b) = (handle(&at_a), handle(&at_b));
    let (dialled, accepted) = connect(&a, "b", &b).await;
    let (_dialled, accepted) = (dialled.expect("b answers"), accepted.expect("a connects"));
    let chain = files::certificates(&at_a.join("node.crt")).expect("a certificate");
    let info = CertificateInfo::of(&chain[0]).expect("a certificate");
    issue::revoke(&at_b, &info).expect("writable");
    b.reload().expect("valid files");
    accepted.distrusted.await;
    let (_, again) = connect(&a, "b", &b).await;
    let error = again.err().expect("it is revoked").to_string();
    assert!(error.to_lowercase().contains("revoked"), "{error}");
    // Revoked or not: others are still accepted.
    let c = handle(&certificates.node("c"));
    assert!(connect(&c, "b", &b).await.1.is_ok());
}

#[tokio::test]
async fn during_a_rotation_certificates_of_both_authorities_are_accepted() {
    let certificates = Certificates::of("prod");
    let (at_a, at_b) = (certificates.node("a"), certificates.node("b"));
    let (a, b) = (handle(&at_a), handle(&at_b));
    let root = certificates.dir.path();
    Authority::create(root, "prod", DAYS, true).expect("a second authority");
    assert_eq!(files::authorities(root).expect("authorities").len(), 2);
    let authority = Authority::read(root).expect("an authority");
    for (dir, tls) in [(&at_a, &a), (&at_b, &b)] {
        authority.write_authorities(dir).expect("writable");
        tls.reload().expect("valid files");
    }
    certificates.node("a");
    a.reload().expect("valid files");
    for (from, wanted, to) in [(&a, "b", &b), (&b, "a", &a)] {
        let (dialled, accepted) = connect(from, wanted, to).await;
        assert!(dialled.is_ok() && accepted.is_ok());
    }
    certificates.node("b");
    b.reload().expect("valid files");
    issue::drop_old_authorities(root).expect("writable");
    let authority = Authority::read(root).expect("an authority");
    for (dir, tls) in [(&at_a, &a), (&at_b, &b)] {
        authority.write_authorities(dir).expect("writable");
        tls.reload().expect("valid files");
    }
    let (dialled, accepted) = connect(&a, "b", &b).await;
    assert!(dialled.is_ok() && accepted.is_ok());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let certificates = Certificates::of("prod");
    let dir = certificates.node("a");
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(dir.join("node.key"), fs::Permissions::from_mode(mode))
            .expect("a mode");
        let error = refused(&dir);
        assert!(
            error.contains("node.key") && error.contains("chmod 600"),
            "{error}"
        );
    }
}

#[test]
fn files_that_do_not_fit_together_are_refused_with_the_reason() {
    let certificates = Certificates::of("prod");
    let dir = certificates.node("a");
    let other = certificates.node("b");
    let strange = Certificates::of("prod");
    let good = |name: &str| fs::read(dir.join(name)).expect("a file");
    let (key, certificate, authority) = (good("node.key"), good("node.crt"), good("ca.crt"));
    let client = certificates.client("ann", "all");
    for (file, content, reason) in [
        (
            "node.key",
            fs::read(other.join("node.key")).expect("a key"),
            "node.key",
        ),
        ("node.key", b"no key".to_vec(), "node.key"),
        ("node.crt", b"no certificate".to_vec(), "node.crt"),
        (
            "node.crt",
            fs::read(client.join("client.crt")).expect("a file"),
            "is not a node",
        ),
        (
            "ca.crt",
            fs::read(strange.dir.path().join("ca.crt")).expect("a file"),
            "ca.crt",
        ),
        ("ca.crt", Vec::new(), "ca.crt"),
        ("revoked", b"not hex".to_vec(), "revoked"),
    ] {
        fs::write(dir.join(file), content).expect("writable");
        let error = refused(&dir);
        assert!(error.contains(reason), "{file}: {error}");
        fs::write(dir.join("node.key"), &key).expect("writable");
        fs::write(dir.join("node.crt"), &certificate).expect("writable");
        fs::write(dir.join("ca.crt"), &authority).expect("writable");
        let _ = fs::remove_file(dir.join("revoked"));
    }
    assert!(TlsHandle::open(dir).is_ok());
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let certificates = Certificates::of("prod");
    let dir = certificates.node("a");
    let tls = handle(&dir);
    let before = tls.current().identity().clone();
    fs::write(dir.join("ca.crt"), "nothing").expect("writable");
    assert!(tls.reload().is_err());
    assert_eq!(*tls.current().identity(), before);
    let other = certificates.node("b");
    for name in ["node.crt", "node.key", "ca.crt"] {
        fs::copy(other.join(name), dir.join(name)).expect("a copy");
    }
    let error = tls.reload().expect_err("another node").to_string();
    assert!(
        error.contains("node/b") && error.contains("node/a"),
        "{error}"
    );
}

/// A certificate with other times than `oarlock cert` makes.
fn valid_from_to(certificates: &Certificates, name: &str, from_days: i64, to_days: i64) -> PathBuf {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
    let root = certificates.dir.path();
    let key = fs::read_to_string(root.join("ca.key")).expect("a key");
    let key = KeyPair::from_pem(&key).expect("a key");
    let authority: CertificateDer<'static> = files::authorities(root)
        .expect("authorities")
        .swap_remove(0);
    let issuer = Issuer::from_ca_cert_der(&authority, key).expect("an authority");
    let mut params = CertificateParams::default();
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now + time::Duration::days(from_days);
    params.not_after = now + time::Duration::days(to_days);
    let uri = format!("oarlock://prod/node/{name}");
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let pair = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&pair, &issuer).expect("a certificate");
    let dir = certificates.node(name);
    fs::write(dir.join("node.crt"), certificate.pem()).expect("writable");
    fs::write(dir.join("node.key"), pair.serialize_pem()).expect("writable");
    dir
}

#[tokio::test]
async fn an_expired_certificate_and_one_that_is_not_valid_yet_are_refused() {
    let certificates = Certificates::of("prod");
    let node = handle(&certificates.node("a"));
    let valid = valid_from_to(&certificates, "late", -1, 1);
    assert!(TlsHandle::open(valid.clone()).is_ok());
    assert!(
        accepted_from(&node, &valid, certificates.dir.path())
            .await
            .is_ok()
    );
    for (from, to, reason) in [(-2, -1, "expired"), (1, 2, "not valid yet")] {
        let dir = valid_from_to(&certificates, "late", from, to);
        let error = refused(&dir).to_lowercase();
        assert!(error.contains(reason), "{error}");
        let error = accepted_from(&node, &dir, certificates.dir.path()).await;
        let error = error
            .expect_err("it is not valid")
            .to_string()
            .to_lowercase();
        assert!(error.contains(reason), "{error}");
    }
}

/// What a node makes of a connection with the node certificate in a directory.
async fn accepted_from(node: &TlsHandle, dir: &Path, ca: &Path) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let addr = listener.local_addr().expect("an address");
    let accepting = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        node.accept(stream).await.map(drop)
    };
    tokio::join!(accepting, probe(addr, Some((dir, "node")), ca)).0
}

/// The alert that a client of TLS gets from one of the ports of a node. It sends nothing, so that no alert is lost.
async fn alert_of(
    node: &TlsHandle,
    to_peers: bool,
    dir: Option<(&Path, &str)>,
    ca: &Path,
) -> Option<AlertDescription> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let addr = listener.local_addr().expect("an address");
    let accepting = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        let accepted = if to_peers {
            node.accept(stream).await.map(drop)
        } else {
            node.clone().accept_client(stream).await.map(drop)
        };
        accepted.is_ok()
    };
    let (received, is_accepted) = tokio::join!(listen(addr, dir, ca), accepting);
    let error = received.err();
    assert_eq!(is_accepted, error.is_none(), "{error:?}");
    // The end of an accepted connection is no error.
    error.map(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            _ => panic!("no alert: {error:?}"),
        }
    })
}

#[tokio::test]
async fn each_certificate_that_is_refused_gets_the_alert_for_its_reason() {
    use AlertDescription as Alert;
    let certificates = Certificates::of("prod");
    let at_a = certificates.node("a");
    let ca = certificates.dir.path();
    let revoked = certificates.client("former", "all");
    let chain = files::certificates(&revoked.join("client.crt")).expect("a certificate");
    let info = CertificateInfo::of(&chain[0]).expect("a certificate");
    issue::revoke(&at_a, &info).expect("writable");
    let node = handle(&at_a);
    let strange = Certificates::of("prod");
    let (client, stranger) = (
        certificates.client("ann", "all"),
        strange.client("ann", "all"),
    );
    let strange_node = strange.node("b");
    let (past, future) = (
        valid_from_to(&certificates, "past", -2, -1),
        valid_from_to(&certificates, "future", 1, 2),
    );
    let own = certificates.node("b");
    for (to_peers, dir, alert) in [
        (true, Some((own.as_path(), "node")), None),
        (
            true,
            Some((&client, "client")),
            Some(Alert::CertificateUnknown),
        ),
        (true, None, Some(Alert::CertificateRequired)),
        (true, Some((&strange_node, "node")), Some(Alert::UnknownCA)),
        (true, Some((&past, "node")), Some(Alert::CertificateExpired)),
        (
            true,
            Some((&future, "node")),
            Some(Alert::CertificateExpired),
        ),
        (false, Some((&client, "client")), None),
        // Roles decide what it may do: nothing but read the health of the node.
        (false, None, None),
        (false, Some((&stranger, "client")), Some(Alert::UnknownCA)),
        (
            false,
            Some((&past, "node")),
            Some(Alert::CertificateExpired),
        ),
        (
            false,
            Some((&future, "node")),
            Some(Alert::CertificateExpired),
        ),
        (
            false,
            Some((&revoked, "client")),
            Some(Alert::CertificateRevoked),
        ),
    ] {
        let received = alert_of(&node, to_peers, dir, ca).await;
        assert_eq!(received, alert, "to peers: {to_peers}, {dir:?}");
    }
}

#[tokio::test]
async fn a_node_does_not_dial_a_node_whose_certificate_is_no_longer_valid() {
    let certificates = Certificates::of("prod");
    let (at_a, at_b) = (certificates.node("a"), certificates.node("b"));
    let chain = files::certificates(&at_b.join("node.crt")).expect("a certificate");
    let info = CertificateInfo::of(&chain[0]).expect("a certificate");
    let b = handle(&at_b);
    assert!(connect(&handle(&at_a), "b", &b).await.0.is_ok());
    issue::revoke(&at_a, &info).expect("writable");
    let (dialled, accepted) = connect(&handle(&at_a), "b", &b).await;
    let error = dialled
        .err()
        .expect("it is revoked")
        .to_string()
        .to_lowercase();
    assert!(error.contains("revoked"), "{error}");
    assert!(accepted.is_err());
}
