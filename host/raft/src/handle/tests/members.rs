//! Changes of members and of leadership with real nodes, over TCP and with logs on a disk.

use super::kit::*;
use crate::handle::*;
use crate::ids::NodeId;
use crate::message::AdminError;
use crate::raft::membership::change::{ChangeError, MemberSpec};

fn voters(status: &Status) -> Vec<&str> {
    status.voters.iter().map(NodeId::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_grows_to_three_and_shrinks_to_the_new_ones() {
    let mut cluster = Cluster::start_of(&["n1"], 20).await;
    for number in 0..50 {
        // Past the first snapshots, so that the new nodes receive one.
        submit(cluster.node("n1"), &number.to_string()).await;
    }
    for id in ["n2", "n3"] {
        let address = cluster.join(id).await;
        let added = cluster
            .node("n1")
            .add_voter(id.into(), address, AMPLE)
            .await;
        assert!(added.is_ok(), "{added:?}");
    }
    for (id, node) in cluster.nodes() {
        until(node, |status| voters(status) == ["n1", "n2", "n3"]).await;
        assert_eq!(read_at(node, 49).await, Some("49".into()), "on {id}");
    }
    let removed = cluster.node("n2").remove("n1".into(), AMPLE).await;
    assert!(
        removed.is_ok(),
        "a follower forwards it to the leader, which is the node to remove: {removed:?}"
    );
    cluster.stop("n1").await;
    submit(cluster.node("n3"), "after").await;
    assert_eq!(read_at(cluster.node("n2"), 50).await, Some("after".into()));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_down_is_replaced_and_the_new_one_has_the_members_after_a_restart() {
    let mut cluster = Cluster::start().await;
    cluster.leader().await;
    submit(cluster.node("n1"), "before").await;
    cluster.stop("n3").await;
    let address = cluster.join("n4").await;
    let replaced = cluster
        .node("n1")
        .replace("n3".into(), "n4".into(), address, AMPLE)
        .await;
    assert!(replaced.is_ok(), "{replaced:?}");
    cluster.stop("n4").await;
    cluster.restart("n4").await;
    until(cluster.node("n4"), |status| {
        voters(status) == ["n1", "n2", "n4"]
    })
    .await;
    // It is a voter: with it, one of the other two is a majority.
    cluster.stop("n1").await;
    submit(cluster.node("n4"), "after").await;
    assert_eq!(read_at(cluster.node("n2"), 1).await, Some("after".into()));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_under_load_and_no_command_is_refused() {
    let cluster = Cluster::start().await;
    cluster.leader().await;
    let (stop, stopped) = watch::channel(false);
    let mut clients = tokio::task::JoinSet::new();
    for (number, (_, node)) in cluster.nodes().enumerate() {
        let (node, stopped) = (node.clone(), stopped.clone());
        clients.spawn(async move {
            let mut done = 0;
            while !*stopped.borrow() {
                submit(&node, &format!("{number}/{done}")).await;
                done += 1;
            }
            done
        });
    }
    for to in ["n2", "n3", "n1", "n2"] {
        let given = cluster
            .node("n1")
            .transfer_leadership(Some(to.into()), AMPLE)
            .await;
        assert!(given.is_ok(), "{given:?}");
        until(cluster.node(to), |status| status.has_committed_in_term).await;
    }
    stop.send(true).unwrap();
    // A refused command would have made its client panic.
    let done: usize = clients.join_all().await.into_iter().sum();
    assert!(done > 0);
    until(cluster.node("n1"), |status| status.applied == status.last).await;
    assert_eq!(
        read_at(cluster.node("n1"), done).await,
        None,
        "each command is applied once"
    );
    assert!(read_at(cluster.node("n1"), done - 1).await.is_some());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_changes_are_refused_by_the_leader_with_a_reason() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let follower = cluster.node(cluster.a_follower_of(&leader));
    let node = NodeId::from("n9");
    assert_eq!(
        follower.promote(node.clone(), AMPLE).await,
        Err(AdminError::Change(ChangeError::UnknownNode {
            node: node.clone()
        }))
    );
    // No node listens there, so it never catches up.
    let nowhere = "127.0.0.1:9".to_owned();
    follower
        .add_learner(node.clone(), nowhere, AMPLE)
        .await
        .unwrap();
    let refused = follower.promote(node.clone(), AMPLE).await;
    assert!(
        matches!(&refused, Err(AdminError::Change(ChangeError::NotCaughtUp { behind, .. })) if *behind > 0),
        "{refused:?}"
    );
    until(follower, |status| status.membership.contains(&node)).await;
    assert_eq!(
        voters(&follower.status()),
        ["n1", "n2", "n3"],
        "a learner is not a voter"
    );
    let seat = MemberSpec {
        address: String::new(),
        voter: true,
    };
    let only = [(NodeId::from(leader.as_str()), seat)].into();
    follower.change_membership(only, AMPLE).await.unwrap();
    until(cluster.node(&leader), |status| {
        voters(status) == [leader.as_str()]
    })
    .await;
    submit(cluster.node(&leader), "alone").await;
    cluster.stop_all().await;
}
