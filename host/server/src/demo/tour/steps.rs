//! The steps that work for any guest.

use std::io::Write;
use std::time::Duration;

use oarlock_client::NodeInfo;
use tokio::time::Instant;

use super::queue::TourWork;
use super::wait::{agreed_leader, until, until_ready};
use crate::command::{as_text, gather};
use crate::demo::Stop;
use crate::demo::cluster::DemoCluster;
use crate::demo::screen::Screen;
use crate::exit::Failure;

/// A leader as the tour found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node_id: String,
    pub(super) term: u64,
}

impl From<&NodeInfo> for Leader {
    fn from(status: &NodeInfo) -> Self {
        Self {
            node_id: status.node_id.clone(),
            term: status.term,
        }
    }
}

/// Waits for the first leader.
pub(super) async fn elect(
    cluster: &DemoCluster,
    screen: &mut Screen<impl Write>,
) -> Result<Leader, Stop> {
    screen.step("The nodes elect a leader")?;
    let leader = wait_for_leader(cluster).await?;
    screen.good(format_args!(
        "{} leads in term {}",
        leader.node_id, leader.term
    ))?;
    show_status(cluster, screen).await?;
    Ok(leader)
}

async fn wait_for_leader(cluster: &DemoCluster) -> Result<Leader, Failure> {
    until(cluster, "electing a leader", |answers| {
        Ok(agreed_leader(answers).map(Leader::from))
    })
    .await
}

async fn show_status(cluster: &DemoCluster, screen: &mut Screen<impl Write>) -> Result<(), Stop> {
    screen.command("status", "", &cluster.endpoints())?;
    until_ready(cluster).await?;
    let report = gather(&cluster.client()?).await;
    Ok(screen.block(&as_text(&report))?)
}

/// Stops the leader and shows how long a client waits for the next one.
pub(super) async fn lose_leader(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
    leader: &Leader,
    work: Option<&mut TourWork>,
) -> Result<(), Stop> {
    screen.step(format_args!("{}, the leader, is stopped", leader.node_id))?;
    let stopped = Instant::now();
    cluster.stop(&leader.node_id).await?;
    // With commands to send, what counts is when the next one is answered.
    let answered = match work {
        Some(work) => {
            work.go_on(cluster, screen).await?;
            Some(stopped.elapsed())
        }
        None => None,
    };
    let new = wait_for_leader(cluster).await?;
    let gap = answered.unwrap_or_else(|| stopped.elapsed());
    if new.node_id == leader.node_id || new.term <= leader.term {
        let words = format!(
            "{} leads in term {} after {} stopped in term {}",
            new.node_id, new.term, leader.node_id, leader.term
        );
        return Err(Failure::failed(words).into());
    }
    screen.good(format_args!("{} leads in term {}", new.node_id, new.term))?;
    let what = if answered.is_some() {
        "the next command was answered"
    } else {
        "the others agreed on it"
    };
    screen.good(format_args!(
        "{what} {} after the leader began to stop",
        seconds(gap)
    ))?;
    Ok(())
}

/// Starts the node that was stopped, and waits until it is like the others.
pub(super) async fn bring_back(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
    stopped: &Leader,
) -> Result<(), Stop> {
    screen.step(format_args!(
        "{} starts again and catches up",
        stopped.node_id
    ))?;
    let started = Instant::now();
    cluster.restart(&stopped.node_id).await?;
    let (index, hash) = same_state(cluster).await?;
    screen.good(format_args!(
        "all nodes have applied entry {index}, {} after it started",
        seconds(started.elapsed())
    ))?;
    screen.good(format_args!(
        "and have the same state hash {}",
        shortened(&hash)
    ))?;
    show_status(cluster, screen).await
}

/// Waits until all nodes have applied the same entries, and compares their states.
async fn same_state(cluster: &DemoCluster) -> Result<(u64, String), Failure> {
    until(cluster, "catching up", |answers| {
        let Some((_, first)) = answers.first() else {
            return Ok(None);
        };
        if agreed_leader(answers).is_none()
            || answers
                .iter()
                .any(|(_, status)| behind(status, first.applied_index))
        {
            return Ok(None);
        }
        if let Some((_, other)) = answers
            .iter()
            .find(|(_, status)| status.state_hash != first.state_hash)
        {
            return Err(Failure::failed(format!(
                "{} and {} have different states after entry {}: {} and {}; this is a bug",
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

/// Whether a node has not applied exactly so much, or has something in its log that it will still apply.
fn behind(status: &NodeInfo, applied: u64) -> bool {
    status.applied_index != applied || status.commit_index != applied
}

/// For a cluster that can't do without its leader: stops and starts it, and compares before with after.
pub(super) async fn restart_alone(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
    leader: &Leader,
) -> Result<(), Stop> {
    screen.step(format_args!(
        "{}, the leader, is stopped and started again",
        leader.node_id
    ))?;
    screen.say(
        "with fewer than three nodes there is no majority without it, so commands wait meanwhile",
    )?;
    let stopped = Instant::now();
    cluster.stop(&leader.node_id).await?;
    cluster.restart(&leader.node_id).await?;
    let new = wait_for_leader(cluster).await?;
    if new.term <= leader.term {
        return Err(Failure::failed(format!(
            "the term did not grow: {} after {}",
            new.term, leader.term
        ))
        .into());
    }
    let (index, hash) = same_state(cluster).await?;
    screen.good(format_args!(
        "{} leads in term {}, {} later",
        new.node_id,
        new.term,
        seconds(stopped.elapsed())
    ))?;
    screen.good(format_args!(
        "entry {index} is applied, the state hash is {}",
        shortened(&hash)
    ))?;
    show_status(cluster, screen).await
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// The beginning of a digest, for people.
fn shortened(hash: &str) -> String {
    hash.chars().take(16).collect::<String>() + "…"
}
