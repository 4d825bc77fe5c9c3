//! Retry policies, dead-letter queues, redrive, cancel, release, expiry.

use serde_json::{Value, json};

use super::{Node, pair};

impl Node {
    #[track_caller]
    fn fail_one(&mut self) -> Value {
        let (id, token) = self.reserve_one();
        self.send(json!({"nack": {"id": id, "token": token, "error": "boom"}}))
    }
}

#[test]
fn a_queue_and_a_task_have_a_retry_policy_and_a_nack_may_set_its_own_delay() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "q", "retry": {"backoff": "exponential", "base_ms": 100, "max_ms": 300}}}));
    node.enqueue("q", json!({}));
    for delay_ms in [100, 200, 300, 300] {
        assert_eq!(node.fail_one(), json!({"state": "delayed"}));
        assert_eq!(node.advance_ms(delay_ms - 1).reserve_ids(&["q"], 1), [0; 0]);
        node.advance_ms(1);
    }
    let (id, token) = node.reserve_one();
    node.send(json!({"nack": {"id": id, "token": token, "delay_ms": 0}}));
    let (id, token) = node.reserve_one();
    node.send(json!({"ack": {"id": id, "token": token}}));
    node.enqueue("q", json!({"retry": {"backoff": "linear", "base_ms": 10}}));
    node.fail_one();
    assert_eq!(node.advance_ms(10).reserve_ids(&["q"], 1), [2]);
    // A lease that runs out is a failure as well: 20 ms after the second attempt.
    assert_eq!(node.advance_ms(1000).reserve_ids(&["q"], 1), [0; 0]);
    assert_eq!(node.advance_ms(20).reserve_ids(&["q"], 1), [2]);
}

#[test]
fn a_queue_has_its_own_number_of_attempts() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "q", "max_attempts": 1}}));
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({"max_attempts": 2}));
    assert_eq!(node.fail_one(), json!({"state": "dead"}));
    assert_eq!(node.fail_one(), json!({"state": "delayed"}));
}

#[test]
fn a_worker_can_declare_a_task_dead() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    let (id, token) = node.reserve_one();
    assert_eq!(
        node.send(json!({"nack": {"id": id, "token": token, "dead": true}})),
        json!({"state": "dead"})
    );
    assert_eq!(node.counts(), [0, 0, 0, 1, 0]);
}

#[test]
fn the_history_of_a_task_names_attempt_time_worker_and_error() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    let at_ms = node.now_ms();
    node.fail_one();
    let failures = node.task(1)["failures"].clone();
    assert_eq!(
        failures,
        json!([{"attempt": 1, "at_ms": at_ms, "worker": "w1", "error": "boom"}])
    );
}

#[test]
fn dead_tasks_move_to_the_dead_letter_queue() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "q", "max_attempts": 1, "dead_letter": "letters"}}));
    node.enqueue("q", json!({"fairness_key": "a", "dedupe_key": "k"}));
    assert_eq!(node.fail_one(), json!({"state": "dead"}));
    assert_eq!(node.counts(), [0, 0, 0, 0, 0]);
    let task = node.task(1);
    assert_eq!(
        (&task["queue"], &task["died_in"], &task["attempt"]),
        (&json!("letters"), &json!("q"), &json!(0))
    );
    let tasks = node.reserve(&["letters"], 1);
    assert_eq!(
        (&tasks[0]["id"], &tasks[0]["fairness_key"]),
        (&json!(1), &json!("a"))
    );
    assert_eq!(
        node.enqueue("q", json!({"dedupe_key": "k"})),
        2,
        "its key is free"
    );
}

#[test]
fn a_dead_letter_queue_from_which_tasks_would_come_back_is_refused() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "a", "dead_letter": "b"}}));
    node.send(json!({"configure": {"queue": "b", "dead_letter": "c"}}));
    for (queue, to) in [("c", "a"), ("b", "b"), ("c", "b")] {
        let command = json!({"configure": {"queue": queue, "dead_letter": to}});
        assert_eq!(node.refused(command), pair("out_of_range", "dead_letter"));
    }
}

#[test]
fn dead_tasks_are_returned_by_id_by_filter_or_all_and_counted_before() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "q", "max_attempts": 1}}));
    for error in ["no route", "timeout", "no route to host", "other"] {
        node.enqueue("q", json!({}));
        let (id, token) = node.reserve_one();
        node.send(json!({"nack": {"id": id, "token": token, "error": error}}));
        node.advance_ms(100);
    }
    let mut redrive =
        |more: Value| node.send(json!({"redrive": super::with(json!({"queue": "q"}), more)}));
    assert_eq!(redrive(json!({"dry_run": true})), json!({"redriven": 4}));
    assert_eq!(
        redrive(json!({"dry_run": true, "error": "no route"})),
        json!({"redriven": 2})
    );
    assert_eq!(
        redrive(json!({"dry_run": true, "min_age_ms": 300})),
        json!({"redriven": 2})
    );
    assert_eq!(
        redrive(json!({"dry_run": true, "max": 1})),
        json!({"redriven": 1, "next": 1})
    );
    assert_eq!(
        redrive(json!({"dry_run": true, "max": 3, "after": 1})),
        json!({"redriven": 3})
    );
    assert_eq!(redrive(json!({"ids": [2, 2, 77]})), json!({"redriven": 1}));
    assert_eq!(
        redrive(json!({"error": "no route", "to": "r"})),
        json!({"redriven": 2})
    );
    assert_eq!(redrive(json!({})), json!({"redriven": 1}));
    assert_eq!(node.counts(), [2, 0, 0, 0, 0]);
    assert_eq!(node.reserve_ids(&["r"], 9), [1, 3]);
    assert_eq!(
        node.reserve(&["q"], 1)[0]["attempt"],
        1,
        "attempts count from 0 again"
    );
    assert_eq!(
        node.refused(json!({"redrive": {"queue": "none"}})),
        pair("no_such_queue", "queue")
    );
}

#[test]
fn a_released_task_was_not_tried_and_keeps_its_place() {
    let mut node = Node::new();
    node.enqueue("q", json!({"max_attempts": 1}));
    node.enqueue("q", json!({}));
    let (id, token) = node.reserve_one();
    let release = json!({"release": {"id": id, "token": token}});
    assert_eq!(node.send(release.clone()), json!({"state": "ready"}));
    assert_eq!(node.refused(release), pair("stale_token", "token"));
    assert_eq!(node.reserve(&["q"], 1)[0]["attempt"], 1);
}

#[test]
fn a_waiting_task_is_cancelled_at_once_and_a_leased_one_when_its_worker_says_so() {
    let mut node = Node::new();
    for _ in 0..3 {
        node.enqueue("q", json!({}));
    }
    let (id, token) = node.reserve_one();
    assert_eq!(
        node.send(json!({"cancel": {"id": 2}})),
        json!({"state": "cancelled"})
    );
    assert_eq!(
        node.send(json!({"cancel": {"id": id}})),
        json!({"state": "leased"})
    );
    let extended = node.send(json!({"extend": {"id": id, "token": token, "lease_ms": 1000}}));
    assert_eq!(extended["cancelled"], true);
    assert_eq!(
        node.send(json!({"nack": {"id": id, "token": token}})),
        json!({"state": "cancelled"})
    );
    let (id, _) = node.reserve_one();
    node.send(json!({"cancel": {"id": id}}));
    node.advance_ms(1000);
    node.0.wake();
    assert_eq!(node.counts(), [0, 0, 0, 0, 0]);
    assert_eq!(
        node.refused(json!({"cancel": {"id": 2}})),
        pair("no_such_task", "id")
    );
}

#[test]
fn a_cancelled_task_that_its_worker_finished_is_done() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    let (id, token) = node.reserve_one();
    node.send(json!({"cancel": {"id": id}}));
    node.send(json!({"ack": {"id": id, "token": token}}));
    assert_eq!(node.counts(), [0, 0, 0, 0, 1]);
}

#[test]
fn a_task_that_was_not_delivered_in_time_is_dead_or_removed() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "q", "ttl_ms": 1000}}));
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({"ttl_ms": 5000}));
    node.enqueue("q", json!({"delay_ms": 3000}));
    node.advance_ms(1000).0.wake();
    assert_eq!(node.counts(), [1, 0, 0, 2, 0]);
    assert_eq!(
        node.task(1)["errors"],
        json!(["its time was over after 1000 ms without a delivery"])
    );
    node.send(json!({"configure": {"queue": "q", "drop_expired": true}}));
    node.enqueue("q", json!({}));
    assert_eq!(node.reserve_ids(&["q"], 1), [2]);
    node.advance_ms(1000).0.wake();
    assert_eq!(
        node.counts(),
        [1, 0, 0, 2, 0],
        "the delivered one does not expire"
    );
    let detail = node.query(json!({"stats": {"detail": true}}))["queues"]["q"].clone();
    assert_eq!(
        (&detail["expired"], &detail["removed"]),
        (&json!(3), &json!(1))
    );
}
