//! The steps for any guest.

use std::io::Write;
use std::time::Duration;

use oarlock_client::NodeInfo;
use tokio::time::Instant;

use super::queue::TourWork;
use super::wait::{agreed_leader, until, until_ready};
use crate::command::{as_text, gather};
use crate::demo::cluster::DemoCluster;
use crate::demo::screen::Screen;
use crate::demo::stop::Stop;
use crate::exit::Failure;

/// A leader and its term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeaderInTerm {
    pub(super) node_id: String,
    pub(super) term: u64,
}

impl From<&NodeInfo> for LeaderInTerm {
    fn from(status: &NodeInfo) -> Self {
        Self {
            node_id: status.node_id.clone(),
            term: status.term,
        }
    }
}

/// Waits for the first election.
pub(super) async fn elect(
    cluster: &DemoCluster,
    screen: &mut Screen<impl Write>,
) -> Result<LeaderInTerm, Stop> {
    screen.step("The nodes elect a leader")?;
    let leader = wait_for_leader(cluster).await?;
    screen.good(format_args!(
        "{} is the leader in term {}",
        leader.node_id, leader.term
    ))?;
    show_status(cluster, screen).await?;
    Ok(leader)
}

async fn wait_for_leader(cluster: &DemoCluster) -> Result<LeaderInTerm, Failure> {
    until(cluster, "electing a leader", |statuses| {
        Ok(agreed_leader(statuses).map(LeaderInTerm::from))
    })
    .await
}

async fn show_status(cluster: &DemoCluster, screen: &mut Screen<impl Write>) -> Result<(), Stop> {
    screen.command("status", "", &cluster.endpoints())?;
    until_ready(cluster).await?;
    let report = gather(&cluster.client()?).await;
    Ok(screen.block(&as_text(&report))?)
}

/// Stops the leader and measures the time until the next command is applied.
pub(super) async fn lose_leader(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
    leader: &LeaderInTerm,
    work: Option<&mut TourWork>,
) -> Result<(), Stop> {
    screen.step(format_args!("{}, the leader, is stopped", leader.node_id))?;
    let stopped = Instant::now();
    cluster.stop(&leader.node_id).await?;
    // For a client the failover ends when the next command is applied.
    let applied = match work {
        Some(work) => {
            work.enqueue_another(cluster, screen).await?;
            Some(stopped.elapsed())
        }
        None => None,
    };
    let new = wait_for_leader(cluster).await?;
    let gap = applied.unwrap_or_else(|| stopped.elapsed());
    if new.node_id == leader.node_id || new.term <= leader.term {
        let message = format!(
            "{} is the leader in term {} after {} stopped in term {}; this is a bug, please report it",
            new.node_id, new.term, leader.node_id, leader.term
        );
        return Err(Failure::failed(message).into());
    }
    screen.good(format_args!(
        "{} is the leader in term {}",
        new.node_id, new.term
    ))?;
    let what = if applied.is_some() {
        "the next command was applied"
    } else {
        "the other nodes had a new leader"
    };
    screen.good(format_args!(
        "{what} {} after the leader was stopped",
        seconds(gap)
    ))?;
    Ok(())
}

/// Restarts the stopped node, and waits until its state equals that of the others.
pub(super) async fn bring_back(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
    stopped: &LeaderInTerm,
) -> Result<(), Stop> {
    screen.step(format_args!(
        "{} is restarted and catches up",
        stopped.node_id
    ))?;
    let started = Instant::now();
    cluster.restart(&stopped.node_id).await?;
    let (index, hash) = same_state(cluster).await?;
    screen.good(format_args!(
        "all nodes have applied entry {index}, {} after the restart",
        seconds(started.elapsed())
    ))?;
    screen.good(format_args!(
        "all nodes have the same state hash {}",
        shortened(&hash)
    ))?;
    show_status(cluster, screen).await
}

/// Waits until all nodes have applied the same entries, and compares their state hashes.
async fn same_state(cluster: &DemoCluster) -> Result<(u64, String), Failure> {
    until(cluster, "catching up", |statuses| {
        let Some((_, first)) = statuses.first() else {
            return Ok(None);
        };
        if agreed_leader(statuses).is_none()
            || statuses
                .iter()
                .any(|(_, status)| behind(status, first.applied_index))
        {
            return Ok(None);
        }
        if let Some((_, other)) = statuses
            .iter()
            .find(|(_, status)| status.state_hash != first.state_hash)
        {
            return Err(Failure::failed(format!(
                "{} and {} have different state hashes after entry {}: {} and {}; this is a bug, please report it",
                first.node_id,
                other.node_id,
                first.applied_index,
                first.state_hash,
                other.state_hash
            )));
        }
        Ok(Some((first.applied_index, first.state_hash.clone())))
    })
    .await
}

/// Whether a node's applied or committed index differs from `applied`.
fn behind(status: &NodeInfo, applied: u64) -> bool {
    status.applied_index != applied || status.commit_index != applied
}

/// For one or two nodes: restarts the leader, and checks the term and the state.
pub(super) async fn restart_alone(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
    leader: &LeaderInTerm,
) -> Result<(), Stop> {
    screen.step(format_args!("{}, the leader, is restarted", leader.node_id))?;
    screen.line(
        "fewer than three nodes have no majority without it: commands wait until it is back",
    )?;
    let stopped = Instant::now();
    cluster.stop(&leader.node_id).await?;
    cluster.restart(&leader.node_id).await?;
    let new = wait_for_leader(cluster).await?;
    if new.term <= leader.term {
        return Err(Failure::failed(format!(
            "the term did not grow: {} after {}; this is a bug, please report it",
            new.term, leader.term
        ))
        .into());
    }
    let (index, hash) = same_state(cluster).await?;
    screen.good(format_args!(
        "{} is the leader in term {}, {} later",
        new.node_id,
        new.term,
        seconds(stopped.elapsed())
    ))?;
    screen.good(format_args!(
        "entry {index} is applied; the state hash is {}",
        shortened(&hash)
    ))?;
    show_status(cluster, screen).await
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// The first digits of a hash.
fn shortened(hash: &str) -> String {
    hash.chars().take(16).collect::<String>() + "…"
}
