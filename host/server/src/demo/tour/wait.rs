//! Waits for a condition on the status of the nodes.

use std::time::Duration;

use oarlock_client::{Client, Endpoint, NodeInfo, NodeRole};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::demo::cluster::DemoCluster;
use crate::exit::Failure;

/// Timeout of a step. An election may take seconds on a busy machine.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval of status requests.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Waits until every running node is ready: it has a leader and has caught up.
///
/// # Errors
/// A node is not ready in time.
pub(super) async fn until_ready(cluster: &DemoCluster) -> Result<(), Failure> {
    let client = cluster.client()?;
    let deadline = Instant::now() + STEP_TIMEOUT;
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for endpoint in client.endpoints() {
        while client.is_ready(endpoint).await != Ok(true) {
            if Instant::now() > deadline {
                let seconds = STEP_TIMEOUT.as_secs();
                return Err(Failure::failed(format!(
                    "{endpoint} is not ready after {seconds} s; see its log with --log info"
                )));
            }
            ticks.tick().await;
        }
    }
    Ok(())
}

/// The status of every running node. `None`: a node does not respond.
async fn all_statuses(client: &Client) -> Option<Vec<(Endpoint, NodeInfo)>> {
    let statuses = client.status_of_all().await;
    statuses
        .into_iter()
        .map(|(endpoint, status)| Some((endpoint, status.ok()?)))
        .collect()
}

/// Polls the status of all nodes until `found` returns a value.
///
/// # Errors
/// Timeout. The error contains `what` and the last status of each node.
pub(super) async fn until<T>(
    cluster: &DemoCluster,
    what: &str,
    mut found: impl FnMut(&[(Endpoint, NodeInfo)]) -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let client = cluster.client()?;
    let deadline = Instant::now() + STEP_TIMEOUT;
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        ticks.tick().await;
        if let Some(statuses) = all_statuses(&client).await {
            if let Some(result) = found(&statuses)? {
                return Ok(result);
            }
            last = Some(statuses);
        }
        if Instant::now() > deadline {
            let seconds = STEP_TIMEOUT.as_secs();
            return Err(Failure::failed(format!(
                "{what} took more than {seconds} s: {}; see the logs with --log info",
                describe(last.as_deref())
            )));
        }
    }
}

fn describe(last: Option<&[(Endpoint, NodeInfo)]>) -> String {
    let Some(statuses) = last else {
        return "not all nodes respond".to_owned();
    };
    let one = |(_, status): &(Endpoint, NodeInfo)| {
        format!(
            "{} is {} in term {} and has applied entry {}",
            status.node_id, status.role, status.term, status.applied_index
        )
    };
    statuses.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The leader, once all nodes report it in the same term.
pub(super) fn agreed_leader(statuses: &[(Endpoint, NodeInfo)]) -> Option<&NodeInfo> {
    let (_, leader) = statuses
        .iter()
        .find(|(_, status)| status.role == NodeRole::Leader)?;
    let agrees = |status: &NodeInfo| {
        status.term == leader.term && status.leader_id.as_ref() == Some(&leader.node_id)
    };
    statuses
        .iter()
        .all(|(_, status)| agrees(status))
        .then_some(leader)
}
