//! A node whose state diverged, as a process: it serves no request until it has reinstalled a leader's state, also after
//! it was killed in between.

use oarlock_tests::process::{Cluster, Http, Node, QUICK, Recorder, eventually};
use serde_json::{Value, json};

const CLIENTS: usize = 4;
/// Of the tasks that are put in first. Longer than [`SHORTEST`] lets through at the odd one.
const LONG: usize = 200;
const SHORTEST: &str = "100";
const ODD: usize = 2;
/// In the directory of the first node.
const TASKS_BEFORE: u64 = 3;

/// A part of a state that is larger than one chunk of a snapshot.
const LARGE: usize = 300_000;

fn enqueue(number: usize) -> String {
    enqueue_with(number, LONG)
}

fn enqueue_with(number: usize, padding: usize) -> String {
    let payload = json!({"number": number, "padding": "x".repeat(padding)});
    json!({"enqueue": {"queue": "before", "payload": payload}}).to_string()
}

fn with(cluster: &mut Cluster, at: usize, args: &[&str]) {
    let options = cluster.nodes[at].options_mut();
    options.args.extend(args.iter().map(|&arg| arg.to_owned()));
}

/// Three nodes of which the last has missed some commands, and has a snapshot without them. No node has noticed it yet,
/// and none runs.
async fn with_an_odd_one(args: &[&str], missed: impl Fn(usize) -> String) -> Cluster {
    let mut all = QUICK.to_vec();
    all.extend(args);
    // Only at level 0 has a node limits of its own, so that its state can differ.
    let mut cluster = Cluster::prepare_level_0(&all);
    let before = cluster.nodes[ODD].options_mut().args.clone();
    // It takes no command of this length, which the others do.
    with(&mut cluster, ODD, &["--max-command-bytes", SHORTEST]);
    for at in 0..3 {
        // Without audits for now.
        with(&mut cluster, at, &["--audit-interval-ms", "3600000"]);
        cluster.nodes[at].start();
    }
    cluster.add_joining().await;
    cluster.leader().await;
    for number in 0..3 {
        put(&cluster, number, &missed(number)).await;
    }
    let http = cluster.nodes[ODD].http();
    eventually("the odd one takes a snapshot of what it has", async || {
        let taken = http.send("POST", "/v1/snapshot", &[], "").await.ok()?;
        (taken.status == 200).then_some(())
    })
    .await;
    for at in 0..3 {
        cluster.nodes[at].kill();
        cluster.nodes[at].options_mut().args = before.clone();
    }
    cluster
}

/// Has the other nodes carry out a command or refuse it.
async fn put(cluster: &Cluster, number: usize, command: &str) {
    let key = format!("before-{number}");
    let headers = [("idempotency-key", key.as_str())];
    eventually("a node responds", async || {
        let http = cluster.nodes[0].http();
        let response = http.send("POST", "/v1/apply", &headers, command.to_owned());
        let response = response.await.ok()?;
        // Where the odd one leads, it may refuse what comes by way of it.
        [200, 422].contains(&response.status).then_some(())
    })
    .await;
}

async fn audit(http: &Http) -> Option<Value> {
    Some(http.status().await?["audit"].clone())
}

async fn serves_again(http: &Http) {
    eventually("the node has another state and serves", async || {
        let audit = audit(http).await?;
        let ready = http.get("/readyz").await.ok()?.status == 200;
        (ready && audit["reinstalls"] == 1 && audit["quarantined"] == false).then_some(())
    })
    .await;
}

async fn waiting(http: &Http) -> Value {
    let question = json!({"stats": {}}).to_string();
    eventually("the node responds", async || {
        let response = http.query(question.clone()).await.ok()?;
        (response.status == 200).then(|| response.json()["queues"]["before"]["ready"].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_diverged_is_reinstalled_from_the_leader_under_load_and_serves_again() {
    // The recorder wants a queue of its own, so what the odd one has missed are refusals.
    let refused = |number| format!("no command {number} {}", "x".repeat(LONG));
    let mut cluster = with_an_odd_one(&[], refused).await;
    for at in 0..3 {
        with(&mut cluster, at, &["--audit-interval-ms", "300"]);
        cluster.nodes[at].start();
    }
    cluster.leader().await;
    let agreeing: Vec<Http> = cluster.nodes[..ODD].iter().map(Node::http).collect();
    let recorder = Recorder::start_after(TASKS_BEFORE, CLIENTS, &agreeing, LONG);
    let odd = cluster.nodes[ODD].http();
    serves_again(&odd).await;
    recorder.progress(50).await;
    // All commands of that time, as the reinstalled node returns them.
    recorder.check(&odd).await;
    cluster.converged().await;
    let kept = std::fs::read_dir(cluster.nodes[ODD].data_dir().join("quarantine"));
    assert_eq!(kept.expect("its own state is kept").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_in_quarantine_serves_no_request_until_it_has_a_leaders_state() {
    // A snapshot takes its time to arrive: the first chunk comes at once, the two others after the limit of the rate.
    let large = |number| enqueue_with(number, LARGE);
    let rate = ["--snapshot-bytes-per-second", "100000"];
    let mut cluster = with_an_odd_one(&rate, large).await;
    for at in 0..3 {
        with(&mut cluster, at, &["--audit-interval-ms", "300"]);
        cluster.nodes[at].start();
    }
    cluster.leader().await;
    let odd = cluster.nodes[ODD].http();
    eventually("the node is in quarantine", async || {
        (audit(&odd).await?["quarantined"] == true).then_some(())
    })
    .await;
    cluster.nodes[ODD].kill();
    cluster.nodes[ODD].start();
    // Its first response already: it knows before it has compared anything.
    let first = eventually("it responds", async || odd.get("/readyz").await.ok()).await;
    assert_eq!(first.status, 503, "{first:?}");
    assert_eq!(first.error_code(), "quarantined");
    let command = enqueue(7);
    let refused = odd.apply(command.clone()).await.expect("a response");
    assert_eq!(refused.error_code(), "quarantined", "{refused:?}");
    serves_again(&odd).await;
    assert_eq!(
        waiting(&odd).await,
        3,
        "the tasks that it had missed are there"
    );
    let taken = odd.apply(command).await.expect("a response");
    assert_eq!(taken.status, 200, "{taken:?}");
    assert_eq!(waiting(&odd).await, 4);
    cluster.converged().await;
}
