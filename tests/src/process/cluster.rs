//! Several nodes on loopback.

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::binary::guest;
use super::module::compiled_dir;
use super::node::{Node, NodeOptions};
use crate::http::{Http, NoResponse};

/// How long a condition may take to come true before a test gives it up. Far above what is needed on a slow machine:
/// it bounds a failing test, it measures nothing.
const GIVES_UP: Duration = Duration::from_secs(120);
/// How often an outside condition is looked at.
const LOOKS_AGAIN: Duration = Duration::from_millis(50);
/// Below it are the ports of well-known services, and those of the README.
const LOWEST_PORT: u32 = 12_000;

/// The flag of a node that begins a cluster alone.
pub const BOOTSTRAP: &str = "--bootstrap";

/// Ports that are free now and outside the range from which the system chooses: a node that is down for a while can
/// bind its own again. Each is returned once in a process, and processes begin at different numbers.
///
/// # Panics
/// If loopback has none.
pub fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let above = u32::from(first_given_port());
    let room = above.saturating_sub(LOWEST_PORT).max(1);
    let start = std::process::id().wrapping_mul(97);
    let free = (0..room).filter_map(|_| {
        let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(LOWEST_PORT + step % room).ok()?;
        TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    });
    let ports: Vec<u16> = free.take(count).collect();
    assert_eq!(ports.len(), count, "loopback has no more free ports");
    ports
}

/// The system chooses ports from here on.
fn first_given_port() -> u16 {
    const USUAL: u16 = 32_768;
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok());
    first
        .filter(|first| u32::from(*first) > LOWEST_PORT + 1000)
        .unwrap_or(USUAL)
}

/// Nodes that know each other, with data in a directory that goes when they do.
pub struct Cluster {
    /// The nodes: node1, node2, …
    pub nodes: Vec<Node>,
    dir: TempDir,
}

impl Cluster {
    /// Starts `count` nodes with the guest `name` and more flags.
    ///
    /// # Panics
    /// If the system does not let them start.
    pub fn start(count: usize, name: &str, args: &[&str]) -> Self {
        let mut cluster = Self::prepare(count, name, args);
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster
    }

    /// The same, not started yet.
    ///
    /// # Panics
    /// If there is no directory for temporary files.
    pub fn prepare(count: usize, name: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ports = free_ports(2 * count);
        let (peers, clients) = ports.split_at(count);
        let members: Vec<String> = peers
            .iter()
            .enumerate()
            .map(|(at, port)| format!("node{}=127.0.0.1:{port}", at + 1))
            .collect();
        let mut fixed = vec![
            "--state-machine".to_owned(),
            guest(name).display().to_string(),
        ];
        fixed.extend(args.iter().map(|&arg| arg.to_owned()));
        // What every node would compile for itself takes seconds where the compiler is not optimized.
        fixed.extend(compiled_dir().map(str::to_owned));
        if count == 1 {
            fixed.push(BOOTSTRAP.to_owned());
        }
        let nodes = peers
            .iter()
            .zip(clients)
            .enumerate()
            .map(|(at, (peer, client))| {
                Node::new(NodeOptions {
                    id: format!("node{}", at + 1),
                    peer_addr: format!("127.0.0.1:{peer}"),
                    client_addr: format!("127.0.0.1:{client}"),
                    cluster: members.join(","),
                    data_dir: dir.path().join(format!("node{}", at + 1)),
                    args: fixed.clone(),
                    within: Vec::new(),
                })
            });
        Self {
            nodes: nodes.collect(),
            dir,
        }
    }

    /// Three nodes of a cluster at level 0, where each node uses its own limits. None is started yet. The first one has a
    /// directory that the release before has written, `tests/fixtures/level-0`: it ran the built-in queue, with three
    /// tasks in the queue `q`. The others join: see [`Cluster::add_joining`].
    ///
    /// # Panics
    /// If the directory can't be copied.
    pub fn prepare_level_0(args: &[&str]) -> Self {
        let mut cluster = Self::prepare(3, "queue", args);
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/level-0/raft.redb");
        for (at, node) in cluster.nodes.iter_mut().enumerate() {
            let options = node.options_mut();
            options.cluster = String::new();
            // The module is that of the log.
            options.args.drain(..2);
            if at > 0 {
                options.args.push("--join".to_owned());
                continue;
            }
            std::fs::create_dir(&options.data_dir).expect("a directory");
            std::fs::copy(&fixture, options.data_dir.join("raft.redb")).expect("a copy");
        }
        cluster
    }

    /// Makes all nodes but the first one voters of its cluster, and waits until they have caught up. All run.
    pub async fn add_joining(&self) {
        for node in &self.nodes[1..] {
            let member =
                json!({"node_id": node.id(), "peer_addr": node.peer_addr(), "voter": true});
            eventually("the node is a voter", async || {
                let http = self.nodes[0].http();
                let added = http.send("POST", "/v1/members", &[], member.to_string());
                (added.await.ok()?.status == 200).then_some(())
            })
            .await;
            eventually("the node has caught up", async || {
                let ready = node.http().get("/readyz").await.ok()?;
                (ready.status == 200).then_some(())
            })
            .await;
        }
    }

    /// Starts another node, which waits to be added, with the flags of the first one. Returns its position.
    pub fn join(&mut self) -> usize {
        let at = self.nodes.len();
        let id = format!("node{}", at + 1);
        let ports = free_ports(2);
        let peer_addr = format!("127.0.0.1:{}", ports[0]);
        let mut args = self.nodes[0].options_mut().args.clone();
        args.retain(|arg| arg != BOOTSTRAP);
        if !args.iter().any(|arg| arg == "--join") {
            args.push("--join".to_owned());
        }
        let mut node = Node::new(NodeOptions {
            cluster: format!("{id}={peer_addr}"),
            peer_addr,
            client_addr: format!("127.0.0.1:{}", ports[1]),
            data_dir: self.dir.path().join(&id),
            id,
            args,
            within: Vec::new(),
        });
        node.start();
        self.nodes.push(node);
        at
    }

    /// Where everything of this cluster lies.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits until a leader is known to all running nodes, and returns its position.
    pub async fn leader(&mut self) -> usize {
        eventually(
            "all running nodes agree on a leader that runs",
            async || {
                let running = self.running();
                let mut leader = None;
                for &at in &running {
                    let status = self.nodes[at].http().status().await?;
                    let named = status["leader_id"].as_str()?.to_owned();
                    let at = running
                        .iter()
                        .copied()
                        .find(|&at| self.nodes[at].id() == named)?;
                    if leader.replace(at).is_some_and(|before| before != at) {
                        return None;
                    }
                }
                leader
            },
        )
        .await
    }

    /// Positions of the nodes that run.
    pub fn running(&mut self) -> Vec<usize> {
        let nodes = self.nodes.iter_mut().enumerate();
        nodes
            .filter_map(|(at, node)| node.is_running().then_some(at))
            .collect()
    }

    /// Waits until all running nodes have applied the same entries, and returns their statuses.
    ///
    /// # Panics
    /// If two of them have applied as much and hold another state.
    pub async fn converged(&mut self) -> Vec<Value> {
        eventually(
            "all running nodes have applied the same entries",
            async || {
                let mut statuses = Vec::new();
                for at in self.running() {
                    statuses.push(self.nodes[at].http().status().await?);
                }
                let first = statuses.first()?.clone();
                let last_index = statuses
                    .iter()
                    .filter_map(|status| status["last_log_index"].as_u64())
                    .max();
                let level = |status: &Value| {
                    status["applied_index"] == first["applied_index"]
                        && status["applied_index"].as_u64() == last_index
                };
                if !statuses.iter().all(level) {
                    return None;
                }
                for status in &statuses {
                    assert_eq!(
                        status["state_hash"], first["state_hash"],
                        "equal entries, other states: {statuses:#?}"
                    );
                }
                Some(statuses)
            },
        )
        .await
    }

    /// Waits until every node runs and has applied what had been committed anywhere when this was called. Unlike
    /// [`Cluster::converged`] it needs no rest.
    ///
    /// # Panics
    /// If a node does not run.
    pub async fn converged_under_load(&mut self) {
        let everyone = 0..self.nodes.len();
        assert!(
            self.running().into_iter().eq(everyone),
            "a node has stopped"
        );
        let mut wanted = 0;
        for node in &self.nodes {
            let status = eventually("the node responds", async || node.http().status().await).await;
            wanted = wanted.max(status["commit_index"].as_u64().unwrap_or(0));
        }
        for node in &self.nodes {
            eventually("the node has caught up", async || {
                let status = node.http().status().await?;
                (status["applied_index"].as_u64()? >= wanted).then_some(())
            })
            .await;
        }
    }

    /// Applies a command on any node that takes it, as a patient client would: with a key, so that it may be sent again.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn apply_somewhere(&mut self, key: &str, command: &str) -> Value {
        let targets: Vec<Http> = self.nodes.iter().map(Node::http).collect();
        apply_somewhere(&targets, key, command).await
    }
}

/// Applies a command on any node that takes it.
///
/// # Panics
/// If it is refused.
pub async fn apply_somewhere(targets: &[Http], key: &str, command: &str) -> Value {
    let trying = async {
        loop {
            for target in targets {
                if let Some(reply) = try_apply(target, key, command).await {
                    return reply;
                }
            }
            pause().await;
        }
    };
    patiently("a node takes the command", trying).await
}

async fn try_apply(target: &Http, key: &str, command: &str) -> Option<Value> {
    let headers = [("idempotency-key", key), ("oarlock-timeout-ms", "3000")];
    match target
        .send("POST", "/v1/apply", &headers, command.to_owned())
        .await
    {
        Ok(response) if response.status == 200 => Some(response.json()),
        Ok(response) if [429, 503, 504].contains(&response.status) => None,
        Ok(response) => panic!("{command} was refused: {response:?}"),
        Err(NoResponse { .. }) => None,
    }
}

/// Looks again and again until something comes true.
///
/// # Panics
/// If it does not.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            pause().await;
        }
    };
    patiently(what, looking).await
}

/// A moment, between two looks at something outside.
pub(super) async fn pause() {
    let mut again = tokio::time::interval(LOOKS_AGAIN);
    again.tick().await;
    again.tick().await;
}

/// Waits for it, but not for ever.
pub(super) async fn patiently<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(GIVES_UP, waiting)
        .await
        .unwrap_or_else(|_| panic!("it never came true that {what}"))
}
