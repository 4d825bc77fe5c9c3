//! The demo's nodes, all in this process.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::task::Poll;

use oarlock_client::{Client, Endpoint};
use oarlock_wasm::{GuestModule, MachineLimits};
use task_queue_raft::RaftConfig;
use task_queue_raft::handle::FatalError;
use tempfile::TempDir;

use super::ports::{self, Pair};
use crate::compiled::CompiledDir;
use crate::exit::Failure;
use crate::guest;
use crate::node::{Node, NodeStartError, Sockets};
use crate::settings::cluster::{ClusterPeer, ClusterSpec};
use crate::settings::{COMPILED_DIR, GuestSource, HostPort, ServeSettings};

/// What is wanted.
#[derive(Debug)]
pub(super) struct DemoPlan {
    /// How many nodes.
    pub(super) nodes: u16,
    /// Where their ports begin; without one, the system chooses.
    pub(super) base_port: Option<u16>,
    /// What they replicate for.
    pub(super) guest: GuestSource,
    /// Where they keep their data; without one, in a directory that is removed at the end.
    pub(super) data_dir: Option<PathBuf>,
    /// Timing and log.
    pub(super) raft: RaftConfig,
}

/// Where the nodes keep their data.
#[derive(Debug)]
enum DataDir {
    Kept(PathBuf),
    /// Removed when it is dropped.
    Temporary(TempDir),
}

impl DataDir {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// One node, running or not.
struct DemoNode {
    settings: ServeSettings,
    peer_addr: SocketAddr,
    endpoint: Endpoint,
    running: Option<Node>,
}

/// All nodes.
pub(crate) struct DemoCluster {
    nodes: Vec<DemoNode>,
    module: GuestModule,
    data_dir: DataDir,
}

impl DemoCluster {
    /// Starts all nodes. They may not have a leader yet when this returns.
    ///
    /// # Errors
    /// A port is taken, the guest is refused, or the data directory can't be used.
    pub(super) async fn start(plan: DemoPlan) -> Result<Self, Failure> {
        let pairs = ports::take(plan.base_port, plan.nodes)?;
        // Compiled once for all nodes.
        let compiled = plan
            .data_dir
            .as_ref()
            .map(|dir| CompiledDir::new(dir.join(COMPILED_DIR)));
        let module = guest::load(plan.guest, MachineLimits::default(), compiled)
            .await
            .map_err(Failure::failed)?;
        let data_dir = match plan.data_dir {
            Some(path) => DataDir::Kept(path),
            None => DataDir::Temporary(tempfile::tempdir().map_err(|error| {
                Failure::failed(format!(
                    "no temporary directory can be made: {error}; name one with --data-dir"
                ))
            })?),
        };
        let members = pairs
            .iter()
            .enumerate()
            .map(|(position, pair)| ClusterPeer {
                node_id: name(position),
                addr: host_port(pair.peer_addr),
            });
        let who = ClusterSpec::new(members.collect()).map_err(Failure::failed)?;
        let mut cluster = Self {
            nodes: Vec::new(),
            module,
            data_dir,
        };
        for (position, pair) in pairs.into_iter().enumerate() {
            if let Err(failure) = cluster.add(position, pair, &who, &plan.raft).await {
                // The nodes before it stop properly, so that their data stay whole.
                cluster.shutdown().await?;
                return Err(failure);
            }
        }
        Ok(cluster)
    }

    async fn add(
        &mut self,
        position: usize,
        pair: Pair,
        who: &ClusterSpec,
        raft: &RaftConfig,
    ) -> Result<(), Failure> {
        let node_id = name(position);
        let endpoint = pair
            .client_addr
            .to_string()
            .parse()
            .map_err(Failure::failed)?;
        let guest = GuestSource::Loaded(self.module.clone());
        let dir = self.data_dir.path().join(&node_id);
        let settings = ServeSettings::of_cluster(
            who.clone(),
            &node_id,
            host_port(pair.client_addr),
            dir,
            guest,
        );
        let settings = ServeSettings {
            raft: raft.clone(),
            ..settings.map_err(Failure::failed)?
        };
        let sockets = Sockets {
            peers: Some(pair.peers),
            clients: Some(pair.clients),
        };
        let started = Node::start_on(settings.clone(), sockets).await;
        let node = started.map_err(|error| start_failure(&node_id, error))?;
        self.nodes.push(DemoNode {
            settings,
            peer_addr: pair.peer_addr,
            endpoint,
            running: Some(node),
        });
        Ok(())
    }

    /// What they run.
    pub(super) fn module(&self) -> &GuestModule {
        &self.module
    }

    /// Where they keep their data, and whether that goes away at the end.
    pub(super) fn data_dir(&self) -> (&Path, bool) {
        (
            self.data_dir.path(),
            matches!(self.data_dir, DataDir::Temporary(_)),
        )
    }

    /// Name, address for peers and endpoint of each node.
    pub(super) fn nodes(&self) -> impl ExactSizeIterator<Item = (&str, SocketAddr, &Endpoint)> {
        self.nodes.iter().map(|node| {
            (
                node.settings.node_id.as_str(),
                node.peer_addr,
                &node.endpoint,
            )
        })
    }

    /// Where the nodes that run are reached.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.nodes
            .iter()
            .filter(|node| node.running.is_some())
            .map(|node| node.endpoint.clone())
            .collect()
    }

    /// A client of all nodes that run.
    ///
    /// # Errors
    /// None runs.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::new(self.endpoints()).map_err(Failure::failed)
    }

    /// Stops one node.
    ///
    /// # Errors
    /// There is none of that name, or it does not run.
    pub(super) async fn stop(&mut self, node_id: &str) -> Result<(), Failure> {
        let node = self.find(node_id)?;
        match node.running.take() {
            Some(running) => {
                running.shutdown().await;
                Ok(())
            }
            None => Err(Failure::failed(format!(
                "{node_id} does not run, so it can't be stopped"
            ))),
        }
    }

    /// Starts a node again that was stopped, with the data that it has.
    ///
    /// # Errors
    /// There is none of that name, or it does not start.
    pub(super) async fn restart(&mut self, node_id: &str) -> Result<(), Failure> {
        let node = self.find(node_id)?;
        let started = Node::start(node.settings.clone()).await;
        node.running = Some(started.map_err(|error| {
            Failure::failed(format!("{node_id} does not start again: {error}"))
        })?);
        Ok(())
    }

    fn find(&mut self, node_id: &str) -> Result<&mut DemoNode, Failure> {
        let found = self
            .nodes
            .iter_mut()
            .find(|node| node.settings.node_id == node_id);
        found.ok_or_else(|| Failure::failed(format!("there is no node {node_id} in the demo")))
    }

    /// Waits until a node can't go on, and says which and why.
    pub(super) async fn failed(&self) -> (String, FatalError) {
        let running = self
            .nodes
            .iter()
            .filter_map(|node| Some((&node.settings.node_id, node.running.as_ref()?)));
        let mut waiting: Vec<_> = running
            .map(|(node_id, node)| Box::pin(async move { (node_id.clone(), node.failed().await) }))
            .collect();
        poll_fn(|context| {
            for node in &mut waiting {
                if let Poll::Ready(failed) = node.as_mut().poll(context) {
                    return Poll::Ready(failed);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Stops all nodes and removes a temporary directory.
    ///
    /// # Errors
    /// It can't be removed.
    pub(crate) async fn shutdown(mut self) -> Result<(), Failure> {
        // A leader that goes first makes the others elect a new one only to stop it too: all go at once.
        let mut stopping = tokio::task::JoinSet::new();
        for running in self.nodes.iter_mut().filter_map(|node| node.running.take()) {
            stopping.spawn(running.shutdown());
        }
        stopping.join_all().await;
        match self.data_dir {
            DataDir::Kept(_) => Ok(()),
            DataDir::Temporary(dir) => {
                let path = dir.path().display().to_string();
                dir.close().map_err(|error| {
                    Failure::failed(format!(
                        "{path} can't be removed: {error}; remove it by hand"
                    ))
                })
            }
        }
    }
}

/// A node does not start. Its directory may be an earlier demo's on other ports.
fn start_failure(node_id: &str, error: NodeStartError) -> Failure {
    match error {
        NodeStartError::Foreign(source) => Failure::failed(format!(
            "{node_id} does not start: {source}; a demo's data belong to its ports and its number of nodes, so \
             choose the --base-port and --nodes of that time, or another --data-dir"
        )),
        error => Failure::failed(format!("{node_id} does not start: {error}")),
    }
}

fn name(position: usize) -> String {
    format!("node{}", position + 1)
}

fn host_port(address: SocketAddr) -> HostPort {
    HostPort {
        host: address.ip().to_string(),
        port: address.port(),
    }
}
