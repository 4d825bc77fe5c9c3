//! Real nodes on loopback, each with its own directory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use crate::handle::*;
use crate::state_machine::MemoryStateMachine;

pub(super) type Node = Raft<MemoryStateMachine>;

/// Long enough for a loaded machine with a slow disk. A test that waits this long has failed.
pub(super) const AMPLE: Duration = Duration::from_secs(60);

pub(super) fn timing(config: RaftConfig) -> RaftConfig {
    RaftConfig {
        election_timeout_min: Duration::from_millis(300),
        election_timeout_max: Duration::from_millis(600),
        heartbeat_interval: Duration::from_millis(50),
        ..config
    }
}

/// A node alone in its cluster.
pub(super) fn alone() -> RaftConfig {
    timing(RaftConfig {
        node_id: "alone@127.0.0.1:1".to_owned(),
        ..RaftConfig::default()
    })
}

pub(super) fn socket() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).unwrap()
}

/// Waits until the status of a node fulfils a condition.
pub(super) async fn until<M: ReplicatedStateMachine>(
    node: &Raft<M>,
    wanted: impl Fn(&Status) -> bool,
) -> Status {
    let mut status = node.watch_status();
    let found = tokio::time::timeout(AMPLE, status.wait_for(|status| wanted(status))).await;
    match found {
        Ok(Ok(status)) => status.clone(),
        Ok(Err(_)) => panic!("the node stopped: {:?}", node.status()),
        Err(_) => panic!("the condition was never fulfilled: {:?}", node.status()),
    }
}

/// Three nodes, of which some run.
pub(super) struct Cluster {
    addresses: BTreeMap<String, SocketAddr>,
    dir: TempDir,
    snapshot_threshold: usize,
    running: BTreeMap<String, Node>,
    /// Nodes that were not initial members.
    joining: BTreeSet<String>,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        Self::start_with_snapshots_after(5000).await
    }

    pub(super) async fn start_with_snapshots_after(snapshot_threshold: usize) -> Self {
        Self::start_of(&["n1", "n2", "n3"], snapshot_threshold).await
    }

    pub(super) async fn start_of(ids: &[&str], snapshot_threshold: usize) -> Self {
        // All before the first node starts, so that no node gets the port of another.
        let sockets: Vec<(String, TcpListener)> =
            ids.iter().map(|id| ((*id).to_owned(), socket())).collect();
        let addresses = sockets
            .iter()
            .map(|(id, socket)| (id.clone(), socket.local_addr().unwrap()));
        let mut cluster = Self {
            addresses: addresses.collect(),
            dir: tempfile::tempdir().unwrap(),
            snapshot_threshold,
            running: BTreeMap::new(),
            joining: BTreeSet::new(),
        };
        for (id, socket) in sockets {
            cluster.start_node(&id, socket).await;
        }
        cluster
    }

    fn written(&self, id: &str) -> String {
        format!("{id}@{}", self.addresses[id])
    }

    pub(super) fn data_dir(&self, id: &str) -> PathBuf {
        self.dir.path().join(id)
    }

    /// Starts a node that waits to be added, and returns its address for peers.
    pub(super) async fn join(&mut self, id: &str) -> String {
        let socket = socket();
        let address = socket.local_addr().unwrap();
        self.addresses.insert(id.to_owned(), address);
        self.joining.insert(id.to_owned());
        self.start_node(id, socket).await;
        address.to_string()
    }

    async fn start_node(&mut self, id: &str, socket: TcpListener) {
        self.try_start(id, socket, false).await.unwrap();
    }

    async fn try_start(
        &mut self,
        id: &str,
        socket: TcpListener,
        repair: bool,
    ) -> Result<(), StartError> {
        let joins = self.joining.contains(id);
        let initial_members = self
            .addresses
            .keys()
            .filter(|id| !self.joining.contains(*id));
        let others = initial_members.filter(|other| *other != id && !joins);
        let config = timing(RaftConfig {
            node_id: self.written(id),
            peers: others.map(|other| self.written(other)).collect(),
            snapshot_threshold: self.snapshot_threshold,
            max_log_entries: self.snapshot_threshold * 2,
            ..RaftConfig::default()
        });
        let builder = Raft::builder(config, MemoryStateMachine::new());
        let builder = builder
            .data_dir(self.data_dir(id))
            .listener(socket)
            .repair(repair);
        let builder = if joins { builder.join() } else { builder };
        let node = builder.build();
        node.start().await?;
        self.running.insert(id.to_owned(), node);
        Ok(())
    }

    /// Restarts a node on its address, with repair or without.
    pub(super) async fn try_restart(&mut self, id: &str, repair: bool) -> Result<(), StartError> {
        let socket = TcpListener::bind(self.addresses[id]).unwrap();
        self.try_start(id, socket, repair).await
    }

    /// Restarts a node on its address.
    pub(super) async fn restart(&mut self, id: &str) {
        let socket = TcpListener::bind(self.addresses[id]).unwrap();
        self.start_node(id, socket).await;
    }

    pub(super) async fn stop(&mut self, id: &str) {
        let node = self.running.remove(id).unwrap();
        node.shutdown().await;
    }

    pub(super) fn node(&self, id: &str) -> &Node {
        &self.running[id]
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.running.iter()
    }

    /// The leader, once it has committed an entry of its term and all running nodes follow it.
    pub(super) async fn leader(&self) -> String {
        loop {
            let mut named = Vec::new();
            for node in self.running.values() {
                named.push(until(node, |status| status.leader.is_some()).await.leader);
            }
            let Some(leader) = named[0].clone() else {
                continue;
            };
            let agreed = named.iter().all(|name| name.as_ref() == Some(&leader));
            let Some(node) = self.running.get(leader.as_str()).filter(|_| agreed) else {
                // A node still follows a leader that has stopped, or is behind: wait until its status changes.
                let behind = self.running.values().next().unwrap();
                let before = behind.status();
                until(behind, |status| *status != before).await;
                continue;
            };
            let status = until(node, |s| {
                s.has_committed_in_term || s.role == Role::Follower
            })
            .await;
            if status.role == Role::Leader {
                return leader.as_str().to_owned();
            }
        }
    }

    pub(super) fn a_follower_of(&self, leader: &str) -> &str {
        self.running.keys().find(|id| *id != leader).unwrap()
    }

    pub(super) async fn stop_all(self) {
        for node in self.running.values() {
            node.shutdown().await;
        }
    }
}

pub(super) async fn submit(node: &Node, data: &str) -> Applied<Bytes> {
    node.submit(Bytes::copy_from_slice(data.as_bytes()), AMPLE)
        .await
        .unwrap()
}

pub(super) async fn read_at(node: &Node, position: usize) -> Option<Bytes> {
    node.query(position, Consistency::Linearizable, AMPLE)
        .await
        .unwrap()
        .1
}
