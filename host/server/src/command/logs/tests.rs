use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

/// A line as a node sends it.
fn line(time_ms: u64, text: &str) -> LogItem {
    let line = json!({"time_ms": time_ms, "level": "warn", "source": "guest", "target": "guest", "text": text});
    LogItem::Line(serde_json::from_value(line).expect("a line"))
}

fn log(node_id: &str, items: Vec<LogItem>) -> StoredLog {
    StoredLog {
        node: LoggingNode {
            node_id: node_id.to_owned(),
            endpoint: "127.0.0.1:1".parse().expect("an endpoint"),
        },
        items,
        last_id: String::new(),
    }
}

fn printed(logs: &[StoredLog], json: bool, left: Option<u64>) -> (Vec<String>, bool) {
    let mut written = Vec::new();
    let mut printer = Printer {
        out: Output::new(&mut written),
        json,
        left,
    };
    let goes_on = printer.print_stored(logs).expect("it is written");
    let text = String::from_utf8(written).expect("text");
    (text.lines().map(str::to_owned).collect(), goes_on)
}

#[test]
fn the_logs_of_all_nodes_are_merged_by_time() {
    let logs = [
        log("node1", vec![line(1, "a"), line(1, "b"), line(5, "e")]),
        log(
            "node2",
            vec![LogItem::Gap(Some(3)), line(2, "c"), line(4, "d")],
        ),
    ];
    let (lines, goes_on) = printed(&logs, false, None);
    assert!(goes_on);
    let begin = "1970-01-01T00:00:00";
    assert_eq!(
        lines,
        [
            format!("{begin}.001Z node1 WARN  guest: a"),
            format!("{begin}.001Z node1 WARN  guest: b"),
            "---- node2: 3 lines are missing here: the node no longer stores them".to_owned(),
            format!("{begin}.002Z node2 WARN  guest: c"),
            format!("{begin}.004Z node2 WARN  guest: d"),
            format!("{begin}.005Z node1 WARN  guest: e"),
        ]
    );
    let (lines, goes_on) = printed(&logs, false, Some(2));
    assert_eq!((lines.len(), goes_on), (2, false));
}

#[test]
fn a_line_as_json_has_its_node() {
    let logs = [log("node1", vec![LogItem::Gap(None), line(7, "a\nb")])];
    let (lines, _) = printed(&logs, true, None);
    let values: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        values,
        [
            json!({"node": "node1", "missed": null}),
            json!({
                "node": "node1", "time_ms": 7, "level": "warn", "source": "guest", "target": "guest", "text": "a\nb"
            }),
        ]
    );
}

#[test]
fn a_guest_can_not_print_a_line_of_its_own() {
    let forged = "x\n1970-01-01T00:00:00.000Z node1 ERROR oarlock: the disk is full\u{1b}[2J";
    let (lines, _) = printed(&[log("node1", vec![line(0, forged)])], false, None);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(!lines[0].contains('\u{1b}'), "{lines:?}");
}

#[tokio::test]
async fn a_node_that_refuses_is_asked_once_and_its_log_ends() {
    const REFUSAL: &str = r#"{"error":{"code":"unknown_route","message":"there is no such path"}}"#;
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let node = axum::Router::new().fallback(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        std::future::ready((StatusCode::NOT_FOUND, REFUSAL))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, node).await });

    let mut log = log("node1", Vec::new());
    log.node.endpoint = address.parse().expect("an endpoint");
    let mut written = Vec::new();
    let mut printer = Printer {
        out: Output::new(&mut written),
        json: false,
        left: None,
    };
    let options = LogOptions::default();
    let followed = follow(vec![log], Duration::from_secs(10), &options, &mut printer).await;
    let failure = followed.expect_err("the node refuses");
    assert_eq!(failure.code(), 1);
    assert!(failure.to_string().contains("--follow"), "{failure}");
    assert_eq!(requests.load(Ordering::Relaxed), 1);
    assert!(written.is_empty());
}

#[test]
fn only_what_can_pass_is_requested_again() {
    let message = String::new;
    assert!(may_pass(&RequestError::NoLeader { message: message() }));
    assert!(may_pass(&RequestError::Overloaded { message: message() }));
    assert!(!may_pass(&RequestError::Invalid {
        status: 404,
        code: "unknown_route".to_owned(),
        message: message(),
    }));
    assert!(!may_pass(&RequestError::Malformed {
        endpoint: "127.0.0.1:1".parse().expect("an endpoint"),
        message: message(),
    }));
}
