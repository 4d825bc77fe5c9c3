//! The tour: each step does something, shows it, and checks it.

mod queue;
mod steps;
mod wait;

use std::io::Write;

use super::Stop;
use super::cluster::DemoCluster;
use super::screen::Screen;
use crate::command::{Align, OutputClosed, Table, Tone};

/// What was started, and where.
///
/// # Errors
/// Nobody reads it.
pub(super) fn introduce(
    cluster: &DemoCluster,
    screen: &mut Screen<impl Write>,
) -> Result<(), OutputClosed> {
    let about = cluster.module().description();
    let (dir, temporary) = cluster.data_dir();
    let nodes = cluster.nodes().len();
    let plural = if nodes == 1 { "node" } else { "nodes" };
    screen.heading(&format!(
        "Oarlock: {nodes} {plural} in this process, running {} v{}",
        about.name, about.version
    ))?;
    let mut table = Table::new(&[
        ("NODE", Align::Left),
        ("PEERS", Align::Left),
        ("CLIENTS AND DASHBOARD", Align::Left),
    ]);
    for (node_id, peer_addr, endpoint) in cluster.nodes() {
        table.row(
            [
                node_id.to_owned(),
                peer_addr.to_string(),
                format!("http://{endpoint}/"),
            ]
            .map(|cell| (cell, Tone::Plain)),
        );
    }
    screen.block(&table.render())?;
    let end = if temporary {
        " (removed at the end)"
    } else {
        ""
    };
    screen.say(format_args!("data in {}{end}", dir.display()))
}

/// The steps that fit the guest.
///
/// # Errors
/// A step did not do what it should.
pub(super) async fn run(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
) -> Result<(), Stop> {
    let leader = steps::elect(cluster, screen).await?;
    let mut work = match cluster.module().description().name.as_str() {
        "task-queue" => Some(queue::TourWork::begin(cluster, screen).await?),
        _ => None,
    };
    // A cluster of one or two has no majority without its leader.
    if cluster.nodes().len() < 3 {
        steps::restart_alone(cluster, screen, &leader).await?;
    } else {
        steps::lose_leader(cluster, screen, &leader, work.as_mut()).await?;
    }
    if let Some(work) = &work {
        work.check_nothing_is_lost(cluster, screen).await?;
    }
    if cluster.nodes().len() >= 3 {
        steps::bring_back(cluster, screen, &leader).await?;
    }
    Ok(())
}

/// Commands to try.
///
/// # Errors
/// Nobody reads it.
pub(super) fn suggest(
    cluster: &DemoCluster,
    screen: &mut Screen<impl Write>,
) -> Result<(), OutputClosed> {
    let endpoints = cluster.endpoints();
    screen.heading("The nodes go on running. To try, from another terminal:")?;
    screen.command("status", "", &endpoints)?;
    let (commands, query) = examples(&cluster.module().description().name);
    for command in commands {
        screen.command("apply", command, &endpoints)?;
    }
    if let Some(query) = query {
        screen.command("query", query, &endpoints)?;
    }
    screen.command("bench --clients 16 --duration 5", "", &endpoints)?;
    if let Some((_, _, endpoint)) = cluster.nodes().next() {
        screen.say(format_args!("dashboard: http://{endpoint}/"))?;
    }
    screen.say("Ctrl-C stops all nodes")
}

/// Commands and a query that a guest of that name understands.
fn examples(module: &str) -> (&'static [&'static str], Option<&'static str>) {
    match module {
        "task-queue" => (
            &[
                r#"{"enqueue":{"queue":"email","payload":{"to":"ann"}}}"#,
                r#"{"reserve":{"queues":["email"],"worker":"w1","lease_ms":30000}}"#,
            ],
            Some(r#"{"stats":{}}"#),
        ),
        "kv" => (
            &[r#"{"put":{"key":"k","value":"v"}}"#],
            Some(r#"{"get":{"key":"k"}}"#),
        ),
        "counter" => (&[r#"{"add":{"by":5}}"#], Some(r#"{"get":{}}"#)),
        _ => (&[], None),
    }
}
