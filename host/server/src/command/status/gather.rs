//! Requests the status of every node.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use oarlock_client::{Client, Endpoint, MemberInfo, NodeInfo, RequestError};
use tokio::task::JoinSet;

/// Maximum number of nodes that are discovered in responses, in addition to `--endpoints`. It is a limit because a
/// response may come from a program that is not a node of the cluster.
const MAX_DISCOVERED: usize = 64;

/// Health of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// The node has a leader and has caught up.
    Ready,
    /// The node responds and is not ready.
    NotReady,
    /// The node's state diverged from that of the majority. The node serves no clients.
    Quarantined {
        /// The node diverged too often and does not reinstall its state any more: an operator must act.
        given_up: bool,
    },
    /// The node responds and is not a member: it was removed, or has not been added yet.
    NoMember,
    /// The node does not respond, for this reason.
    Unreachable(String),
    /// The node's client address is unknown.
    NoAddress,
}

/// Status of one node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeReport {
    /// The endpoint of the request.
    pub(crate) endpoint: Option<Endpoint>,
    /// Node id, from its own status or that of another node.
    pub(crate) node_id: Option<String>,
    /// Health.
    pub(crate) health: Health,
    /// The node's response.
    pub(crate) status: Option<NodeInfo>,
}

/// Status of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterReport {
    /// The nodes, ordered by id. Those without an id are last.
    pub(crate) nodes: Vec<NodeReport>,
}

impl ClusterReport {
    /// Whether any node responded.
    pub(crate) fn any_responded(&self) -> bool {
        self.statuses().next().is_some()
    }

    /// The statuses of the nodes that responded.
    pub(super) fn statuses(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().filter_map(|node| node.status.as_ref())
    }

    /// The leader of the highest term that any node reports.
    pub(crate) fn leader_id(&self) -> Option<&str> {
        let with_leader = self.statuses().filter(|status| status.leader_id.is_some());
        with_leader
            .max_by_key(|status| status.term)
            .and_then(|status| status.leader_id.as_deref())
    }

    /// Number of committed entries that the node has not applied.
    pub(crate) fn lag(&self, status: &NodeInfo) -> u64 {
        let committed = self
            .statuses()
            .map(|status| status.commit_index)
            .max()
            .unwrap_or(0);
        committed.saturating_sub(status.applied_index)
    }
}

/// Requests the status of the client's endpoints, then of the other members that they report.
pub(crate) async fn gather(client: &Client) -> ClusterReport {
    let mut nodes = request_all(client, client.endpoints()).await;
    let known: BTreeSet<_> = nodes
        .iter()
        .filter_map(|node| node.node_id.clone())
        .collect();
    let named: Vec<MemberInfo> = nodes
        .iter()
        .filter_map(|node| node.status.as_ref())
        .flat_map(|status| status.members.clone())
        .collect();
    let mut missing: Vec<(String, Option<Endpoint>)> = Vec::new();
    for member in named {
        if known.contains(&member.node_id) {
            continue;
        }
        let endpoint = member.client_addr.as_deref().and_then(reachable);
        if let Some((_, found)) = missing
            .iter_mut()
            .find(|(node_id, _)| *node_id == member.node_id)
        {
            *found = found.take().or(endpoint);
        } else if missing.len() < MAX_DISCOVERED {
            missing.push((member.node_id, endpoint));
        }
    }
    // An unreachable endpoint that is the address of a member gets the member's id instead of a second request.
    missing.retain(|(node_id, endpoint)| {
        let unreachable = nodes.iter_mut().find(|node| {
            node.node_id.is_none() && endpoint.is_some() && node.endpoint == *endpoint
        });
        let Some(node) = unreachable else { return true };
        node.node_id = Some(node_id.clone());
        false
    });
    let endpoints: Vec<_> = missing
        .iter()
        .filter_map(|(_, endpoint)| endpoint.clone())
        .collect();
    let mut discovered = request_all(client, &endpoints).await;
    for (node_id, endpoint) in missing {
        match discovered
            .iter()
            .position(|node| endpoint.is_some() && node.endpoint == endpoint)
        {
            Some(position) => {
                let mut node = discovered.swap_remove(position);
                node.node_id = node.node_id.or(Some(node_id));
                nodes.push(node);
            }
            None => nodes.push(NodeReport {
                endpoint: None,
                node_id: Some(node_id),
                health: Health::NoAddress,
                status: None,
            }),
        }
    }
    // A node may have two addresses.
    let mut seen = BTreeSet::new();
    nodes.retain(|node| {
        node.status
            .as_ref()
            .is_none_or(|status| seen.insert(status.node_id.clone()))
    });
    nodes.sort_by(|one, other| {
        (one.node_id.is_none(), &one.node_id).cmp(&(other.node_id.is_none(), &other.node_id))
    });
    ClusterReport { nodes }
}

/// The client address of a node, unless it is unspecified (0.0.0.0 or [::]), which is not reachable from elsewhere.
fn reachable(client_addr: &str) -> Option<Endpoint> {
    if client_addr
        .parse::<SocketAddr>()
        .is_ok_and(|address| address.ip().is_unspecified())
    {
        return None;
    }
    client_addr.parse().ok()
}

/// Requests the status of these endpoints concurrently. The results are in the same order.
async fn request_all(client: &Client, endpoints: &[Endpoint]) -> Vec<NodeReport> {
    let mut requests = JoinSet::new();
    for (position, endpoint) in endpoints.iter().enumerate() {
        let (client, endpoint) = (client.clone(), endpoint.clone());
        requests.spawn(async move { (position, request_one(&client, endpoint).await) });
    }
    let mut reports = requests.join_all().await;
    reports.sort_by_key(|(position, _)| *position);
    reports.into_iter().map(|(_, report)| report).collect()
}

async fn request_one(client: &Client, endpoint: Endpoint) -> NodeReport {
    let status = match client.status_of(&endpoint).await {
        Ok(status) => status,
        Err(error) => {
            return NodeReport {
                endpoint: Some(endpoint),
                node_id: None,
                health: Health::Unreachable(short(&error)),
                status: None,
            };
        }
    };
    let is_member = status
        .members
        .iter()
        .any(|member| member.node_id == status.node_id);
    let health = match client.is_ready(&endpoint).await {
        Ok(_) if !is_member => Health::NoMember,
        Ok(_) if audit_flag(&status, "quarantined") => Health::Quarantined {
            given_up: audit_flag(&status, "given_up"),
        },
        Ok(true) => Health::Ready,
        Ok(false) => Health::NotReady,
        Err(error) => Health::Unreachable(short(&error)),
    };
    NodeReport {
        endpoint: Some(endpoint),
        node_id: Some(status.node_id.clone()),
        health,
        status: Some(status),
    }
}

/// A flag in the `audit` object of a status.
fn audit_flag(status: &NodeInfo, name: &str) -> bool {
    let audit = status.other.get("audit");
    audit.is_some_and(|audit| audit[name] == true)
}

/// A short reason for the table.
fn short(error: &RequestError) -> String {
    match error {
        RequestError::Unreachable { tried } => {
            tried.rsplit(": ").next().unwrap_or(tried).to_owned()
        }
        RequestError::TimedOut { .. } => "timed out".to_owned(),
        other => other.to_string(),
    }
}
