//! Checks modules in a child process, before the node parses them.
//!
//! A module may come from the network. Compilers and parsers are not built for hostile input: a module may take all memory,
//! not end, or overflow the stack. So the node starts itself as `oarlock check-module`, which limits its own memory and
//! processor time, loads the module as a node does, and keeps the compiled code in the directory of compiled code. The node
//! then only reads that code. One child runs at a time, with a low priority.
//!
//! [`request`] is what the node sends to it.

pub(crate) mod request;

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use oarlock_wasm::{CheckError, CheckReason, MachineLimits, ModuleCheck};

/// Default of `--module-check-memory-mib`. The largest examples, runtimes of languages, need a third of it.
pub(crate) const DEFAULT_MEMORY_MIB: u64 = 2048;
/// Default of `--module-check-seconds`.
pub(crate) const DEFAULT_SECONDS: u64 = 120;
/// How much longer than its processor time a check may take, because other processes go first.
const PATIENCE: u32 = 10;
/// Most bytes of the child's answer and of its error output.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;

/// What the check of one module may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckBudget {
    /// Writable memory, in bytes.
    pub(crate) memory_bytes: u64,
    /// Processor time of all threads, in seconds.
    pub(crate) processor_seconds: u64,
}

impl Default for CheckBudget {
    fn default() -> Self {
        Self {
            memory_bytes: DEFAULT_MEMORY_MIB << 20,
            processor_seconds: DEFAULT_SECONDS,
        }
    }
}

/// Where and how modules are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckSettings {
    /// This program.
    pub(crate) program: PathBuf,
    /// What one check may use.
    pub(crate) budget: CheckBudget,
    /// A check takes only the processor time that others leave.
    pub(crate) in_background: bool,
}

impl CheckSettings {
    /// Checks by this program, as it runs now: on Linux also after its file was replaced. In the background.
    ///
    /// # Errors
    /// The operating system does not tell the path of the program.
    pub(crate) fn new(budget: CheckBudget) -> io::Result<Self> {
        let program = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()?
        };
        Ok(Self {
            program,
            budget,
            in_background: true,
        })
    }
}

/// Checks modules in a child process.
#[derive(Debug)]
pub(crate) struct ChildCheck {
    settings: CheckSettings,
    compiled_dir: Option<PathBuf>,
    turn: Mutex<()>,
}

impl ChildCheck {
    /// The child keeps compiled code in `compiled_dir`, if there is one. Else this process compiles the module again.
    pub(crate) fn new(settings: CheckSettings, compiled_dir: Option<PathBuf>) -> Self {
        Self {
            settings,
            compiled_dir,
            turn: Mutex::default(),
        }
    }

    fn command(&self) -> Command {
        let budget = self.settings.budget;
        let mut command = Command::new(&self.settings.program);
        command
            .arg("check-module")
            .args(["--memory-bytes", &budget.memory_bytes.to_string()])
            .args(["--processor-seconds", &budget.processor_seconds.to_string()])
            // Nothing of the node's environment is given to a process that reads hostile bytes.
            .env_clear()
            // The allocator of this program takes memory when it uses it, and not a gigabyte at the start.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.settings.in_background {
            command.arg("--in-background");
        }
        if let Some(dir) = &self.compiled_dir {
            command.arg("--compiled-dir").arg(dir);
        }
        command
    }

    /// Runs the child. Returns its answer, or how it ended without one.
    fn run(&self, bytes: &[u8], limits: &MachineLimits) -> io::Result<Result<Vec<String>, Ended>> {
        let mut child = self.command().spawn()?;
        let (Some(mut input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the child has no pipes"));
        };
        let head = request::head(limits)?;
        let time = Duration::from_secs(self.settings.budget.processor_seconds) * PATIENCE;
        thread::scope(|scope| {
            // A child that ends early does not read all of it.
            scope.spawn(move || input.write_all(&head).and_then(|()| input.write_all(bytes)));
            let errors = scope.spawn(move || read_all(errors));
            let (sender, ended) = mpsc::channel();
            scope.spawn(move || sender.send(read_all(output)));
            let answer = ended.recv_timeout(time);
            let timed_out = matches!(answer, Err(RecvTimeoutError::Timeout));
            if timed_out {
                // It may have ended just now.
                let _ = child.kill();
            }
            let status = child.wait()?;
            let errors = errors.join().unwrap_or_default();
            let answer = answer.ok().filter(|_| status.success());
            Ok(answer
                .and_then(|answer| serde_json::from_slice(&answer).ok())
                .ok_or(Ended {
                    status,
                    timed_out,
                    errors,
                    budget: self.settings.budget,
                }))
        })
    }
}

impl ModuleCheck for ChildCheck {
    fn check(&self, bytes: &[u8], limits: &MachineLimits) -> Result<(), CheckError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = match self.run(bytes, limits) {
            Ok(Ok(reasons)) if reasons.iter().any(|reason| is_out_of_memory(reason)) => {
                vec![out_of_memory(self.settings.budget.memory_bytes)]
            }
            Ok(Ok(reasons)) => reasons,
            Ok(Err(ended)) => vec![ended.to_string()],
            Err(error) => vec![format!(
                "the process that checks modules can't be started: {error}"
            )],
        };
        if messages.is_empty() {
            return Ok(());
        }
        let reported = |message| CheckReason::Reported { message };
        Err(CheckError {
            reasons: messages.into_iter().map(reported).collect(),
        })
    }
}

fn read_all(from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read before an error is shown.
    let _ = from.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
    bytes
}

/// Whether an error text tells that memory was refused: by the allocator, or by the operating system.
fn is_out_of_memory(text: &str) -> bool {
    text.contains("memory allocation of") || text.contains("(os error 12)")
}

fn out_of_memory(memory_bytes: u64) -> String {
    format!(
        "its check needs more than {} MiB of memory; make the module smaller, or raise --module-check-memory-mib",
        memory_bytes >> 20
    )
}

/// A check that ended without an answer.
#[derive(Debug)]
struct Ended {
    status: ExitStatus,
    /// The node has ended it.
    timed_out: bool,
    errors: Vec<u8>,
    budget: CheckBudget,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = String::from_utf8_lossy(&self.errors);
        let CheckBudget {
            memory_bytes,
            processor_seconds,
        } = self.budget;
        if is_out_of_memory(&errors) {
            return f.write_str(&out_of_memory(memory_bytes));
        }
        if self.timed_out || self.status.signal() == Some(libc::SIGXCPU) {
            return write!(
                f,
                "its check takes more than {processor_seconds} s of processor time; make the module smaller, or raise --module-check-seconds"
            );
        }
        let first = errors.lines().map(str::trim).find(|line| !line.is_empty());
        write!(f, "its check ended with {}", self.status)?;
        first.map_or(Ok(()), |first| write!(f, ": {first}"))
    }
}

#[cfg(test)]
mod tests;
