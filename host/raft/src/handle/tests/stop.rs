//! How a node stops: on request, or because it can't continue.

use std::io::{Read, Write};

use super::kit::*;
use crate::handle::*;
use crate::state_machine::{MachineError, MemoryStateMachine, Moment};
use crate::storage::StorageError;

/// One node of three. Its peers do not exist.
async fn without_peers() -> Node {
    let peers = vec!["x@127.0.0.1:1".to_owned(), "y@127.0.0.1:1".to_owned()];
    let config = RaftConfig { peers, ..alone() };
    let node = Raft::builder(config, MemoryStateMachine::new())
        .listener(socket())
        .build();
    node.start().await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_requests_fail_when_the_node_is_shut_down() {
    let node = without_peers().await;
    let (a, b) = (node.clone(), node.clone());
    let command = tokio::spawn(async move { a.submit(Bytes::from_static(b"x"), AMPLE).await });
    let query = tokio::spawn(async move { b.query(0, Consistency::Linearizable, AMPLE).await });
    node.shutdown().await;
    assert_eq!(command.await.unwrap(), Err(SubmitError::Stopped));
    assert_eq!(query.await.unwrap(), Err(SubmitError::Stopped));
    assert_eq!(
        node.submit_command("y").await,
        RaftResult::Error(SubmitError::Stopped)
    );
    assert_eq!(node.request_snapshot(), Err(SubmitError::Stopped));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_there_is_no_leader_and_commands_are_not_applied() {
    let node = without_peers().await;
    assert_eq!(
        node.submit_command("x").await,
        RaftResult::NotLeader { leader_id: None }
    );
    let outcome = node.submit(Bytes::from_static(b"x"), AMPLE).await;
    assert_eq!(
        outcome,
        Err(SubmitError::NoLeader),
        "after twice the longest election timeout"
    );
    let response = node
        .query(0, Consistency::Linearizable, Duration::from_millis(10))
        .await;
    assert_eq!(response, Err(SubmitError::NoLeader));
    assert_eq!(
        node.query(0, Consistency::Stale, AMPLE).await,
        Ok((Index(0), None))
    );
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_dropped_releases_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let node = || {
        let builder = Raft::builder(alone(), MemoryStateMachine::new());
        builder.listener(socket()).data_dir(dir.path()).build()
    };
    let first = node();
    first.start().await.unwrap();
    submit(&first, "x").await;
    let mut status = first.watch_status();
    drop(first);
    // The driver's thread ends, and drops all that it holds.
    while status.changed().await.is_ok() {}
    let second = loop {
        let second = node();
        match second.start().await {
            Ok(()) => break second,
            Err(StartError::Storage(StorageError::InUse { .. })) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(read_at(&second, 0).await, Some(Bytes::from_static(b"x")));
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_past_the_limit_are_refused_at_once() {
    let peers = vec!["x@127.0.0.1:1".to_owned(), "y@127.0.0.1:1".to_owned()];
    let config = RaftConfig { peers, ..alone() };
    let builder = Raft::builder(config, MemoryStateMachine::new()).max_waiting(1);
    let node = builder.listener(socket()).build();
    node.start().await.unwrap();
    let first = node.submit(Bytes::from_static(b"x"), AMPLE);
    let mut first = std::pin::pin!(first);
    // Polled once, it holds the only permit.
    let polled =
        std::future::poll_fn(|context| std::task::Poll::Ready(first.as_mut().poll(context)));
    assert!(polled.await.is_pending());
    let second = node.submit(Bytes::from_static(b"y"), AMPLE).await;
    assert!(
        matches!(second, Err(SubmitError::Overloaded { .. })),
        "{second:?}"
    );
    node.shutdown().await;
    assert_eq!(first.await, Err(SubmitError::Stopped));
}

/// Fails as the command demands.
struct Broken;

impl ReplicatedStateMachine for Broken {
    type Reply = ();
    type Query = ();
    type Response = ();

    fn apply(&mut self, _at: Moment, commands: &[Bytes]) -> Result<Vec<()>, MachineError> {
        match &commands[0][..] {
            b"fail" => Err(MachineError::Failed("told to fail".into())),
            b"panic" => panic!("told to panic"),
            b"silence" => Ok(Vec::new()),
            _ => Ok(vec![(); commands.len()]),
        }
    }

    fn query(&mut self, _at: Moment, (): ()) {}

    fn snapshot(&mut self, _to: &mut dyn Write) -> Result<(), MachineError> {
        Err(MachineError::Failed(
            "this machine takes no snapshots".into(),
        ))
    }

    fn restore(&mut self, _from: &mut dyn Read) -> Result<(), MachineError> {
        Ok(())
    }
}

async fn broken() -> Raft<Broken> {
    let node = Raft::builder(alone(), Broken).listener(socket()).build();
    node.start().await.unwrap();
    until(&node, |status| status.has_committed_in_term).await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_machine_fails_stops_and_reports_the_error() {
    let cases = [
        (
            "fail",
            "entry 3 could not be applied: the state machine failed: told to fail",
        ),
        ("panic", "raft-apply panicked: told to panic; this is a bug"),
        (
            "silence",
            "entry 3 holds 1 commands, and the state machine gave 0 replies; this is a bug in the machine",
        ),
    ];
    for (command, expected) in cases {
        let node = broken().await;
        let outcome = node
            .submit(Bytes::from_static(command.as_bytes()), AMPLE)
            .await;
        assert_eq!(outcome, Err(SubmitError::Stopped));
        let fault = tokio::time::timeout(AMPLE, node.failed()).await.unwrap();
        assert_eq!(fault.to_string(), expected);
        assert_eq!(
            node.submit(Bytes::new(), AMPLE).await,
            Err(SubmitError::Stopped)
        );
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_can_take_no_snapshot_continues() {
    let node = broken().await;
    node.request_snapshot().unwrap();
    node.submit(Bytes::from_static(b"x"), AMPLE).await.unwrap();
    node.query((), Consistency::Linearizable, AMPLE)
        .await
        .unwrap();
    assert_eq!(node.status().snapshot, None);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_too_large_is_refused_and_harms_nothing() {
    let builder = Raft::builder(alone(), MemoryStateMachine::new());
    let node = builder.listener(socket()).max_command_bytes(1000).build();
    node.start().await.unwrap();
    let outcome = node.submit(Bytes::from(vec![0; 1001]), AMPLE).await;
    assert_eq!(
        outcome,
        Err(SubmitError::TooLarge {
            bytes: 1001,
            limit: 1000
        })
    );
    assert!(node.submit(Bytes::from(vec![0; 1000]), AMPLE).await.is_ok());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_stops_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Raft::builder(alone(), MemoryStateMachine::new());
    // More than the store accepts in one entry. After that error, the disk is not used any more.
    let bytes = (256 << 20) + 1;
    let node = builder
        .listener(socket())
        .data_dir(dir.path())
        .max_command_bytes(bytes)
        .build();
    node.start().await.unwrap();
    submit(&node, "x").await;
    let huge = Bytes::from(vec![0; usize::try_from(bytes).unwrap()]);
    assert_eq!(node.submit(huge, AMPLE).await, Err(SubmitError::Stopped));
    let fault = tokio::time::timeout(AMPLE, node.failed()).await.unwrap();
    assert!(matches!(fault, FatalError::Storage(_)), "{fault}");
    node.shutdown().await;
}
