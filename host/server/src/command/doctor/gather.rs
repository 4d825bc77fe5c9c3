//! Asks every node for its facts.

use oarlock_client::{Client, Endpoint, RequestError};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::command::status;
use crate::doctor::facts::{NodeAnswer, NodeFacts, NodeSeen};
use crate::wall_clock::now_ms;

/// The part of a report that is examined: the command looks at the facts of all nodes together.
#[derive(Deserialize)]
struct NodeReportFacts {
    facts: NodeFacts,
}

/// The nodes of `--endpoints` and the members that they report.
pub(crate) async fn gather(client: &Client) -> Vec<NodeSeen> {
    let found = status::gather(client).await;
    let mut requests = JoinSet::new();
    for (position, node) in found.nodes.into_iter().enumerate() {
        let client = client.clone();
        requests.spawn(async move {
            let mut seen = NodeSeen {
                node_id: node.node_id,
                endpoint: node.endpoint.as_ref().map(ToString::to_string),
                asked_ms: None,
                answer: NodeAnswer::NoAddress,
            };
            if let Some(endpoint) = node.endpoint {
                let asked = now_ms();
                seen.answer = ask(&client, &endpoint).await;
                seen.asked_ms = Some((asked, now_ms()));
            }
            (position, seen)
        });
    }
    let mut nodes = requests.join_all().await;
    nodes.sort_by_key(|(position, _)| *position);
    nodes.into_iter().map(|(_, seen)| seen).collect()
}

async fn ask(client: &Client, endpoint: &Endpoint) -> NodeAnswer {
    let report = match client.doctor_of(endpoint).await {
        Ok(report) => report,
        Err(error) => return of_error(&error),
    };
    match serde_json::from_slice::<NodeReportFacts>(&report) {
        Ok(NodeReportFacts { facts }) => NodeAnswer::Facts(Box::new(facts)),
        Err(error) => NodeAnswer::Refused(format!("its report can't be read: {error}")),
    }
}

fn of_error(error: &RequestError) -> NodeAnswer {
    match error {
        RequestError::Unreachable { tried } => {
            let reason = tried.rsplit(": ").next().unwrap_or(tried);
            NodeAnswer::Unreachable(reason.to_owned())
        }
        RequestError::TimedOut { .. } => NodeAnswer::Unreachable("timed out".to_owned()),
        RequestError::Broken { .. } => NodeAnswer::Unreachable(error.to_string()),
        RequestError::NoLeader { .. }
        | RequestError::Overloaded { .. }
        | RequestError::TooLarge { .. }
        | RequestError::Invalid { .. }
        | RequestError::Malformed { .. } => NodeAnswer::Refused(error.to_string()),
    }
}
