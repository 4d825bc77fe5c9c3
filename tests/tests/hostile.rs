//! Bad input of every kind: it gets its documented response, and nothing is lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use oarlock_tests::process::{Cluster, Http, Node, guest};
use serde_json::json;

async fn put(http: &Http, key: &str, value: &str) {
    let response = http
        .apply(json!({"put": {"key": key, "value": value}}).to_string())
        .await
        .expect("a response");
    assert_eq!(response.status, 200, "{response:?}");
}

async fn get(http: &Http, key: &str) -> serde_json::Value {
    let response = http
        .query(json!({"get": {"key": key}}).to_string())
        .await
        .expect("a response");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["value"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_their_documented_responses_and_harm_nothing() {
    let mut cluster = Cluster::start(3, "kv", &["--max-command-bytes", "1000"]);
    let leader = cluster.leader().await;
    let http = cluster.nodes[(leader + 1) % 3].http();
    put(&http, "a", "1").await;

    let filler = "x".repeat(1000 - r#"{"put":{"key":"b","value":""}}"#.len());
    let exact = json!({"put": {"key": "b", "value": filler}}).to_string();
    assert_eq!(exact.len(), 1000);
    assert_eq!(
        http.apply(exact.clone()).await.expect("a response").status,
        200,
        "the limit itself is allowed"
    );
    let refusals = [
        (
            "POST",
            "/v1/apply",
            vec![],
            format!("{exact} "),
            413,
            "too_large",
        ),
        (
            "POST",
            "/v1/query",
            vec![],
            format!("{exact} "),
            413,
            "too_large",
        ),
        ("POST", "/v1/apply", vec![], String::new(), 400, ""),
        (
            "POST",
            "/v1/apply",
            vec![("idempotency-key", "")],
            exact.clone(),
            400,
            "",
        ),
        (
            "POST",
            "/v1/apply",
            vec![("oarlock-timeout-ms", "soon")],
            exact.clone(),
            400,
            "",
        ),
        (
            "POST",
            "/v1/query?consistency=whatever",
            vec![],
            r#"{"get":{"key":"a"}}"#.to_owned(),
            400,
            "",
        ),
        ("GET", "/v1/apply", vec![], String::new(), 405, ""),
        ("DELETE", "/v1/status", vec![], String::new(), 405, ""),
        ("GET", "/nothing/here", vec![], String::new(), 404, ""),
    ];
    for (method, path, headers, body, status, code) in refusals {
        let response = http
            .send(method, path, &headers, body)
            .await
            .expect("a response");
        assert_eq!(response.status, status, "{method} {path}: {response:?}");
        let found = response.error_code();
        assert!(
            code.is_empty() || found == code,
            "{method} {path}: {response:?}"
        );
        if status == 413 {
            assert!(
                response.json()["error"]["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("1000")),
                "{response:?}"
            );
        }
    }
    for (body, named) in [
        (r#"{"put":{"key":"a"}}"#, "value"),
        (r#"{"put":{"key":5,"value":"v"}}"#, "key"),
        (r#"{"drop":{}}"#, "drop"),
        ("{", ""),
        ("\u{0}\u{1}", ""),
    ] {
        let response = http.apply(body).await.expect("a response");
        assert_eq!(response.status, 422, "{body}: {response:?}");
        assert!(
            String::from_utf8_lossy(&response.body).contains(named),
            "{body}: {response:?}"
        );
    }
    assert_eq!(get(&http, "a").await, json!("1"));
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_either_port_closes_that_connection_and_harms_nothing() {
    let mut cluster = Cluster::start(3, "kv", &[]);
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    put(&http, "a", "1").await;
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0, 0, 0, 0],
        &[0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[0, 0, 16, 0],
    ];
    for bytes in garbage {
        for addr in [cluster.nodes[leader].peer_addr(), http.0.as_str()] {
            let mut stream = TcpStream::connect(addr).expect("it listens");
            stream.write_all(bytes).expect("it reads");
            // The node may have closed it by now. A reset is equivalent to an end: the connection is closed.
            let _ = stream.shutdown(Shutdown::Write);
            let mut response = Vec::new();
            let _ = stream.read_to_end(&mut response);
        }
    }
    assert_eq!(
        cluster.leader().await,
        leader,
        "no node lost the leader over it"
    );
    put(&http, "b", "2").await;
    assert_eq!(
        (get(&http, "a").await, get(&http, "b").await),
        (json!("1"), json!("2"))
    );
    assert!(cluster.nodes[leader].is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_connection_still_gets_its_response() {
    let mut cluster = Cluster::start(1, "kv", &[]);
    cluster.leader().await;
    let http = cluster.nodes[0].http();
    let body = r#"{"put":{"key":"a","value":"1"}}"#;
    let mut stream = TcpStream::connect(&http.0).expect("it listens");
    write!(
        stream,
        "POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    stream.shutdown(Shutdown::Write).expect("half-closed");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .expect("a response, then the end");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.ends_with(r#"{"previous":null}"#), "{response}");

    // Cut in the middle of the body: not a command.
    let mut stream = TcpStream::connect(&http.0).expect("it listens");
    write!(
        stream,
        "POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{body}"
    )
    .expect("it reads");
    drop(stream);
    assert_eq!(get(&http, "a").await, json!("1"));
}

/// Starts a node that must refuse, and returns its log.
fn refusal(node: &mut Node) -> String {
    let before = node.log().len();
    node.start();
    let status = node.wait();
    let log = node.log()[before..].to_owned();
    assert_eq!(status.code(), Some(1), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_another_node_or_cluster_is_refused_with_the_reason() {
    let mut cluster = Cluster::start(3, "kv", &[]);
    cluster.leader().await;
    put(&cluster.nodes[0].http(), "a", "1").await;
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();

    let own = cluster.nodes[0].data_dir().to_owned();
    cluster.nodes[0].options_mut().data_dir = cluster.dir().join("node2");
    let log = refusal(&mut cluster.nodes[0]);
    assert!(log.contains("node2") && log.contains("node1"), "{log}");
    cluster.nodes[0].options_mut().data_dir = own;

    cluster.nodes[0]
        .options_mut()
        .args
        .extend(["--cluster-id".to_owned(), "another".to_owned()]);
    let log = refusal(&mut cluster.nodes[0]);
    assert!(log.contains("another"), "{log}");
    cluster.nodes[0].options_mut().args.truncate(2);

    cluster.nodes[0].start();
    cluster.nodes[1].start();
    cluster.leader().await;
    assert_eq!(get(&cluster.nodes[0].http(), "a").await, json!("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_gets_no_messages() {
    let mut cluster = Cluster::start(3, "kv", &[]);
    cluster.leader().await;
    cluster.nodes[2].kill();
    let elsewhere = cluster.dir().join("elsewhere");
    let options = cluster.nodes[2].options_mut();
    options.data_dir = elsewhere;
    options
        .args
        .extend(["--cluster-id".to_owned(), "another".to_owned()]);
    cluster.nodes[2].start();
    let stranger = cluster.nodes[2].http();
    oarlock_tests::process::eventually("the other two elect a leader", async || {
        let status = cluster.nodes[0].http().status().await?;
        status["leader_id"].as_str().map(|_| ())
    })
    .await;
    put(&cluster.nodes[0].http(), "a", "1").await;
    let status = oarlock_tests::process::eventually("the other node responds", async || {
        stranger.status().await
    })
    .await;
    assert_eq!(
        (&status["leader_id"], &status["commit_index"]),
        (&json!(null), &json!(0)),
        "{status:#}"
    );
    assert!(
        cluster.nodes[2].log().contains("another"),
        "one log line has the reason: {}",
        cluster.nodes[2].log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_another_state_machine_is_refused_with_the_reason() {
    let mut cluster = Cluster::start(1, "kv", &[]);
    cluster.leader().await;
    put(&cluster.nodes[0].http(), "a", "1").await;
    cluster.nodes[0].kill();

    let kv = cluster.nodes[0].options_mut().args[1].clone();
    cluster.nodes[0].options_mut().args[1] = guest("counter").display().to_string();
    let log = refusal(&mut cluster.nodes[0]);
    assert!(log.contains("state machine"), "{log}");

    cluster.nodes[0].options_mut().args[1] = kv;
    cluster.nodes[0].start();
    cluster.leader().await;
    assert_eq!(get(&cluster.nodes[0].http(), "a").await, json!("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_state_machine_stops_and_the_others_go_on() {
    let mut cluster = Cluster::start(3, "kv", &[]);
    cluster.leader().await;
    put(&cluster.nodes[0].http(), "a", "1").await;
    cluster.nodes[2].kill();
    fs::remove_dir_all(cluster.nodes[2].data_dir()).expect("a directory");
    cluster.nodes[2].options_mut().args[1] = guest("counter").display().to_string();
    let log = refusal(&mut cluster.nodes[2]);
    assert!(log.contains("state machine"), "{log}");
    put(&cluster.nodes[1].http(), "b", "2").await;
    assert_eq!(get(&cluster.nodes[0].http(), "b").await, json!("2"));

    cluster.nodes[2].options_mut().args[1] = guest("kv").display().to_string();
    cluster.nodes[2].start();
    assert_eq!(cluster.converged().await.len(), 3);
}

/// The segment of the log with the values, and where they are.
fn values_in_the_log(dir: &Path) -> (std::path::PathBuf, Vec<usize>) {
    let segments = copy_of(dir).into_iter();
    let segments = segments.filter(|(path, _)| path.extension().is_some_and(|it| it == "segment"));
    let found = segments.map(|(path, bytes)| {
        let windows = bytes.windows(16).enumerate();
        let values = windows.filter(|(_, window)| *window == [b'v'; 16]);
        (path, values.map(|(at, _)| at).collect::<Vec<_>>())
    });
    found
        .max_by_key(|(_, positions)| positions.len())
        .unwrap_or_else(|| panic!("no segment in {}", dir.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_data_file_is_never_trusted() {
    let mut cluster = Cluster::start(
        3,
        "kv",
        &["--snapshot-threshold", "20", "--max-log-entries", "40"],
    );
    cluster.leader().await;
    for number in 0..60 {
        put(
            &cluster.nodes[0].http(),
            &format!("k{number}"),
            &"v".repeat(200),
        )
        .await;
    }
    cluster.converged().await;
    cluster.nodes[0].kill();
    let dir = cluster.nodes[0].data_dir().to_owned();
    let whole = copy_of(&dir);

    let (log, positions) = values_in_the_log(&dir);
    let mut bytes = fs::read(&log).expect("readable");
    assert!(!positions.is_empty(), "the log holds the values");
    for at in positions {
        bytes[at + 8] ^= 0x20;
    }
    fs::write(&log, &bytes).expect("writable");
    let log = refusal(&mut cluster.nodes[0]);
    assert!(
        log.to_lowercase().contains("damaged")
            || log.to_lowercase().contains("corrupt")
            || log.contains("checksum"),
        "{log}"
    );

    // With what it had before the damage it takes part again.
    restore(&whole, &dir);
    cluster.nodes[0].start();
    cluster.converged().await;
    assert_eq!(
        get(&cluster.nodes[0].http(), "k7").await,
        json!("v".repeat(200))
    );
}

type Files = Vec<(std::path::PathBuf, Vec<u8>)>;

fn copy_of(dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(copy_of(&path));
        } else {
            files.push((path.clone(), fs::read(&path).expect("readable")));
        }
    }
    files
}

fn restore(files: &Files, dir: &Path) {
    fs::remove_dir_all(dir).expect("removable");
    for (path, bytes) in files {
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, bytes).expect("writable");
    }
}
