//! The tour: each step does something, prints it, and checks the result.

mod queue;
mod steps;
mod wait;

use std::io::Write;

use super::cluster::DemoCluster;
use super::screen::Screen;
use super::stop::Stop;
use crate::command::{Align, OutputClosed, Table, Tone};

/// Prints the nodes and their addresses.
///
/// # Errors
/// The reader has closed the output.
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
        ("PEER ADDRESS", Align::Left),
        ("CLIENTS, DASHBOARD", Align::Left),
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
    screen.line(format_args!("data in {}{end}", dir.display()))
}

/// Runs the steps: those for any guest, and for the task queue those of the queue.
///
/// # Errors
/// A step failed.
pub(super) async fn run(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
) -> Result<(), Stop> {
    let leader = steps::elect(cluster, screen).await?;
    let mut work = match cluster.module().description().name.as_str() {
        "task-queue" => Some(queue::TourWork::begin(cluster, screen).await?),
        _ => None,
    };
    // One or two nodes have no majority without the leader.
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

/// Prints commands to try.
///
/// # Errors
/// The reader has closed the output.
pub(super) fn suggest(
    cluster: &DemoCluster,
    screen: &mut Screen<impl Write>,
) -> Result<(), OutputClosed> {
    let endpoints = cluster.endpoints();
    screen.heading("The nodes keep running. Try these commands in another terminal:")?;
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
        screen.line(format_args!("dashboard: http://{endpoint}/"))?;
    }
    screen.line("press Ctrl-C to stop all nodes")
}

/// Example commands and a query for a guest of that name.
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
