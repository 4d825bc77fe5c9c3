//! Reserves that wait for a task, and commands that wait for the end of one.

use serde_json::{Value, json};

use super::{Node, pair};

fn waiting(worker: &str, queues: &[&str], max: u32) -> Value {
    json!({"reserve": {"queues": queues, "worker": worker, "lease_ms": 1000, "max": max, "wait_ms": 10_000}})
}

impl Node {
    /// Sends a command that must wait. Returns its token.
    #[track_caller]
    fn wait(&mut self, command: Value) -> oarlock_guest::Token {
        let outcome = self.0.send(command.to_string());
        outcome
            .deferred
            .unwrap_or_else(|| panic!("{command} does not wait: {outcome:?}"))
    }

    /// The replies to commands that waited, as (token, body).
    fn replies(&mut self) -> Vec<(oarlock_guest::Token, Value)> {
        let replies = self.0.take_replies();
        replies
            .iter()
            .map(|reply| (reply.token, serde_json::from_str(reply.text()).unwrap()))
            .collect()
    }

    /// Ids of the tasks that waiting workers got, in the order of the replies.
    fn served(&mut self) -> Vec<(oarlock_guest::Token, Vec<u64>)> {
        let ids = |body: &Value| {
            let tasks = body["tasks"].as_array().unwrap();
            tasks
                .iter()
                .map(|task| task["id"].as_u64().unwrap())
                .collect()
        };
        self.replies()
            .iter()
            .map(|(token, body)| (*token, ids(body)))
            .collect()
    }
}

#[test]
fn waiting_workers_are_served_in_the_order_of_their_arrival() {
    let mut node = Node::new();
    let first = node.wait(waiting("a", &["q"], 1));
    let second = node.wait(waiting("b", &["q"], 1));
    node.enqueue("q", json!({}));
    assert_eq!(node.served(), [(first, vec![1])]);
    node.enqueue("q", json!({}));
    assert_eq!(node.served(), [(second, vec![2])]);
    node.enqueue("q", json!({}));
    assert_eq!(node.served(), []);
    assert_eq!(node.counts(), [1, 0, 2, 0, 0]);
}

#[test]
fn a_reserve_does_not_wait_while_there_is_a_task() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    assert_eq!(
        node.send(waiting("a", &["q"], 5))["tasks"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_reserve_takes_no_task_that_is_due_for_a_worker_that_waits() {
    let mut node = Node::new();
    node.enqueue("q", json!({"delay_ms": 100}));
    let waits =
        json!({"reserve": {"queues": ["q"], "worker": "first", "lease_ms": 1000, "wait_ms": 5000}});
    node.0.send(waits.to_string());
    // The task is due, and the wake-up has not come yet.
    node.0.skip_ms(100);
    assert_eq!(node.reserve_ids(&["q"], 1), Vec::<u64>::new());
    let replies = node.0.take_replies();
    assert_eq!(replies.len(), 1);
    assert!(replies[0].text().contains(r#""id":1"#));
}

#[test]
fn a_worker_that_waits_for_two_queues_takes_no_task_that_an_earlier_one_waits_for() {
    let mut node = Node::new();
    let first = node.wait(waiting("first", &["b"], 1));
    let second = node.wait(waiting("second", &["a", "b"], 1));
    node.enqueue("b", json!({"delay_ms": 10}));
    node.enqueue("a", json!({"delay_ms": 10}));
    node.advance_ms(10).0.wake();
    let mut served = node.served();
    served.sort_unstable();
    assert_eq!(served, [(first, vec![1]), (second, vec![2])]);
}

#[test]
fn a_wait_ends_with_an_empty_list_and_takes_no_later_task() {
    let mut node = Node::new();
    let token = node.wait(waiting("a", &["q"], 1));
    node.pass_ms(9_999);
    assert_eq!(node.replies(), []);
    node.pass_ms(1);
    assert_eq!(node.replies(), [(token, json!({"tasks": []}))]);
    node.enqueue("q", json!({}));
    assert_eq!(node.replies(), []);
    assert_eq!(node.counts(), [1, 0, 0, 0, 0]);
}

#[test]
fn a_worker_waits_for_several_queues_and_for_one_that_is_created_later() {
    let mut node = Node::new();
    let token = node.wait(waiting("a", &["r", "q", "r"], 1));
    node.enqueue("other", json!({}));
    assert_eq!(node.served(), []);
    node.enqueue("r", json!({}));
    assert_eq!(node.served(), [(token, vec![2])]);
    node.enqueue("q", json!({}));
    assert_eq!(node.served(), []);
}

#[test]
fn everything_that_makes_a_task_ready_serves_a_waiting_worker() {
    // A delay that ends.
    let mut node = Node::new();
    node.enqueue("q", json!({"delay_ms": 500}));
    let token = node.wait(waiting("a", &["q"], 1));
    node.pass_ms(500);
    assert_eq!(node.served(), [(token, vec![1])]);
    // A lease that runs out: the next one waits for it.
    let token = node.wait(waiting("b", &["q"], 1));
    node.pass_ms(1000);
    let served = node.served();
    assert_eq!(served, [(token, vec![1])]);
    // A task that is returned, now and after a delay.
    let held = node.task(1);
    assert_eq!(held["attempt"], 2);
    let token = node.wait(waiting("c", &["q"], 1));
    node.pass_ms(1000);
    let replies = node.replies();
    let task = replies[0].1["tasks"][0].clone();
    assert_eq!(replies[0].0, token);
    let token = node.wait(waiting("d", &["q"], 1));
    node.send(json!({"nack": {"id": 1, "token": task["token"], "delay_ms": 0}}));
    assert_eq!(node.served(), [(token, vec![1])]);
    // A queue that goes on.
    node.enqueue("p", json!({}));
    node.send(json!({"pause": {"queue": "p"}}));
    let token = node.wait(waiting("e", &["p"], 1));
    node.send(json!({"resume": {"queue": "p"}}));
    assert_eq!(node.served(), [(token, vec![2])]);
}

#[test]
fn one_batch_serves_several_workers_each_with_what_it_asked_for() {
    let mut node = Node::new();
    let first = node.wait(waiting("a", &["q"], 2));
    let second = node.wait(waiting("b", &["q"], 2));
    let task = json!({"enqueue": {"queue": "q", "payload": 1}});
    node.send(json!({"batch": {"commands": [task, task, task]}}));
    assert_eq!(node.served(), [(first, vec![1, 2]), (second, vec![3])]);
}

#[test]
fn the_waits_of_a_worker_that_stops_are_ended_and_others_go_on() {
    let mut node = Node::new();
    let wait = |worker: &str| json!({"reserve": {"queues": ["q"], "worker": worker, "lease_ms": 1000, "wait_ms": 60_000}});
    for worker in ["a", "b", "a"] {
        node.0.send(wait(worker).to_string());
    }
    assert_eq!(node.send(json!({"end_waits": {"worker": "a"}})), json!({}));
    let replies = node.0.take_replies();
    assert_eq!(replies.len(), 2);
    assert_eq!(node.0.waiting().len(), 1);
    node.enqueue("q", json!({}));
    assert_eq!(node.0.take_replies().len(), 1, "the other worker is served");
    assert_eq!(node.send(json!({"end_waits": {"worker": "c"}})), json!({}));
    assert_eq!(
        node.refused(json!({"end_waits": {"worker": ""}})),
        pair("out_of_range", "worker")
    );
}

#[test]
fn idle_workers_cause_no_wake_up_before_their_deadline() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    node.send(json!({"configure": {"queue": "q", "concurrency": 1}}));
    node.reserve_one();
    node.wait(waiting("a", &["q"], 1));
    // The lease of the task that is held is the only timer before the deadline.
    assert_eq!(node.0.wake_at(), Some(node.now_ms() + 1000));
}

#[test]
fn a_command_waits_for_the_result_of_a_task() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    let wait = json!({"wait_for": {"id": 1, "wait_ms": 60_000}});
    let first = node.wait(wait.clone());
    let second = node.wait(wait.clone());
    let (id, token) = node.reserve_one();
    node.send(
        json!({"ack": {"id": id, "token": token, "result": {"sum": 1.50}, "result_ttl_ms": 5000}}),
    );
    let done = json!({"state": "done", "result": {"sum": 1.5}});
    assert_eq!(
        node.replies(),
        [(first, done.clone()), (second, done.clone())]
    );
    assert_eq!(node.send(wait.clone()), done, "the result is kept");
    assert_eq!(node.task(1)["result"], json!({"sum": 1.5}));
    node.pass_ms(5000);
    assert_eq!(node.task(1), Value::Null);
    assert_eq!(node.send(wait), json!({"state": "unknown"}));
    assert_eq!(
        node.refused(json!({"wait_for": {"id": 9, "wait_ms": 1}})),
        pair("no_such_task", "id")
    );
}

#[test]
fn a_command_that_waits_for_a_task_learns_its_death_its_removal_and_its_state_at_the_end_of_the_wait()
 {
    let mut node = Node::new();
    for _ in 0..3 {
        node.enqueue("q", json!({"max_attempts": 1}));
    }
    let waits: Vec<_> = (1..=3)
        .map(|id| node.wait(json!({"wait_for": {"id": id, "wait_ms": 2000}})))
        .collect();
    let (id, token) = node.reserve_one();
    node.send(json!({"nack": {"id": id, "token": token}}));
    assert_eq!(node.replies(), [(waits[0], json!({"state": "dead"}))]);
    node.send(json!({"cancel": {"id": 2}}));
    assert_eq!(node.replies(), [(waits[1], json!({"state": "cancelled"}))]);
    node.pass_ms(2000);
    assert_eq!(node.replies(), [(waits[2], json!({"state": "ready"}))]);
}
