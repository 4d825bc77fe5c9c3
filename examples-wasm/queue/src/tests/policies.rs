//! Rules of a project inside the queue.

use oarlock_guest::Refusal;
use oarlock_guest::testing::Harness;
use serde_json::{Value, json};

use crate::policy::{Completed, Failed, NewTask, Next, Payload, Policy};

#[derive(Debug)]
struct Rules;

impl Policy for Rules {
    fn on_enqueue(task: &mut NewTask, _now_ms: u64) -> Result<(), Refusal> {
        if &*task.queue == "closed" {
            return Err(Refusal::new("closed", "the queue takes no tasks").field("queue"));
        }
        if &*task.queue == "urgent" {
            task.priority = -1;
        }
        Ok(())
    }

    fn on_failure(failed: &Failed<'_>) -> Next {
        match failed.error {
            "no such address" => Next::Dead,
            "not needed" => Next::Drop,
            _ => failed.usual,
        }
    }

    fn on_complete(done: &Completed<'_>) -> Vec<NewTask> {
        let Payload::Json(text) = done.payload else {
            return Vec::new();
        };
        match text.as_str() {
            r#""parent""# => vec![NewTask::plain("children", done.payload.clone())],
            _ => Vec::new(),
        }
    }
}

crate::policy_guest!(name = "ruled", version = 1, policy = Rules);

fn send(node: &mut Harness<Guest>, command: Value) -> Value {
    let outcome = node.send(command.to_string());
    serde_json::from_str(outcome.text()).unwrap()
}

fn reserve(node: &mut Harness<Guest>, queue: &str) -> Value {
    let command =
        json!({"reserve": {"queues": [queue, "urgent"], "worker": "w", "lease_ms": 1000}});
    send(node, command)["tasks"][0].clone()
}

#[test]
fn a_policy_changes_and_refuses_new_tasks() {
    let mut node = Harness::<Guest>::new();
    send(&mut node, json!({"enqueue": {"queue": "q", "payload": 1}}));
    send(
        &mut node,
        json!({"enqueue": {"queue": "urgent", "payload": 2}}),
    );
    assert_eq!(reserve(&mut node, "q")["payload"], 2);
    let refused = send(
        &mut node,
        json!({"enqueue": {"queue": "closed", "payload": 1}}),
    );
    assert_eq!(refused["error"]["code"], "closed");
}

#[test]
fn a_policy_decides_what_becomes_of_a_failed_task() {
    for (error, state) in [
        ("no such address", "dead"),
        ("not needed", "done"),
        ("other", "delayed"),
    ] {
        let mut node = Harness::<Guest>::new();
        send(&mut node, json!({"enqueue": {"queue": "q", "payload": 1}}));
        let task = reserve(&mut node, "q");
        let nack = json!({"nack": {"id": task["id"], "token": task["token"], "error": error}});
        assert_eq!(send(&mut node, nack), json!({"state": state}), "{error}");
    }
}

#[test]
fn a_guest_with_a_policy_takes_over_the_tasks_of_the_built_in_queue() {
    let mut old = super::Node::new();
    old.enqueue("closed", json!({"payload": "old"}));
    let mut node = Harness::<Guest>::new();
    node.restore(&old.0.snapshot()).unwrap();
    assert_eq!(reserve(&mut node, "closed")["payload"], "old");
    let refused = send(
        &mut node,
        json!({"enqueue": {"queue": "closed", "payload": 1}}),
    );
    assert_eq!(refused["error"]["code"], "closed");
}

#[test]
fn a_policy_adds_tasks_when_one_is_done() {
    let mut node = Harness::<Guest>::new();
    send(
        &mut node,
        json!({"enqueue": {"queue": "q", "payload": "parent"}}),
    );
    let task = reserve(&mut node, "q");
    send(
        &mut node,
        json!({"ack": {"id": task["id"], "token": task["token"]}}),
    );
    assert_eq!(reserve(&mut node, "children")["payload"], "parent");
}
