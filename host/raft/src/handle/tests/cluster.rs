//! Three nodes over TCP, each with its log on a disk.

use super::kit::*;
use crate::handle::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_commits_commands_and_every_node_applies_them() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let applied = submit(cluster.node(&leader), "one").await;
    assert_eq!(applied.reply, "one");
    let RaftResult::Success(index) = cluster.node(&leader).submit_command(b"two").await else {
        panic!("the leader accepts commands");
    };
    assert!(index > applied.index.0);
    for (id, node) in cluster.nodes() {
        until(node, |status| status.applied >= Index(index)).await;
        let (seen, response) = node.query(1, Consistency::Stale, AMPLE).await.unwrap();
        assert_eq!(
            (seen, response),
            (Index(index), Some(Bytes::from_static(b"two"))),
            "on {id}"
        );
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_or_forwards_to_it() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let follower = cluster.node(cluster.a_follower_of(&leader));
    let not_leader = RaftResult::NotLeader {
        leader_id: Some(leader.clone()),
    };
    assert_eq!(follower.submit_command(b"refused").await, not_leader);
    assert!(!follower.is_leader().await);
    assert!(cluster.node(&leader).is_leader().await);

    assert_eq!(submit(follower, "forwarded").await.reply, "forwarded");
    for (id, node) in cluster.nodes() {
        assert_eq!(
            read_at(node, 0).await,
            Some(Bytes::from_static(b"forwarded")),
            "on {id}"
        );
        assert_eq!(node.get_term().await, node.status().term.0);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_on_all_nodes_all_get_replies_and_each_command_is_applied_once() {
    let cluster = Cluster::start().await;
    cluster.leader().await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..90_usize {
        let node = cluster.nodes().nth(number % 3).unwrap().1.clone();
        clients.spawn(async move { submit(&node, &number.to_string()).await.reply });
    }
    let mut replies = Vec::new();
    while let Some(reply) = clients.join_next().await {
        replies.push(reply.unwrap());
    }
    replies.sort();
    let mut applied = Vec::new();
    for position in 0..90 {
        applied.extend(read_at(cluster.node("n1"), position).await);
    }
    applied.sort();
    assert_eq!(applied, replies);
    assert_eq!(read_at(cluster.node("n1"), 90).await, None);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_stops_the_others_continue_and_it_catches_up_once_it_restarts() {
    let mut cluster = Cluster::start().await;
    let old = cluster.leader().await;
    submit(cluster.node(&old), "before").await;
    cluster.stop(&old).await;
    let new = cluster.leader().await;
    assert_ne!(new, old);
    submit(cluster.node(cluster.a_follower_of(&new)), "without it").await;
    cluster.restart(&old).await;
    assert_eq!(
        read_at(cluster.node(&old), 1).await,
        Some(Bytes::from_static(b"without it"))
    );
    assert_eq!(submit(cluster.node(&old), "with it").await.reply, "with it");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_submitted_to_a_follower_survives_the_leader() {
    let mut cluster = Cluster::start().await;
    let old = cluster.leader().await;
    let follower = cluster.node(cluster.a_follower_of(&old)).clone();
    let waiting = tokio::spawn(async move { submit(&follower, "delayed").await.reply });
    cluster.stop(&old).await;
    assert_eq!(waiting.await.unwrap(), "delayed");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applied_commands_survive_a_restart_of_all_nodes() {
    let mut cluster = Cluster::start().await;
    for number in 0..5 {
        submit(cluster.node("n1"), &number.to_string()).await;
    }
    for id in ["n1", "n2", "n3"] {
        cluster.stop(id).await;
    }
    for id in ["n1", "n2", "n3"] {
        cluster.restart(id).await;
    }
    for (id, node) in cluster.nodes() {
        assert_eq!(
            read_at(node, 4).await,
            Some(Bytes::from_static(b"4")),
            "on {id}"
        );
        assert_eq!(read_at(node, 5).await, None, "on {id}");
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_next_entries_were_purged_catches_up_by_a_snapshot() {
    let mut cluster = Cluster::start_with_snapshots_after(10).await;
    let leader = cluster.leader().await;
    let behind = cluster.a_follower_of(&leader).to_owned();
    cluster.stop(&behind).await;
    // One at a time, so that each gets an entry of its own. More than the messages that may wait for a peer: those arrive once it
    // is back, and then it lacks nothing.
    let mut last = Index::ZERO;
    for number in 0..200 {
        last = submit(cluster.node(&leader), &number.to_string())
            .await
            .index;
    }
    let purged = until(cluster.node(&leader), |status| status.first > Index(100))
        .await
        .first;
    cluster.restart(&behind).await;
    let status = until(cluster.node(&behind), |status| status.applied >= last).await;
    assert!(
        status.first > Index(100) && purged > Index(100),
        "{status:?}"
    );
    assert!(status.snapshot.is_some());
    for position in [0, 100, 199] {
        let expected = Bytes::from(position.to_string());
        assert_eq!(
            read_at(cluster.node(&behind), position).await,
            Some(expected)
        );
    }
    // It also restarts from that snapshot.
    cluster.stop(&behind).await;
    cluster.restart(&behind).await;
    assert_eq!(
        read_at(cluster.node(&behind), 199).await,
        Some(Bytes::from_static(b"199"))
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_taken_on_request() {
    let cluster = Cluster::start().await;
    let node = cluster.node("n2");
    let applied = submit(node, "x").await;
    node.request_snapshot().unwrap();
    let reaches = |status: &Status| {
        status
            .snapshot
            .as_ref()
            .is_some_and(|meta| meta.last.index >= applied.index)
    };
    until(node, reaches).await;
    cluster.stop_all().await;
}
