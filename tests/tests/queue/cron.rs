//! Schedules with a cron expression, which clients expand into ticks.

use std::time::{SystemTime, UNIX_EPOCH};

use oarlock_client::cron::{CronExpression, NewCron};
use oarlock_client::queue::{CatchUp, NewTask, Queue};
use oarlock_client::{Client, Endpoint};
use oarlock_tests::process::eventually;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::kit::{QueueClient, shared};

const MINUTE: u64 = 60_000;

/// A runner serves all schedules of the cluster, also those of another test.
static ONE_TEST: Mutex<()> = Mutex::const_new(());

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.expect("a clock").as_millis()).expect("a time")
}

/// A handle of the Rust client at one node.
fn queue(client: &QueueClient, node: usize, name: &str) -> Queue {
    let endpoint: Endpoint = client.address(node).parse().expect("an address");
    Queue::new(Client::new(vec![endpoint]).expect("a client"), name)
}

async fn schedule(client: &QueueClient, name: &str) -> Value {
    client.query(json!({"schedules": {}})).await["schedules"][name].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_cron_runners_add_each_tick_exactly_once() {
    let _one = ONE_TEST.lock().await;
    let client = shared().await;
    // The cluster was without a runner for 100 hours: six lists of ticks are missing.
    let first = now_ms() / MINUTE * MINUTE - 6000 * MINUTE;
    let task = json!({"queue": "cron-all", "payload": 1, "attributes": {"oarlock-cron": "CRON_TZ=UTC * * * * *"}});
    let command = json!({"name": "cron-all", "task": task, "at_ms": [first], "catch_up": "all"});
    client.send(json!({ "set_schedule": command })).await;
    let runners: Vec<_> = (0..6)
        .map(|at| queue(&client, at % 3, ""))
        .map(|queue| {
            tokio::spawn(async move {
                while queue.refill_cron().await.expect("a cluster").behind > 0 {}
            })
        })
        .collect();
    for runner in runners {
        runner.await.expect("no panic");
    }
    let shown = eventually("the ticks that have passed add their tasks", async || {
        let shown = schedule(&client, "cron-all").await;
        (shown["next_ms"].as_u64() > Some(first + 6000 * MINUTE)).then_some(shown)
    })
    .await;
    let next = shown["next_ms"].as_u64().expect("a next tick");
    assert_eq!(shown["ticks"], (next - first) / MINUTE, "{shown}");
    assert!(shown["cron"]["left"].as_u64() >= Some(500), "{shown}");
    let stats = client.stats("cron-all").await;
    assert!(
        stats["ready"].as_u64() >= shown["ticks"].as_u64(),
        "{stats}"
    );
    client
        .send(json!({"delete_schedule": {"name": "cron-all"}}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_schedule_lists_the_ticks_of_its_zone_and_is_replaced_paused_and_resumed() {
    let _one = ONE_TEST.lock().await;
    let client = shared().await;
    let reports = queue(&client, 0, "cron-reports");
    let expression = CronExpression::parse("0 9 * * 1-5", "Europe/Berlin").expect("valid");
    let task = NewTask::json(&"report").expect("JSON");
    let cron = NewCron::new("weekdays", expression.clone(), task.clone());
    reports.set_cron(&cron).await.expect("accepted");
    let shown = schedule(&client, "weekdays").await;
    let next = shown["next_ms"].as_u64().expect("a tick");
    assert!(next > now_ms() - MINUTE);
    assert_eq!(expression.ticks_after(next - 1).next(), Some(next));
    assert_eq!(
        shown["cron"]["expression"],
        "CRON_TZ=Europe/Berlin 0 9 * * 1-5"
    );
    let left = shown["cron"]["left"].as_u64();
    assert!((Some(280)..=Some(290)).contains(&left), "{shown}");

    // The list of the schedule passed while it was paused. It resumes with one task for all ticks.
    let minutes = CronExpression::parse("* * * * *", "UTC").expect("valid");
    let cron = NewCron {
        catch_up: CatchUp::Last,
        paused: true,
        ..NewCron::new("weekdays", minutes, task)
    };
    reports.set_cron(&cron).await.expect("replaced");
    assert_eq!(schedule(&client, "weekdays").await["paused"], true);
    let first = now_ms() / MINUTE * MINUTE - 90 * MINUTE;
    let past: Vec<u64> = (0..5).map(|number| first + number * MINUTE).collect();
    let task =
        json!({"queue": "cron-reports", "payload": 2, "attributes": {"oarlock-cron": "* * * * *"}});
    let command = json!({"name": "weekdays", "task": task, "at_ms": past, "paused": true});
    client.send(json!({ "set_schedule": command })).await;
    let added = reports.refill_cron().await.expect("a cluster");
    assert_eq!(added.ticks, 0, "a paused schedule gets no ticks");
    reports
        .pause_schedule("weekdays", false)
        .await
        .expect("it exists");
    let delivered = client.reserve_one("cron-reports").await;
    assert_eq!(delivered["payload"], 2);
    let added = reports.refill_cron().await.expect("a cluster");
    assert!(added.ticks >= 999, "{added:?}");
    // The ticks after the list were missed, too: one task for all of them.
    assert_eq!(client.reserve_one("cron-reports").await["payload"], 2);
    reports
        .delete_schedule("weekdays")
        .await
        .expect("it exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_no_client_understands_stops_no_other_schedule() {
    let _one = ONE_TEST.lock().await;
    let client = shared().await;
    let at_ms = [now_ms() + 600_000];
    for (name, expression) in [("cron-bad", "every tuesday"), ("cron-good", "* * * * *")] {
        let task = json!({"queue": "cron-mixed", "payload": 1, "attributes": {"oarlock-cron": expression}});
        let command = json!({"name": name, "task": task, "at_ms": at_ms});
        client.send(json!({ "set_schedule": command })).await;
    }
    let done = queue(&client, 1, "")
        .refill_cron()
        .await
        .expect("a cluster");
    assert!(
        done.unusable.iter().any(|(name, _)| name == "cron-bad"),
        "{done:?}"
    );
    assert_eq!(schedule(&client, "cron-bad").await["cron"]["left"], 1);
    let left = schedule(&client, "cron-good").await["cron"]["left"].as_u64();
    assert!(left >= Some(900));
    for name in ["cron-bad", "cron-good"] {
        client
            .send(json!({"delete_schedule": {"name": name}}))
            .await;
    }
}
