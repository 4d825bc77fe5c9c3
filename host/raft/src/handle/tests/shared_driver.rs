//! The threads that run the driver: no event is lost, no thread waits for another one, and a panic stops the node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use super::kit::*;
use crate::handle::*;
use crate::state_machine::MemoryStateMachine;

/// A node whose turns call `in_turn` once the switch is on. Each turn reads the clock first.
async fn node_with(in_turn: impl Fn() + Send + Sync + 'static) -> (Node, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let on = Arc::clone(&switch);
    let node = Raft::builder(alone(), MemoryStateMachine::new())
        .listener(socket())
        .wall_clock(move || {
            if on.swap(false, Ordering::SeqCst) {
                in_turn();
            }
            1_000
        })
        .build();
    node.start().await.unwrap();
    until(&node, |status| status.role == Role::Leader).await;
    (node, switch)
}

/// Submits a command in a task of its own.
fn submitting(node: &Node, command: &'static str) -> tokio::task::JoinHandle<bool> {
    let node = node.clone();
    tokio::spawn(async move { node.submit(Bytes::from(command), AMPLE).await.is_ok() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_event_during_a_turn_returns_at_once_and_is_handled_after_it() {
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let (node, switch) = node_with(move || {
        entered.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
    })
    .await;
    switch.store(true, Ordering::SeqCst);
    // Its turn, or one that is due by itself, is held up.
    let first = submitting(&node, "first");
    tokio::task::spawn_blocking(move || has_entered.recv().unwrap())
        .await
        .unwrap();
    let second = tokio::task::spawn_blocking({
        let node = node.clone();
        move || node.request_snapshot()
    });
    // It returns although the turn does not.
    assert_eq!(second.await.unwrap(), Ok(()));
    let third = submitting(&node, "third");
    release.send(()).unwrap();
    assert!(first.await.unwrap());
    assert!(third.await.unwrap());
    until(&node, |status| status.snapshot.is_some()).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn commands_of_many_tasks_at_once_are_all_handled() {
    let (node, _) = node_with(|| {}).await;
    for _ in 0..50 {
        let commands: Vec<_> = (0..20).map(|_| submitting(&node, "x")).collect();
        for command in commands {
            assert!(command.await.unwrap());
        }
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_turn_that_panics_stops_the_node_with_a_fatal_error() {
    let (node, switch) = node_with(|| panic!("planted")).await;
    switch.store(true, Ordering::SeqCst);
    assert!(!submitting(&node, "x").await.unwrap());
    let FatalError::Panic { message, .. } = node.failed().await else {
        panic!("another error");
    };
    assert_eq!(message, "planted");
    assert_eq!(
        node.submit(Bytes::from_static(b"y"), AMPLE).await,
        Err(SubmitError::Stopped)
    );
    node.shutdown().await;
}
