//! Starts the binary in every way, with valid and invalid arguments.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use oarlock_tests::process::{
    Cluster, NetNamespaces, Node, eventually, free_ports, guest, noted, oarlock, run, run_in,
};
use serde_json::{Value, json};

fn text(output: &Output) -> (Option<i32>, String, String) {
    let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        read(&output.stdout),
        read(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_without_flags_runs_one_node_with_the_built_in_queue_durable_in_oarlock_data() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ports = free_ports(2);
    let start = || {
        Command::new(oarlock())
            .arg("serve")
            .current_dir(dir.path())
            // Addresses of its own, because tests run at the same time.
            .env("OARLOCK_BOOTSTRAP", "true")
            .env("OARLOCK_PEER_ADDR", format!("127.0.0.1:{}", ports[0]))
            .env("OARLOCK_CLIENT_ADDR", format!("127.0.0.1:{}", ports[1]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("oarlock starts")
    };
    let http = oarlock_tests::process::Http(format!("127.0.0.1:{}", ports[1]));
    let mut first = start();
    let ready = async || (http.get("/readyz").await.ok()?.status == 200).then_some(());
    eventually("the node is ready", ready).await;
    let reply = http
        .apply(r#"{"enqueue":{"queue":"q","payload":{"n":1}}}"#)
        .await
        .expect("a response");
    assert_eq!(reply.json(), json!({"id": 1, "duplicate": false}));
    assert!(dir.path().join("oarlock-data").is_dir());
    first.kill().expect("it runs");
    first.wait().expect("it ends");

    let mut second = start();
    eventually("the node is ready again", ready).await;
    let task = http
        .query(r#"{"task":{"id":1}}"#)
        .await
        .expect("a response")
        .json();
    assert_eq!(task["task"]["payload"], json!({"n": 1}));
    second.kill().expect("it runs");
    second.wait().expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_any_flag_begins_a_cluster_on_loopback_and_takes_members_once_it_has_a_name()
{
    // A loopback of its own, because the default ports may be in use.
    let networks = match NetNamespaces::new(1) {
        Ok(networks) => networks,
        Err(why) => {
            return println!("not tested here: default ports in a network namespace: {why}");
        }
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let within = networks.within(0);
    let command = |args: &[&str]| {
        let mut command = Command::new(&within[0]);
        command.args(&within[1..]).arg(oarlock()).args(args);
        command.current_dir(dir.path()).stdin(Stdio::null());
        command
    };
    let call = |args: &[&str]| text(&command(args).output().expect("oarlock starts"));
    let serve = |args: &[&str]| {
        let mut child = command(args);
        let child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.expect("oarlock starts")
    };
    let enqueue = r#"{"enqueue":{"queue":"q","payload":1}}"#;
    let mut node = serve(&["serve"]);
    let applied = async || (call(&["apply", enqueue]).0 == Some(0)).then_some(());
    eventually("the node serves", applied).await;
    let (code, _, stderr) = call(&["members", "add", "node2=10.9.9.9:7101"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("--peer-addr"), "{stderr}");
    node.kill().expect("it runs");
    node.wait().expect("it ends");

    let address = format!("{}:7101", networks.address(0));
    let mut node = serve(&[
        "serve",
        "--node-id",
        "node1",
        "--peer-addr",
        &address,
        "--insecure",
    ]);
    let added = async || {
        let added = call(&[
            "members",
            "add",
            "node2=10.9.9.9:7101",
            "--timeout-ms",
            "20000",
        ]);
        (added.0 == Some(0)).then_some(())
    };
    eventually("the node takes a member", added).await;
    let (code, stdout, stderr) = call(&["query", r#"{"task":{"id":1}}"#]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("\"payload\":1"), "{stdout}");
    node.kill().expect("it runs");
    node.wait().expect("it ends");
}

/// A module that is refused: `serve` and `check` print the reason and exit with 1.
fn assert_refused(dir: &Path, file: &str, bytes: &[u8], reasons: &[&str]) {
    let path = dir.join(file);
    fs::write(&path, bytes).expect("writable");
    let path = path.to_str().expect("UTF-8");
    for args in [vec!["serve", "--state-machine", path], vec!["check", path]] {
        let (code, stdout, stderr) = text(&run_in(dir, &args));
        let output = format!("{stdout}{stderr}");
        assert_eq!(code, Some(1), "{args:?}: {output}");
        for reason in reasons {
            assert!(
                output.contains(reason),
                "{args:?} does not contain {reason:?}: {output}"
            );
        }
        assert!(!output.contains("panicked"), "{output}");
    }
    assert!(
        !dir.join("oarlock-data").exists(),
        "a refused start leaves nothing behind"
    );
}

#[test]
fn a_module_that_can_not_be_run_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    assert_refused(dir, "empty.wasm", b"", &["empty"]);
    assert_refused(dir, "text.wasm", b"#!/bin/sh\necho no\n", &["WebAssembly"]);
    assert_refused(
        dir,
        "cut.wasm",
        &fs::read(guest("kv")).expect("a guest")[..5000],
        &["kv"; 0],
    );
    assert_refused(dir, "no-exports.wat", b"(component)", &["machine"]);
    let unknown = br#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance (export "now" (func (result u64))))))"#;
    assert_refused(
        dir,
        "imports.wat",
        unknown,
        &["wasi:http/outgoing-handler@0.2.0", "machine"],
    );
    let (code, _, stderr) = text(&run_in(dir, ["serve", "--state-machine", "not-there.wasm"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("not-there.wasm"), "{stderr}");
}

#[test]
fn check_names_what_a_module_is() {
    for (name, title) in [
        ("counter", "counter"),
        ("kv", "kv"),
        ("queue", "task-queue"),
    ] {
        let path = guest(name);
        let path = path.to_str().expect("UTF-8");
        let (code, stdout, stderr) = text(&run(["check", path]));
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains(title), "{stdout}");
        let (code, stdout, stderr) = text(&run(["check", path, "--json"]));
        assert_eq!(code, Some(0), "{stderr}");
        let json: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
        assert_eq!(json["name"], title, "{json:#}");
        assert_eq!(json["sha256"].as_str().map(str::len), Some(64), "{json:#}");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    for args in [
        &["serve", "--no-such-flag"][..],
        &["frobnicate"],
        &["serve", "--max-log-entries", "many"],
        &["apply"],
    ] {
        let (code, _, stderr) = text(&run(args));
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(!stderr.is_empty());
    }
    for command in [
        "demo", "serve", "apply", "query", "status", "check", "bench", "snapshot",
    ] {
        let (code, stdout, stderr) = text(&run([command, "--help"]));
        assert_eq!(code, Some(0), "{command}: {stderr}");
        assert!(
            stdout.contains(&format!("oarlock {command}")) && stdout.contains("xample"),
            "{command}: {stdout}"
        );
    }
}

#[test]
fn a_client_command_without_a_node_exits_with_3() {
    let endpoint = format!("127.0.0.1:{}", free_ports(1)[0]);
    for args in [
        &["apply", "{}"][..],
        &["query", "{}"],
        &["status"],
        &["snapshot"],
    ] {
        let (code, stdout, stderr) =
            text(&run(args.iter().copied().chain(["--endpoints", &endpoint])));
        assert_eq!(code, Some(3), "{args:?}: {stdout}{stderr}");
        assert!(stderr.contains(&endpoint), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_commands_do_what_their_help_describes() {
    let mut cluster = Cluster::start(3, "queue", &[]);
    cluster.leader().await;
    let endpoints: Vec<String> = cluster.nodes.iter().map(|node| node.http().0).collect();
    let endpoints = endpoints.join(",");
    let call = |args: &[&str]| {
        text(&run(args
            .iter()
            .copied()
            .chain(["--endpoints", &endpoints])))
    };

    let (code, stdout, stderr) = call(&[
        "apply",
        r#"{"enqueue":{"queue":"q","payload":1}}"#,
        "--idempotency-key",
        "one",
    ]);
    assert_eq!(
        (code, stdout.trim()),
        (Some(0), r#"{"id":1,"duplicate":false}"#),
        "{stderr}"
    );
    let (code, stdout, _) = call(&[
        "apply",
        r#"{"enqueue":{"queue":"q","payload":1}}"#,
        "--idempotency-key",
        "one",
    ]);
    assert_eq!(
        (code, stdout.trim()),
        (Some(0), r#"{"id":1,"duplicate":false}"#)
    );
    let (code, stdout, stderr) = call(&["apply", r#"{"enqueue":{"queue":"q"}}"#]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("payload"), "{stderr}");
    let file = cluster.dir().join("command.json");
    fs::write(&file, r#"{"enqueue":{"queue":"q","payload":2}}"#).expect("writable");
    let (code, stdout, _) = call(&["apply", "--file", file.to_str().expect("UTF-8")]);
    assert_eq!(
        (code, stdout.trim()),
        (Some(0), r#"{"id":2,"duplicate":false}"#)
    );
    let (code, stdout, _) = call(&[
        "query",
        r#"{"task":{"id":2}}"#,
        "--consistency",
        "linearizable",
    ]);
    assert_eq!(code, Some(0));
    assert_eq!(
        serde_json::from_str::<Value>(&stdout).expect("JSON")["task"]["payload"],
        json!(2)
    );

    let (code, stdout, _) = call(&["status"]);
    assert_eq!(code, Some(0));
    for part in [
        "node1",
        "node2",
        "node3",
        "leader",
        "follower",
        "task-queue",
    ] {
        assert!(stdout.contains(part), "{stdout}");
    }
    assert!(
        !stdout.contains('\u{1b}'),
        "no colours in a pipe: {stdout:?}"
    );
    let (code, stdout, _) = call(&["status", "--json"]);
    assert_eq!(code, Some(0));
    serde_json::from_str::<Value>(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    let (code, stdout, stderr) = call(&["snapshot"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (code, stdout, stderr) = call(&["bench", "--clients", "4", "--duration", "1", "--json"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    serde_json::from_str::<Value>(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));

    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    let (code, _, stderr) = call(&["apply", "{}", "--timeout-ms", "1000"]);
    assert_eq!(code, Some(3), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_machine_flag_that_has_no_effect_is_a_warning() {
    let mut cluster = Cluster::start(1, "counter", &[]);
    cluster.leader().await;
    let second = cluster.dir().join("second.wasm");
    fs::write(&second, noted("counter", b"second")).expect("writable");
    let (code, stdout, stderr) = text(&run([
        "upgrade",
        second.to_str().expect("UTF-8"),
        "--endpoints",
        &cluster.nodes[0].http().0,
    ]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(!cluster.nodes[0].log().contains("--state-machine"));
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    eventually("the node warns", async || {
        let log = cluster.nodes[0].log();
        log.contains("--state-machine is not the module of the cluster")
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_stops_a_node_cleanly_and_it_starts_again() {
    let mut cluster = Cluster::start(1, "counter", &[]);
    for signal in ["INT", "TERM"] {
        cluster.leader().await;
        cluster.apply_somewhere(signal, r#"{"add":{"by":1}}"#).await;
        cluster.nodes[0].signal(signal);
        let status = cluster.nodes[0].wait();
        assert_eq!(status.code(), Some(0), "{}", cluster.nodes[0].log());
        cluster.nodes[0].start();
    }
    cluster.leader().await;
    let value = cluster.nodes[0]
        .http()
        .query(r#"{"get":{}}"#)
        .await
        .expect("a response")
        .json();
    assert_eq!(value["value"], json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_on_the_same_directory_or_port_is_refused() {
    let mut cluster = Cluster::start(1, "counter", &[]);
    cluster.leader().await;
    let ports = free_ports(2);
    let mut options = cluster.nodes[0].options_mut().clone();
    let same_dir = options.data_dir.clone();
    let in_use = options.client_addr.clone();

    options.peer_addr = format!("127.0.0.1:{}", ports[0]);
    options.client_addr = format!("127.0.0.1:{}", ports[1]);
    options.cluster = format!("node1={}", options.peer_addr);
    options
        .args
        .extend(["--cluster-id".to_owned(), "same".to_owned()]);
    let mut second = Node::new(options.clone());
    second.start();
    assert_eq!(second.wait().code(), Some(1));
    assert!(
        second.log().contains(
            same_dir
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name")
        ),
        "{}",
        second.log()
    );

    options.data_dir = cluster.dir().join("other");
    options.client_addr = in_use.clone();
    let mut third = Node::new(options);
    third.start();
    assert_eq!(third.wait().code(), Some(1));
    assert!(third.log().contains(&in_use), "{}", third.log());
    assert!(cluster.nodes[0].is_running());
}

#[test]
fn the_demo_runs_its_tour_and_exits_with_0() {
    let output = run(["demo", "--script", "--base-port", "0"]);
    let (code, stdout, stderr) = text(&output);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert!(
        !stdout.contains('\u{1b}'),
        "no colours in a pipe: {stdout:?}"
    );
}

#[test]
fn a_reader_that_closes_the_pipe_causes_no_crash() {
    let mut child = Command::new(oarlock())
        .args(["--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("oarlock starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let output = String::from_utf8_lossy(&output.stderr);
    assert!(!output.contains("panicked"), "{output}");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let call = |variables: &[&str]| {
        let mut command = Command::new(oarlock());
        command.args(["doctor", "--data-dir"]).arg(dir.path());
        for name in variables {
            command.env(name, "");
        }
        text(&command.output().expect("oarlock starts"))
    };
    let without = call(&[]);
    // 4: little space is left on the disk of this machine.
    assert!([Some(0), Some(4)].contains(&without.0), "{}", without.2);
    let empty = call(&[
        "OARLOCK_TIMEOUT_MS",
        "OARLOCK_ENDPOINTS",
        "OARLOCK_JSON",
        "OARLOCK_CERTS_DIR",
        "OARLOCK_CONFIG",
    ]);
    assert_eq!(empty, without);
}
