//! `oarlock demo`: a cluster in this process, a tour of what it does, commands to try.
//!
//! | module | holds |
//! |---|---|
//! | [`ports`] | the sockets that the nodes get |
//! | [`cluster`] | the nodes: started, stopped and started again |
//! | [`screen`] | what is printed |
//! | [`tour`] | the steps; each one checks what it shows |

pub(crate) mod cluster;
mod ports;
mod screen;
mod tour;

use std::io::Write;
use std::path::PathBuf;

use crate::cli::{DemoArgs, Origins};
use crate::exit::Failure;
use crate::logging;
use crate::serve::Signals;
use crate::settings::GuestSource;
use cluster::{DemoCluster, DemoPlan};
use screen::Screen;

/// How the demo ends before its end.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// Nobody reads what it prints.
    Closed,
    /// Something did not work.
    Failed(Failure),
}

impl From<crate::command::OutputClosed> for Stop {
    fn from(_: crate::command::OutputClosed) -> Self {
        Self::Closed
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Runs the demo until its tour is over (`--script`), or until Ctrl-C.
///
/// # Errors
/// A port is taken, the guest is refused, or a step of the tour does not do what it should.
pub(crate) fn demo(args: DemoArgs, origins: &Origins) -> Result<(), Failure> {
    logging::start(&args.log, origins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::failed(format!(
                "the system gives no threads: {error}; close other programs or raise its limits"
            ))
        })?;
    let outcome = runtime.block_on(run(args));
    // After a second signal nothing is waited for.
    runtime.shutdown_background();
    outcome
}

async fn run(args: DemoArgs) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut screen = Screen::new(anstream::stdout(), program());
    let plan = DemoPlan {
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
            if args.script { Err(Failure::failed("the tour was interrupted before its end").into()) } else { Ok(()) }
        }
    };
    let stopped = tokio::select! {
        stopped = cluster.shutdown() => stopped,
        () = signals.next() => Err(Failure::failed("stopped at once by a second signal; what was acknowledged is safe")),
    };
    match outcome {
        Err(Stop::Failed(failure)) => Err(failure),
        // A reader that has gone away wants no more, and that is all right.
        Ok(()) | Err(Stop::Closed) => stopped,
    }
}

/// The tour, then the commands to try, then waiting for the end.
async fn show(
    cluster: &mut DemoCluster,
    screen: &mut Screen<impl Write>,
    script: bool,
) -> Result<(), Stop> {
    tour::introduce(cluster, screen)?;
    tour::run(cluster, screen).await?;
    if script {
        screen.say("The tour is over, and every step of it did what it should.")?;
        return Ok(());
    }
    tour::suggest(cluster, screen)?;
    let (node_id, fault) = cluster.failed().await;
    Err(Failure::failed(format!("{node_id} stopped by itself: {fault}")).into())
}

/// How this program was called, for commands that can be copied.
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
