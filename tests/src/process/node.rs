//! One `oarlock serve` process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::binary::oarlock;
use crate::http::Http;

/// Flags for elections within half a second, so that a test has time for several.
pub const QUICK: [&str; 6] = [
    "--election-timeout-min-ms",
    "300",
    "--election-timeout-max-ms",
    "600",
    "--heartbeat-interval-ms",
    "50",
];

/// How a node is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// `--node-id`.
    pub id: String,
    /// `--peer-addr`.
    pub peer_addr: String,
    /// `--client-addr`.
    pub client_addr: String,
    /// `--cluster`; empty: without the flag.
    pub cluster: String,
    /// `--data-dir`.
    pub data_dir: PathBuf,
    /// Everything else.
    pub args: Vec<String>,
    /// The prefix of the command, such as `ip netns exec NAME`; it becomes the command.
    pub within: Vec<String>,
}

/// A node; killed when dropped.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
    log: PathBuf,
    /// Another binary than the one of this tree.
    binary: Option<PathBuf>,
    child: Option<Child>,
}

impl Node {
    /// A node that is not running yet. Its log is a file next to its data directory.
    pub fn new(options: NodeOptions) -> Self {
        let log = options.data_dir.with_extension("log");
        Self {
            options,
            log,
            binary: None,
            child: None,
        }
    }

    /// Runs another binary from the next start on, such as one of an earlier version.
    pub fn use_binary(&mut self, binary: &Path) {
        self.binary = Some(binary.to_owned());
    }

    /// Starts it, or starts it again.
    ///
    /// # Panics
    /// If the system does not.
    pub fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file");
        let options = &self.options;
        let mut command_line = options
            .within
            .iter()
            .map(OsString::from)
            .collect::<Vec<_>>();
        let binary = self.binary.as_deref().unwrap_or_else(|| oarlock());
        command_line.push(binary.into());
        let cluster = Some(["--cluster", &options.cluster]);
        let cluster = cluster.filter(|_| !options.cluster.is_empty());
        let cluster = cluster.into_iter().flatten();
        let child = Command::new(&command_line[0])
            .args(&command_line[1..])
            .arg("serve")
            .args(["--node-id", &options.id, "--peer-addr", &options.peer_addr])
            .args(["--client-addr", &options.client_addr])
            .args(cluster)
            .arg("--data-dir")
            .arg(&options.data_dir)
            .args(&options.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("oarlock starts");
        self.child = Some(child);
    }

    /// SIGKILL, like a power cut: nothing is flushed.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// Sends a signal by its name: `INT`, `TERM`, `STOP`, `CONT`.
    ///
    /// # Panics
    /// If it does not run.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status()
            .expect("a shell");
        assert!(sent.success(), "signal {name} could not be sent");
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// If it does not run.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.take().expect("it runs").wait().expect("it ends")
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Number of its process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.options.id
    }

    /// Where peers reach it.
    pub fn peer_addr(&self) -> &str {
        &self.options.peer_addr
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        &self.options.data_dir
    }

    /// How it is started; changes hold from the next start on.
    pub fn options_mut(&mut self) -> &mut NodeOptions {
        &mut self.options
    }

    /// Where clients reach it.
    pub fn http(&self) -> Http {
        Http(self.options.client_addr.clone())
    }

    /// A metric without labels. `None` if the node does not respond, or has no such metric.
    pub async fn metric(&self, name: &str) -> Option<i64> {
        let metrics = self.http().get("/metrics").await.ok()?;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value)
    }

    /// Everything that it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}", self.options.id, self.log());
        }
    }
}
