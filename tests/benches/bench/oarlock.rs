//! A cluster of three Oarlock nodes that run `kv.wasm`, and the clients of its contract.

use std::path::Path;
use std::sync::Arc;

use oarlock_tests::http::Http;
use oarlock_tests::process::{Cluster, Node};

use super::sessions::{Http1Session, Http2Session, MakeBody};

/// Keys that are written, and read again: so many that no two requests in flight share one, so few that the state
/// stays small on both sides.
pub(crate) const KEYS: u64 = 10_000;

const APPLY: &str = "/v1/apply";
const QUERY: &str = "/v1/query";

/// Three nodes, and who leads them.
pub(crate) struct Oarlock {
    /// The nodes.
    pub(crate) cluster: Cluster,
    leader: usize,
}

impl Oarlock {
    /// Starts three nodes with more flags, of another binary if one is named, and waits for their leader.
    pub(crate) async fn start(flags: &[&str], binary: Option<&Path>) -> Self {
        let mut all = vec!["--log", "warn"];
        all.extend_from_slice(flags);
        let mut cluster = Cluster::prepare(3, "kv", &all);
        for node in &mut cluster.nodes {
            if let Some(binary) = binary {
                node.use_binary(binary);
            }
            node.start();
        }
        let leader = cluster.leader().await;
        Self { cluster, leader }
    }

    /// Process ids.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.cluster.nodes.iter().filter_map(Node::pid).collect()
    }

    /// Where clients go: to the leader, or to all in turn.
    pub(crate) fn addresses(&self, spread: bool) -> Vec<String> {
        let all = self.cluster.nodes.iter().map(|node| node.http().0);
        if spread {
            all.collect()
        } else {
            all.skip(self.leader).take(1).collect()
        }
    }

    /// How often the leader has synced its log.
    pub(crate) async fn syncs(&self) -> u64 {
        metric(
            &self.cluster.nodes[self.leader].http(),
            "oarlock_log_writes_total",
        )
        .await
    }

    /// A client that puts values, over HTTP/1.1.
    pub(crate) async fn writer(address: &str, payload: usize) -> Result<Http1Session, String> {
        Http1Session::open(address, APPLY, put(payload)).await
    }

    /// So many of these, with connections to all nodes in turn.
    pub(crate) async fn writers(&self, connections: usize, payload: usize) -> Vec<Http1Session> {
        let mut writers = Vec::with_capacity(connections);
        for address in self.addresses(true).iter().cycle().take(connections) {
            let opened = Self::writer(address, payload).await;
            writers.push(opened.unwrap_or_else(|why| panic!("{why}")));
        }
        writers
    }

    /// A client that gets values, linearizable, over HTTP/1.1.
    pub(crate) async fn reader(address: &str) -> Result<Http1Session, String> {
        let get: MakeBody = Arc::new(|number| {
            format!(r#"{{"get":{{"key":"{}"}}}}"#, key(number, KEYS)).into_bytes()
        });
        Http1Session::open(address, QUERY, get).await
    }

    /// A client that puts values, over HTTP/2; its clones share the connection.
    pub(crate) async fn pipeline(address: &str, payload: usize) -> Result<Http2Session, String> {
        Http2Session::open(address, APPLY, false, put(payload)).await
    }
}

/// A counter of a node; 0 where it has none of that name.
pub(crate) async fn metric(node: &Http, name: &str) -> u64 {
    let Ok(response) = node.get("/metrics").await else {
        return 0;
    };
    let text = String::from_utf8_lossy(&response.body);
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

fn put(payload_bytes: usize) -> MakeBody {
    let value = payload(payload_bytes);
    Arc::new(move |number| {
        format!(
            r#"{{"put":{{"key":"{}","value":"{value}"}}}}"#,
            key(number, KEYS)
        )
        .into_bytes()
    })
}

/// The key of the request with that number.
pub(crate) fn key(number: u64, keys: u64) -> String {
    format!("bench-{:08}", number % keys)
}

/// A value of that length.
pub(crate) fn payload(bytes: usize) -> String {
    ('a'..='z').cycle().take(bytes).collect()
}
