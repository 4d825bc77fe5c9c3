//! Real processes with wrong wall clocks: leases, delays, wake-ups and idempotency keys behave as with right ones.

use std::time::{SystemTime, UNIX_EPOCH};

use oarlock_tests::process::{Cluster, Node, QUICK, WallClocks, apply_somewhere, eventually};
use serde_json::{Value, json};

const MINUTE: u64 = 60_000;
const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;
/// Leases and idempotency keys of the tests last as long: far more than a test, and less than any clock is wrong.
const LONG: u64 = 10 * MINUTE;

/// Three nodes with the task queue, and their clocks.
fn three_queues() -> (Cluster, WallClocks) {
    let ttl = LONG.to_string();
    let args = [&QUICK[..], &["--idempotency-ttl-ms", &ttl]].concat();
    let mut cluster = Cluster::prepare(3, "queue", &args);
    let clocks = WallClocks::of(&mut cluster);
    cluster.nodes.iter_mut().for_each(Node::start);
    (cluster, clocks)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.expect("after 1970").as_millis()).expect("before the year 9999")
}

fn enqueue(queue: &str, delay_ms: u64) -> String {
    json!({"enqueue": {"queue": queue, "payload": 1, "delay_ms": delay_ms}}).to_string()
}

fn reserve(queue: &str, lease_ms: u64) -> String {
    json!({"reserve": {"queues": [queue], "worker": "w", "lease_ms": lease_ms}}).to_string()
}

/// Applies a command under an idempotency key on any of these nodes.
async fn apply(nodes: &[Node], key: &str, command: &str) -> Value {
    let targets: Vec<_> = nodes.iter().map(Node::http).collect();
    apply_somewhere(&targets, key, command).await
}

/// The numbers of tasks in a queue, from a linearizable query.
async fn counts(node: &Node, queue: &str) -> Value {
    eventually("the node answers a query", async || {
        let response = node.http().query(r#"{"stats":{}}"#).await.ok()?;
        (response.status == 200).then(|| response.json()["queues"][queue].clone())
    })
    .await
}

/// Waits until a task of this queue becomes ready by a wake-up: no command is sent meanwhile.
async fn becomes_ready(node: &Node, queue: &str) {
    eventually("the task becomes ready", async || {
        (counts(node, queue).await["ready"] == 1).then_some(())
    })
    .await;
}

/// How far the time of the log is ahead of the clock of this machine, from a lease that begins now.
async fn log_is_ahead_ms(nodes: &[Node], key: &str) -> i64 {
    apply(nodes, &format!("{key}-e"), &enqueue(key, 0)).await;
    let before = now_ms();
    let reserved = apply(nodes, &format!("{key}-r"), &reserve(key, LONG)).await;
    let until = reserved["tasks"][0]["lease_until_ms"].as_u64();
    let begin = until.expect("a task") - LONG;
    begin.checked_signed_diff(before).expect("a time")
}

async fn log_time_is_right(nodes: &[Node], key: &str) {
    let off = log_is_ahead_ms(nodes, key).await;
    assert!(
        off.unsigned_abs() < MINUTE,
        "the time of the log is off by {off} ms"
    );
}

/// Waits until the node reports that its clock differs from those of the majority by about so much.
async fn reports_offset(node: &Node, offset_ms: i64) {
    eventually("the node reports the offset of its clock", async || {
        let clock = node.http().status().await?["clock"].clone();
        let shown = clock["offset_ms"].as_i64()?;
        let skewed = offset_ms != 0;
        let is_right = |shown: i64| shown.abs_diff(offset_ms) < MINUTE;
        let metrics = [
            node.metric("oarlock_clock_skewed").await?,
            node.metric("oarlock_clock_offset_milliseconds").await?,
        ];
        let is_reported = is_right(shown) && clock["skewed"] == skewed;
        let is_alarmed = metrics[0] == i64::from(skewed) && is_right(metrics[1]);
        (is_reported && is_alarmed).then_some(())
    })
    .await;
}

/// Lines of the node's log with this text.
fn logged(node: &Node, text: &str) -> usize {
    node.log()
        .lines()
        .filter(|line| line.contains(text))
        .count()
}

/// What a node logs whose clock is wrong, and when it is right again.
const CLOCK_IS_WRONG: &str = "the clock of this node differs from the clocks of the majority by more than --max-clock-skew-ms";
const CLOCK_IS_RIGHT: &str = "the clock of this node is within --max-clock-skew-ms";
/// What a node logs when the time of the log is ahead.
const LOG_IS_AHEAD: &str =
    "ERROR task_queue_raft::handle::status_log: the time of the log is ahead of all clocks";

/// The clock of the leader is set while it runs. It serves some requests and is killed.
async fn a_leader_is_ahead_and_then_killed(ahead_ms: i64) {
    let (mut cluster, clocks) = three_queues();
    let wrong = cluster.leader().await;
    let right = (wrong + 1) % 3;
    let first = apply(&cluster.nodes, "leased", &enqueue("leased", 0)).await;
    let reserved = apply(&cluster.nodes, "reserved", &reserve("leased", LONG)).await;

    clocks.set_ahead_ms(wrong, ahead_ms);
    for (key, command) in [
        ("delayed", enqueue("delayed", 1000)),
        ("short", enqueue("short", 0)),
        ("short-r", reserve("short", 1000)),
    ] {
        apply(&cluster.nodes[wrong..=wrong], key, &command).await;
    }
    cluster.nodes[wrong].kill();

    let again = apply(&cluster.nodes, "leased", &enqueue("leased", 0)).await;
    assert_eq!(again, first, "the key is known: no second task");
    let again = apply(&cluster.nodes, "reserved", &reserve("leased", LONG)).await;
    assert_eq!(again, reserved, "the key is known: no second lease");
    let leased = counts(&cluster.nodes[right], "leased").await;
    assert_eq!(
        (&leased["leased"], &leased["ready"]),
        (&json!(1), &json!(0)),
        "the lease has not ended"
    );
    becomes_ready(&cluster.nodes[right], "delayed").await;
    becomes_ready(&cluster.nodes[right], "short").await;
    log_time_is_right(&cluster.nodes, "after").await;

    // It returns with the wrong clock: it reports that, does not lead, and the time of the log stays right.
    cluster.nodes[wrong].start();
    reports_offset(&cluster.nodes[wrong], ahead_ms).await;
    assert!(logged(&cluster.nodes[wrong], CLOCK_IS_WRONG) > 0);
    for at in [right, (wrong + 2) % 3] {
        reports_offset(&cluster.nodes[at], 0).await;
        assert_eq!(logged(&cluster.nodes[at], CLOCK_IS_WRONG), 0);
    }
    log_time_is_right(&cluster.nodes, "returned").await;
    assert_ne!(cluster.leader().await, wrong);
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_an_hour_ahead_and_then_killed_moves_no_lease_delay_or_key() {
    a_leader_is_ahead_and_then_killed(HOUR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_a_year_ahead_and_then_killed_moves_no_lease_delay_or_key() {
    a_leader_is_ahead_and_then_killed(YEAR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_clock_jumps_ahead_and_back_stops_no_delay() {
    let (mut cluster, clocks) = three_queues();
    let jumps = [
        ("ahead", HOUR),
        ("back", 0),
        ("behind", -HOUR),
        ("year", YEAR),
    ];
    for (queue, ahead_ms) in jumps {
        let leader = cluster.leader().await;
        clocks.set_ahead_ms(leader, ahead_ms);
        apply(&cluster.nodes, queue, &enqueue(queue, 1000)).await;
        becomes_ready(&cluster.nodes[leader], queue).await;
        log_time_is_right(&cluster.nodes, &format!("{queue}-time")).await;
        clocks.set_ahead_ms(leader, 0);
        apply(&cluster.nodes, &format!("{queue}-2"), &reserve(queue, 1000)).await;
        becomes_ready(&cluster.nodes[leader], queue).await;
        reports_offset(&cluster.nodes[leader], 0).await;
        let node = &cluster.nodes[leader];
        // Each alarm has its end.
        assert_eq!(logged(node, CLOCK_IS_WRONG), logged(node, CLOCK_IS_RIGHT));
    }
    log_time_is_right(&cluster.nodes, "end").await;
    cluster.converged().await;
}

/// All clocks were ahead, so no majority knows better. Once they are set right, the time of the log goes on from where it is.
#[tokio::test(flavor = "multi_thread")]
async fn time_goes_on_after_the_clocks_of_all_nodes_were_ahead() {
    let (mut cluster, clocks) = three_queues();
    cluster.leader().await;
    for at in 0..3 {
        clocks.set_ahead_ms(at, HOUR);
    }
    let mut number = 0;
    let hour = HOUR.unsigned_abs();
    let is_an_hour_ahead = |ahead: i64| ahead.abs_diff(HOUR) < MINUTE;
    eventually("the clocks of all nodes move the log", async || {
        number += 1;
        let ahead = log_is_ahead_ms(&cluster.nodes, &format!("ahead-{number}")).await;
        is_an_hour_ahead(ahead).then_some(())
    })
    .await;
    for at in 0..3 {
        clocks.set_ahead_ms(at, 0);
    }
    apply(&cluster.nodes, "delayed", &enqueue("delayed", 1000)).await;
    becomes_ready(&cluster.nodes[0], "delayed").await;
    for node in &cluster.nodes {
        eventually("the node reports how far the log is ahead", async || {
            let status = node.http().status().await?;
            let ahead = status["clock"]["ahead_ms"].as_u64()?;
            let metric = node.metric("oarlock_log_time_ahead_milliseconds").await?;
            let is_shown = ahead.abs_diff(hour) < MINUTE && is_an_hour_ahead(metric);
            is_shown.then_some(())
        })
        .await;
        assert_eq!(logged(node, LOG_IS_AHEAD), 1);
    }
    // Under the next leader, and after a restart of all nodes, it goes on as well.
    let leader = cluster.leader().await;
    cluster.nodes[leader].kill();
    let other = (leader + 1) % 3;
    apply(&cluster.nodes, "next", &enqueue("next", 1000)).await;
    becomes_ready(&cluster.nodes[other], "next").await;
    for at in cluster.running() {
        cluster.nodes[at].kill();
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    apply(&cluster.nodes, "restart", &enqueue("restart", 1000)).await;
    becomes_ready(&cluster.nodes[leader], "restart").await;
    assert!(is_an_hour_ahead(
        log_is_ahead_ms(&cluster.nodes, "end").await
    ));
}
