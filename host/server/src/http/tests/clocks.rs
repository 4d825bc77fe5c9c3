//! A leader whose clock is wrong, on three real nodes with the task queue: leases, delays, wake-ups and idempotency keys
//! behave as with right clocks, while it leads and after its end.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::Client;
use super::upgrades::Three;
use crate::settings::GuestSource;
use crate::wall_clock;

const MINUTE: u64 = 60_000;
const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;
/// Fails the test where time stands still.
const PATIENCE: Duration = Duration::from_secs(60);

async fn three_queues() -> Three {
    Three::start_with(|_, settings| {
        settings.guest = GuestSource::BuiltInQueue;
        settings.limits.key_ttl_ms = 10 * MINUTE;
    })
    .await
}

/// Applies a command, under an idempotency key, as often as it takes.
async fn apply(client: &Client, key: &str, command: &Value) -> Value {
    let command = command.to_string();
    loop {
        let headers = [("idempotency-key", key)];
        let response = client.apply_with(&headers, &command).await;
        if response.status == 200 {
            return response.json();
        }
        assert_eq!(response.status, 503, "{response:?}");
    }
}

async fn counts(client: &Client, queue: &str) -> Value {
    loop {
        let response = client.query(r#"{"stats":{}}"#).await;
        if response.status == 200 {
            return response.json()["queues"][queue].clone();
        }
    }
}

fn enqueue(queue: &str, delay_ms: u64) -> Value {
    json!({"enqueue": {"queue": queue, "payload": 1, "delay_ms": delay_ms}})
}

fn reserve(queue: &str) -> Value {
    json!({"reserve": {"queues": [queue], "worker": "w", "lease_ms": 10 * MINUTE}})
}

/// The time of the log, from a lease that begins now.
fn begin_of_lease(reserved: &Value) -> u64 {
    let until = reserved["tasks"][0]["lease_until_ms"].as_u64();
    until.expect("a task") - 10 * MINUTE
}

/// Waits until a delayed task is ready, which a wake-up brings about.
async fn becomes_ready(three: &Three, at: usize, queue: &str) {
    let mut status = three.node(at).app().raft.watch_status();
    let waits = async {
        while counts(&three.client(at), queue).await["ready"] != 1 {
            status.changed().await.expect("it runs");
        }
    };
    tokio::time::timeout(PATIENCE, waits)
        .await
        .expect("the task is ready in time");
}

async fn is_right(three: &Three, leader: usize, key: &str) {
    let client = three.client(leader);
    apply(&client, &format!("{key}-e"), &enqueue(key, 0)).await;
    let reserved = apply(&client, &format!("{key}-r"), &reserve(key)).await;
    let off = begin_of_lease(&reserved).abs_diff(wall_clock::now_ms());
    assert!(off < MINUTE, "the time of the log is off by {off} ms");
}

/// Returns once this node follows a leader other than itself.
async fn gives_up(three: &Three, leader: usize) {
    let id = three.node(leader).app().raft.status().node_id;
    let mut status = three.node(leader).app().raft.watch_status();
    let changed = status.wait_for(|now| now.leader.as_ref().is_some_and(|other| *other != id));
    tokio::time::timeout(PATIENCE, changed)
        .await
        .expect("it transfers its leadership in time")
        .expect("it runs");
}

async fn a_wrong_clock_changes_nothing(wrong_ms: i64, dies_at_once: bool) {
    let mut three = three_queues().await;
    let wrong = three.leader(0).await;
    let right = (wrong + 1) % 3;
    let client = three.client(wrong);
    let first = apply(&client, "leased", &enqueue("leased", 0)).await;
    let reserved = apply(&client, "reserved", &reserve("leased")).await;
    three.clocks[wrong].set_offset_ms(wrong_ms);
    is_right(&three, wrong, "meanwhile").await;
    apply(&client, "delayed", &enqueue("delayed", 1000)).await;
    if !dies_at_once {
        gives_up(&three, wrong).await;
        let clock = three.node(wrong).app().status().clock;
        assert!(clock.skewed, "{clock:?}");
    }
    three.stop(wrong).await;
    let client = three.client(right);
    // The keys are known, so the repeated commands have no effect.
    let again = apply(&client, "leased", &enqueue("leased", 0)).await;
    assert_eq!(again, first);
    let again = apply(&client, "reserved", &reserve("leased")).await;
    assert_eq!(again, reserved);
    let leased = counts(&client, "leased").await;
    assert_eq!(
        (&leased["leased"], &leased["ready"]),
        (&json!(1), &json!(0))
    );
    becomes_ready(&three, right, "delayed").await;
    is_right(&three, right, "afterwards").await;
    let leader = three.leader(right).await;
    assert_eq!(three.node(leader).app().status().clock.ahead_ms, 0);
}

#[tokio::test]
async fn a_leader_that_is_an_hour_ahead_and_then_dead_moves_no_lease_delay_or_key() {
    a_wrong_clock_changes_nothing(HOUR, true).await;
}

#[tokio::test]
async fn a_leader_that_is_a_year_ahead_gives_up_its_leadership_and_moves_no_lease_delay_or_key() {
    a_wrong_clock_changes_nothing(YEAR, false).await;
}

#[tokio::test]
async fn a_leader_that_is_an_hour_behind_stops_no_delay() {
    a_wrong_clock_changes_nothing(-HOUR, false).await;
}

#[tokio::test]
async fn time_that_is_ahead_of_all_clocks_wakes_the_guest_and_raises_an_alarm() {
    let three = three_queues().await;
    let leader = three.leader(0).await;
    for clock in &three.clocks {
        clock.set_offset_ms(HOUR);
    }
    let client = three.client(leader);
    let mut status = three.node(leader).app().raft.watch_status();
    // The clocks of all nodes were ahead, and are set right once an entry has such a time.
    let hour = HOUR.unsigned_abs();
    let mut number = 0;
    loop {
        number += 1;
        let key = format!("ahead-{number}");
        apply(&client, &key, &enqueue(&key, 0)).await;
        let reserved = apply(&client, &format!("r-{key}"), &reserve(&key)).await;
        if begin_of_lease(&reserved) > wall_clock::now_ms() + hour / 2 {
            break;
        }
    }
    for clock in &three.clocks {
        clock.set_offset_ms(0);
    }
    apply(&client, "delayed", &enqueue("delayed", 1000)).await;
    becomes_ready(&three, leader, "delayed").await;
    let alarm = status.wait_for(|now| now.clock.ahead_ms.abs_diff(hour) < MINUTE);
    tokio::time::timeout(PATIENCE, alarm)
        .await
        .expect("the alarm is raised in time")
        .expect("it runs");
    let metrics = client.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    let line = text
        .lines()
        .find(|line| line.starts_with("oarlock_log_time_ahead_milliseconds "));
    assert!(line.is_some_and(|line| !line.ends_with(" 0")), "{line:?}");
}
