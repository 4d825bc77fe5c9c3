use oarlock_client::{Endpoint, NodeInfo};
use serde_json::json;

use super::gather::{ClusterReport, Health, NodeReport};
use super::show::{as_json, as_text, silent};

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

fn answered(address: &str, health: Health, status: NodeInfo) -> NodeReport {
    let node_id = Some(status.node_id.clone());
    NodeReport {
        endpoint: Some(endpoint(address)),
        node_id,
        health,
        status: Some(status),
    }
}

fn cluster() -> ClusterReport {
    let silent = Health::Silent("connection refused".into());
    ClusterReport {
        nodes: vec![
            answered(
                "127.0.0.1:8101",
                Health::Ready,
                status("n1", "leader", 3, 120, 120, Some("n1")),
            ),
            answered(
                "127.0.0.1:8102",
                Health::NotReady,
                status("n2", "follower", 3, 110, 100, Some("n1")),
            ),
            NodeReport {
                endpoint: Some(endpoint("127.0.0.1:8103")),
                node_id: Some("n3".into()),
                health: silent,
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
fn every_node_has_a_line_with_its_lag_and_health() {
    let text = anstream::adapter::strip_str(&as_text(&cluster())).to_string();
    let expected = "\
NODE  ROLE      TERM  COMMIT  APPLIED  LAG  MODULE  HEALTH                                        ADDRESS
n1    leader       3     120      120    0  kv v2   ok                                            127.0.0.1:8101
n2    follower     3     110      100   20  kv v2   not ready                                     127.0.0.1:8102
n3    -            -       -        -    -  -       unreachable: connection refused               127.0.0.1:8103
n4    -            -       -        -    -  -       unreachable: its client address is not known  -
";
    assert_eq!(text, expected);
}

#[test]
fn json_says_the_same_and_keeps_what_each_node_said() {
    let json = as_json(&cluster());
    assert_eq!(json["leader_id"], "n1");
    assert_eq!(json["nodes"][1]["lag"], 20);
    assert_eq!(json["nodes"][1]["status"]["role"], "follower");
    assert_eq!(json["nodes"][2]["health"], "unreachable");
    assert_eq!(json["nodes"][2]["error"], "connection refused");
    assert_eq!(json["nodes"][3]["status"], serde_json::Value::Null);
}

#[test]
fn the_word_of_the_latest_term_decides_who_leads() {
    let old = answered(
        "127.0.0.1:1",
        Health::NotReady,
        status("old", "leader", 1, 5, 5, Some("old")),
    );
    let new = answered(
        "127.0.0.1:2",
        Health::Ready,
        status("new", "leader", 2, 6, 6, Some("new")),
    );
    let report = ClusterReport {
        nodes: vec![old.clone(), new],
    };
    assert_eq!(report.leader_id(), Some("new"));
    let nobody = ClusterReport {
        nodes: vec![answered(
            "127.0.0.1:1",
            Health::NotReady,
            status("n", "candidate", 1, 0, 0, None),
        )],
    };
    assert!(as_text(&nobody).contains("no leader is known"));
}

#[test]
fn where_nobody_answers_each_address_is_named_with_its_reason() {
    let report = ClusterReport {
        nodes: vec![NodeReport {
            endpoint: Some(endpoint("127.0.0.1:8101")),
            node_id: None,
            health: Health::Silent("connection \u{1b}[2Jrefused".into()),
            status: None,
        }],
    };
    assert!(!report.anyone_answered());
    assert_eq!(
        silent(&report),
        "  127.0.0.1:8101: connection \u{fffd}[2Jrefused\n"
    );
}
