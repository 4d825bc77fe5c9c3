//! A node in a temporary directory, and an HTTP client.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use oarlock_wasm::GuestModule;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::reference::compare;
use crate::guest::{self, CodeSettings};
use crate::node::{Node, NodeStartError};
use crate::settings::cluster::ClusterPeer;
use crate::settings::{ClusterSpec, GuestSource, HostPort, ServeSettings};
use crate::start_limits;

/// Guests of the tests. Each is compiled once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guest {
    Counter,
    Faulty,
}

impl Guest {
    pub(super) fn path(self) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        match self {
            Self::Counter => root.join("examples-wasm/dist/counter.wasm"),
            Self::Faulty => root.join("tests/guests/faulty.wasm"),
        }
    }

    pub(super) async fn load(self) -> GuestSource {
        static COUNTER: OnceLock<GuestModule> = OnceLock::new();
        static FAULTY: OnceLock<GuestModule> = OnceLock::new();
        let cell = match self {
            Self::Counter => &COUNTER,
            Self::Faulty => &FAULTY,
        };
        if let Some(module) = cell.get() {
            return GuestSource::Loaded(module.clone());
        }
        let loaded = guest::load(
            GuestSource::File(self.path()),
            start_limits::of_new_cluster(),
            CodeSettings::default(),
        )
        .await
        .expect("a guest");
        GuestSource::Loaded(cell.get_or_init(|| loaded).clone())
    }
}

/// Any free port of the loopback interface.
pub(super) fn anywhere() -> HostPort {
    "127.0.0.1:0".parse().expect("an address")
}

/// Settings of a cluster of one node.
pub(super) async fn alone(guest: Guest, data_dir: &Path) -> ServeSettings {
    let cluster = ClusterSpec::alone("node1", anywhere());
    let guest = guest.load().await;
    let mut settings =
        ServeSettings::of_cluster(cluster, "node1", anywhere(), data_dir.to_owned(), guest)
            .expect("a node of its cluster");
    settings.cluster_id = "test".to_owned();
    settings.start.derived_cluster_id = false;
    settings.http.shutdown_linger = Duration::ZERO;
    // Short timeouts are safe with one voter.
    settings.raft.heartbeat_interval = Duration::from_millis(10);
    settings.raft.election_timeout_min = Duration::from_millis(30);
    settings.raft.election_timeout_max = Duration::from_millis(60);
    settings
}

/// Settings of a node whose only peer does not exist, so that it never has a leader.
pub(super) async fn without_majority(guest: Guest, data_dir: &Path) -> ServeSettings {
    let member = |node_id: &str, addr: &str| ClusterPeer {
        node_id: node_id.to_owned(),
        addr: addr.parse().expect("an address"),
    };
    let members = vec![
        member("node1", "127.0.0.1:0"),
        member("node2", "127.0.0.1:1"),
    ];
    let mut settings = alone(guest, data_dir).await;
    settings.cluster = ClusterSpec::new(members).expect("a cluster");
    settings
}

/// A node with its directory and a client.
pub(super) struct Running {
    pub(super) node: Node,
    pub(super) client: Client,
    pub(super) dir: TempDir,
}

impl Running {
    /// Starts a node and waits until it leads.
    pub(super) async fn start(guest: Guest) -> Self {
        Self::start_with(guest, |_| {}).await
    }

    /// The same with changed settings.
    pub(super) async fn start_with(guest: Guest, change: impl FnOnce(&mut ServeSettings)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = alone(guest, dir.path()).await;
        change(&mut settings);
        let running = Self::start_in(dir, settings).await.expect("it starts");
        running.leads().await;
        running
    }

    /// Starts a node, without waiting for a leader.
    pub(super) async fn start_in(
        dir: TempDir,
        settings: ServeSettings,
    ) -> Result<Self, NodeStartError> {
        let node = Node::start(settings).await?;
        let client = Client(node.client_addr().to_string());
        Ok(Self { node, client, dir })
    }

    /// Waits until the node leads and has caught up.
    pub(super) async fn leads(&self) {
        self.node.app().readiness.caught_up().await;
    }

    /// Stops the node and starts it again on its directory.
    pub(super) async fn restart(self, settings: ServeSettings) -> Self {
        let Self { node, dir, .. } = self;
        node.shutdown().await;
        let running = Self::start_in(dir, settings)
            .await
            .expect("it starts again");
        running.leads().await;
        running
    }
}

/// A response.
#[derive(Clone, Debug)]
pub(super) struct ReceivedResponse {
    pub(super) status: StatusCode,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Bytes,
}

impl ReceivedResponse {
    pub(super) async fn of(response: Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a complete body").to_bytes();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// Asserts that this is an error of the host with this status and code.
    #[track_caller]
    pub(super) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{error:#}");
        for field in ["message", "hint"] {
            assert!(
                error[field].as_str().is_some_and(|text| !text.is_empty()),
                "no {field}: {error:#}"
            );
        }
    }
}

/// Sends each request on a new connection, and compares the response with the table of routes.
#[derive(Clone, Debug)]
pub(super) struct Client(pub(super) String);

impl Client {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.0).await.expect("it listens")
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> ReceivedResponse {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await))
                .await
                .expect("HTTP/1.1");
        tokio::spawn(connection);
        let body: Bytes = body.into();
        let opaque = ["/v1/apply", "/v1/query", "/v1/state-machine"];
        let is_json = !body.is_empty() && !opaque.iter().any(|route| path.starts_with(route));
        let mut request = request(&self.0, method, path, headers, Full::new(body));
        if is_json && !request.headers().contains_key("content-type") {
            let json = hyper::header::HeaderValue::from_static("application/json");
            request.headers_mut().insert("content-type", json);
        }
        let response = sender.send_request(request).await.expect("a response");
        let response = ReceivedResponse::of(response).await;
        compare(method, path, &response);
        response
    }

    /// Sends a request over HTTP/2 with prior knowledge.
    pub(super) async fn send_http2(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> ReceivedResponse {
        self.send_http2_to(&self.0, method, path, body).await
    }

    /// The same, with another host in the request.
    pub(super) async fn send_http2_to(
        &self,
        host: &str,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> ReceivedResponse {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .expect("HTTP/2");
        tokio::spawn(connection);
        let path = format!("http://{host}{path}");
        let request = request(host, method, &path, &[], Full::new(body.into()));
        let response = sender.send_request(request).await.expect("a response");
        ReceivedResponse::of(response).await
    }

    pub(super) async fn get(&self, path: &str) -> ReceivedResponse {
        self.send("GET", path, &[], "").await
    }

    pub(super) async fn apply(&self, command: impl Into<Bytes>) -> ReceivedResponse {
        self.send("POST", "/v1/apply", &[], command).await
    }

    pub(super) async fn apply_with(
        &self,
        headers: &[(&str, &str)],
        command: &str,
    ) -> ReceivedResponse {
        self.send("POST", "/v1/apply", headers, command.to_owned())
            .await
    }

    pub(super) async fn query(&self, query: impl Into<Bytes>) -> ReceivedResponse {
        self.send("POST", "/v1/query", &[], query).await
    }
}

pub(super) fn request<B>(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: B,
) -> Request<B> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).expect("a request")
}
