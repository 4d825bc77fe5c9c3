//! `oarlock new`: what it writes builds, passes its tests, and serves.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oarlock_tests::process::{Cluster, TARGET, eventually, require_wasm_target, run_in, text};
use serde_json::json;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize()
        .expect("this package stands in the repository")
}

fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new")
}

/// Runs cargo in the project, without the network. What it builds is kept for the next time.
fn cargo(folder: &Path, arguments: &[&str]) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(folder)
        .args(arguments)
        .args(["--offline", "--target-dir"])
        .arg(built());
    cargo.output().expect("cargo can be started")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_passes_its_tests_builds_and_serves() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = run_in(dir.path(), ["new", "my-counters"]);
    assert!(made.status.success(), "{}", text(&made));
    let folder = dir.path().join("my-counters");
    // The versions that this repository has fetched, so that the network is not needed.
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("writable");
    let tested = cargo(&folder, &["test"]);
    let output = text(&tested);
    assert!(
        tested.status.success()
            && output.contains("test tests::adding_replies_with_the_sum ... ok"),
        "{output}"
    );
    let formatted = cargo_fmt(&folder);
    assert!(formatted.status.success(), "{}", text(&formatted));
    require_wasm_target(&folder);
    let module = cargo(&folder, &["build", "--release", "--target", TARGET]);
    assert!(module.status.success(), "{}", text(&module));
    let module = built().join(TARGET).join("release/my_counters");
    let cluster = Cluster::start(1, module.to_str().expect("a path of UTF-8"), &[]);
    let http = cluster.nodes[0].http();
    let ready = async || (http.get("/readyz").await.ok()?.status == 200).then_some(());
    eventually("the node is ready", ready).await;
    let response = http.apply(r#"{"add":{"name":"apples","by":5}}"#).await;
    assert_eq!(response.expect("a response").json(), json!({"value": 5}));
}

fn cargo_fmt(folder: &Path) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(folder).args(["fmt", "--check"]);
    cargo.output().expect("cargo can be started")
}
