//! `GET /v1/doctor`, and what a node notes about itself.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Guest, Running};

/// The names of the checks that found something.
fn checks(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    let names = findings.iter().map(|finding| finding["check"].as_str());
    names.map(|name| name.expect("a name")).collect()
}

#[tokio::test]
async fn a_node_reports_its_facts_and_what_follows_from_them() {
    let running = Running::start(Guest::Counter).await;
    running.client.apply(r#"{"add":{"by":5}}"#).await;
    let report = running.client.get("/v1/doctor").await.json();
    let facts = &report["facts"];
    assert_eq!(facts["status"]["node_id"], "node1");
    assert_eq!(facts["status"]["role"], "leader");
    assert_eq!(facts["disk"]["data_dir_present"], true);
    assert_eq!(
        facts["disk"]["data_dir"],
        running.dir.path().display().to_string()
    );
    assert_eq!(facts["access"]["loopback_only"], true);
    assert!(
        facts["recent"]["log_writes"].as_u64() > Some(0),
        "{facts:#}"
    );
    assert!(
        facts["recent"]["leader_changes"].as_u64() > Some(0),
        "{facts:#}"
    );
    let found = checks(&report);
    assert!(found.contains(&"few-voters"), "{found:?}");
    assert!(found.contains(&"no-backup"), "{found:?}");
    assert!(!found.contains(&"not-encrypted"), "{found:?}");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_backup_is_remembered() {
    let running = Running::start(Guest::Counter).await;
    let backup = running.client.get("/v1/backup").await;
    assert_eq!(backup.status, 200, "{backup:?}");
    // The node notes it after it has sent the last piece.
    let noted = async {
        loop {
            let report = running.client.get("/v1/doctor").await.json();
            if !checks(&report).contains(&"no-backup") {
                break;
            }
        }
    };
    let noted = tokio::time::timeout(Duration::from_secs(60), noted).await;
    noted.expect("it is noted");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_node_without_its_data_directory_is_not_ready() {
    let running = Running::start(Guest::Counter).await;
    let dir = running.dir.path();
    let aside = dir.with_extension("aside");
    std::fs::rename(dir, &aside).expect("renamed");
    let report = running.client.get("/v1/doctor").await.json();
    let found = checks(&report);
    assert!(found.contains(&"data-directory-gone"), "{found:?}");
    // One look is not enough: it could be exchanged for a moment.
    let observations = &running.node.app().observations;
    assert!(!observations.look_at_directory(true));
    assert!(!observations.is_directory_lost());
    assert!(!observations.look_at_directory(false));
    assert!(observations.is_directory_lost());
    let ready = running.client.get("/readyz").await;
    ready.assert_error(503, "not_ready");
    let metrics = running.client.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("\noarlock_data_directory_missing 1\n"),
        "{metrics}"
    );
    // The node may have written files at the path since.
    let _ = std::fs::remove_dir_all(dir);
    std::fs::rename(&aside, dir).expect("renamed");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_stopping_node_is_not_ready_and_takes_requests_that_clients_have_sent() {
    let running = Running::start_with(Guest::Counter, |settings| {
        // Longer than the test.
        settings.http.shutdown_linger = Duration::from_secs(600);
    })
    .await;
    let mut stream = running.client.connect().await;
    let mut streams = running.node.app().streams.subscribe();
    let stopping = tokio::spawn(running.node.stop());
    let stopped = streams.wait_for(|serves| !serves).await.map(drop);
    stopped.expect("the sender lives");
    let ready = running.client.get("/readyz").await;
    ready.assert_error(503, "not_ready");
    let body = r#"{"add":{"by":5}}"#;
    let request = format!(
        "POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("text");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let announced = response.to_lowercase().contains("connection: close");
    assert!(announced, "{response}");
    stopping.abort();
}
