//! Waiting until the nodes say something.

use std::time::Duration;

use oarlock_client::{Client, Endpoint, NodeInfo, NodeRole};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::demo::cluster::DemoCluster;
use crate::exit::Failure;

/// How long a step may take at most. An election takes seconds on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How often the nodes are asked while something is waited for.
const INTERVAL: Duration = Duration::from_millis(25);

/// Waits until every running node says that it is ready: it has a leader and has caught up with it.
///
/// # Errors
/// They are not, in time.
pub(super) async fn until_ready(cluster: &DemoCluster) -> Result<(), Failure> {
    let client = cluster.client()?;
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for endpoint in client.endpoints() {
        while client.is_ready(endpoint).await != Ok(true) {
            if Instant::now() > deadline {
                let seconds = PATIENCE.as_secs();
                return Err(Failure::failed(format!(
                    "{endpoint} is not ready within {seconds} s"
                )));
            }
            ticks.tick().await;
        }
    }
    Ok(())
}

/// What every running node says of itself; `None` as long as one does not answer.
async fn ask_all(client: &Client) -> Option<Vec<(Endpoint, NodeInfo)>> {
    let answers = client.status_of_all().await;
    answers
        .into_iter()
        .map(|(endpoint, status)| Some((endpoint, status.ok()?)))
        .collect()
}

/// Asks again and again until `found` finds what is waited for.
///
/// # Errors
/// It is not there in time. The words name `what`, and what the nodes said last.
pub(super) async fn until<T>(
    cluster: &DemoCluster,
    what: &str,
    mut found: impl FnMut(&[(Endpoint, NodeInfo)]) -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let client = cluster.client()?;
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        ticks.tick().await;
        if let Some(answers) = ask_all(&client).await {
            if let Some(result) = found(&answers)? {
                return Ok(result);
            }
            last = Some(answers);
        }
        if Instant::now() > deadline {
            let seconds = PATIENCE.as_secs();
            return Err(Failure::failed(format!(
                "{what}: not within {seconds} s; {}",
                describe(last.as_deref())
            )));
        }
    }
}

fn describe(last: Option<&[(Endpoint, NodeInfo)]>) -> String {
    let Some(answers) = last else {
        return "not all nodes answer".to_owned();
    };
    let one = |(_, status): &(Endpoint, NodeInfo)| {
        format!(
            "{} is {} in term {} and has applied {}",
            status.node_id, status.role, status.term, status.applied_index
        )
    };
    answers.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The leader that all of them name, once it says so itself and the others have heard from it.
pub(super) fn agreed_leader(answers: &[(Endpoint, NodeInfo)]) -> Option<&NodeInfo> {
    let (_, leader) = answers
        .iter()
        .find(|(_, status)| status.role == NodeRole::Leader)?;
    let agrees = |status: &NodeInfo| {
        status.term == leader.term && status.leader_id.as_ref() == Some(&leader.node_id)
    };
    answers
        .iter()
        .all(|(_, status)| agrees(status))
        .then_some(leader)
}
