//! A node that uses TLS: who may send what, and what those get who may not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::support::{Guest, ReceivedResponse, Running, request};
use crate::access::{AccessRole, TokenClaims, TokenSigner};
use crate::http::reference::Access;
use crate::http::routes;
use crate::tls::TlsHandle;
use crate::tls::certificate::CertificateInfo;
use crate::tls::tests::Certificates;
use crate::tls::{files, issue};

const ADD: &str = r#"{"add":{"by":1}}"#;
const GET: &str = r#"{"get":{}}"#;

/// A node with TLS, and the certificates of its cluster.
struct SecuredNode {
    running: Running,
    certificates: Certificates,
    tls: TlsHandle,
}

impl SecuredNode {
    async fn start() -> Self {
        Self::with(Guest::Counter).await
    }

    async fn with(guest: Guest) -> Self {
        let certificates = Certificates::of("test");
        let dir = certificates.node("node1");
        let tls = TlsHandle::open(dir).expect("valid files");
        let used = tls.clone();
        let running = Running::start_with(guest, |settings| {
            settings.tls = Some(used);
        })
        .await;
        Self {
            running,
            certificates,
            tls,
        }
    }

    /// A connection with the certificate in a directory, or without one.
    async fn connect(&self, dir: Option<&Path>) -> std::io::Result<SendRequest<Full<Bytes>>> {
        let mut roots = RootCertStore::empty();
        let authority = self.certificates.dir.path().join("ca.crt");
        let authority = CertificateDer::from_pem_file(authority).expect("a certificate");
        roots.add(authority).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let config = match dir {
            None => builder.with_no_client_auth(),
            Some(dir) => {
                let chain = CertificateDer::from_pem_file(dir.join("client.crt"));
                let key = PrivateKeyDer::from_pem_file(dir.join("client.key")).expect("a key");
                let chain = vec![chain.expect("a certificate")];
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        let stream = TcpStream::connect(&self.running.client.0).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends one request on a connection of its own.
    async fn send(
        &self,
        dir: Option<&Path>,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> hyper::Response<hyper::body::Incoming> {
        let mut sender = self
            .connect(dir)
            .await
            .expect("the certificate is accepted");
        let body = Full::new(Bytes::from(body.to_owned()));
        let request = request("localhost", method, path, headers, body);
        sender.send_request(request).await.expect("a response")
    }

    async fn received(
        &self,
        dir: Option<&Path>,
        route: (&str, &str),
        body: &str,
    ) -> ReceivedResponse {
        ReceivedResponse::of(self.send(dir, route, &[], body).await).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_only_the_health_of_the_node_is_shown() {
    let node = SecuredNode::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            node.received(None, ("GET", path), "").await.status,
            200,
            "{path}"
        );
    }
    for (method, path, body) in [
        ("POST", "/v1/apply", ADD),
        ("POST", "/v1/query", GET),
        ("GET", "/v1/status", ""),
        ("GET", "/metrics", ""),
        ("GET", "/", ""),
        ("GET", "/v1/openapi.json", ""),
        ("POST", "/v1/members", "{}"),
        ("GET", "/no/such/path", ""),
        ("PUT", "/v1/apply", ""),
    ] {
        let response = node.received(None, (method, path), body).await;
        response.assert_error(401, "unauthenticated");
    }
    let reader = node.certificates.client("reader", "reader");
    let value = node
        .received(Some(&reader), ("POST", "/v1/query"), GET)
        .await;
    assert_eq!(value.json(), json!({"value": 0}));
    node.running.node.shutdown().await;
}

/// Each role alone, on each route.
#[tokio::test(flavor = "multi_thread")]
async fn each_role_allows_its_own_routes_and_no_other() {
    let node = SecuredNode::start().await;
    for role in AccessRole::ALL {
        let client = node.certificates.client(role.name(), role.name());
        for route in routes::all() {
            let path = route.path.replace("{id}", "node9");
            let response = node
                .send(Some(&client), (route.method, &path), &[], "")
                .await;
            let allowed = match route.access {
                Access::Open | Access::Known => true,
                Access::Role(needs) | Access::Unscoped(needs) => needs == role,
            };
            let status = response.status();
            assert_eq!(
                status != 403,
                allowed,
                "{role}: {} {path}: {status}",
                route.method
            );
            if !allowed {
                ReceivedResponse::of(response)
                    .await
                    .assert_error(403, "forbidden");
            }
        }
    }
    let reader = node.certificates.client("r", "reader");
    let refused = node
        .received(Some(&reader), ("POST", "/v1/apply"), ADD)
        .await;
    refused.assert_error(403, "forbidden");
    let writer = node.certificates.client("w", "writer");
    let refused = node
        .received(Some(&writer), ("POST", "/v1/query"), GET)
        .await;
    refused.assert_error(403, "forbidden");
    let unknown = node
        .received(Some(&reader), ("GET", "/no/such/path"), "")
        .await;
    unknown.assert_error(404, "not_found");
    let applied = node
        .received(Some(&writer), ("POST", "/v1/apply"), ADD)
        .await;
    assert_eq!(applied.json(), json!({"value": 1}));
    node.running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_can_use_the_same_idempotency_key() {
    let node = SecuredNode::start().await;
    let (ann, bob) = (
        node.certificates.client("ann", "writer"),
        node.certificates.client("bob", "writer"),
    );
    let key = [("idempotency-key", "k1")];
    let add = |client| node.send(Some(client), ("POST", "/v1/apply"), &key, ADD);
    for (client, value) in [(&ann, 1), (&ann, 1), (&bob, 2), (&bob, 2), (&ann, 1)] {
        let response = ReceivedResponse::of(add(client).await).await;
        assert_eq!(response.json(), json!({"value": value}));
    }
    node.running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_client_is_cut_off_and_others_are_not() {
    let node = SecuredNode::start().await;
    let (ann, bob) = (
        node.certificates.client("ann", "reader"),
        node.certificates.client("bob", "reader"),
    );
    let mut open = node.connect(Some(&ann)).await.expect("it is accepted");
    open.ready().await.expect("it is open");
    let certificate = CertificateDer::from_pem_file(ann.join("client.crt")).expect("a file");
    let info = CertificateInfo::of(&certificate).expect("a certificate");
    issue::revoke(node.tls.dir(), &info).expect("writable");
    // The node may have read the change by itself already.
    node.tls.reload().expect("valid files");
    // The node closes the open connection: sooner or later a request on it fails.
    let query = || {
        request(
            "localhost",
            "POST",
            "/v1/query",
            &[],
            Full::new(Bytes::from(GET)),
        )
    };
    while open.ready().await.is_ok() {
        let Ok(response) = open.send_request(query()).await else {
            break;
        };
        drop(response.into_body().collect().await);
    }
    let again = node.connect(Some(&ann)).await;
    let refused = match again {
        Ok(mut sender) => sender.send_request(query()).await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "a revoked certificate is accepted");
    let bob = node.received(Some(&bob), ("POST", "/v1/query"), GET).await;
    assert_eq!(bob.status, 200);
    node.running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_tls_learns_nothing() {
    let node = SecuredNode::start().await;
    let mut stream = TcpStream::connect(&node.running.client.0)
        .await
        .expect("it listens");
    let request = b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received).await;
    assert!(
        received.len() <= 7,
        "no more than a TLS alert: {received:?}"
    );
    node.running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_expiry_of_the_certificate_is_a_metric() {
    let node = SecuredNode::start().await;
    let monitor = node.certificates.client("prometheus", "monitor");
    let metrics = node.received(Some(&monitor), ("GET", "/metrics"), "").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"oarlock_cert_expiry_seconds{certificate="node"} "#));
    let seconds: i64 = line.expect("the metric").parse().expect("a number");
    let day = 86_400;
    assert!((29 * day..=30 * day).contains(&seconds), "{seconds}");
    node.running.node.shutdown().await;
}

fn claims(name: &str, roles: &str) -> TokenClaims {
    TokenClaims {
        cluster: "test".to_owned(),
        id: TokenSigner::new_id().expect("random numbers"),
        name: name.to_owned(),
        roles: roles.to_owned(),
        scopes: BTreeMap::new(),
        expires: time::OffsetDateTime::now_utc().unix_timestamp() + 3600,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_proves_who_a_client_is_and_one_that_was_changed_does_not() {
    let node = SecuredNode::start().await;
    let signer = files::token_key(node.certificates.dir.path()).expect("a key");
    let claims = claims("ann", "writer");
    let token = format!("Bearer {}", signer.sign(&claims));
    let mut flipped = token.clone();
    flipped.replace_range(
        30..31,
        if token.as_bytes()[30] == b'A' {
            "B"
        } else {
            "A"
        },
    );
    let expired = TokenClaims {
        expires: 1,
        ..claims.clone()
    };
    let elsewhere = TokenClaims {
        cluster: "prod".to_owned(),
        ..claims.clone()
    };
    let apply = async |authorization: &str| {
        let headers = [("authorization", authorization)];
        let response = node.send(None, ("POST", "/v1/apply"), &headers, ADD).await;
        ReceivedResponse::of(response).await
    };
    assert_eq!(apply(&token).await.json(), json!({"value": 1}));
    for wrong in [
        flipped,
        format!("Bearer {}", signer.sign(&expired)),
        format!("Bearer {}", signer.sign(&elsewhere)),
        "Bearer".to_owned(),
        "Bearer x".to_owned(),
        token.replace("Bearer", "Basic"),
    ] {
        apply(&wrong).await.assert_error(401, "unauthenticated");
    }
    let headers = [("authorization", token.as_str())];
    let query = node.send(None, ("POST", "/v1/query"), &headers, GET).await;
    ReceivedResponse::of(query)
        .await
        .assert_error(403, "forbidden");
    issue::revoke_id(node.tls.dir(), &claims.id, "ann").expect("writable");
    node.tls.reload().expect("valid files");
    apply(&token).await.assert_error(401, "unauthenticated");
    node.running.node.shutdown().await;
}

/// The node notices with the next frame.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_of_its_request() {
    let node = SecuredNode::with(Guest::Faulty).await;
    let signer = files::token_key(node.certificates.dir.path()).expect("a key");
    let claims = claims("ann", "reader,writer");
    let token = format!("Bearer {}", signer.sign(&claims));
    let headers = [("authorization", token.as_str())];
    let mut stream = node.send(None, ("GET", "/v1/events"), &headers, "").await;
    assert_eq!(stream.status(), 200);
    let greeting = stream.body_mut().frame().await.expect("an open stream");
    greeting.expect("a frame");
    issue::revoke_id(node.tls.dir(), &claims.id, "ann").expect("writable");
    node.tls.reload().expect("valid files");
    let writer = node.certificates.client("w", "writer");
    let emit = r#"{"emit":{"topic":"t","payload":"p"}}"#;
    let applied = node
        .received(Some(&writer), ("POST", "/v1/apply"), emit)
        .await;
    assert_eq!(applied.status, 200);
    while let Some(frame) = stream.body_mut().frame().await {
        let data = frame.expect("a frame").into_data().expect("data");
        assert!(
            !String::from_utf8_lossy(&data).contains("event:"),
            "{data:?}"
        );
    }
    node.running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_in_the_certificate_are_names_of_the_node() {
    let node = SecuredNode::start().await;
    for (host, status) in [
        ("node.example:8101", 200),
        ("NODE.example", 200),
        ("other.example", 421),
    ] {
        let mut sender = node.connect(None).await.expect("TLS");
        let request = request(host, "GET", "/healthz", &[], Full::default());
        let response = sender.send_request(request).await.expect("a response");
        assert_eq!(response.status().as_u16(), status, "{host}");
    }
    node.running.node.shutdown().await;
}

/// The fast path and the slow path refuse with the same header.
#[tokio::test(flavor = "multi_thread")]
async fn a_401_tells_how_to_authenticate() {
    let node = SecuredNode::start().await;
    for (method, path, body) in [("POST", "/v1/apply", ADD), ("GET", "/v1/status", "")] {
        let response = node.send(None, (method, path), &[], body).await;
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer", "{path}");
    }
    node.running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_scopes_can_not_read_events() {
    let node = SecuredNode::start().await;
    let signer = files::token_key(node.certificates.dir.path()).expect("a key");
    let scopes = BTreeMap::from([("queues".to_owned(), ["a".to_owned()].into())]);
    let limited = TokenClaims {
        scopes,
        ..claims("ann", "reader,writer")
    };
    let token = format!("Bearer {}", signer.sign(&limited));
    let headers = [("authorization", token.as_str())];
    let send = async |method: &str, path: &str, body: &str| {
        let response = node.send(None, (method, path), &headers, body).await;
        ReceivedResponse::of(response).await
    };
    let refused = send("GET", "/v1/events", "").await;
    refused.assert_error(403, "forbidden");
    // What the guest can check, and what shows no data of it.
    assert_eq!(send("POST", "/v1/apply", ADD).await.status, 200);
    assert_eq!(send("POST", "/v1/query", GET).await.status, 200);
    assert_eq!(send("GET", "/v1/status", "").await.status, 200);
    node.running.node.shutdown().await;
}
