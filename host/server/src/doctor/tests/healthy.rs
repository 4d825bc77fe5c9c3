//! A cluster of three nodes, and the directory of a stopped one, with which nothing is wrong.

use serde_json::json;

use crate::doctor::facts::{
    ClusterFacts, DirectoryContent, DirectoryFacts, NodeAnswer, NodeFacts, NodeSeen, PeerFacts,
    SpaceFacts, StoredLogFacts,
};

const DAY: u64 = 86_400;
/// When everything is examined.
const NOW_MS: u64 = 1_800_000_000_000;
const PLENTY: SpaceFacts = SpaceFacts {
    free_bytes: 50 << 30,
    total_bytes: 100 << 30,
    free_files: Some(1_000_000),
};

fn member(node_id: &str) -> serde_json::Value {
    json!({
        "node_id": node_id, "peer_addr": format!("{node_id}:7101"), "announced_addr": null,
        "client_addr": format!("{node_id}:8101"), "voter": true,
    })
}

fn status(node_id: &str) -> serde_json::Value {
    let role = if node_id == "node1" {
        "leader"
    } else {
        "follower"
    };
    json!({
        "node_id": node_id, "role": role, "term": 3, "leader_id": "node1",
        "commit_index": 900, "applied_index": 900, "first_log_index": 1, "last_log_index": 900,
        "snapshot_index": 0, "state_hash": "ab", "uptime_ms": 1000 * DAY, "version": "0.1.0",
        "cluster_id": "prod", "ready": true,
        "members": [member("node1"), member("node2"), member("node3")],
        "state_machine": {
            "name": "queue", "version": 1, "sha256": "0123456789abcdef", "layout": null, "undo": "images",
        },
        "audit": {
            "index": 880, "agreeing": 3, "differing": [], "undecided": false, "writes_stopped": false,
            "quarantined": false, "reinstalls": 0, "given_up": false,
            "states": {"index": 800, "agreeing": 3, "differing": [], "not_comparable": []},
        },
        "voting": {"eligible": true, "blocked_on": null, "nodes": [], "voters_without_data": []},
        "clock": {"offset_ms": 1, "skewed": false, "ahead_ms": 0},
        "memory": {
            "bytes": 1 << 20, "soft_limit_bytes": 800 << 20, "limit_bytes": 1 << 30, "low": false, "low_nodes": [],
        },
    })
}

fn facts(node_id: &str) -> NodeFacts {
    let facts = json!({
        "status": status(node_id),
        "time_ms": NOW_MS,
        "log": {
            "durable_index": 900, "max_entries": 10_000, "snapshot_threshold": 5_000, "reserve_used": 0,
            "disk_full": false,
        },
        "peers": [],
        "guest": {
            "log_time_ms": NOW_MS, "wake_at_ms": NOW_MS + 1000, "deferred": 0, "oldest_deferred_ms": 0, "upgrade": null,
        },
        "disk": {
            "data_dir": format!("data/{node_id}"), "data_dir_present": true, "mode": 0o700, "space": PLENTY,
        },
        "process": {
            "memory_bytes": 1 << 28, "memory_limit_bytes": 1u64 << 32, "descriptors": 100, "descriptor_limit": 10_000,
        },
        "access": {
            "connections": 10, "max_connections": 10_000, "encrypted": true, "loopback_only": false,
            "certificate_seconds": 300 * DAY, "authority_seconds": 3000 * DAY,
        },
        "levels": {
            "level": 1, "highest_level": 1, "differing_flags": [], "backed_up_at_ms": NOW_MS - DAY * 1000,
        },
        "recent": {
            "window_ms": 900_000, "leader_changes": 1, "refused_peers": 0, "guest_failures": 0,
            "overloaded_queries": 0, "rejected_connections": 0, "stalled_clients": 0, "log_writes": 1000,
            "mean_write_us": 800, "slowest_write_us": 20_000,
        },
    });
    serde_json::from_value(facts).expect("the facts of a node")
}

/// A node that has responded.
pub(super) fn node(node_id: &str) -> NodeSeen {
    let mut facts = facts(node_id);
    if node_id == "node1" {
        facts.peers = ["node2", "node3"].map(peer).to_vec();
    }
    NodeSeen {
        node_id: Some(node_id.to_owned()),
        endpoint: Some(format!("{node_id}:8101")),
        asked_ms: Some((NOW_MS - 5, NOW_MS + 5)),
        answer: NodeAnswer::Facts(Box::new(facts)),
    }
}

/// A member that has everything.
pub(super) fn peer(node_id: &str) -> PeerFacts {
    PeerFacts {
        node_id: node_id.to_owned(),
        connected: true,
        lag: 0,
        stalled_ms: 0,
    }
}

/// Three nodes. The first one leads.
pub(super) fn cluster() -> ClusterFacts {
    ClusterFacts {
        nodes: ["node1", "node2", "node3"].map(node).to_vec(),
        ..ClusterFacts::default()
    }
}

/// The directory of a node that was stopped.
pub(super) fn directory() -> ClusterFacts {
    ClusterFacts {
        directory: Some(DirectoryFacts {
            path: "data/node1".to_owned(),
            content: DirectoryContent::Log(StoredLogFacts {
                node_id: "node1".to_owned(),
                entries: 900,
                last_index: 900,
                snapshot_index: 0,
                is_complete: true,
                is_member: Some(true),
            }),
            mode: Some(0o700),
            exposed_files: Vec::new(),
            is_own: true,
            space: Some(PLENTY),
            write_us: Some(2_000),
            is_quarantined: false,
            writes_stopped: false,
            decisions: 0,
            unreadable_records: Vec::new(),
        }),
        ..ClusterFacts::default()
    }
}
