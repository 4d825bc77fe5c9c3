//! Asking everyone.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use oarlock_client::{Client, Endpoint, MemberInfo, NodeInfo, RequestError};
use tokio::task::JoinSet;

/// Most nodes that are asked beside those that were named: answers of strangers are not trusted.
const MAX_DISCOVERED: usize = 64;

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It has a leader and has caught up.
    Ready,
    /// It answers, and says that it is not ready.
    NotReady,
    /// It answers, and came to another state than the majority: it serves nobody.
    Quarantined {
        /// It differed too often, and stays so until somebody has looked at it.
        given_up: bool,
    },
    /// It answers, and belongs to no cluster: it was removed, or waits to be added.
    NoMember,
    /// It does not answer.
    Silent(String),
    /// Nobody knows where it takes requests.
    NoAddress,
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeReport {
    /// Where it was asked.
    pub(crate) endpoint: Option<Endpoint>,
    /// Its name, from itself or from the others.
    pub(crate) node_id: Option<String>,
    /// How it is.
    pub(crate) health: Health,
    /// What it said.
    pub(crate) status: Option<NodeInfo>,
}

/// What is known of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterReport {
    /// Its nodes, by name; those without a name at the end.
    pub(crate) nodes: Vec<NodeReport>,
}

impl ClusterReport {
    /// Whether any node answered.
    pub(crate) fn anyone_answered(&self) -> bool {
        self.statuses().next().is_some()
    }

    fn statuses(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().filter_map(|node| node.status.as_ref())
    }

    /// Who leads, by the word of the latest term.
    pub(crate) fn leader_id(&self) -> Option<&str> {
        let knows = self.statuses().filter(|status| status.leader_id.is_some());
        knows
            .max_by_key(|status| status.term)
            .and_then(|status| status.leader_id.as_deref())
    }

    /// How many committed entries a node has not applied.
    pub(crate) fn lag(&self, status: &NodeInfo) -> u64 {
        let committed = self
            .statuses()
            .map(|status| status.commit_index)
            .max()
            .unwrap_or(0);
        committed.saturating_sub(status.applied_index)
    }
}

/// Asks the client's endpoints, then the members that they name and that were not asked yet.
pub(crate) async fn gather(client: &Client) -> ClusterReport {
    let mut nodes = ask(client, client.endpoints()).await;
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
    // A silent endpoint that a member calls its own gets its name instead of a second question.
    missing.retain(|(node_id, endpoint)| {
        let silent = nodes.iter_mut().find(|node| {
            node.node_id.is_none() && endpoint.is_some() && node.endpoint == *endpoint
        });
        let Some(node) = silent else { return true };
        node.node_id = Some(node_id.clone());
        false
    });
    let endpoints: Vec<_> = missing
        .iter()
        .filter_map(|(_, endpoint)| endpoint.clone())
        .collect();
    let mut discovered = ask(client, &endpoints).await;
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
    // One node under two addresses is one node.
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

/// An address that a node gave for itself, unless it means "every interface", which nobody can reach from elsewhere.
fn reachable(client_addr: &str) -> Option<Endpoint> {
    if client_addr
        .parse::<SocketAddr>()
        .is_ok_and(|address| address.ip().is_unspecified())
    {
        return None;
    }
    client_addr.parse().ok()
}

/// Asks all of these at once; the answers are in their order.
async fn ask(client: &Client, endpoints: &[Endpoint]) -> Vec<NodeReport> {
    let mut asked = JoinSet::new();
    for (position, endpoint) in endpoints.iter().enumerate() {
        let (client, endpoint) = (client.clone(), endpoint.clone());
        asked.spawn(async move { (position, ask_one(&client, endpoint).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(position, _)| *position);
    answers.into_iter().map(|(_, report)| report).collect()
}

async fn ask_one(client: &Client, endpoint: Endpoint) -> NodeReport {
    let status = match client.status_of(&endpoint).await {
        Ok(status) => status,
        Err(error) => {
            return NodeReport {
                endpoint: Some(endpoint),
                node_id: None,
                health: Health::Silent(short(&error)),
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
        Ok(_) if says(&status, "quarantined") => Health::Quarantined {
            given_up: says(&status, "given_up"),
        },
        Ok(true) => Health::Ready,
        Ok(false) => Health::NotReady,
        Err(error) => Health::Silent(short(&error)),
    };
    NodeReport {
        endpoint: Some(endpoint),
        node_id: Some(status.node_id.clone()),
        health,
        status: Some(status),
    }
}

/// Whether a node says so of itself, where states are compared.
fn says(status: &NodeInfo, what: &str) -> bool {
    let audit = status.other.get("audit");
    audit.is_some_and(|audit| audit[what] == true)
}

/// Why a node does not answer, without the advice that stands below the table.
fn short(error: &RequestError) -> String {
    match error {
        RequestError::Unreachable { tried } => {
            tried.rsplit(": ").next().unwrap_or(tried).to_owned()
        }
        RequestError::TimedOut { .. } => "it is silent".to_owned(),
        other => other.to_string(),
    }
}
