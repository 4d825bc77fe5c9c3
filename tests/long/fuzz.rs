//! Each parser runs on hostile input for some seconds. More: `cargo run -p oarlock-tests --bin fuzz -- all --executions 1000000`.

use std::process::Command;

/// Runs a target of the program `fuzz`, and asserts that nothing was found.
fn finds_nothing(target: &str, executions: u32) {
    let output = Command::new(env!("CARGO_BIN_EXE_fuzz"))
        .args([target, "--executions", &executions.to_string()])
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert!(output.status.success(), "{text}");
    let first = text.lines().next().unwrap_or_default();
    assert!(
        first.starts_with(&format!("{target}: {executions} executions in ")),
        "{text}"
    );
}

#[test]
fn bytes_of_peers_have_no_finding() {
    finds_nothing("frame", 60_000);
    finds_nothing("hello", 60_000);
}

#[test]
fn records_of_the_log_have_no_finding() {
    finds_nothing("envelope", 60_000);
    finds_nothing("record", 60_000);
}

#[test]
fn snapshots_have_no_finding() {
    finds_nothing("snapshot", 2_000);
}

#[test]
fn modules_have_no_finding() {
    finds_nothing("module", 1_000);
}

#[test]
fn bytes_of_clients_have_no_finding() {
    finds_nothing("http", 60_000);
    finds_nothing("token", 20_000);
}
