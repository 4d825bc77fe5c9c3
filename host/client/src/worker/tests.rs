mod fake_queue;

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::sync::{Notify, oneshot};

use super::*;
use fake_queue::{FakeQueue, NEVER, Received, Step, tasks};

const LEASE: Duration = Duration::from_millis(60);

/// One task, then none. Other commands succeed.
fn one_task(command: &Received, before: usize) -> Step {
    match (command.name.as_str(), before) {
        ("reserve", 0) => Step::Reply(tasks([1])),
        ("reserve", _) => Step::Reply(tasks([])),
        ("extend", _) => Step::Reply(json!({"lease_until_ms": 2})),
        ("nack" | "release", _) => Step::Reply(json!({"state": "delayed"})),
        _ => Step::Reply(json!({})),
    }
}

fn worker(queue: &FakeQueue) -> Worker {
    Worker::new(queue.queue()).lease(LEASE).end_when_empty()
}

/// Tells when it is dropped.
struct OnDrop(Option<oneshot::Sender<()>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

#[tokio::test]
async fn a_task_is_acknowledged_with_its_result() {
    let queue = FakeQueue::start(one_task).await;
    let report = worker(&queue)
        .run(|task| async move {
            assert_eq!(task.payload.as_bytes(), br#"{"n":1}"#);
            Ok::<_, TaskFailure>(TaskOutput::json("sent")?)
        })
        .await
        .unwrap();
    assert_eq!(
        report,
        WorkerReport {
            done: 1,
            ..WorkerReport::default()
        }
    );
    let ack = queue.all().into_iter().find(|seen| seen.name == "ack");
    assert_eq!(
        ack.unwrap().arguments,
        json!({"id": 1, "token": "1-t", "result": "sent"})
    );
}

#[tokio::test]
async fn the_lease_is_extended_while_the_handler_runs() {
    let extended = Arc::new(Notify::new());
    let seen = Arc::clone(&extended);
    let queue = FakeQueue::start(move |command, before| {
        if command.name == "extend" && before == 2 {
            seen.notify_one();
        }
        one_task(command, before)
    })
    .await;
    let report = worker(&queue)
        .run(move |_| {
            let extended = Arc::clone(&extended);
            async move {
                extended.notified().await;
                Ok::<_, TaskFailure>(())
            }
        })
        .await
        .unwrap();
    assert_eq!(report.done, 1);
    let extend = queue.all().into_iter().find(|seen| seen.name == "extend");
    assert_eq!(extend.unwrap().arguments["lease_ms"], 60);
    assert!(
        queue
            .names()
            .iter()
            .filter(|name| *name == "extend")
            .count()
            >= 3
    );
}

#[tokio::test]
async fn an_error_or_a_panic_returns_the_task_with_its_text() {
    for (panics, reason) in [
        (false, "no route to host"),
        (true, "the handler panicked: oh no"),
    ] {
        let queue = FakeQueue::start(one_task).await;
        let report = worker(&queue)
            .run(move |_| async move {
                assert!(!panics, "oh no");
                let error = std::io::Error::other("no route to host");
                Err::<(), _>(TaskFailure::from(error).retry_after(Duration::from_secs(1)))
            })
            .await
            .unwrap();
        assert_eq!(report.failed, 1);
        let nack = queue.all().into_iter().find(|seen| seen.name == "nack");
        let arguments = nack.unwrap().arguments;
        assert_eq!(arguments["error"], reason);
        assert_eq!(arguments.get("dead"), None);
    }
}

#[tokio::test]
async fn a_final_failure_makes_the_task_dead() {
    let queue = FakeQueue::start(one_task).await;
    let failing = |_| async { Err::<(), _>(TaskFailure::new("bad address").dead()) };
    worker(&queue).run(failing).await.unwrap();
    let nack = queue.all().into_iter().find(|seen| seen.name == "nack");
    assert_eq!(nack.unwrap().arguments["dead"], true);
}

#[tokio::test]
async fn the_handler_is_dropped_when_the_task_is_cancelled_or_the_token_stale() {
    for (is_cancelled, commands) in [(true, vec!["extend", "nack"]), (false, vec!["extend"])] {
        let queue = FakeQueue::start(move |command, before| match command.name.as_str() {
            "extend" if is_cancelled => {
                Step::Reply(json!({"lease_until_ms": 2, "cancelled": true}))
            }
            "extend" => Step::Refuse("stale_token"),
            _ => one_task(command, before),
        })
        .await;
        let (dropped, was_dropped) = oneshot::channel();
        let dropped = Mutex::new(Some(dropped));
        let why = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&why);
        let report = worker(&queue)
            .on_event(move |event| {
                if let WorkerEvent::Lost { why, .. } = event {
                    *noted.lock().unwrap() = Some(*why);
                }
            })
            .run(move |_| {
                let guard = OnDrop(dropped.lock().unwrap().take());
                async move {
                    let _guard = guard;
                    pending::<Result<(), TaskFailure>>().await
                }
            })
            .await
            .unwrap();
        was_dropped.await.unwrap();
        assert_eq!(report.lost, 1);
        assert_eq!(queue.names(), commands);
        let expected = if is_cancelled {
            LostTask::Cancelled
        } else {
            LostTask::Stale
        };
        assert_eq!(*why.lock().unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn a_request_whose_response_is_lost_is_repeated_with_its_key() {
    let queue = FakeQueue::start(|command, before| match (command.name.as_str(), before) {
        ("reserve" | "ack", 0) => Step::Close,
        ("reserve", 1) => Step::Reply(tasks([1])),
        ("reserve", _) => Step::Reply(tasks([])),
        _ => one_task(command, before),
    })
    .await;
    let report = worker(&queue)
        .run(|_| async { Ok::<_, TaskFailure>(()) })
        .await
        .unwrap();
    assert_eq!(report.done, 1);
    for name in ["reserve", "ack"] {
        let all = queue.all();
        let mut sent = all.iter().filter(|seen| seen.name == name);
        let (first, second) = (sent.next().unwrap(), sent.next().unwrap());
        assert_eq!(first, second);
    }
}

#[tokio::test]
async fn a_delivery_that_took_long_is_extended_before_its_handler_begins() {
    let (begun, noted) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let wait = Arc::clone(&noted);
    // The first reserve has its response once it was sent again: a third of the lease has passed by then.
    let queue = FakeQueue::start(
        move |command, before| match (command.name.as_str(), before) {
            ("reserve", 0) => Step::After(NEVER, tasks([])),
            ("reserve", 1) => Step::Reply(tasks([1])),
            ("reserve", _) => Step::Reply(tasks([])),
            ("extend", _) => {
                wait.notify_one();
                Step::Refuse("stale_token")
            }
            _ => one_task(command, before),
        },
    )
    .await;
    let counted = Arc::clone(&begun);
    let hasty = queue.queue().with_timeout(Duration::from_millis(100));
    let report = Worker::new(hasty)
        .lease(LEASE)
        .end_when_empty()
        .run(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, TaskFailure>(()) }
        })
        .await
        .unwrap();
    noted.notified().await;
    assert_eq!(begun.load(Ordering::Relaxed), 0);
    assert_eq!((report.lost, report.done), (1, 0));
}

#[tokio::test]
async fn a_worker_that_stops_finishes_what_runs_and_gives_back_what_has_not_begun() {
    // Task 1 runs when the worker is stopped; the second reserve then delivers task 2.
    let queue = FakeQueue::start(|command, before| match (command.name.as_str(), before) {
        ("reserve", 0) => Step::Reply(tasks([1])),
        ("reserve", _) => Step::After(3, tasks([2])),
        _ => one_task(command, before),
    })
    .await;
    let (running, begins) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, finish) = (Arc::clone(&begins), Arc::clone(&running));
    let stop = async {
        begins.notified().await;
        queue.receives("reserve").await;
    };
    let worker = Worker::new(queue.queue())
        .concurrency(2)
        .lease(LEASE)
        .wait(Duration::from_secs(1));
    let handled = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&handled);
    let run = worker.run_until(stop, move |task| {
        let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
        noted.lock().unwrap().push(task.id);
        async move {
            begun.notify_one();
            finish.notified().await;
            Ok::<_, TaskFailure>(())
        }
    });
    let finishing = async {
        queue.receives("release").await;
        running.notify_one();
    };
    let (report, ()) = tokio::join!(run, finishing);
    let report = report.unwrap();
    assert_eq!((report.done, report.released), (1, 1));
    assert_eq!(*handled.lock().unwrap(), [1]);
}

#[tokio::test]
async fn an_idle_worker_that_stops_ends_its_wait() {
    // The first request for tasks has a response once another command arrives.
    let queue = FakeQueue::start(|command, before| match (command.name.as_str(), before) {
        ("reserve", 0) => Step::After(2, tasks([])),
        _ => one_task(command, before.max(1)),
    })
    .await;
    let worker = Worker::new(queue.queue()).name("w").lease(LEASE);
    let report = worker
        .run_until(queue.receives("reserve"), |_| async {
            Ok::<_, TaskFailure>(())
        })
        .await
        .unwrap();
    assert_eq!(report, WorkerReport::default());
    let ended = queue
        .all()
        .into_iter()
        .find(|seen| seen.name == "end_waits");
    assert_eq!(ended.unwrap().arguments, json!({"worker": "w"}));
}

#[tokio::test]
async fn no_more_handlers_run_at_once_than_the_concurrency() {
    let queue = FakeQueue::start(|command, before| match command.name.as_str() {
        "reserve" if before < 20 => {
            let most = command.arguments["max"].as_u64().unwrap();
            let first = before as u64 * 10;
            Step::Reply(tasks(first..first + most))
        }
        _ => one_task(command, before.max(1)),
    })
    .await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let report = worker(&queue)
        .concurrency(4)
        .run(move |_| {
            let (now, seen) = (Arc::clone(&now), Arc::clone(&seen));
            async move {
                seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, TaskFailure>(())
            }
        })
        .await
        .unwrap();
    assert!(report.done >= 20);
    assert!((1..=4).contains(&most.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn a_result_that_is_refused_is_a_failure_with_the_reason() {
    let queue = FakeQueue::start(|command, before| match command.name.as_str() {
        "ack" => Step::Refuse("out_of_range"),
        _ => one_task(command, before),
    })
    .await;
    let report = worker(&queue)
        .run(|_| async { Ok::<_, TaskFailure>(()) })
        .await
        .unwrap();
    assert_eq!(report.failed, 1);
    let nack = queue.all().into_iter().find(|seen| seen.name == "nack");
    let reason = nack.unwrap().arguments["error"].to_string();
    assert!(reason.contains("the result was refused"), "{reason}");
}

#[tokio::test]
async fn a_refused_request_for_tasks_ends_the_worker() {
    let queue = FakeQueue::start(|_, _| Step::Refuse("out_of_range")).await;
    let error = worker(&queue)
        .run(|_| async { Ok::<_, TaskFailure>(()) })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("out_of_range"));
}

#[tokio::test]
async fn a_worker_runs_in_a_task_of_its_own() {
    let queue = FakeQueue::start(one_task).await;
    let worker = worker(&queue);
    let running = tokio::spawn(worker.run(|_| async { Ok::<_, TaskFailure>(()) }));
    assert_eq!(running.await.unwrap().unwrap().done, 1);
}

#[test]
fn a_reason_is_cut() {
    let failure = TaskFailure::new("ä".repeat(5_000));
    assert_eq!(failure.to_string().chars().count(), 2_000);
}
