//! Modules from the network: whatever they are made of, they end their check and not the node.

use std::fs;
use std::path::{Path, PathBuf};

use oarlock_tests::process::{
    Cluster, Http, HttpResponse, Node, compile, eventually, forged, guest, noted, run,
};
use serde_json::{Value, json};

async fn upload(http: &Http, module: impl Into<bytes::Bytes>) -> HttpResponse {
    http.send("POST", "/v1/state-machine", &[], module)
        .await
        .expect("a response")
}

/// Each node has its own compiled code: a module that another one has compiled is checked again. The counter is compiled.
fn compile_apart(cluster: &mut Cluster) {
    let dirs: Vec<String> = (0..cluster.nodes.len())
        .map(|at| {
            cluster
                .dir()
                .join(format!("code{at}"))
                .display()
                .to_string()
        })
        .collect();
    for (node, dir) in cluster.nodes.iter_mut().zip(dirs) {
        let args = &mut node.options_mut().args;
        let flag = args.iter().position(|arg| arg == "--compiled-dir");
        let checked = run([
            "check",
            &guest("counter").display().to_string(),
            "--compiled-dir",
            &dir,
        ]);
        assert!(checked.status.success(), "{checked:?}");
        args[flag.expect("the flag") + 1] = dir;
    }
}

/// One second of processor time for a check. A guest that was compiled before needs none.
const ONE_SECOND: [&str; 2] = ["--module-check-seconds", "1"];

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_the_compiler_does_not_finish_is_refused_and_harms_nothing() {
    compile(&["counter"]);
    let mut cluster = Cluster::start(1, "counter", &ONE_SECOND);
    cluster.leader().await;
    let http = cluster.nodes[0].http();

    let refused = upload(&http, forged::huge_functions(4)).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let error = refused.json();
    assert_eq!(error["error"]["code"], "module_refused", "{error:#}");
    let message = error["error"]["message"].as_str().expect("a message");
    assert!(
        message.contains("more than 1 s of processor time"),
        "{message}"
    );
    assert!(cluster.nodes[0].is_running());
    let history = http.get("/v1/upgrades").await.expect("a response").json()["history"].clone();
    assert_eq!(history, json!([]), "it is not in the log");

    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.leader().await;
    cluster.apply_somewhere("key", r#"{"add":{"by":1}}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_start_with_a_module_that_the_compiler_does_not_finish() {
    let mut cluster = Cluster::prepare(1, "counter", &ONE_SECOND);
    let file = cluster.dir().join("forged.wasm");
    fs::write(&file, forged::huge_functions(4)).expect("a file");
    replace_module(&mut cluster.nodes[0], &file);
    cluster.nodes[0].start();
    let status = cluster.nodes[0].wait();
    let log = cluster.nodes[0].log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("more than 1 s of processor time"), "{log}");
}

fn replace_module(node: &mut Node, file: &Path) {
    let args = &mut node.options_mut().args;
    let flag = args.iter().position(|arg| arg == "--state-machine");
    args[flag.expect("the flag") + 1] = file.display().to_string();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_runs_out_of_memory_on_one_node_refuses_the_module_on_all_also_after_a_restart()
 {
    let mut cluster = Cluster::prepare(3, "counter", &[]);
    compile_apart(&mut cluster);
    cluster.nodes.iter_mut().for_each(Node::start);
    let leader = cluster.leader().await;
    let small = (leader + 1) % 3;
    let budget = ["--module-check-memory-mib", "40"].map(str::to_owned);
    cluster.nodes[small].kill();
    cluster.nodes[small].options_mut().args.extend(budget);
    cluster.nodes[small].start();
    let before = cluster
        .apply_somewhere("first", r#"{"add":{"by":1}}"#)
        .await;

    let refused = upload(&cluster.nodes[leader].http(), noted("counter", b"large")).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let error = refused.json();
    let message = error["error"]["message"].as_str().expect("a message");
    assert!(
        message.contains("needs more than 40 MiB of memory"),
        "{message}"
    );

    for node in &mut cluster.nodes {
        node.kill();
        node.start();
    }
    cluster.leader().await;
    for node in &cluster.nodes {
        let http = node.http();
        let reason = eventually("the node has the history", async || {
            let upgrades = http.get("/v1/upgrades").await.ok()?.json();
            upgrades["history"][0]["message"]
                .as_str()
                .map(str::to_owned)
        })
        .await;
        assert!(
            reason.contains("needs more than 40 MiB of memory"),
            "{reason}"
        );
    }
    let after = cluster
        .apply_somewhere("second", r#"{"add":{"by":1}}"#)
        .await;
    assert_ne!(before, after, "the counter goes on");
    let hashes = cluster.converged().await;
    assert_eq!(hashes.len(), 3);
}

#[test]
fn a_check_on_the_command_line_names_the_reason_for_hostile_modules_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let locals = dir.path().join("locals.wat");
    let text = format!("(module (func (local {})))", "i32 ".repeat(10_001));
    fs::write(&locals, text).expect("a file");
    let checked = run(["check", &locals.display().to_string()]);
    let error = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{error}");
    assert!(
        error.contains("10001 local variables, but 10000 is the limit"),
        "{error}"
    );

    let checked = run(["check", &cyclic_packages().display().to_string(), "--json"]);
    let error = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{error}");
    assert!(
        error.contains("depend on each other in a circle"),
        "{error}"
    );
    let shown: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(shown["ok"], false);
}

#[test]
fn the_child_limits_itself() {
    let refused = run([
        "check-module",
        "--memory-bytes",
        "1",
        "--processor-seconds",
        "1",
    ]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");
}

/// The embedded WIT of this module, found by `fuzz module`, names packages that depend on each other. Its decoder would recurse
/// without an end, which no `catch_unwind` stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_module_whose_packages_depend_on_each_other_is_refused_and_harms_nothing() {
    let mut cluster = Cluster::start(1, "counter", &[]);
    cluster.leader().await;
    let http = cluster.nodes[0].http();
    let refused = upload(&http, fs::read(cyclic_packages()).expect("a module")).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let error = refused.json()["error"].clone();
    assert_eq!(error["code"], "module_refused");
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("depend on each other in a circle"),
        "{message}"
    );
    assert!(cluster.nodes[0].is_running());
    cluster.apply_somewhere("key", r#"{"add":{"by":1}}"#).await;
}

fn cyclic_packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cyclic-packages.wasm")
}
