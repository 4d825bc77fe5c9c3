//! What a machine does beside applying: it writes a snapshot and answers questions.

use std::io::{Read, Write};
use std::sync::mpsc;

use super::kit::*;
use crate::handle::*;
use crate::state_machine::{
    MachineError, MemoryStateMachine, Moment, QueryCallback, ReplicatedStateMachine, SnapshotWork,
};

/// Writes a snapshot once it is told to, and answers when the next command has come.
struct Patient {
    inner: MemoryStateMachine,
    go: Option<mpsc::Receiver<()>>,
    asked: Vec<(Index, Option<Bytes>, QueryCallback<Option<Bytes>>)>,
}

impl ReplicatedStateMachine for Patient {
    type Reply = Bytes;
    type Query = usize;
    type Response = Option<Bytes>;

    fn apply(&mut self, at: Moment, commands: &[Bytes]) -> Result<Vec<Bytes>, MachineError> {
        for (index, found, answer) in self.asked.drain(..) {
            answer(index, found);
        }
        self.inner.apply(at, commands)
    }

    fn query(&mut self, at: Moment, position: usize) -> Option<Bytes> {
        self.inner.query(at, position)
    }

    fn query_async(&mut self, at: Moment, position: usize, answer: QueryCallback<Option<Bytes>>) {
        let found = self.query(at, position);
        self.asked.push((at.index, found, answer));
    }

    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError> {
        self.inner.snapshot(to)
    }

    fn begin_snapshot(&mut self) -> Result<SnapshotWork, MachineError> {
        let (mut caught, go) = (self.inner.clone(), self.go.take());
        Ok(Box::new(move |to| {
            let go = go.ok_or_else(|| std::io::Error::other("nobody waits for a second one"))?;
            go.recv().map_err(std::io::Error::other)?;
            caught.snapshot(to)
        }))
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        self.inner.restore(from)
    }
}

async fn patient() -> (Raft<Patient>, mpsc::Sender<()>) {
    let (go, told) = mpsc::channel();
    let machine = Patient {
        inner: MemoryStateMachine::new(),
        go: Some(told),
        asked: Vec::new(),
    };
    let node = Raft::builder(alone(), machine).listener(socket()).build();
    node.start().await.unwrap();
    (node, go)
}

async fn submit(node: &Raft<Patient>, command: &'static str) -> Index {
    let command = Bytes::from_static(command.as_bytes());
    node.submit(command, AMPLE).await.unwrap().index
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_applied_while_a_snapshot_is_written() {
    let (node, go) = patient().await;
    let before = submit(&node, "before").await;
    node.request_snapshot().unwrap();
    // Behind the order for the snapshot.
    let after = submit(&node, "after").await;
    assert!(after > before);
    assert_eq!(node.status().snapshot, None);
    go.send(()).unwrap();
    let status = until(&node, |status| status.snapshot.is_some()).await;
    assert_eq!(status.snapshot.unwrap().last.index, before);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_once_its_snapshot_is_written_or_given_up() {
    let (node, go) = patient().await;
    submit(&node, "x").await;
    node.request_snapshot().unwrap();
    submit(&node, "y").await;
    drop(go);
    node.shutdown().await;
    assert_eq!(node.status().snapshot, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_may_be_answered_later_than_what_comes_after_it() {
    let (node, _go) = patient().await;
    let index = submit(&node, "first").await;
    let asking = node.clone();
    let question =
        tokio::spawn(async move { asking.query(0, Consistency::Linearizable, AMPLE).await });
    // Whenever the question arrives, a later command has it answered.
    while !question.is_finished() {
        submit(&node, "next").await;
    }
    let (as_of, answer) = question.await.unwrap().unwrap();
    assert!(as_of >= index);
    assert_eq!(answer, Some(Bytes::from_static(b"first")));
    node.shutdown().await;
}
