//! How a node starts, and the errors if it can't.

use super::kit::*;
use crate::entry::CLUSTER_LEVEL;
use crate::handle::*;
use crate::ids::{NodeId, Term};
use crate::raft::voting::VotingStatus;
use crate::state_machine::MemoryStateMachine;
use crate::storage::StorageError;

fn node(config: RaftConfig) -> RaftBuilder<MemoryStateMachine> {
    Raft::builder(config, MemoryStateMachine::new())
}

#[tokio::test]
async fn a_node_alone_elects_itself_and_serves_clients() {
    let node = node(alone()).listener(socket()).build();
    assert_eq!(node.status().node_id.as_str(), "alone");
    node.start().await.unwrap();
    let status = until(&node, |status| status.has_committed_in_term).await;
    assert_eq!((status.role, status.term), (Role::Leader, Term(1)));
    assert_eq!(status.voters, [NodeId::from("alone")]);
    // After the first entry of the cluster and the one of the leader.
    assert_eq!(node.submit_command("x").await, RaftResult::Success(3));
    assert_eq!(status.cluster_level, CLUSTER_LEVEL);
    assert!(status.lineage.is_from_bootstrap());
    assert_eq!(read_at(&node, 0).await, Some(Bytes::from_static(b"x")));
    assert!(node.peer_addr().unwrap().ip().is_loopback());
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_alone_keeps_its_data_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..3 {
        let node = node(alone())
            .listener(socket())
            .data_dir(dir.path())
            .build();
        node.start().await.unwrap();
        let applied = submit(&node, &run.to_string()).await;
        for position in 0..=run {
            assert_eq!(
                read_at(&node, position).await,
                Some(Bytes::from(position.to_string()))
            );
        }
        let status = until(&node, |status| status.stable >= applied.index).await;
        assert_eq!(status.term, Term(run as u64 + 1));
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_node_starts_once() {
    let node = node(alone()).listener(socket()).build();
    node.start().await.unwrap();
    assert!(matches!(node.start().await, Err(StartError::StartedBefore)));
    node.shutdown().await;
    assert!(matches!(node.start().await, Err(StartError::StartedBefore)));
}

#[tokio::test]
async fn invalid_settings_are_refused_with_a_reason() {
    let cases = [
        (
            RaftConfig {
                peers: vec!["alone@127.0.0.1:2".to_owned()],
                ..alone()
            },
            "alone is named twice among this node and its peers; give each node an id of its own",
        ),
        (
            RaftConfig {
                heartbeat_interval: Duration::from_millis(300),
                ..alone()
            },
            "heartbeat_interval (300ms) must be shorter than election_timeout_min (300ms), \
             and that not longer than election_timeout_max (600ms)",
        ),
        (
            RaftConfig {
                election_timeout_max: Duration::from_millis(299),
                ..alone()
            },
            "heartbeat_interval (50ms) must be shorter than election_timeout_min (300ms), \
             and that not longer than election_timeout_max (299ms)",
        ),
        (
            RaftConfig {
                snapshot_threshold: 0,
                ..alone()
            },
            "snapshot_threshold (0) must be at least 1 and below max_log_entries (10000)",
        ),
        (
            RaftConfig {
                max_log_entries: 5000,
                ..alone()
            },
            "snapshot_threshold (5000) must be at least 1 and below max_log_entries (5000)",
        ),
    ];
    for (config, expected) in cases {
        let error = node(config)
            .listener(socket())
            .build()
            .start()
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    for id in ["", "a b@host", "host:0", "host:70000"] {
        let config = RaftConfig {
            node_id: id.to_owned(),
            ..alone()
        };
        let error = node(config)
            .listener(socket())
            .build()
            .start()
            .await
            .unwrap_err();
        assert!(
            matches!(error, StartError::Config(ConfigError::Address(_))),
            "{id}: {error}"
        );
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = socket();
    let address = taken.local_addr().unwrap();
    let config = RaftConfig {
        node_id: address.to_string(),
        ..alone()
    };
    let error = node(config).build().start().await.unwrap_err();
    assert!(
        matches!(&error, StartError::Listen { address: named, .. } if *named == address.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn the_directory_of_another_node_or_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = node(alone())
        .listener(socket())
        .data_dir(dir.path())
        .build();
    first.start().await.unwrap();
    // A store that contains nothing of a cluster yet may belong to any.
    until(&first, |status| status.has_committed_in_term).await;
    let second = node(alone())
        .listener(socket())
        .data_dir(dir.path())
        .build();
    let error = second.start().await.unwrap_err();
    assert!(
        matches!(error, StartError::Storage(StorageError::InUse { .. })),
        "{error}"
    );
    first.shutdown().await;

    let config = RaftConfig {
        node_id: "other@127.0.0.1:1".to_owned(),
        ..alone()
    };
    let other = node(config).listener(socket()).data_dir(dir.path()).build();
    let error = other.start().await.unwrap_err();
    assert!(
        matches!(
            error,
            StartError::Storage(StorageError::Foreign { what: "node", .. })
        ),
        "{error}"
    );

    let moved = node(alone())
        .cluster_id("another")
        .listener(socket())
        .data_dir(dir.path())
        .build();
    let error = moved.start().await.unwrap_err();
    assert!(
        matches!(
            error,
            StartError::Storage(StorageError::Foreign {
                what: "cluster",
                ..
            })
        ),
        "{error}"
    );
}

/// A node with data of the cluster `first`, which was stopped.
async fn with_data(dir: &std::path::Path) {
    let first = node(alone()).cluster_id("first").listener(socket());
    let first = first.data_dir(dir).build();
    first.start().await.unwrap();
    submit(&first, "kept").await;
    first.shutdown().await;
}

#[tokio::test]
async fn a_directory_with_data_keeps_its_cluster_and_its_members_under_changed_settings() {
    let dir = tempfile::tempdir().unwrap();
    with_data(dir.path()).await;
    let config = RaftConfig {
        peers: vec!["n2@127.0.0.1:2".to_owned(), "n3@127.0.0.1:3".to_owned()],
        ..alone()
    };
    let grown = node(config).cluster_id_if_new("second").listener(socket());
    let grown = grown.data_dir(dir.path()).build();
    grown.start().await.unwrap();
    assert_eq!(grown.status().voters, [NodeId::from("alone")]);
    assert_eq!(grown.network().unwrap().cluster_id(), "first");
    submit(&grown, "more").await;
    grown.shutdown().await;
}

#[tokio::test]
async fn a_directory_with_data_serves_although_the_settings_let_an_empty_one_wait() {
    let dir = tempfile::tempdir().unwrap();
    with_data(dir.path()).await;
    let waits = node(alone()).cluster_id("").join().listener(socket());
    let waits = waits.data_dir(dir.path()).build();
    waits.start().await.unwrap();
    submit(&waits, "more").await;
    assert_eq!(waits.network().unwrap().cluster_id(), "first");
    assert_eq!(read_at(&waits, 0).await, Some(Bytes::from_static(b"kept")));
    waits.shutdown().await;
}

#[tokio::test]
async fn an_empty_directory_takes_the_cluster_of_corrected_settings() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = RaftConfig {
        peers: vec!["n2@127.0.0.1:2".to_owned()],
        ..alone()
    };
    let waits = node(wrong).cluster_id_if_new("wrong").listener(socket());
    let waits = waits.data_dir(dir.path()).build();
    waits.start().await.unwrap();
    until(&waits, |status| status.voting != VotingStatus::Eligible).await;
    waits.shutdown().await;
    let corrected = node(alone()).cluster_id("right").listener(socket());
    let corrected = corrected.data_dir(dir.path()).build();
    corrected.start().await.unwrap();
    submit(&corrected, "x").await;
    assert_eq!(corrected.network().unwrap().cluster_id(), "right");
    corrected.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_first_start_named_another_cluster_can_join_one() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let own = RaftConfig {
        node_id: "n4@127.0.0.1:1".to_owned(),
        ..alone()
    };
    let wrong = RaftConfig {
        peers: vec!["n5@127.0.0.1:2".to_owned()],
        ..own.clone()
    };
    let waits = node(wrong).cluster_id_if_new("wrong").listener(socket());
    let waits = waits.data_dir(dir.path()).build();
    waits.start().await.unwrap();
    until(&waits, |status| status.voting != VotingStatus::Eligible).await;
    assert_eq!(waits.network().unwrap().cluster_id(), "wrong");
    waits.shutdown().await;

    let joining = || node(own.clone()).cluster_id("").join().listener(socket());
    let joins = joining().data_dir(dir.path()).build();
    joins.start().await.unwrap();
    assert_eq!(joins.network().unwrap().cluster_id(), "");
    let address = joins.peer_addr().unwrap().to_string();
    let first = cluster.node("n1");
    let added = first.add_voter("n4".into(), address, AMPLE).await;
    assert!(added.is_ok(), "{added:?}");
    let id = first.network().unwrap().cluster_id().to_owned();
    assert_eq!(joins.network().unwrap().cluster_id(), id);
    joins.shutdown().await;
    // Now the store contains something of its cluster.
    let again = joining().data_dir(dir.path()).build();
    again.start().await.unwrap();
    assert_eq!(again.network().unwrap().cluster_id(), id);
    again.shutdown().await;
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_log_without_the_snapshot_that_it_continues_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = RaftConfig {
        snapshot_threshold: 4,
        max_log_entries: 8,
        ..alone()
    };
    let first = node(config.clone())
        .listener(socket())
        .data_dir(dir.path())
        .build();
    first.start().await.unwrap();
    for _ in 0..20 {
        submit(&first, "x").await;
    }
    until(&first, |status| status.first > Index(5)).await;
    first.shutdown().await;
    for file in std::fs::read_dir(dir.path().join("snapshots")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let second = node(config).listener(socket()).data_dir(dir.path()).build();
    let error = second.start().await.unwrap_err();
    assert!(
        matches!(error, StartError::Storage(StorageError::Corrupt { .. })),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("the entries between them are missing"),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_that_was_not_started_accepts_nothing() {
    let node = node(alone()).build();
    assert_eq!(
        node.submit_command("x").await,
        RaftResult::Error(SubmitError::Stopped)
    );
    assert_eq!((node.is_leader().await, node.get_term().await), (false, 0));
    assert_eq!((node.peer_addr(), node.network().is_none()), (None, true));
    node.shutdown().await;
}
