use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::tally::LoadErrorKind;
use super::{Load, RequestFailure, Session};

const WARM_UP: Duration = Duration::from_millis(20);

/// Completes some of what is pushed at a time, or fails at all of it.
#[derive(Clone)]
struct Scripted {
    depth: usize,
    at_a_time: usize,
    /// Whether it fails, and whether the connection is lost with it.
    fails: Option<bool>,
    pushed: VecDeque<u64>,
    /// All requests that it completed, also those that do not count.
    completed: Arc<AtomicU64>,
}

fn scripted(depth: usize, at_a_time: usize, fails: Option<bool>) -> Scripted {
    Scripted {
        depth,
        at_a_time,
        fails,
        pushed: VecDeque::new(),
        completed: Arc::default(),
    }
}

impl Session for Scripted {
    fn depth(&self) -> usize {
        self.depth
    }

    fn push(&mut self, number: u64) {
        self.pushed.push_back(number);
    }

    async fn complete(&mut self) -> Result<usize, RequestFailure> {
        assert_eq!(self.pushed.len(), self.depth);
        tokio::task::yield_now().await;
        if let Some(connection_lost) = self.fails {
            let lost = if connection_lost { self.depth } else { 1 };
            self.pushed.drain(..lost);
            return Err(RequestFailure {
                kind: LoadErrorKind::NoLeader,
                message: "no leader".to_owned(),
                connection_lost,
            });
        }
        self.pushed.drain(..self.at_a_time);
        let completed = self.at_a_time as u64;
        self.completed.fetch_add(completed, Ordering::Relaxed);
        Ok(self.at_a_time)
    }
}

/// Until so many requests ended within the measured time.
async fn until(load: &Load, ended: u64) {
    while load.so_far().0 + load.so_far().1 < ended {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn only_what_ends_within_the_measured_time_counts() {
    let session = scripted(1, 1, None);
    let completed = Arc::clone(&session.completed);
    let load = Load::default();
    let sessions = vec![session.clone(), session];
    let (tally, ()) = load.run(sessions, WARM_UP, until(&load, 100)).await;
    assert_eq!((tally.failed(), tally.example.clone()), (0, None));
    assert!(tally.done() >= 100 && tally.elapsed > Duration::ZERO);
    let all = completed.load(Ordering::Relaxed);
    assert!(all > tally.done(), "{all} with the warm-up");
    assert_eq!(load.so_far(), (tally.done(), 0));
}

#[tokio::test]
async fn a_session_of_some_depth_has_as_many_requests_in_flight() {
    let load = Load::default();
    let sessions = vec![scripted(8, 3, None)];
    let (tally, ()) = load.run(sessions, WARM_UP, until(&load, 100)).await;
    assert_eq!(tally.done() % 3, 0);
}

#[tokio::test]
async fn a_failure_counts_by_kind_and_a_lost_connection_loses_what_is_in_flight() {
    for (connection_lost, each) in [(false, 1), (true, 4)] {
        let load = Load::default();
        let sessions = vec![scripted(4, 1, Some(connection_lost))];
        let (tally, ()) = load.run(sessions, WARM_UP, until(&load, 2 * each)).await;
        assert_eq!(tally.done(), 0);
        assert_eq!(tally.errors[&LoadErrorKind::NoLeader] % each, 0);
        assert_eq!(tally.example.as_deref(), Some("no leader"));
    }
}
