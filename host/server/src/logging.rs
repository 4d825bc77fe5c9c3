//! The log of a node: lines on standard error, with colors if it is a terminal, and the latest ones in memory for
//! `GET /v1/logs`.

mod layer;

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::cli::Origins;
use crate::exit::Failure;
use crate::node_log::NodeLog;
use layer::StoredLines;

/// Starts logging with a filter in the syntax of `tracing_subscriber::EnvFilter`.
///
/// # Errors
/// The filter is invalid.
pub(crate) fn start(filter: &str, origins: &Origins) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| {
        Failure::usage(format!(
            "{}: {filter:?} is not a valid log filter ({error}); use a level (error, warn, info, debug, trace) or a list such as `info,task_queue_raft=debug`",
            origins.of("log")
        ))
    })?;
    let colors = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let printed = fmt::layer().with_ansi(colors).with_writer(std::io::stderr);
    // The filter is that of both.
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(StoredLines(NodeLog::of_process()))
        .with(printed);
    // Only tests call this more than once per process. The first subscriber stays.
    if subscriber.try_init().is_err() {
        tracing::debug!("logging is already initialized");
    }
    Ok(())
}
