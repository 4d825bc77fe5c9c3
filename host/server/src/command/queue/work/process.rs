//! The process of a handler, with all that it has started: a process group of its own, so that Ctrl-C at the terminal does not
//! reach it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Time between SIGTERM and SIGKILL.
const TERMINATION: Duration = Duration::from_secs(5);

/// A handler that runs. If it is dropped before its end, its process group gets SIGTERM, and SIGKILL later.
pub(super) struct HandlerProcess {
    /// `None` once it has ended, or is being ended.
    child: Option<Child>,
    /// Dropped when the process has ended.
    ending: mpsc::Sender<()>,
}

/// The pipes of a handler.
pub(super) struct HandlerPipes {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

impl HandlerProcess {
    /// Starts the program in a process group of its own. `ending` is dropped when it has ended.
    ///
    /// # Errors
    /// The program can't be started.
    pub(super) fn start(
        command: &mut Command,
        ending: mpsc::Sender<()>,
    ) -> io::Result<(Self, HandlerPipes)> {
        let mut child = command.process_group(0).spawn()?;
        let pipes = HandlerPipes {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        let child = Some(child);
        Ok((Self { child, ending }, pipes))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The operating system does not tell its exit code.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.child else {
            return Err(io::Error::other("the handler was waited for before"));
        };
        let status = child.wait().await?;
        self.child = None;
        Ok(status)
    }

    /// Ends it: SIGTERM, then SIGKILL.
    pub(super) async fn terminate(mut self) {
        if let Some(child) = self.child.take() {
            terminate(child).await;
        }
    }
}

impl Drop for HandlerProcess {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else {
            return;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let ending = self.ending.clone();
                runtime.spawn(async move {
                    terminate(child).await;
                    drop(ending);
                });
            }
            // The program ends: nothing waits.
            Err(_) => signal_group(&child, libc::SIGKILL),
        }
    }
}

async fn terminate(mut child: Child) {
    signal_group(&child, libc::SIGTERM);
    if timeout(TERMINATION, child.wait()).await.is_err() {
        signal_group(&child, libc::SIGKILL);
        // SIGKILL can't be ignored.
        let _ = child.wait().await;
    }
}

/// Sends a signal to the process group of a child.
fn signal_group(child: &Child, signal: libc::c_int) {
    // It has no id once it was waited for, so the id is not that of another process.
    let Some(group) = child.id().and_then(|id| libc::pid_t::try_from(id).ok()) else {
        return;
    };
    // SAFETY: `kill` only takes numbers. The child is the leader of its group and was not waited for, so the number is that of
    // its group.
    unsafe {
        libc::kill(-group, signal);
    }
}
