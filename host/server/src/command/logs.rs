//! `oarlock logs`: the logs of all nodes and their guests, merged; with `--follow` also new lines.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use clap::ValueEnum;
use oarlock_client::{
    Client, ClientOptions, Endpoint, LogItem, LogOptions, LogStream, RequestError,
};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connect::{block_on, connect, refused};
use super::output::{Output, print_safely, warn};
use super::status::gather;
use crate::cli::LogsArgs;
use crate::exit::Failure;
use crate::timestamp::utc_ms;

/// Most lines that wait to be printed. Then the nodes keep them, and report a gap if it takes too long.
const WAITING: usize = 256;

/// Pause before the log of a node that does not respond is requested again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Prints the stored lines of the nodes in the order of their times, then with `--follow` new ones as they arrive.
///
/// # Errors
/// No node responds, there is no node of that name, or no log can be followed.
pub(crate) fn logs(args: LogsArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: LogsArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let nodes = nodes(&client, &args.node).await?;
    let options = options(&args);
    let logs = stored(&client, nodes, &options).await?;
    let mut printer = Printer {
        out: Output::new(anstream::stdout()),
        json: args.client.output.json,
        left: args.count,
    };
    if !printer.print_stored(&logs)? || !args.follow {
        return Ok(());
    }
    let timeout = Duration::from_millis(args.client.timeout_ms);
    follow(logs, timeout, &options, &mut printer).await
}

fn options(args: &LogsArgs) -> LogOptions {
    let level = args.level.to_possible_value();
    let source = args.source.to_possible_value();
    LogOptions {
        level: level.map(|level| level.get_name().to_owned()),
        source: source.map(|source| source.get_name().to_owned()),
        tail: Some(args.tail),
    }
}

/// A node, and where its log is read.
struct LoggingNode {
    node_id: String,
    endpoint: Endpoint,
}

/// The nodes of the cluster that respond, or those of them that are wanted.
async fn nodes(client: &Client, wanted: &[String]) -> Result<Vec<LoggingNode>, Failure> {
    let report = gather(client).await;
    if !report.any_responded() {
        return Err(Failure::unreachable(
            "no node responds; start one, or name its client address with --endpoints",
        ));
    }
    let known: Vec<&str> = report
        .nodes
        .iter()
        .filter_map(|node| node.node_id.as_deref())
        .collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Failure::failed(format!(
            "there is no node {unknown:?}; the nodes are {}",
            known.join(", ")
        )));
    }
    let mut nodes = Vec::new();
    for node in &report.nodes {
        let node_id = node.node_id.clone().unwrap_or_else(|| "?".to_owned());
        if !wanted.is_empty() && !wanted.contains(&node_id) {
            continue;
        }
        match (&node.endpoint, &node.status) {
            (Some(endpoint), Some(_)) => nodes.push(LoggingNode {
                node_id,
                endpoint: endpoint.clone(),
            }),
            (Some(endpoint), None) => {
                warn_of(&node_id, format_args!("{endpoint} does not respond"));
            }
            (None, _) => warn_of(&node_id, "its address for clients is not known"),
        }
    }
    if nodes.is_empty() {
        return Err(Failure::unreachable("none of these nodes responds"));
    }
    Ok(nodes)
}

fn warn_of(node_id: &str, what: impl Display) {
    warn(&format!("{node_id}: {what}"));
}

/// The stored items of one log.
struct StoredLog {
    node: LoggingNode,
    items: Vec<LogItem>,
    last_id: String,
}

/// Reads the logs of all nodes concurrently. Nodes in one process have one log, which is read once.
async fn stored(
    client: &Client,
    nodes: Vec<LoggingNode>,
    options: &LogOptions,
) -> Result<Vec<StoredLog>, Failure> {
    let mut requests = JoinSet::new();
    for (position, node) in nodes.into_iter().enumerate() {
        let (client, options) = (client.clone(), options.clone());
        requests.spawn(async move {
            let page = client.log_of(&node.endpoint, &options).await;
            (position, node, page)
        });
    }
    let mut read = requests.join_all().await;
    read.sort_by_key(|(position, _, _)| *position);
    let (mut logs, mut seen, mut last) = (Vec::new(), BTreeSet::new(), None);
    for (_, node, page) in read {
        match page {
            Ok(page) => {
                let log = page
                    .last_id
                    .split('.')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                if !seen.insert(log) {
                    warn_of(
                        &node.node_id,
                        "it runs in the process of an earlier node and shares its log",
                    );
                    continue;
                }
                logs.push(StoredLog {
                    node,
                    items: page.items,
                    last_id: page.last_id,
                });
            }
            Err(error) => {
                warn_of(&node.node_id, &error);
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if logs.is_empty() => Err(refused(&error, &error)),
        _ => Ok(logs),
    }
}

/// What the task of a node reports.
enum Followed {
    Item(LogItem),
    /// The node does not respond. Its log is requested again.
    Lost(RequestError),
    /// The node refuses the request. Its log is not requested again.
    Ended(RequestError),
}

/// Prints new lines of all nodes as they arrive, until the reader closes the output or `--count` is reached.
///
/// # Errors
/// Each node has refused the request.
async fn follow(
    logs: Vec<StoredLog>,
    timeout: Duration,
    options: &LogOptions,
    printer: &mut Printer<impl Write>,
) -> Result<(), Failure> {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    for log in logs {
        let own = ClientOptions {
            timeout,
            ..ClientOptions::default()
        };
        let own = Client::with_options([log.node.endpoint], own).map_err(Failure::failed)?;
        let stream = own.follow_log(options, Some(log.last_id));
        tasks.spawn(follow_one(stream, log.node.node_id, sender.clone()));
    }
    drop(sender);
    while let Some((node_id, followed)) = receiver.recv().await {
        match followed {
            Followed::Lost(error) => warn_of(&node_id, format_args!("{error}; trying again")),
            Followed::Ended(error) => warn_of(&node_id, error),
            Followed::Item(item) => {
                if !printer.print(&node_id, &item)? {
                    return Ok(());
                }
            }
        }
    }
    Err(Failure::failed(
        "no log can be followed any more: the lines above name the reason of each node; correct it, or run the command without --follow",
    ))
}

async fn follow_one(
    mut stream: LogStream,
    node_id: String,
    sender: mpsc::Sender<(String, Followed)>,
) {
    // A node that does not respond is reported once.
    let mut is_lost = false;
    loop {
        let error = match stream.next().await {
            Ok(item) => {
                is_lost = false;
                let item = (node_id.clone(), Followed::Item(item));
                if sender.send(item).await.is_err() {
                    return;
                }
                continue;
            }
            Err(error) => error,
        };
        if !may_pass(&error) {
            // Without a receiver, the command has ended.
            let _ = sender.send((node_id, Followed::Ended(error))).await;
            return;
        }
        if !is_lost {
            is_lost = true;
            let lost = (node_id.clone(), Followed::Lost(error));
            if sender.send(lost).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Whether the same request may succeed later.
fn may_pass(error: &RequestError) -> bool {
    error.is_unavailable() || matches!(error, RequestError::Overloaded { .. })
}

/// Prints items, one line each.
struct Printer<W> {
    out: Output<W>,
    json: bool,
    /// Lines until the end.
    left: Option<u64>,
}

impl<W: Write> Printer<W> {
    /// Prints the items of all nodes in the order of their times. False: it is enough.
    fn print_stored(&mut self, logs: &[StoredLog]) -> Result<bool, Failure> {
        let mut all: Vec<(u64, &str, &LogItem)> = Vec::new();
        for log in logs {
            // A gap belongs to what follows it.
            let mut time_ms = 0;
            for item in log.items.iter().rev() {
                if let LogItem::Line(line) = item {
                    time_ms = line.time_ms;
                }
                all.push((time_ms, &log.node.node_id, item));
            }
        }
        // Stable: lines of one node with the same time keep their order.
        all.reverse();
        all.sort_by_key(|(time_ms, _, _)| *time_ms);
        for (_, node_id, item) in all {
            if !self.print(node_id, item)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Prints one item. False: the reader has closed the output, or it was the last one.
    fn print(&mut self, node_id: &str, item: &LogItem) -> Result<bool, Failure> {
        let line = if self.json {
            json(node_id, item)?
        } else {
            text(node_id, item)
        };
        if self.out.line(line).is_err() {
            return Ok(false);
        }
        self.left = self.left.map(|left| left - 1);
        Ok(self.left != Some(0))
    }
}

/// `2026-11-24T18:28:21.042Z node1 WARN  guest: text`. The node and the first four parts are those of the host, so a guest
/// can't write a line that looks like one of a node.
fn text(node_id: &str, item: &LogItem) -> String {
    let node_id = print_safely(node_id);
    match item {
        LogItem::Line(line) => format!(
            "{} {node_id} {:<5} {}: {}",
            utc_ms(line.time_ms),
            print_safely(&line.level).to_uppercase(),
            print_safely(&line.target),
            print_safely(&line.text)
        ),
        LogItem::Gap(Some(missed)) => {
            format!(
                "---- {node_id}: {missed} lines are missing here: the node no longer stores them"
            )
        }
        LogItem::Gap(None) => {
            format!("---- {node_id}: lines may be missing here: the node was restarted")
        }
    }
}

fn json(node_id: &str, item: &LogItem) -> Result<String, Failure> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum JsonItem<'a> {
        Line {
            node: &'a str,
            time_ms: u64,
            level: &'a str,
            source: &'a str,
            target: &'a str,
            text: &'a str,
        },
        Gap {
            node: &'a str,
            missed: Option<u64>,
        },
    }
    let item = match item {
        LogItem::Line(line) => JsonItem::Line {
            node: node_id,
            time_ms: line.time_ms,
            level: &line.level,
            source: &line.source,
            target: &line.target,
            text: &line.text,
        },
        LogItem::Gap(missed) => JsonItem::Gap {
            node: node_id,
            missed: *missed,
        },
    };
    serde_json::to_string(&item).map_err(|error| {
        Failure::failed(format!(
            "cannot encode a line as JSON: {error}; this is a bug, please report it"
        ))
    })
}

#[cfg(test)]
mod tests;
