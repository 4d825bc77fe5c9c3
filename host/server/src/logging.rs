//! The node's log: lines on standard error, coloured on a terminal and plain in a pipe.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::Origins;
use crate::exit::Failure;

/// Starts logging what the filter lets through.
///
/// # Errors
/// The filter makes no sense.
pub(crate) fn start(filter: &str, origins: &Origins) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| {
        Failure::usage(format!(
            "{}: {filter:?} is no filter of log lines ({error}); give a level (error, warn, info, debug, trace) or a list as in `info,task_queue_raft=debug`",
            origins.of("log")
        ))
    })?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    // A second call finds the first one's subscriber, which is as good.
    if subscriber.try_init().is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}
