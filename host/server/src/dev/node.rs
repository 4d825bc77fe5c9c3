//! The local node: one voter, with short timeouts.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use oarlock_client::{Client, ClientOptions, RequestError, UpgradeDone, UpgradeOptions};
use oarlock_wasm::Sha256;
use task_queue_raft::handle::FatalError;

use super::project::DevProject;
use crate::exit::Failure;
use crate::module_check::{CheckBudget, CheckSettings};
use crate::node::Node;
use crate::own_hosts::is_loopback_host;
use crate::settings::{ClusterSpec, GuestSource, HostPort, ServeSettings};

const NODE_ID: &str = "dev";
/// How long an upgrade may take. A large state takes a while to migrate.
const UPGRADE_WAIT: Duration = Duration::from_secs(60);
/// Timeouts of Raft. They are safe with one voter: the node is its own leader a moment after the start.
const HEARTBEAT: Duration = Duration::from_millis(10);
const ELECTION: [Duration; 2] = [Duration::from_millis(30), Duration::from_millis(60)];

/// A running node and a client of it.
pub(super) struct DevNode {
    node: Node,
    client: Client,
}

impl DevNode {
    /// Starts the node with the state of earlier runs, and the module of that state. A new state begins with `module`.
    ///
    /// # Errors
    /// The module is not valid, the address is in use, or the state needs another module.
    pub(super) async fn start(
        project: &DevProject,
        module: &[u8],
        client_addr: &str,
    ) -> Result<Self, Failure> {
        let client_addr: HostPort = client_addr
            .parse()
            .map_err(|error| Failure::usage(format!("--client-addr: {error}")))?;
        if !is_loopback_host(&client_addr.host) {
            return Err(Failure::usage(format!(
                "--client-addr: other machines can connect to {client_addr}, and this node is for development on this machine; \
                 use an address of the loopback interface such as 127.0.0.1"
            )));
        }
        // The log begins with this module, and contains the upgrades to later ones.
        let first = project.first_module();
        if !first.is_file() {
            let written = std::fs::write(&first, module);
            written.map_err(|error| {
                Failure::failed(format!("cannot write {}: {error}", first.display()))
            })?;
        }
        let anywhere = HostPort {
            host: "127.0.0.1".to_owned(),
            port: 0,
        };
        let mut settings = ServeSettings::of_cluster(
            ClusterSpec::alone(NODE_ID, anywhere),
            NODE_ID,
            client_addr,
            project.state_dir(),
            GuestSource::File(first),
        )
        .map_err(Failure::usage)?;
        settings.cluster_id = "oarlock-dev".to_owned();
        let check = CheckSettings::new(CheckBudget::default()).map_err(Failure::failed)?;
        settings.module_check = Some(check);
        settings.raft.heartbeat_interval = HEARTBEAT;
        [
            settings.raft.election_timeout_min,
            settings.raft.election_timeout_max,
        ] = ELECTION;
        let node = Node::start(settings).await.map_err(Failure::failed)?;
        let endpoint = node
            .client_addr()
            .to_string()
            .parse()
            .map_err(Failure::failed)?;
        let options = ClientOptions {
            timeout: UPGRADE_WAIT + Duration::from_secs(10),
            ..ClientOptions::default()
        };
        let client = Client::with_options([endpoint], options).map_err(Failure::failed)?;
        Ok(Self { node, client })
    }

    /// The address for clients.
    pub(super) fn client_addr(&self) -> SocketAddr {
        self.node.client_addr()
    }

    /// Whether this module is active.
    pub(super) fn runs(&self, module: &[u8]) -> bool {
        self.node.module().sha256() == Sha256::of(module)
    }

    /// Upgrades the node. Without effect if the module is active.
    pub(super) async fn upgrade(&self, module: Bytes) -> Result<UpgradeDone, RequestError> {
        let options = UpgradeOptions {
            dry_run: false,
            replace_machine: false,
            wait: UPGRADE_WAIT,
            signature: None,
            by: "oarlock dev".to_owned(),
        };
        self.client.upgrade(module, &options).await
    }

    /// Waits until the node fails.
    pub(super) async fn failed(&self) -> FatalError {
        self.node.failed().await
    }

    /// Stops the node.
    pub(super) async fn stop(self) {
        self.node.shutdown().await;
    }
}
