//! Groups, tasks that wait for others, and schedules.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::kit::{payloads, shared};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_adds_a_task_when_all_are_done_and_another_when_one_is_dead() {
    let client = shared().await;
    let open = json!({"open_group": {
        "group": "import",
        "on_complete": {"queue": "group-done", "payload": 100},
        "on_dead": {"queue": "group-dead", "payload": 200},
    }});
    client.send(open).await;
    for number in 0..2 {
        client
            .enqueue(
                "group",
                number,
                json!({"group": "import", "max_attempts": 1}),
            )
            .await;
    }
    client
        .send(json!({"close_group": {"group": "import"}}))
        .await;
    let tasks = client.reserve("group", 2, 600_000).await;
    client.ack(&tasks[0]).await;
    assert_eq!(client.nack(&tasks[1], "no route").await, "dead");
    assert_eq!(client.reserve_one("group-dead").await["payload"], 200);
    let group = client.query(json!({"group": {"group": "import"}})).await["group"].clone();
    assert_eq!((&group["done"], &group["dead"]), (&json!(1), &json!(1)));
    client.send(json!({"redrive": {"queue": "group"}})).await;
    let again = client.reserve_one("group").await;
    client.ack(&again).await;
    assert_eq!(client.reserve_one("group-done").await["payload"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_after_others_waits_until_they_are_done() {
    let client = shared().await;
    let batch = json!({"batch": {"all_or_nothing": true, "commands": [
        {"enqueue": {"queue": "after", "payload": 1}},
        {"enqueue": {"queue": "after", "payload": 2}},
        {"enqueue": {"queue": "after", "payload": 3, "after_batch": [0, 1]}},
    ]}});
    client.send(batch).await;
    let tasks = client.reserve("after", 9, 600_000).await;
    assert_eq!(payloads(&tasks), [1, 2]);
    client.ack(&tasks[1]).await;
    let waits = client.reserve_one("after");
    let (last, ()) = tokio::join!(waits, client.ack(&tasks[0]));
    assert_eq!(last["payload"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_adds_a_task_at_each_tick_until_it_is_paused() {
    let client = shared().await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_millis();
    let schedule = |paused: bool| {
        json!({"set_schedule": {"name": "every-second", "every_ms": 1000, "paused": paused,
                                "task": {"queue": "ticks", "payload": 1}}})
    };
    client.send(schedule(false)).await;
    for _ in 0..2 {
        let task = client.reserve_one("ticks").await;
        client.ack(&task).await;
    }
    client.send(schedule(true)).await;
    let shown = client.query(json!({"schedules": {}})).await["schedules"]["every-second"].clone();
    assert!(shown["ticks"].as_u64() >= Some(2), "{shown}");
    assert_eq!(shown["paused"], true);

    // Ticks that a list names add a task each, also those that have passed.
    let past = u64::try_from(now).expect("a time") - 5000;
    let list = json!({"set_schedule": {"name": "listed", "at_ms": [past, past + 1], "catch_up": "all",
                                       "task": {"queue": "listed", "payload": 2}}});
    client.send(list).await;
    for _ in 0..2 {
        client.ack(&client.reserve_one("listed").await).await;
    }
    client
        .send(json!({"delete_schedule": {"name": "listed"}}))
        .await;
    client
        .send(json!({"delete_schedule": {"name": "every-second"}}))
        .await;
}
