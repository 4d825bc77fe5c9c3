//! `oarlock demo`: a cluster in this process, a tour of its features, and commands to try.
//!
//! | module | contents |
//! |---|---|
//! | [`ports`] | the sockets of the nodes |
//! | [`cluster`] | the nodes: start, stop, restart |
//! | [`screen`] | output |
//! | [`stop`] | why the demo ends early |
//! | [`tour`] | the steps; each checks its result |
//! | [`live`] | producers and workers while leaders are stopped |

pub(crate) mod cluster;
mod live;
mod ports;
mod screen;
mod stop;
mod tour;

use std::io::Write;
use std::path::PathBuf;

use crate::cli::{DemoArgs, LogFormatArg, Origins};
use crate::exit::Failure;
use crate::logging;
use crate::module_check::{CheckBudget, CheckSettings};
use crate::private_files;
use crate::serve::Signals;
use crate::settings::GuestSource;
use cluster::{DemoCluster, DemoPlan};
use live::LiveWork;
use screen::Screen;
use stop::Stop;

/// Runs the demo until the tour ends (`--script`), or until Ctrl-C.
///
/// # Errors
/// A port is in use, the guest is refused, or a step of the tour fails.
pub(crate) fn demo(args: DemoArgs, origins: &Origins) -> Result<(), Failure> {
    logging::start(&args.log, LogFormatArg::Text, origins)?;
    private_files::make_new_files_private();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::failed(format!(
                "cannot start threads: {error}; stop other programs or raise the limit of processes (`ulimit -u`)"
            ))
        })?;
    let outcome = runtime.block_on(run(args));
    // After a second signal the process ends at once.
    runtime.shutdown_background();
    outcome
}

async fn run(args: DemoArgs) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut screen = Screen::new(anstream::stdout(), program());
    let check = CheckSettings::new(CheckBudget::default()).map_err(Failure::failed)?;
    let plan = DemoPlan {
        module_check: Some(check),
        nodes: args.nodes,
        base_port: Some(args.base_port).filter(|base| *base > 0),
        guest: args
            .state_machine
            .map_or(GuestSource::BuiltInQueue, GuestSource::File),
        data_dir: args.data_dir,
        raft: task_queue_raft::RaftConfig::default(),
    };
    let mut cluster = tokio::select! {
        started = DemoCluster::start(plan) => started?,
        () = signals.next() => return Ok(()),
    };
    let outcome = tokio::select! {
        outcome = show(&mut cluster, &mut screen, args.script) => outcome,
        () = signals.next() => {
            if args.script { Err(Failure::failed("the tour was interrupted by a signal; run it again").into()) } else { Ok(()) }
        }
    };
    let stopped = tokio::select! {
        stopped = cluster.shutdown() => stopped,
        () = signals.next() => Err(Failure::failed("stopped at once by a second signal; acknowledged commands are on disk")),
    };
    match outcome {
        Err(Stop::Failed(failure)) => Err(failure),
        // Standard output was closed: not an error.
        Ok(()) | Err(Stop::Closed) => stopped,
    }
}

/// Runs the tour, prints commands to try, then waits until a node fails.
async fn show(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
    script: bool,
) -> Result<(), Stop> {
    tour::introduce(cluster, screen)?;
    tour::run(cluster, screen).await?;
    let mut work = LiveWork::start(cluster).await?;
    if script {
        if let Some(work) = &mut work {
            screen.step(LIVE)?;
            work.round(cluster, screen).await?;
        }
        screen.line("The tour is complete: every step succeeded.")?;
        return Ok(());
    }
    tour::suggest(cluster, screen)?;
    if let Some(work) = &mut work {
        screen.heading(LIVE)?;
        loop {
            work.round(cluster, screen).await?;
        }
    }
    let (node_id, fault) = cluster.failed().await;
    Err(cluster::node_failure(&node_id, &fault).into())
}

/// Heading of the last part.
const LIVE: &str = "Producers and workers use the queue while its leader is stopped and restarted";

/// The path by which this program was called, for the commands to copy.
fn program() -> String {
    let called = std::env::args_os()
        .next()
        .map(PathBuf::from)
        .unwrap_or_default();
    match called.to_str() {
        Some(name) if !name.is_empty() && !name.contains([' ', '\'', '"', '\\', '$']) => {
            name.to_owned()
        }
        _ => "oarlock".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
