//! Schedules.

use serde_json::{Value, json};

use super::{Node, pair, with};

fn schedule(more: Value) -> Value {
    json!({"set_schedule": with(json!({"name": "s", "task": {"queue": "q", "payload": "tick"}}), more)})
}

#[test]
fn each_tick_adds_one_task_at_its_time() {
    let mut node = Node::new();
    let start = node.now_ms();
    node.send(schedule(
        json!({"every_ms": 10_000, "start_ms": start + 5000}),
    ));
    for (by_ms, ready) in [(4999, 0), (1, 1), (9999, 1), (1, 2), (10_000, 3)] {
        node.pass_ms(by_ms);
        let stats = node.query(json!({"stats": {}}));
        assert_eq!(
            stats["queues"]["q"]["ready"].as_u64().unwrap_or(0),
            ready,
            "after {} ms",
            node.now_ms() - start
        );
    }
    let shown = node.query(json!({"schedules": {}}))["schedules"]["s"].clone();
    assert_eq!(
        shown,
        json!({"queue": "q", "next_ms": start + 35_000, "ticks": 3, "failed": 0, "paused": false})
    );
}

#[test]
fn missed_ticks_add_one_task_each_one_for_all_or_none() {
    for (catch_up, added) in [("all", 4), ("last", 1), ("skip", 0)] {
        let mut node = Node::new();
        let start = node.now_ms();
        node.send(schedule(
            json!({"every_ms": 10_000, "start_ms": start + 10_000, "catch_up": catch_up}),
        ));
        // The cluster was down: time passes without a wake-up, and the first one comes late.
        node.advance_ms(45_000);
        node.0.wake();
        let stats = node.query(json!({"stats": {}}));
        assert_eq!(
            stats["queues"]["q"]["ready"].as_u64().unwrap_or(0),
            added,
            "{catch_up}"
        );
        let next = node.query(json!({"schedules": {}}))["schedules"]["s"]["next_ms"].clone();
        assert_eq!(next, json!(start + 50_000), "{catch_up}");
    }
}

#[test]
fn listed_ticks_are_added_once_and_end() {
    let mut node = Node::new();
    let start = node.now_ms();
    node.send(schedule(
        json!({"at_ms": [start + 2000, start + 1000, start + 2000], "catch_up": "all"}),
    ));
    node.pass_ms(1000);
    assert_eq!(node.counts()[0], 1);
    node.pass_ms(60_000);
    assert_eq!(node.counts()[0], 2);
    assert_eq!(
        node.query(json!({"schedules": {}}))["schedules"]["s"]["next_ms"],
        Value::Null
    );
}

/// A schedule with a cron expression, which its client expands.
fn cron(at_ms: &[u64], more: Value) -> Value {
    let task = json!({"queue": "q", "payload": 1, "attributes": {"oarlock-cron": "* * * * *"}});
    schedule(with(json!({"task": task, "at_ms": at_ms}), more))
}

fn shown(node: &Node) -> Value {
    node.query(json!({"schedules": {}}))["schedules"]["s"].clone()
}

fn add_ticks(after_ms: u64, at_ms: &[u64]) -> Value {
    json!({"add_ticks": {"name": "s", "after_ms": after_ms, "at_ms": at_ms}})
}

#[test]
fn ticks_are_added_after_the_last_one_by_one_client_only() {
    let mut node = Node::new();
    let start = node.now_ms();
    node.send(cron(
        &[start + 1000, start + 2000],
        json!({"catch_up": "all"}),
    ));
    assert_eq!(
        shown(&node)["cron"],
        json!({"expression": "* * * * *", "last_ms": start + 2000, "left": 2, "catch_up": "all"})
    );
    node.send(add_ticks(start + 2000, &[start + 4000, start + 3000]));
    // Another client had read the same last tick.
    let late = add_ticks(start + 2000, &[start + 3000, start + 4000]);
    assert_eq!(node.refused(late.clone()), pair("conflict", "after_ms"));
    node.pass_ms(60_000);
    assert_eq!(node.counts()[0], 4);
    // All have passed. The last one is still known, so the same ticks are refused again.
    assert_eq!(
        (
            &shown(&node)["cron"]["last_ms"],
            &shown(&node)["cron"]["left"]
        ),
        (&json!(start + 4000), &json!(0))
    );
    assert_eq!(node.refused(late), pair("conflict", "after_ms"));
    let old = add_ticks(start + 4000, &[start + 4000]);
    assert_eq!(node.refused(old), pair("out_of_range", "at_ms"));
    // Ticks that were missed meanwhile are added like others.
    node.send(add_ticks(start + 4000, &[]));
    node.send(add_ticks(start + 4000, &[start + 5000, start + 70_000]));
    node.pass_ms(1);
    assert_eq!(node.counts()[0], 5);
    node.pass_ms(10_000);
    assert_eq!(node.counts()[0], 6);
    assert_eq!(shown(&node)["next_ms"], Value::Null);
}

#[test]
fn the_list_of_ticks_is_bounded_and_an_interval_has_none() {
    let mut node = Node::new();
    let start = node.now_ms() + 1000;
    let many: Vec<u64> = (0..1000).map(|number| start + number).collect();
    node.send(cron(&many, json!({})));
    let more = add_ticks(start + 999, &[start + 1000]);
    assert_eq!(node.refused(more), pair("out_of_range", "at_ms"));
    node.send(schedule(json!({"every_ms": 1000})));
    assert_eq!(
        node.refused(add_ticks(1, &[2])),
        pair("out_of_range", "name")
    );
    let unknown = json!({"add_ticks": {"name": "t", "after_ms": 1, "at_ms": [2]}});
    assert_eq!(node.refused(unknown), pair("no_such_schedule", "name"));
}

#[test]
fn a_list_can_drop_the_ticks_that_have_passed() {
    let mut node = Node::new();
    let start = node.now_ms();
    node.pass_ms(5000);
    let ticks = [start + 1000, start + 5000, start + 6000];
    node.send(cron(
        &ticks,
        json!({"future_only": true, "catch_up": "all"}),
    ));
    assert_eq!(shown(&node)["next_ms"], start + 6000);
    node.send(cron(&ticks[..2], json!({"future_only": true})));
    node.pass_ms(10_000);
    assert_eq!(node.query(json!({"stats": {}})), json!({"queues": {}}));
    assert_eq!(shown(&node)["cron"]["last_ms"], start + 5000);
}

#[test]
fn a_schedule_that_goes_on_catches_up() {
    for (catch_up, added) in [("all", 3), ("last", 1), ("skip", 0)] {
        let mut node = Node::new();
        let start = node.now_ms();
        node.send(cron(
            &[start + 1000, start + 2000, start + 3000, start + 20_000],
            json!({"catch_up": catch_up}),
        ));
        let pause = |paused: bool| json!({"pause_schedule": {"name": "s", "paused": paused}});
        node.send(pause(true));
        node.pass_ms(10_000);
        assert_eq!(shown(&node)["paused"], true);
        node.send(pause(false));
        node.pass_ms(1);
        let stats = node.query(json!({"stats": {}}));
        assert_eq!(
            stats["queues"]["q"]["ready"].as_u64().unwrap_or(0),
            added,
            "{catch_up}"
        );
        assert_eq!(shown(&node)["next_ms"], start + 20_000);
    }
    let unknown = json!({"pause_schedule": {"name": "t", "paused": true}});
    assert_eq!(
        Node::new().refused(unknown),
        pair("no_such_schedule", "name")
    );
}

#[test]
fn a_paused_or_deleted_schedule_adds_nothing() {
    let mut node = Node::new();
    node.send(schedule(json!({"every_ms": 1000, "paused": true})));
    node.pass_ms(10_000);
    node.send(schedule(json!({"every_ms": 1000})));
    node.send(json!({"delete_schedule": {"name": "s"}}));
    node.pass_ms(10_000);
    assert_eq!(node.query(json!({"stats": {}})), json!({"queues": {}}));
    assert_eq!(
        node.refused(json!({"delete_schedule": {"name": "s"}})),
        pair("no_such_schedule", "name")
    );
}

#[test]
fn values_of_a_schedule_are_checked() {
    let mut node = Node::new();
    let many: Vec<u64> = (0..1001).collect();
    for (more, code, field) in [
        (json!({}), "out_of_range", "at_ms"),
        (json!({"every_ms": 999}), "out_of_range", "every_ms"),
        (
            json!({"every_ms": 1000, "at_ms": [1]}),
            "bad_command",
            "at_ms",
        ),
        (json!({"at_ms": many}), "out_of_range", "at_ms"),
        (
            json!({"name": "", "every_ms": 1000}),
            "out_of_range",
            "name",
        ),
        (
            json!({"task": {"queue": "q", "payload": 1, "group": "g"}, "every_ms": 1000}),
            "out_of_range",
            "task",
        ),
    ] {
        assert_eq!(node.refused(schedule(more)), pair(code, field));
    }
}
