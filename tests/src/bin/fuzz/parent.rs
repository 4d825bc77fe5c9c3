//! Runs a target in a child process with a limit of memory, and finds the input with which it ends.

use std::path::Path;
use std::process::{Command, ExitStatus};

use oarlock_tests::fuzz::{FuzzFinding, from_hex};

use super::{Options, child, targets};

/// Runs a target. Returns whether nothing was found.
pub(super) fn run(options: &Options, name: &str) -> bool {
    let status = start(options, name, None);
    match status.code() {
        Some(0) => return true,
        Some(1) => return false,
        _ => {}
    }
    // Equal seeds give equal inputs, so the same run with a trace ends with the same one.
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let trace = dir.path().join("trace");
    let again = start(options, name, Some(&trace));
    let text = std::fs::read_to_string(&trace).unwrap_or_default();
    let last = text.lines().next_back().and_then(from_hex);
    match (again.success(), last) {
        (false, Some(input)) => child::report(
            name,
            &FuzzFinding {
                input,
                what: format!("the process ended with {status}"),
            },
        ),
        _ => println!("{name}: FOUND: the process ended with {status}, and not a second time"),
    }
    false
}

fn start(options: &Options, name: &str, trace: Option<&Path>) -> ExitStatus {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new("sh");
    let script = format!(
        "ulimit -c 0; ulimit -d {}; exec \"$0\" \"$@\"",
        targets::memory_kib(name)
    );
    command
        .args(["-c", &script])
        .arg(program)
        .args([name, "--child"]);
    command.args(["--seed", &options.seed.to_string()]);
    command.args(["--executions", &options.executions.to_string()]);
    if let Some(seconds) = options.seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    if let Some(replay) = &options.replay {
        command.args(["--replay", &oarlock_tests::fuzz::to_hex(&replay.0)]);
    }
    if let Some(trace) = trace {
        command.arg("--trace").arg(trace);
    }
    command.status().expect("a shell")
}
