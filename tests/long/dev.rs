//! `oarlock dev`: a saved change is live, a broken one leaves the guest as it is, and a state that no longer fits is refused
//! with advice.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use oarlock_tests::process::{
    Http, Steps, eventually, free_ports, oarlock, require_wasm_target, run_in, text,
};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const ADD: &str = r#"{"add":{"name":"apples","by":5}}"#;
/// After this time without the expected line, a test fails. Far above the time of a build.
const LIMIT: Duration = Duration::from_secs(600);

/// A running `oarlock dev`. It ends with this value.
struct Dev {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    fn start(dir: &Path, addr: &str) -> Self {
        let log = fs::File::create(dir.join("stderr")).expect("writable");
        let mut process = Command::new(oarlock())
            .current_dir(dir)
            .args(["dev", "seats", "--client-addr", addr])
            .env("CARGO_NET_OFFLINE", "true")
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let out = process.stdout.take().expect("piped");
        Self {
            process,
            lines: BufReader::new(out).lines(),
        }
    }

    /// Waits for a line with this text. Returns all lines until then.
    async fn wait_for(&mut self, what: &str) -> String {
        let mut seen = String::new();
        loop {
            let next = tokio::time::timeout(LIMIT, self.lines.next_line()).await;
            let line = next
                .unwrap_or_else(|_| panic!("no {what:?} after {seen}"))
                .expect("readable");
            let line = line.unwrap_or_else(|| panic!("it ended before {what:?}: {seen}"));
            println!("dev: {line}");
            seen += &line;
            seen.push('\n');
            if line.contains(what) {
                return seen;
            }
        }
    }
}

async fn value(http: &Http) -> i64 {
    value_after(http, ADD).await
}

async fn value_after(http: &Http, command: &'static str) -> i64 {
    let response = http.apply(command).await.expect("a response");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["value"].as_i64().expect("a number")
}

/// Waits until standard error has a line of the guest's log with this text.
async fn logged(dir: &Path, message: &str) {
    eventually("the log of the guest is shown", async || {
        let shown = fs::read_to_string(dir.join("stderr")).expect("readable");
        let is_wanted = |line: &str| line.contains("guest") && line.contains(message);
        shown.lines().any(is_wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_change_is_live_and_what_fails_leaves_the_guest_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = run_in(dir.path(), ["new", "seats"]);
    assert!(made.status.success(), "{}", text(&made));
    let project = dir.path().join("seats");
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    // The versions that this repository has fetched, so that the network is not needed.
    fs::copy(lock, project.join("Cargo.lock")).expect("writable");
    require_wasm_target(&project);
    let source = project.join("src/lib.rs");
    let original = fs::read_to_string(&source).expect("readable");
    let edit = |from: &str, to: &str| {
        assert!(original.contains(from), "{from}");
        fs::write(&source, original.replacen(from, to, 1)).expect("writable");
    };
    let addr = format!("127.0.0.1:{}", free_ports(1)[0]);
    let http = Http(addr.clone());
    let mut steps = Steps::begin("oarlock dev");
    let mut dev = Dev::start(dir.path(), &addr);
    dev.wait_for("save a file").await;
    steps.done("first build and start");
    eventually("the node is ready", async || {
        (http.get("/readyz").await.ok()?.status == 200).then_some(())
    })
    .await;
    assert_eq!(value(&http).await, 5);

    let changed = "_cx.log(oarlock_guest::Level::Info, format_args!(\"now {value}\")); Ok(Value { value: value + 1000 })";
    let mut steps = Steps::begin("oarlock dev");
    edit("Ok(Value { value })", changed);
    dev.wait_for("is active").await;
    steps.done("from a saved change until it is active");
    assert_eq!(value(&http).await, 1010, "the new code on the old state");
    logged(dir.path(), "now 10").await;

    edit("Ok(Value { value })", "Ok(Value { valeu })");
    dev.wait_for("the build failed; the module before keeps running")
        .await;
    let shown = fs::read_to_string(dir.path().join("stderr")).expect("readable");
    assert!(
        shown.contains("valeu"),
        "the compiler's error is shown: {shown}"
    );
    assert_eq!(value(&http).await, 1015);

    edit(
        "    values: BTreeMap<String, i64>,",
        "    added: u64,\n    values: BTreeMap<String, i64>,",
    );
    let refused = dev.wait_for("oarlock dev --fresh").await;
    assert!(refused.contains("migrate"), "{refused}");
    assert_eq!(value(&http).await, 1020);

    // The state is kept for the next time.
    dev.process.kill().await.expect("it is killed");
    drop(dev);
    edit("Ok(Value { value })", changed);
    let mut dev = Dev::start(dir.path(), &addr);
    dev.wait_for("save a file").await;
    let ready = async || (http.get("/readyz").await.ok()?.status == 200).then_some(());
    eventually("the node is ready", ready).await;
    assert_eq!(value(&http).await, 1025);
    let query = r#"{"get":{"name":"apples"}}"#;
    let found = http.query(query).await.expect("a response");
    assert_eq!(found.json(), json!({"value": 25}));
}

/// The guest of a project in C: what it prints is in the log, and a saved change is live.
#[tokio::test(flavor = "multi_thread")]
async fn a_project_in_c_is_live_and_its_log_is_shown() {
    const ADD_5: &str = r#"{"add":{"by":5}}"#;
    let dir = tempfile::tempdir().expect("a folder");
    let made = run_in(dir.path(), ["new", "seats", "--lang", "c"]);
    assert!(made.status.success(), "{}", text(&made));
    let source = dir.path().join("seats/src/state_machine.c");
    let original = fs::read_to_string(&source).expect("readable");
    let edit = |added: &str| {
        let line = "  value = sum;\n";
        assert!(original.contains(line), "{original}");
        let changed = original.replacen(line, &format!("{line}{added}"), 1);
        fs::write(&source, changed).expect("writable");
    };
    edit("  fprintf(stderr, \"the sum is %\" PRId64 \"\\n\", value);\n");
    let addr = format!("127.0.0.1:{}", free_ports(1)[0]);
    let http = Http(addr.clone());
    let mut dev = Dev::start(dir.path(), &addr);
    dev.wait_for("save a file").await;
    eventually("the node is ready", async || {
        (http.get("/readyz").await.ok()?.status == 200).then_some(())
    })
    .await;
    assert_eq!(value_after(&http, ADD_5).await, 5);
    logged(dir.path(), "the sum is 5").await;

    edit("  value += 1000;\n");
    dev.wait_for("is active").await;
    assert_eq!(value_after(&http, ADD_5).await, 1010, "on the old state");

    edit("  valeu = 1;\n");
    let told = dev
        .wait_for("the build failed; the module before keeps running")
        .await;
    let shown = fs::read_to_string(dir.path().join("stderr")).expect("readable");
    assert!(
        told.contains("valeu") || shown.contains("valeu"),
        "the compiler's error is shown: {told}{shown}"
    );
    assert_eq!(value_after(&http, ADD_5).await, 2015);
}
