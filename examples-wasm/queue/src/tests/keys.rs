//! Fairness, limits and order by key.

use serde_json::{Value, json};

use super::{Node, pair};

impl Node {
    fn enqueue_keyed(&mut self, key: &str, count: usize) {
        for _ in 0..count {
            self.enqueue("q", json!({"fairness_key": key}));
        }
    }

    /// The keys of the tasks of a reserve, in the order of delivery, as one text.
    fn delivered_keys(&mut self, max: u32) -> String {
        let tasks = self.reserve(&["q"], max);
        tasks
            .iter()
            .map(|task| task["fairness_key"].as_str().unwrap_or("-"))
            .collect()
    }

    fn ack(&mut self, task: &Value) {
        self.send(json!({"ack": {"id": task["id"], "token": task["token"]}}));
    }
}

#[test]
fn keys_take_turns_however_many_tasks_each_has() {
    let mut node = Node::new();
    node.enqueue_keyed("a", 6);
    node.enqueue_keyed("b", 2);
    node.enqueue("q", json!({}));
    assert_eq!(node.delivered_keys(20), "ab-abaaaa");
}

#[test]
fn a_weight_is_the_number_of_deliveries_before_the_next_turn() {
    let mut node = Node::new();
    node.enqueue("q", json!({"fairness_key": "a", "weight": 3}));
    node.enqueue_keyed("a", 5);
    node.enqueue_keyed("b", 2);
    // The turn of `a` had begun with its first task, when its weight was known.
    assert_eq!(node.delivered_keys(20), "aaabaaab");
    node.send(json!({"configure_key": {"queue": "q", "key": "b", "weight": 2}}));
    node.enqueue_keyed("b", 4);
    node.enqueue_keyed("a", 4);
    assert_eq!(node.delivered_keys(20), "bbaaabba");
}

#[test]
fn fairness_is_within_a_priority() {
    let mut node = Node::new();
    node.enqueue("q", json!({"fairness_key": "a", "priority": 2}));
    node.enqueue("q", json!({"fairness_key": "b", "priority": 1}));
    node.enqueue("q", json!({"fairness_key": "b", "priority": 1}));
    node.enqueue("q", json!({"fairness_key": "a", "priority": 1}));
    assert_eq!(node.delivered_keys(20), "baba");
}

#[test]
fn a_returned_task_keeps_its_age_within_its_key() {
    let mut node = Node::new();
    node.enqueue_keyed("a", 3);
    node.enqueue_keyed("b", 1);
    let (id, token) = node.reserve_one();
    node.send(json!({"nack": {"id": id, "token": token}}));
    assert_eq!(
        node.reserve_ids(&["q"], 10),
        [4, 1, 2, 3],
        "its key has had its turn"
    );
}

#[test]
fn a_key_at_its_concurrency_does_not_block_the_others_behind_it() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "q", "key_concurrency": 1}}));
    node.enqueue_keyed("a", 3);
    node.enqueue_keyed("b", 1);
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({}));
    let tasks = node.reserve(&["q"], 20);
    let keys: String = tasks
        .iter()
        .map(|task| task["fairness_key"].as_str().unwrap_or("-"))
        .collect();
    assert_eq!(keys, "ab--", "tasks without a key have no limit by key");
    assert_eq!(node.delivered_keys(20), "");
    node.ack(&tasks[0]);
    assert_eq!(node.delivered_keys(20), "a");
    // A lease that runs out makes room as well.
    assert_eq!(node.advance_ms(1000).delivered_keys(20).len(), 4);
}

#[test]
fn the_concurrency_of_a_queue_and_of_one_key_can_be_changed_live() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "q", "concurrency": 2}}));
    node.enqueue_keyed("a", 6);
    assert_eq!(node.delivered_keys(20), "aa");
    node.send(json!({"configure": {"queue": "q", "concurrency": 3}}));
    assert_eq!(node.delivered_keys(20), "a");
    node.send(json!({"configure": {"queue": "q", "concurrency": null, "key_concurrency": 3}}));
    assert_eq!(node.delivered_keys(20), "");
    node.send(json!({"configure_key": {"queue": "q", "key": "a", "concurrency": 5}}));
    assert_eq!(node.delivered_keys(20), "aa");
    node.send(json!({"configure_key": {"queue": "q", "key": "a", "concurrency": null}}));
    node.send(json!({"configure": {"queue": "q", "key_concurrency": null}}));
    assert_eq!(node.delivered_keys(20), "a");
}

#[test]
fn a_rate_limit_holds_for_the_queue_and_for_each_key() {
    let mut node = Node::new();
    let rate = json!({"tasks": 2, "per_ms": 1000, "burst": 1});
    node.send(json!({"configure": {"queue": "q", "key_rate": rate}}));
    node.enqueue_keyed("a", 3);
    node.enqueue_keyed("b", 1);
    assert_eq!(node.delivered_keys(20), "ab");
    assert_eq!(node.advance_ms(499).delivered_keys(20), "");
    assert_eq!(node.advance_ms(1).delivered_keys(20), "a");
    node.send(json!({"configure": {"queue": "q", "key_rate": null, "rate": rate}}));
    node.enqueue_keyed("c", 2);
    assert_eq!(node.delivered_keys(20).len(), 1);
    assert_eq!(node.delivered_keys(20), "");
    assert_eq!(node.advance_ms(500).delivered_keys(20).len(), 1);
}

#[test]
fn a_worker_that_waits_is_served_when_a_rate_limit_permits_it() {
    for settings in [
        json!({"rate": {"tasks": 1, "per_ms": 300}}),
        json!({"key_rate": {"tasks": 1, "per_ms": 300}}),
    ] {
        let mut node = Node::new();
        let mut change = json!({"queue": "q"});
        change
            .as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        node.send(json!({"configure": change}));
        node.enqueue_keyed("a", 2);
        assert_eq!(node.delivered_keys(20), "a");
        let wait = json!({"reserve": {"queues": ["q"], "worker": "w", "lease_ms": 60000, "wait_ms": 10000}});
        assert!(node.0.send(wait.to_string()).deferred.is_some());
        node.pass_ms(299);
        assert_eq!(node.0.take_replies().len(), 0, "{settings}");
        node.pass_ms(1);
        assert_eq!(node.0.take_replies().len(), 1, "{settings}");
    }
}

#[test]
fn a_key_that_comes_back_has_not_forgotten_its_rate() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "q", "key_rate": {"tasks": 1, "per_ms": 1000}}}));
    node.enqueue_keyed("a", 1);
    let tasks = node.reserve(&["q"], 1);
    node.ack(&tasks[0]);
    node.enqueue_keyed("a", 1);
    assert_eq!(node.advance_ms(999).delivered_keys(1), "");
    assert_eq!(node.advance_ms(1).delivered_keys(1), "a");
}

#[test]
fn tasks_of_one_ordering_key_are_delivered_one_at_a_time_in_their_order() {
    let mut node = Node::new();
    for priority in [5, 1, 3] {
        node.enqueue("q", json!({"ordering_key": "o", "priority": priority}));
    }
    node.enqueue("q", json!({"ordering_key": "p"}));
    assert_eq!(node.counts(), [2, 2, 0, 0, 0]);
    assert_eq!(node.reserve_ids(&["q"], 10), [4, 1]);
    assert_eq!(node.reserve_ids(&["q"], 10), [0; 0]);
    assert_eq!(node.task(2)["state"], "waiting");
    // A lease that runs out and a retry with a delay keep the order.
    let tasks = node.advance_ms(1000).reserve(&["q"], 10);
    let first = tasks.iter().find(|task| task["id"] == 1).unwrap();
    node.send(json!({"nack": {"id": 1, "token": first["token"], "delay_ms": 5000}}));
    let others = node.advance_ms(1000).reserve_ids(&["q"], 10);
    assert!(!others.contains(&2) && !others.contains(&3), "{others:?}");
    let tasks = node.advance_ms(4000).reserve(&["q"], 10);
    let first = tasks.iter().find(|task| task["id"] == 1).unwrap().clone();
    node.ack(&first);
    assert_eq!(node.reserve_ids(&["q"], 10), [2]);
}

#[test]
fn a_dead_or_removed_task_lets_its_ordering_key_go_on() {
    let mut node = Node::new();
    for _ in 0..4 {
        node.enqueue("q", json!({"ordering_key": "o", "max_attempts": 1}));
    }
    let (id, token) = node.reserve_one();
    node.send(json!({"nack": {"id": id, "token": token}}));
    node.send(json!({"cancel": {"id": 2}}));
    assert_eq!(node.reserve_ids(&["q"], 10), [3]);
    // The dead one comes back before the one behind it.
    node.send(json!({"redrive": {"queue": "q"}}));
    assert_eq!(node.advance_ms(1000).reserve_ids(&["q"], 10), [1]);
}

#[test]
fn a_delayed_head_holds_its_ordering_key_back() {
    let mut node = Node::new();
    node.enqueue("q", json!({"ordering_key": "o", "delay_ms": 1000}));
    node.enqueue("q", json!({"ordering_key": "o"}));
    assert_eq!(node.reserve_ids(&["q"], 10), [0; 0]);
    assert_eq!(node.advance_ms(1000).reserve_ids(&["q"], 10), [1]);
}

#[test]
fn values_of_keys_are_checked() {
    let mut node = Node::new();
    for (command, field) in [
        (
            json!({"enqueue": {"queue": "q", "payload": 1, "fairness_key": ""}}),
            "fairness_key",
        ),
        (
            json!({"enqueue": {"queue": "q", "payload": 1, "fairness_key": "a", "weight": 0}}),
            "weight",
        ),
        (
            json!({"enqueue": {"queue": "q", "payload": 1, "ordering_key": ""}}),
            "ordering_key",
        ),
        (
            json!({"configure": {"queue": "q", "concurrency": 0}}),
            "concurrency",
        ),
        (
            json!({"configure": {"queue": "q", "rate": {"tasks": 0, "per_ms": 1}}}),
            "rate.tasks",
        ),
        (
            json!({"configure_key": {"queue": "q", "key": "a", "weight": 1001}}),
            "weight",
        ),
    ] {
        assert_eq!(node.refused(command), pair("out_of_range", field));
    }
    assert_eq!(node.query(json!({"stats": {}})), json!({"queues": {}}));
}
