//! A node is locked by default: what it refuses to start with, what it refuses from clients, and what other users of its
//! machine can't read. `SECURITY.md` lists these tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use oarlock_tests::http::connection::Connection;
use oarlock_tests::process::{Cluster, Http, eventually, oarlock, run};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const PUT: &str = r#"{"put":{"key":"k","value":"v"}}"#;

fn error_of(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[test]
fn a_node_off_loopback_does_not_start_without_encryption_unless_the_operator_accepts_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    for flags in [
        ["--client-addr", "0.0.0.0:8101"],
        ["--peer-addr", "0.0.0.0:7101"],
        ["--client-addr", "10.9.9.9:8101"],
    ] {
        let data_dir = data.to_str().expect("text");
        let output = run(["serve", flags[0], flags[1], "--data-dir", data_dir]);
        let (code, error) = error_of(&output);
        assert_eq!(code, Some(2), "{error}");
        assert!(
            error.contains("--insecure") && error.contains(flags[0]),
            "{error}"
        );
    }
    assert!(!data.exists());
}

/// Every file and directory below, with its mode.
fn modes(dir: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("it exists");
        found.push((entry.path(), metadata.permissions().mode() & 0o777));
        if metadata.is_dir() {
            modes(&entry.path(), found);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_users_of_the_machine_can_not_read_the_data() {
    let mut cluster = Cluster::prepare(1, "kv", &[]);
    let data = cluster.nodes[0].data_dir().to_owned();
    // The operator has created it, as the shell creates directories.
    fs::create_dir(&data).expect("a directory");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("a mode");
    cluster.nodes[0].start();
    cluster.leader().await;
    cluster.apply_somewhere("one", PUT).await;
    let http = cluster.nodes[0].http();
    let taken = http.send("POST", "/v1/snapshot", &[], "").await;
    assert_eq!(taken.expect("a response").status, 200);
    let mut found = vec![(
        data.clone(),
        fs::metadata(&data).expect("it exists").permissions().mode() & 0o777,
    )];
    modes(&data, &mut found);
    assert!(
        found.iter().any(|(path, _)| path.ends_with("raft.redb")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|(path, _)| path.extension().is_some_and(|kind| kind == "snap")),
        "{found:?}"
    );
    for (path, mode) in found {
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

/// What a page that a developer opens can make the browser send.
#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_can_not_change_a_node_on_the_same_machine() {
    let mut cluster = Cluster::start(1, "kv", &[]);
    cluster.leader().await;
    let http: Http = cluster.nodes[0].http();
    let member = json!({"node_id": "evil", "peer_addr": "10.6.6.6:7101"}).to_string();
    let origin = ("origin", "https://evil.example");
    for (path, body, headers) in [
        ("/v1/apply", PUT.to_owned(), vec![origin]),
        ("/v1/members", member.clone(), vec![origin]),
        ("/v1/state-machine", "(component)".to_owned(), vec![origin]),
        ("/v1/snapshot", String::new(), vec![origin]),
        (
            "/v1/settings/raise-level",
            String::new(),
            vec![("sec-fetch-site", "cross-site")],
        ),
    ] {
        let refused = http
            .send("POST", path, &headers, body)
            .await
            .expect("a response");
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (403, "cross_origin"),
            "{path}"
        );
    }
    // Its name now resolves to 127.0.0.1, so that its requests have its own origin.
    let refused = http
        .send(
            "POST",
            "/v1/members",
            &[("host", "evil.example:8101")],
            member,
        )
        .await;
    let refused = refused.expect("a response");
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (421, "unknown_host")
    );
    let query = http
        .query(r#"{"get":{"key":"k"}}"#)
        .await
        .expect("a response");
    assert_eq!(query.json(), json!({"value": null}));
    let members = http.get("/v1/members").await.expect("a response").json();
    assert_eq!(
        members["members"].as_array().map(Vec::len),
        Some(1),
        "{members}"
    );
}

/// The binary with a hard limit of descriptors that the idle clients of the test below exceed.
fn with_few_descriptors(dir: &Path) -> PathBuf {
    let script = dir.join("oarlock");
    let text = format!(
        "#!/bin/sh\nulimit -n 256\nexec '{}' \"$@\"\n",
        oarlock().display()
    );
    fs::write(&script, text).expect("writable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its own file");
    script
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_clients_do_not_keep_a_restarted_peer_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let limited = with_few_descriptors(dir.path());
    let mut cluster = Cluster::prepare(3, "kv", &[]);
    for node in &mut cluster.nodes {
        node.use_binary(&limited);
        node.start();
    }
    let leader = cluster.leader().await;
    let restarted = (leader + 1) % 3;
    let log = cluster.nodes[leader].log();
    assert!(log.contains("fewer clients"), "{log}");
    cluster.nodes[restarted].kill();
    let mut idle = Vec::new();
    for _ in 0..300 {
        let opened = TcpStream::connect(&cluster.nodes[leader].http().0).await;
        idle.push(opened.expect("the node accepts it, or closes it"));
    }
    cluster.nodes[restarted].start();
    let http = cluster.nodes[restarted].http();
    eventually("the restarted node is ready", async || {
        (http.get("/readyz").await.ok()?.status == 200).then_some(())
    })
    .await;
}

/// The value of a metric.
async fn metric(http: &Http, name: &str) -> u64 {
    let response = http.get("/metrics").await.expect("a response");
    let text = String::from_utf8_lossy(&response.body).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Opens a connection and sends the same request many times, without reading.
async fn send_many(http: &Http, path: &str, body: &str, times: usize) -> TcpStream {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\noarlock-timeout-ms: 600000\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(&http.0).await.expect("it listens");
    let sent = stream.write_all(request.repeat(times).as_bytes()).await;
    sent.expect("it reads");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_abandoned_endless_queries_do_not_hold_up_others() {
    let mut cluster = Cluster::start(1, "faulty", &["--fuel-per-query", "1000000000000000"]);
    cluster.leader().await;
    let http = cluster.nodes[0].http();
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(send_many(&http, "/v1/query", r#"{"spin":{}}"#, 256).await);
    }
    let left = async || {
        let waiting = metric(&http, "oarlock_queries_waiting ").await;
        waiting + metric(&http, "oarlock_queries_running ").await
    };
    eventually("all of them have arrived", async || {
        (left().await == 4096).then_some(())
    })
    .await;
    drop(clients);
    let query = http.query(r#"{"get":{}}"#).await.expect("a response");
    assert_eq!((query.status, query.json()), (200, json!({"value": 0})));
    eventually("all of them have ended", async || {
        (left().await == 0).then_some(())
    })
    .await;
    let interrupted = metric(&http, "oarlock_queries_interrupted_total ").await;
    let dropped = metric(&http, "oarlock_queries_abandoned_total ").await;
    // A few leave on the way from their turn to the machine, which is not counted.
    assert!(
        interrupted > 0 && dropped > 3000 && interrupted + dropped <= 4096,
        "{interrupted} interrupted, {dropped} dropped"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_queries_of_many_connections_do_not_hold_up_short_ones() {
    const GET: &str = r#"{"get":{}}"#;
    let mut cluster = Cluster::start(1, "faulty", &["--fuel-per-query", "1000000000000000"]);
    cluster.leader().await;
    let http = cluster.nodes[0].http();
    let mut before = Connection::open(&http.0).await.expect("it listens");
    let get = async |connection: &mut Connection| {
        connection.push(
            b"POST /v1/query HTTP/1.1\r\nhost: localhost\r\n",
            GET.as_bytes(),
        );
        connection.send().await.expect("it reads");
        let response = connection.receive(false).await.expect("a response");
        assert_eq!(
            (response.status, response.json()),
            (200, json!({"value": 0}))
        );
    };
    get(&mut before).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(send_many(&http, "/v1/query", r#"{"spin":{}}"#, 4).await);
    }
    let left = async || {
        let waiting = metric(&http, "oarlock_queries_waiting ").await;
        waiting + metric(&http, "oarlock_queries_running ").await
    };
    eventually(
        "all first queries have begun again as long ones",
        async || {
            let begun_again = metric(&http, "oarlock_queries_begun_again_total ").await;
            (begun_again == 200 && left().await == 800).then_some(())
        },
    )
    .await;
    // They do not end, and the others are served all the same: on a connection that has shown that its queries are short, and
    // on a new one.
    for _ in 0..50 {
        get(&mut before).await;
    }
    let mut new = Connection::open(&http.0).await.expect("it listens");
    get(&mut new).await;
    assert_eq!(left().await, 800);
    assert_eq!(metric(&http, "oarlock_queries_refused_total ").await, 0);
}

/// The largest memory that a node has used, in MiB.
fn peak_memory_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_take_no_more_memory_than_they_may() {
    let mut cluster = Cluster::start(1, "kv", &["--max-waiting-mib", "8"]);
    cluster.leader().await;
    let http = cluster.nodes[0].http();
    let put = json!({"put": {"key": "k", "value": "x".repeat(500_000)}});
    let stored = http.apply(put.to_string()).await.expect("a response");
    assert_eq!(stored.status, 200);
    let pid = cluster.nodes[0].pid().expect("it runs");
    let before = peak_memory_mib(pid);
    // Replies of 1.2 GB.
    let mut slow = Vec::new();
    for _ in 0..300 {
        slow.push(send_many(&http, "/v1/query", r#"{"get":{"key":"k"}}"#, 8).await);
    }
    let closed = r#"oarlock_http_connections_closed_total{reason="total_bytes"} "#;
    eventually("most of them are disconnected", async || {
        (metric(&http, closed).await > 200).then_some(())
    })
    .await;
    assert!(metric(&http, "oarlock_http_waiting_bytes ").await <= 8 << 20);
    let query = http.query(r#"{"get":{"key":"k"}}"#).await;
    assert_eq!(query.expect("a response").status, 200);
    let more = peak_memory_mib(pid).saturating_sub(before);
    assert!(more < 200, "{more} MiB more than before");
}
