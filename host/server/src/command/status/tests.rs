use oarlock_client::{Endpoint, NodeInfo};
use serde_json::json;

use super::gather::{ClusterReport, Health, NodeReport};
use super::show::{as_json, as_text, unreachable};

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

fn status(
    node_id: &str,
    role: &str,
    term: u64,
    commit: u64,
    applied: u64,
    leader: Option<&str>,
) -> NodeInfo {
    serde_json::from_value(json!({
        "node_id": node_id, "role": role, "term": term, "leader_id": leader, "commit_index": commit,
        "applied_index": applied, "first_log_index": 1, "last_log_index": commit, "snapshot_index": 0,
        "state_hash": "00", "members": [], "state_machine": {"name": "kv", "version": 2, "sha256": "ab"},
        "uptime_ms": 1, "version": "0.1.0",
    }))
    .unwrap()
}

fn report(address: &str, health: Health, status: NodeInfo) -> NodeReport {
    let node_id = Some(status.node_id.clone());
    NodeReport {
        endpoint: Some(endpoint(address)),
        node_id,
        health,
        status: Some(status),
    }
}

fn cluster() -> ClusterReport {
    let refused = Health::Unreachable("connection refused".into());
    ClusterReport {
        nodes: vec![
            report(
                "127.0.0.1:8101",
                Health::Ready,
                status("n1", "leader", 3, 120, 120, Some("n1")),
            ),
            report(
                "127.0.0.1:8102",
                Health::NotReady,
                status("n2", "follower", 3, 110, 100, Some("n1")),
            ),
            NodeReport {
                endpoint: Some(endpoint("127.0.0.1:8103")),
                node_id: Some("n3".into()),
                health: refused,
                status: None,
            },
            NodeReport {
                endpoint: None,
                node_id: Some("n4".into()),
                health: Health::NoAddress,
                status: None,
            },
        ],
    }
}

#[test]
fn every_node_has_a_row_with_lag_and_health() {
    let text = anstream::adapter::strip_str(&as_text(&cluster())).to_string();
    let expected = "\
NODE  ROLE      TERM  COMMIT  APPLIED  LAG  MODULE  HEALTH                               ADDRESS
n1    leader       3     120      120    0  kv v2   ok                                   127.0.0.1:8101
n2    follower     3     110      100   20  kv v2   not ready                            127.0.0.1:8102
n3    -            -       -        -    -  -       unreachable: connection refused      127.0.0.1:8103
n4    -            -       -        -    -  -       unreachable: client address unknown  -
";
    assert_eq!(text, expected);
}

#[test]
fn json_contains_the_same_and_each_nodes_whole_status() {
    let json = as_json(&cluster());
    assert_eq!(json["leader_id"], "n1");
    assert_eq!(json["nodes"][1]["lag"], 20);
    assert_eq!(json["nodes"][1]["status"]["role"], "follower");
    assert_eq!(json["nodes"][2]["health"], "unreachable");
    assert_eq!(json["nodes"][2]["error"], "connection refused");
    assert_eq!(json["nodes"][3]["status"], serde_json::Value::Null);
}

#[test]
fn the_leader_of_the_highest_term_is_shown() {
    let old = report(
        "127.0.0.1:1",
        Health::NotReady,
        status("old", "leader", 1, 5, 5, Some("old")),
    );
    let new = report(
        "127.0.0.1:2",
        Health::Ready,
        status("new", "leader", 2, 6, 6, Some("new")),
    );
    let cluster = ClusterReport {
        nodes: vec![old.clone(), new],
    };
    assert_eq!(cluster.leader_id(), Some("new"));
    let leaderless = ClusterReport {
        nodes: vec![report(
            "127.0.0.1:1",
            Health::NotReady,
            status("n", "candidate", 1, 0, 0, None),
        )],
    };
    assert_eq!(leaderless.leader_id(), None);
}

#[test]
fn if_no_node_responds_each_address_is_listed_with_the_reason() {
    let cluster = ClusterReport {
        nodes: vec![NodeReport {
            endpoint: Some(endpoint("127.0.0.1:8101")),
            node_id: None,
            health: Health::Unreachable("connection \u{1b}[2Jrefused".into()),
            status: None,
        }],
    };
    assert!(!cluster.any_responded());
    assert_eq!(
        unreachable(&cluster),
        "  127.0.0.1:8101: connection \u{fffd}[2Jrefused\n"
    );
}

#[test]
fn a_node_with_low_memory_is_shown() {
    let mut cluster = cluster();
    let low = |cluster: &ClusterReport| as_text(cluster).matches("memory low").count();
    assert_eq!(low(&cluster), 0);
    for (node, shown) in [("n9", 0), ("n1", 1)] {
        let status = cluster.nodes[0].status.as_mut().unwrap();
        let memory = json!({"low": true, "low_nodes": [node]});
        status.other.insert("memory".to_owned(), memory);
        assert_eq!(low(&cluster), shown, "{node}");
    }
}

#[test]
fn a_wrong_clock_and_a_time_of_the_log_ahead_of_all_clocks_are_shown() {
    let mut cluster = cluster();
    let mut shown = |offset_ms: i64, skewed: bool, ahead_ms: u64| {
        let status = cluster.nodes[0].status.as_mut().unwrap();
        let clock = json!({"offset_ms": offset_ms, "skewed": skewed, "ahead_ms": ahead_ms});
        status.other.insert("clock".to_owned(), clock);
        anstream::adapter::strip_str(&as_text(&cluster)).to_string()
    };
    let right = shown(200, false, 0);
    assert!(!right.contains("clock"), "{right}");
    let ahead = shown(3_600_000, true, 0);
    assert!(ahead.contains("  clock 3600.0 s ahead"), "{ahead}");
    let behind = shown(-750, true, 0);
    assert!(behind.contains("  clock 0.7 s behind"), "{behind}");
    let log = shown(0, false, 86_400_500);
    assert!(
        log.contains("the time of the log is 86400.5 s ahead"),
        "{log}"
    );
    assert!(log.contains("  ok "), "the node is healthy: {log}");
}
