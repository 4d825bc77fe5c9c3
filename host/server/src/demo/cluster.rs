//! The nodes of the demo, all in this process.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::task::Poll;

use oarlock_client::{Client, Endpoint};
use oarlock_wasm::GuestModule;
use task_queue_raft::RaftConfig;
use task_queue_raft::handle::FatalError;
use tempfile::TempDir;

use super::ports::{self, Pair};
use crate::exit::Failure;
use crate::guest::{self, CodeSettings};
use crate::module_check::CheckSettings;
use crate::node::{Node, NodeStartError, Sockets};
use crate::settings::cluster::{ClusterPeer, ClusterSpec};
use crate::settings::{COMPILED_DIR, GuestSource, HostPort, ServeSettings};
use crate::start_limits;

/// Settings of the demo.
#[derive(Debug)]
pub(super) struct DemoPlan {
    /// Number of nodes.
    pub(super) nodes: u16,
    /// First port. `None`: any free ports.
    pub(super) base_port: Option<u16>,
    /// The guest.
    pub(super) guest: GuestSource,
    /// Directory for the data of all nodes. `None`: a temporary directory, removed at the end.
    pub(super) data_dir: Option<PathBuf>,
    /// Checks modules in a child process. `None`: in this process, for a test.
    pub(super) module_check: Option<CheckSettings>,
    /// Timeouts and log size.
    pub(super) raft: RaftConfig,
}

/// Directory for the data of all nodes.
#[derive(Debug)]
enum DataDir {
    Kept(PathBuf),
    /// Removed on drop.
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

/// One node, running or stopped.
struct DemoNode {
    settings: ServeSettings,
    peer_addr: SocketAddr,
    endpoint: Endpoint,
    running: Option<Node>,
}

/// The nodes of the demo.
pub(crate) struct DemoCluster {
    nodes: Vec<DemoNode>,
    module: GuestModule,
    data_dir: DataDir,
}

impl DemoCluster {
    /// Starts all nodes. There may be no leader yet when this returns.
    ///
    /// # Errors
    /// A port is in use, the guest is refused, or the data directory cannot be used.
    pub(super) async fn start(plan: DemoPlan) -> Result<Self, Failure> {
        let pairs = ports::take(plan.base_port, plan.nodes)?;
        let data_dir = match plan.data_dir {
            Some(path) => DataDir::Kept(path),
            None => DataDir::Temporary(tempfile::tempdir().map_err(|error| {
                Failure::failed(format!(
                    "cannot create a temporary directory: {error}; choose a directory with --data-dir"
                ))
            })?),
        };
        // Compiled once for all nodes.
        let code = CodeSettings {
            compiled_dir: Some(data_dir.path().join(COMPILED_DIR)),
            check: plan.module_check,
        };
        let module = guest::load(plan.guest, start_limits::of_new_cluster(), code)
            .await
            .map_err(Failure::failed)?;
        let members = pairs
            .iter()
            .enumerate()
            .map(|(position, pair)| ClusterPeer {
                node_id: name(position),
                addr: host_port(pair.peer_addr),
            });
        let spec = ClusterSpec::new(members.collect()).map_err(Failure::failed)?;
        let mut cluster = Self {
            nodes: Vec::new(),
            module,
            data_dir,
        };
        for (position, pair) in pairs.into_iter().enumerate() {
            if let Err(failure) = cluster.add(position, pair, &spec, &plan.raft).await {
                // Stop the nodes that are running, so that they close their stores.
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
        spec: &ClusterSpec,
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
            spec.clone(),
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
        let node = started.map_err(|error| start_failure(&node_id, &error))?;
        self.nodes.push(DemoNode {
            settings,
            peer_addr: pair.peer_addr,
            endpoint,
            running: Some(node),
        });
        Ok(())
    }

    /// The guest that the nodes run.
    pub(super) fn module(&self) -> &GuestModule {
        &self.module
    }

    /// The data directory, and whether it is temporary.
    pub(super) fn data_dir(&self) -> (&Path, bool) {
        (
            self.data_dir.path(),
            matches!(self.data_dir, DataDir::Temporary(_)),
        )
    }

    /// Id, address for peers and endpoint of each node.
    pub(super) fn nodes(&self) -> impl ExactSizeIterator<Item = (&str, SocketAddr, &Endpoint)> {
        self.nodes.iter().map(|node| {
            (
                node.settings.node_id.as_str(),
                node.peer_addr,
                &node.endpoint,
            )
        })
    }

    /// Endpoints of the running nodes.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.nodes
            .iter()
            .filter(|node| node.running.is_some())
            .map(|node| node.endpoint.clone())
            .collect()
    }

    /// A client of all running nodes.
    ///
    /// # Errors
    /// No node is running.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::new(self.endpoints()).map_err(Failure::failed)
    }

    /// Stops one node.
    ///
    /// # Errors
    /// The node does not exist or is not running.
    pub(super) async fn stop(&mut self, node_id: &str) -> Result<(), Failure> {
        let node = self.find(node_id)?;
        match node.running.take() {
            Some(running) => {
                running.shutdown().await;
                Ok(())
            }
            None => Err(Failure::failed(format!(
                "cannot stop {node_id}: it is not running"
            ))),
        }
    }

    /// Restarts a stopped node with its data.
    ///
    /// # Errors
    /// The node does not exist or does not start.
    pub(super) async fn restart(&mut self, node_id: &str) -> Result<(), Failure> {
        let node = self.find(node_id)?;
        let started = Node::start(node.settings.clone()).await;
        node.running = Some(
            started
                .map_err(|error| Failure::failed(format!("{node_id} did not restart: {error}")))?,
        );
        Ok(())
    }

    fn find(&mut self, node_id: &str) -> Result<&mut DemoNode, Failure> {
        let found = self
            .nodes
            .iter_mut()
            .find(|node| node.settings.node_id == node_id);
        found.ok_or_else(|| Failure::failed(format!("there is no node {node_id} in the demo")))
    }

    /// Waits until a node fails. Returns its id and the fault.
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
    /// The directory cannot be removed.
    pub(crate) async fn shutdown(mut self) -> Result<(), Failure> {
        // All at once: otherwise each stopped leader causes an election.
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
                    Failure::failed(format!("cannot remove {path}: {error}; remove it by hand"))
                })
            }
        }
    }
}

/// Explains that a node has stopped by itself.
pub(super) fn node_failure(node_id: &str, fault: &FatalError) -> Failure {
    Failure::failed(format!("{node_id} stopped: {fault}; start the demo again"))
}

/// Explains why a node did not start.
fn start_failure(node_id: &str, error: &NodeStartError) -> Failure {
    Failure::failed(format!("{node_id} did not start: {error}"))
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
