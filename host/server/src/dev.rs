//! `oarlock dev`: builds a guest project on each change, and upgrades a local node to it while it runs.
//!
//! | module | contents |
//! |---|---|
//! | [`project`] | the directory of the project, and how it is built |
//! | [`watch`] | changes of its files |
//! | [`node`] | the local node: start, upgrade, stop |

mod node;
mod project;
mod watch;

use std::time::Instant;

use crate::cli::{DevArgs, LogFormatArg, Origins};
use crate::command::{Output, OutputClosed};
use crate::exit::Failure;
use crate::logging;
use crate::serve::Signals;
use node::DevNode;
use project::{BuildError, DevProject};
use watch::Changes;

/// Builds, serves and watches, until Ctrl-C.
///
/// # Errors
/// The directory is no project, or the node cannot start.
pub(crate) fn dev(args: DevArgs, origins: &Origins) -> Result<(), Failure> {
    logging::start(&args.log, LogFormatArg::Text, origins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::failed(format!(
            "cannot start threads: {error}; stop other programs or raise the limit of processes (`ulimit -u`)"
        ))
    })?;
    let outcome = runtime.block_on(run(args));
    runtime.shutdown_background();
    outcome
}

async fn run(args: DevArgs) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let project = DevProject::open(&args.project)?;
    if args.fresh {
        project.forget_state()?;
    }
    let mut session = Session {
        client_addr: args.client_addr,
        changes: Changes::of(project.dir())?,
        project,
        node: None,
        out: Output::new(anstream::stdout()),
    };
    let outcome = tokio::select! {
        outcome = session.run() => outcome,
        () = signals.next() => Ok(()),
    };
    let stopping = async {
        if let Some(node) = session.node.take() {
            node.stop().await;
        }
    };
    tokio::select! {
        () = stopping => {}
        () = signals.next() => {}
    }
    outcome
}

/// The project, and the node once a build has succeeded.
struct Session {
    project: DevProject,
    changes: Changes,
    client_addr: String,
    node: Option<DevNode>,
    out: Output<anstream::AutoStream<std::io::Stdout>>,
}

/// The session ends without an error, because standard output is closed.
struct Closed;

impl From<OutputClosed> for Closed {
    fn from(_: OutputClosed) -> Self {
        Self
    }
}

impl Session {
    async fn run(&mut self) -> Result<(), Failure> {
        loop {
            match self.update().await {
                Ok(Ok(())) => {}
                Ok(Err(Closed)) => return Ok(()),
                Err(failure) => return Err(failure),
            }
            let failed = async {
                match &self.node {
                    Some(node) => node.failed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.changes.next() => changed?,
                fault = failed => return Err(Failure::failed(format!(
                    "the node has stopped: {fault}; start again, with --fresh for an empty state"
                ))),
            }
        }
    }

    /// Builds the project and upgrades the node, which the first build starts. Where one fails, the node stays as it is.
    async fn update(&mut self) -> Result<Result<(), Closed>, Failure> {
        let begun = Instant::now();
        let module = match self.project.build().await {
            Ok(module) => module,
            Err(BuildError::Broken(text)) => {
                let kept = match self.node {
                    Some(_) => "the build failed; the module before keeps running",
                    None => "the build failed; save a file to try again",
                };
                let lines = [text.as_str(), kept];
                let mut lines = lines.iter().filter(|line| !line.is_empty());
                return Ok(lines.try_for_each(|line| self.tell(line)));
            }
            Err(BuildError::NotStarted(failure)) => return Err(failure),
        };
        let built = begun.elapsed().as_secs_f64();
        let mut lines = Vec::new();
        let node = match &mut self.node {
            Some(node) if node.runs(&module) => return Ok(Ok(())),
            Some(node) => node,
            None => {
                let node = DevNode::start(&self.project, &module, &self.client_addr).await?;
                let (addr, state) = (node.client_addr(), self.project.state_dir());
                lines.push(format!(
                    "serving at http://{addr}, the state is in {}",
                    state.display()
                ));
                lines.push("save a file to build and upgrade; Ctrl-C stops".to_owned());
                self.node.insert(node)
            }
        };
        match node.upgrade(module).await {
            Ok(done) => {
                let (name, version, all) = (done.name, done.version, begun.elapsed().as_secs_f64());
                lines.insert(0, format!("{name} version {version} is active after {all:.1} s (build {built:.1} s)"));
            }
            Err(error) => lines.push(format!(
                "the module before keeps running: {error}\nif the state has another type now: raise the version and write `migrate`, or begin with an empty state: oarlock dev --fresh"
            )),
        }
        Ok(lines.iter().try_for_each(|line| self.tell(line)))
    }

    fn tell(&mut self, line: &str) -> Result<(), Closed> {
        // An error of the guest may have several lines.
        Ok(self.out.line(line)?)
    }
}
