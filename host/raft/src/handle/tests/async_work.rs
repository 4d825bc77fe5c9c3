//! Work that is concurrent with apply: snapshots and queries.

use std::io::{Read, Write};
use std::sync::mpsc;

use super::kit::*;
use crate::handle::*;
use crate::state_machine::{
    MachineError, MemoryStateMachine, Moment, QueryCallback, ReplicatedStateMachine, SnapshotWork,
};

/// Writes a snapshot once the test permits it, and responds to a query once the next command is applied.
struct Deferring {
    inner: MemoryStateMachine,
    go: Option<mpsc::Receiver<()>>,
    queries: Vec<(Index, Option<Bytes>, QueryCallback<Option<Bytes>>)>,
}

impl ReplicatedStateMachine for Deferring {
    type Reply = Bytes;
    type Query = usize;
    type Response = Option<Bytes>;

    fn apply(&mut self, at: Moment, commands: &[Bytes]) -> Result<Vec<Bytes>, MachineError> {
        for (index, found, respond) in self.queries.drain(..) {
            respond.respond(index, found);
        }
        self.inner.apply(at, commands)
    }

    fn query(&mut self, at: Moment, position: usize) -> Option<Bytes> {
        self.inner.query(at, position)
    }

    fn query_async(&mut self, at: Moment, position: usize, respond: QueryCallback<Option<Bytes>>) {
        let found = self.query(at, position);
        self.queries.push((at.index, found, respond));
    }

    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError> {
        self.inner.snapshot(to)
    }

    fn begin_snapshot(&mut self) -> Result<SnapshotWork, MachineError> {
        let (mut caught, go) = (self.inner.clone(), self.go.take());
        Ok(Box::new(move |to| {
            let go = go.ok_or_else(|| std::io::Error::other("the test permits one snapshot"))?;
            go.recv().map_err(std::io::Error::other)?;
            caught.snapshot(to)
        }))
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        self.inner.restore(from)
    }
}

async fn deferring() -> (Raft<Deferring>, mpsc::Sender<()>) {
    let (go, permitted) = mpsc::channel();
    let machine = Deferring {
        inner: MemoryStateMachine::new(),
        go: Some(permitted),
        queries: Vec::new(),
    };
    let node = Raft::builder(alone(), machine).listener(socket()).build();
    node.start().await.unwrap();
    (node, go)
}

async fn submit(node: &Raft<Deferring>, command: &'static str) -> Index {
    let command = Bytes::from_static(command.as_bytes());
    node.submit(command, AMPLE).await.unwrap().index
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_applied_while_a_snapshot_is_written() {
    let (node, go) = deferring().await;
    let before = submit(&node, "before").await;
    node.request_snapshot().unwrap();
    // Queued after the request for the snapshot.
    let after = submit(&node, "after").await;
    assert!(after > before);
    assert_eq!(node.status().snapshot, None);
    go.send(()).unwrap();
    let status = until(&node, |status| status.snapshot.is_some()).await;
    assert_eq!(status.snapshot.unwrap().last.index, before);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_once_its_snapshot_is_written_or_abandoned() {
    let (node, go) = deferring().await;
    submit(&node, "x").await;
    node.request_snapshot().unwrap();
    submit(&node, "y").await;
    drop(go);
    node.shutdown().await;
    assert_eq!(node.status().snapshot, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_may_complete_after_later_commands() {
    let (node, _go) = deferring().await;
    let index = submit(&node, "first").await;
    let asking = node.clone();
    let query =
        tokio::spawn(async move { asking.query(0, Consistency::Linearizable, AMPLE).await });
    // Whenever the query arrives, a later command completes it.
    while !query.is_finished() {
        submit(&node, "next").await;
    }
    let (as_of, response) = query.await.unwrap().unwrap();
    assert!(as_of >= index);
    assert_eq!(response, Some(Bytes::from_static(b"first")));
    node.shutdown().await;
}
