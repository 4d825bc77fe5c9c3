//! One measurement: the facts and the metrics of every node.

use std::time::Instant;

use oarlock_client::{Client, Endpoint};
use tokio::task::JoinSet;

use super::series::Series;
use crate::command::doctor::gather;
use crate::doctor::facts::NodeSeen;

/// What all nodes reported at about the same time.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    pub(super) at: Instant,
    pub(super) nodes: Vec<MeasuredNode>,
}

/// What one node reported.
#[derive(Clone, Debug)]
pub(super) struct MeasuredNode {
    pub(super) seen: NodeSeen,
    /// Its metrics; `None` if it did not send them, for example to a client without the role.
    pub(super) series: Option<Series>,
}

impl Measurement {
    pub(super) fn any_responded(&self) -> bool {
        self.nodes.iter().any(|node| node.seen.facts().is_some())
    }

    /// The same node in another measurement.
    pub(super) fn node(&self, seen: &NodeSeen) -> Option<&MeasuredNode> {
        let mut nodes = self.nodes.iter();
        nodes.find(|node| node.seen.endpoint == seen.endpoint && node.seen.node_id == seen.node_id)
    }
}

/// Asks every node.
pub(super) async fn measure(client: &Client) -> Measurement {
    let nodes = gather::gather(client).await;
    let at = Instant::now();
    let mut requests = JoinSet::new();
    for (position, seen) in nodes.into_iter().enumerate() {
        let client = client.clone();
        requests.spawn(async move {
            let endpoint: Option<Endpoint> = seen
                .endpoint
                .as_deref()
                .filter(|_| seen.facts().is_some())
                .and_then(|endpoint| endpoint.parse().ok());
            let series = match endpoint {
                Some(endpoint) => client.metrics_of(&endpoint).await.ok(),
                None => None,
            };
            let series = series.map(|text| Series::parse(&String::from_utf8_lossy(&text)));
            (position, MeasuredNode { seen, series })
        });
    }
    let mut nodes = requests.join_all().await;
    nodes.sort_by_key(|(position, _)| *position);
    Measurement {
        at,
        nodes: nodes.into_iter().map(|(_, node)| node).collect(),
    }
}
