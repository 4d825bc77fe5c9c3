//! `oarlock serve`: runs one node until it is told to stop.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Origins, ServeArgs};
use crate::exit::Failure;
use crate::logging;
use crate::node::Node;
use crate::settings::ServeSettings;

/// Runs a node until SIGTERM, Ctrl-C, or a failure of its own.
///
/// # Errors
/// The settings make no sense, the node does not start, or it can't go on.
pub(crate) fn serve(args: ServeArgs, origins: &Origins) -> Result<(), Failure> {
    logging::start(&args.log, origins)?;
    let settings = ServeSettings::from_args(args, origins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::failed(format!(
            "the system gives no threads: {error}; stop other programs or raise its limits"
        ))
    })?;
    let outcome = runtime.block_on(run(settings));
    // After a second signal nothing is waited for.
    runtime.shutdown_background();
    outcome
}

async fn run(settings: ServeSettings) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let facts = Facts::of(&settings);
    let node = tokio::select! {
        started = Node::start(settings) => started.map_err(Failure::failed)?,
        () = signals.next() => return Ok(()),
    };
    facts.print(&node);
    tokio::select! {
        fault = node.failed() => {
            let failure = Failure::failed(format!(
                "the node stops: {fault}; what it acknowledged is on its disk: remove the cause, then start it again"
            ));
            node.shutdown().await;
            return Err(failure);
        }
        () = signals.next() => {}
    }
    tracing::info!("stopping: requests under way are finished first; a second signal ends at once");
    tokio::select! {
        () = node.shutdown() => Ok(()),
        () = signals.next() => Err(Failure::failed("stopped at once by a second signal; what was acknowledged is safe")),
    }
}

/// The signals that ask a process to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system has no room for it.
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::failed(format!(
                    "cannot listen for signals: {error}; the system is out of resources"
                ))
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What is told of a node when it has started.
struct Facts {
    node_id: String,
    data_dir: String,
}

impl Facts {
    fn of(settings: &ServeSettings) -> Self {
        Self {
            node_id: settings.node_id.clone(),
            data_dir: settings.data_dir.display().to_string(),
        }
    }

    /// Which cluster it is in, by what its log says.
    fn cluster(&self, node: &Node) -> String {
        let (cluster_id, members) = node.cluster();
        if !members.contains(&self.node_id) {
            return "none: its members take this node in with `oarlock members add`".to_owned();
        }
        match &members[..] {
            [_] => format!("{cluster_id} (this node alone)"),
            members => format!(
                "{cluster_id} ({} nodes: {})",
                members.len(),
                members.join(", ")
            ),
        }
    }

    fn print(&self, node: &Node) {
        let module = node.module();
        let about = module.description();
        let (clients, peers) = (node.client_addr(), node.peer_addr());
        let lines = [
            ("node", self.node_id.clone()),
            ("cluster", self.cluster(node)),
            ("peers", peers.to_string()),
            ("clients", format!("http://{clients}")),
            ("dashboard", format!("http://{clients}/")),
            ("data", self.data_dir.clone()),
            (
                "state machine",
                format!(
                    "{} version {} ({})",
                    about.name,
                    about.version,
                    module.sha256()
                ),
            ),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let label = if std::io::stdout().is_terminal() {
            AnsiColor::Cyan.on_default()
        } else {
            Style::new()
        };
        let mut text = String::from("oarlock is serving\n");
        for (name, value) in lines {
            text.push_str(&format!("  {label}{name:<14}{label:#} {value}\n"));
        }
        text.push_str("  Ctrl-C stops it\n");
        // A reader that went away is no reason to stop serving.
        let mut stdout = anstream::stdout().lock();
        let _ = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
    }
}
