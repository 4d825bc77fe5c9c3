//! `oarlock serve`: runs one node until a signal stops it.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Origins, ServeArgs};
use crate::descriptors;
use crate::exit::Failure;
use crate::log_module;
use crate::logging;
use crate::node::Node;
use crate::private_files;
use crate::service_manager::{self, ServiceState};
use crate::settings::ServeSettings;

/// Runs a node until SIGTERM, Ctrl-C, or a failure.
///
/// # Errors
/// The settings are invalid, the node can't start, or it fails later.
pub(crate) fn serve(args: ServeArgs, origins: &Origins) -> Result<(), Failure> {
    logging::start(&args.log, args.log_format, origins)?;
    let mut settings = ServeSettings::from_args(args, origins)?;
    private_files::make_new_files_private();
    let http = &mut settings.http;
    let clients = descriptors::client_connections(http.max_connections, descriptors::raise_limit());
    if clients < http.max_connections {
        tracing::warn!(
            clients,
            wanted = http.max_connections,
            "fewer clients than --max-connections can connect: the limit of open files (`ulimit -n`) is too low"
        );
        http.max_connections = clients;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::failed(format!(
            "cannot start the threads of the runtime: {error}; stop other programs, or raise the limit of threads"
        ))
    })?;
    let outcome = runtime.block_on(run(settings));
    // After a second signal, don't wait for tasks.
    runtime.shutdown_background();
    outcome
}

async fn run(settings: ServeSettings) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let hangups = tokio::spawn(note_hangups(settings.tls.is_none()));
    let alive = tokio::spawn(service_manager::stay_alive());
    while run_once(&settings, &mut signals).await? == Ended::StartAgain {}
    hangups.abort();
    alive.abort();
    Ok(())
}

/// SIGHUP must not end the process. A node with certificates reads them again: see [`crate::tls::reload`].
async fn note_hangups(has_nothing_to_read: bool) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP will end this process");
            return;
        }
    };
    while hangups.recv().await.is_some() {
        if has_nothing_to_read {
            tracing::info!("SIGHUP: this node has no certificates to read again");
        }
    }
}

/// Why a node has ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// A signal has stopped it.
    Stopped,
    /// The next start uses the module of its log.
    StartAgain,
}

async fn run_once(settings: &ServeSettings, signals: &mut Signals) -> Result<Ended, Failure> {
    let banner = Banner::of(settings);
    let node = tokio::select! {
        started = Node::start(settings.clone()) => started.map_err(Failure::failed)?,
        () = signals.next() => return Ok(Ended::Stopped),
    };
    banner.print(&node);
    service_manager::notify(ServiceState::Ready);
    if log_module::follows_log(settings) {
        log_module::tell(&node.module());
    }
    tokio::select! {
        fault = node.failed() => {
            if log_module::adopt(settings, &fault) {
                node.shutdown().await;
                return Ok(Ended::StartAgain);
            }
            let failure = Failure::failed(format!(
                "the node has stopped: {fault}; all acknowledged commands are on its disk; fix the cause, then start the node again"
            ));
            node.shutdown().await;
            return Err(failure);
        }
        dir = node.data_dir_lost() => {
            let failure = Failure::failed(format!(
                "the node has stopped: its data directory {dir} was removed or replaced while it ran, so what it wrote since is \
                 lost with this process; replace the member with `oarlock members replace`, or put the directory back and start \
                 the node: it rejoins if something is missing"
            ));
            node.stop().await;
            return Err(failure);
        }
        () = signals.next() => {}
    }
    service_manager::notify(ServiceState::Stopping);
    tracing::info!("stopping: waiting for requests in flight; a second signal stops at once");
    tokio::select! {
        () = node.stop() => Ok(Ended::Stopped),
        () = signals.next() => Err(Failure::failed("stopped at once by a second signal; all acknowledged commands are on disk")),
    }
}

/// SIGINT and SIGTERM.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Replaces the default handlers of the signals, which end the process.
    ///
    /// # Errors
    /// The operating system rejects a handler.
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::failed(format!(
                    "cannot install signal handlers: {error}; free system resources, then start the node again"
                ))
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The lines that a started node prints.
struct Banner {
    node_id: String,
    data_dir: String,
}

impl Banner {
    fn of(settings: &ServeSettings) -> Self {
        Self {
            node_id: settings.node_id.clone(),
            data_dir: settings.data_dir.display().to_string(),
        }
    }

    /// The cluster of the node, according to its log.
    fn cluster(&self, node: &Node) -> String {
        let (cluster_id, members) = node.cluster();
        if !members.contains(&self.node_id) {
            return "none yet: this node waits to be added with `oarlock members add`, or for its own cluster".to_owned();
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
        let scheme = node.scheme();
        let lines = [
            ("node", self.node_id.clone()),
            ("cluster", self.cluster(node)),
            ("peers", peers.to_string()),
            ("clients", format!("{scheme}://{clients}")),
            ("dashboard", format!("{scheme}://{clients}/")),
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
        // The node keeps running if standard output is closed.
        let mut stdout = anstream::stdout().lock();
        let _ = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
    }
}
