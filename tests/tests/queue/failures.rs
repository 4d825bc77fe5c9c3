//! Retries, dead tasks and cancellation.

use oarlock_tests::process::eventually;
use serde_json::json;

use super::kit::{payloads, shared};

#[tokio::test(flavor = "multi_thread")]
async fn retry_policy_of_a_queue_and_of_a_task_delays_the_next_attempt() {
    let client = shared().await;
    let retry = json!({"backoff": "exponential", "base_ms": 600_000, "jitter_percent": 0});
    client
        .send(json!({"configure": {"queue": "retry", "retry": retry, "max_attempts": 2}}))
        .await;
    client.enqueue("retry", 1, json!({})).await;
    let own = json!({"retry": {"backoff": "fixed", "base_ms": 1}, "max_attempts": 3});
    let id = client.enqueue("retry", 2, own).await;
    let tasks = client.reserve("retry", 2, 600_000).await;
    for task in &tasks {
        assert_eq!(client.nack(task, "no route").await, "delayed");
    }
    for attempt in 2..=3 {
        let task = client.reserve_one("retry").await;
        assert_eq!(
            (&task["id"], &task["attempt"]),
            (&json!(id), &json!(attempt))
        );
        let state = if attempt == 3 { "dead" } else { "delayed" };
        assert_eq!(client.nack(&task, "no route").await, state);
    }
    let stats = client.stats("retry").await;
    let counts = ["ready", "delayed", "dead"].map(|name| stats[name].as_u64());
    assert_eq!(
        counts,
        [Some(0), Some(1), Some(1)],
        "ten minutes are not over"
    );
    let failures = client.task(id).await["failures"].clone();
    assert_eq!(failures.as_array().expect("a history").len(), 3);
    assert_eq!(failures[0]["worker"], "w");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_tasks_are_counted_redriven_by_filter_and_moved_to_a_dead_letter_queue() {
    let client = shared().await;
    for number in 0..4 {
        client
            .enqueue("dead", number, json!({"max_attempts": 1}))
            .await;
    }
    for (at, task) in client.reserve("dead", 4, 600_000).await.iter().enumerate() {
        let error = if at == 0 { "no route" } else { "no space" };
        assert_eq!(client.nack(task, error).await, "dead");
    }
    let filter = json!({"redrive": {"queue": "dead", "error": "no space", "dry_run": true}});
    assert_eq!(client.send(filter).await["redriven"], 3);
    assert_eq!(
        client.stats("dead").await["dead"],
        4,
        "they were only counted"
    );
    let filter = json!({"redrive": {"queue": "dead", "error": "route"}});
    assert_eq!(client.send(filter).await["redriven"], 1);
    let again = client.reserve_one("dead").await;
    assert_eq!(
        (&again["payload"], &again["attempt"]),
        (&json!(0), &json!(1))
    );
    let moved = json!({"redrive": {"queue": "dead", "to": "dead-elsewhere", "max": 2}});
    assert_eq!(client.send(moved).await["redriven"], 2);
    assert_eq!(
        payloads(&client.reserve("dead-elsewhere", 9, 600_000).await),
        [1, 2]
    );

    let letter =
        json!({"configure": {"queue": "dying", "max_attempts": 1, "dead_letter": "letters"}});
    client.send(letter).await;
    client.enqueue("dying", 7, json!({})).await;
    let task = client.reserve_one("dying").await;
    client.nack(&task, "no route").await;
    assert_eq!(client.reserve_one("letters").await["payload"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lease_returns_a_task_and_its_old_token_is_stale_after_the_next_delivery() {
    let client = shared().await;
    client.enqueue("leases", 1, json!({})).await;
    let first = client.reserve("leases", 1, 1).await.remove(0);
    let second = client.reserve_one("leases").await;
    assert_eq!(
        (&second["id"], &second["attempt"]),
        (&first["id"], &json!(2))
    );
    let late = json!({"ack": {"id": first["id"], "token": first["token"]}});
    assert_eq!(client.refused(late).await.0, "stale_token");
    client.ack(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_removes_a_waiting_task_and_tells_the_worker_of_a_running_one() {
    let client = shared().await;
    let waiting = client
        .enqueue("cancel", 1, json!({"delay_ms": 600_000}))
        .await;
    let cancelled = client.send(json!({"cancel": {"id": waiting}})).await;
    assert_eq!(cancelled, json!({"state": "cancelled"}));
    assert_eq!(client.task(waiting).await, json!(null));

    let running = client.enqueue("cancel", 2, json!({})).await;
    let task = client.reserve_one("cancel").await;
    let cancelled = client.send(json!({"cancel": {"id": running}})).await;
    assert_eq!(cancelled, json!({"state": "leased"}));
    let extend = json!({"extend": {"id": running, "token": task["token"], "lease_ms": 60_000}});
    assert_eq!(client.send(extend).await["cancelled"], true);
    assert_eq!(client.nack(&task, "stopped").await, "cancelled");

    // Without a word of its worker it ends with the lease.
    let silent = client.enqueue("cancel", 3, json!({})).await;
    client.reserve("cancel", 1, 300).await;
    client.send(json!({"cancel": {"id": silent}})).await;
    eventually("the lease ends", async || {
        client.task(silent).await.is_null().then_some(())
    })
    .await;
}
