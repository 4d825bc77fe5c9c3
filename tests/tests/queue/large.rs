//! Tasks as large as a reply: each one that is accepted is delivered, and a reserve returns exactly those that fit.

use oarlock_tests::process::Cluster;
use serde_json::{Value, json};

use super::kit::{QueueClient, reserve};

/// Limit of a reply, and of a command, in bytes.
const REPLY_BYTES: u64 = 1 << 20;
const COMMAND_BYTES: u64 = 2 << 20;
/// The queue's bounds for a reply besides its tasks, and for a task in a queue of one letter besides its payload: `size.rs`
/// of the guest.
const OF_A_REPLY: u64 = 128;
const OF_A_TASK: u64 = 256 + 2 + 6;

async fn started() -> (Cluster, QueueClient) {
    let mut cluster = Cluster::start(1, "queue", &[]);
    cluster.leader().await;
    let settings = json!({"set": {"reply_bytes": REPLY_BYTES, "command_bytes": COMMAND_BYTES}});
    let http = cluster.nodes[0].http();
    let set = http.send("POST", "/v1/settings", &[], settings.to_string());
    let set = set.await.expect("a response");
    assert_eq!(set.status, 200, "{set:?}");
    let client = QueueClient::of(&cluster);
    (cluster, client)
}

fn text(bytes: u64) -> String {
    "x".repeat(usize::try_from(bytes).expect("a few MiB"))
}

/// A payload that takes this many bytes in JSON.
fn payload(bytes: u64) -> Value {
    json!(text(bytes - 2))
}

/// How a task gets large: its name, and the fields of a task that takes about so many bytes in a reply.
type Kind = (&'static str, fn(u64) -> Value);

const KINDS: [Kind; 4] = [
    ("text", |bytes| json!({"payload": payload(bytes)})),
    // Six bytes for one.
    (
        "escapes",
        |bytes| json!({"payload": "\u{1}".repeat(bytes as usize / 6)}),
    ),
    // Four bytes for three.
    (
        "bytes",
        |bytes| json!({"payload_base64": "AAAA".repeat(bytes as usize / 4)}),
    ),
    ("names", |bytes| {
        let most = json!({"trace": text(1000), "tenant": "\u{1}".repeat(1000)});
        let ordering = "k".repeat(100);
        json!({"payload": payload(bytes - 14_000), "attributes": most, "ordering_key": ordering})
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_task_that_is_accepted_around_the_limit_of_a_reply_is_delivered_and_the_others_are_refused()
 {
    let (_cluster, client) = started().await;
    for (name, fields) in KINDS {
        let (mut accepted, mut refused) = (0, 0);
        for bytes in (REPLY_BYTES - 4_000..REPLY_BYTES + 2_000).step_by(500) {
            let mut task = fields(bytes);
            task["queue"] = json!("q");
            let sent = client.exchange_once(&json!({ "enqueue": task })).await;
            if sent.status != 200 {
                let error = &sent.json()["error"];
                assert_eq!(
                    (sent.status, &error["code"]),
                    (422, &json!("too_large")),
                    "{error}"
                );
                assert_eq!(error["field"], "payload", "{error}");
                refused += 1;
                continue;
            }
            let delivered = client.reserve_now("q", 9).await;
            assert_eq!(delivered.len(), 1, "{name}, {bytes} bytes");
            for field in ["payload", "payload_base64", "attributes", "ordering_key"] {
                assert!(
                    delivered[0].get(field) == task.get(field),
                    "{name}: {field}"
                );
            }
            client.ack(&delivered[0]).await;
            accepted += 1;
        }
        assert!(accepted > 0 && refused > 0, "{name}: {accepted}, {refused}");
    }
    let too_large = json!({"enqueue": {"queue": "q", "payload": text(COMMAND_BYTES)}});
    let sent = client.exchange_once(&too_large).await;
    assert_eq!((sent.status, &*sent.error_code()), (413, "too_large"));
    assert_eq!(client.stats("q").await["ready"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_task_is_accepted_and_one_byte_more_is_refused() {
    let (_cluster, client) = started().await;
    let largest = REPLY_BYTES - OF_A_REPLY - OF_A_TASK;
    let task = |bytes| json!({"enqueue": {"queue": "q", "payload": payload(bytes)}});
    let (code, field) = client.refused(task(largest + 1)).await;
    assert_eq!((&*code, &*field), ("too_large", "payload"));
    client.send(task(largest)).await;
    let delivered = client.reserve_one("q").await;
    assert!(delivered["payload"] == payload(largest));
    client.ack(&delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_returns_exactly_the_tasks_that_fit_into_a_reply() {
    let (_cluster, client) = started().await;
    for fit in [1_u64, 2, 3, 7, 50] {
        // The largest tasks of which so many fit, and tasks that are one byte larger.
        let share = (REPLY_BYTES - OF_A_REPLY) / fit - OF_A_TASK;
        for (bytes, expected) in [(share, fit), (share + 1, fit - 1)] {
            if expected == 0 {
                continue;
            }
            for _ in 0..fit {
                client
                    .send(json!({"enqueue": {"queue": "q", "payload": payload(bytes)}}))
                    .await;
            }
            let command = reserve("q", "w", 100, 600_000, 0);
            let response = client.exchange_once(&command).await;
            assert_eq!(response.status, 200, "{response:?}");
            assert!(response.body.len() as u64 <= REPLY_BYTES);
            let first = response.json()["tasks"].as_array().expect("tasks").clone();
            assert_eq!(first.len() as u64, expected, "{fit} tasks of {bytes} bytes");
            let rest = client.reserve_now("q", 100).await;
            assert_eq!(rest.len() as u64, fit - expected);
            for task in first.iter().chain(&rest) {
                assert!(task["payload"] == payload(bytes));
                client.ack(task).await;
            }
        }
    }
}
