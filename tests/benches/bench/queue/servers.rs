//! Processes of another queue, and the connections to them.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use oarlock_tests::process::eventually;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Longest line of a text protocol, in bytes.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Killed when dropped.
pub(super) struct Servers(Vec<Child>);

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended by itself is no worse.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Servers {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Starts one more; its output goes to a file.
    pub(super) fn start(&mut self, command: &mut Command, log: &Path) {
        let log = File::create(log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn();
        self.0.push(child.expect("it is installed"));
    }

    /// Process ids.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.0.iter().map(Child::id).collect()
    }
}

/// Waits until something listens there.
pub(super) async fn until_it_listens(address: &str) {
    eventually("the server listens", async || {
        TcpStream::connect(address).await.ok()
    })
    .await;
}

/// Whether the command can be run.
pub(super) fn runs(command: &str, argument: &str) -> bool {
    let output = Command::new(command)
        .arg(argument)
        .stdin(Stdio::null())
        .output();
    output.is_ok()
}

/// A connection whose messages are read as lines and bytes.
pub(super) struct Wire(BufReader<TcpStream>);

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// There is no connection.
    pub(super) async fn open(address: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.get_mut().write_all(bytes).await.map_err(text)
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let mut limited = (&mut self.0).take(MAX_LINE_BYTES);
        let read = limited.read_line(&mut line).await.map_err(text)?;
        if read == 0 {
            return Err("the connection was closed".to_owned());
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }

    /// The next bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).await.map_err(text)?;
        Ok(bytes)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
