//! `oarlock queue work` on three real nodes: a handler command line survives the loss of leaders with nothing lost, and nothing
//! run twice without its lease having ended.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use oarlock_client::queue::{Queue, QueueStats, TaskState};
use oarlock_client::{Client, Endpoint};
use oarlock_tests::process::{Cluster, QUICK, eventually, oarlock, run, text};
use serde_json::Value;

/// Rounds, in each of which the leader is killed.
const ROUNDS: u64 = 5;
/// Tasks that are put in a round.
const TASKS: u64 = 30;
/// Appends a line of the environment and the content to a file, before and after a moment of work.
const HANDLER: &str = r#"
    content=$(cat)
    echo "begin $OARLOCK_TASK_ID $OARLOCK_TASK_ATTEMPT $content" >> "$1"
    sleep 0.05
    echo "end $OARLOCK_TASK_ID $OARLOCK_TASK_ATTEMPT $content" >> "$1"
"#;

fn endpoints(cluster: &Cluster) -> String {
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.http().0).collect();
    addresses.join(",")
}

fn queue_of(cluster: &Cluster, name: &str) -> Queue {
    let endpoints = Endpoint::parse_list(&endpoints(cluster)).expect("endpoints");
    Queue::new(Client::new(endpoints).expect("a client"), name)
}

/// Puts numbers, a task each.
fn put_numbers(cluster: &Cluster, queue: &str, numbers: RangeInclusive<u64>) -> Value {
    let mut put = Command::new(oarlock())
        .args(["queue", "put", queue, "--lines", "-", "--json"])
        .args(["--endpoints", &endpoints(cluster)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("oarlock starts");
    let lines: String = numbers.map(|number| format!("{number}\n")).collect();
    let mut stdin = put.stdin.take().expect("a pipe");
    stdin.write_all(lines.as_bytes()).expect("written");
    drop(stdin);
    let put = put.wait_with_output().expect("it ends");
    assert!(put.status.success(), "{}", text(&put));
    serde_json::from_slice(&put.stdout).expect("JSON")
}

/// Starts a worker whose handler is a shell script with the arguments.
fn work(cluster: &Cluster, queue: &str, flags: &[&str], script: &str, log: &Path) -> Child {
    Command::new(oarlock())
        .args(["queue", "work", queue, "--json"])
        .args(["--endpoints", &endpoints(cluster)])
        .args(flags)
        .args(["--", "sh", "-c", script, "handler"])
        .arg(log)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("oarlock starts")
}

/// Sends a signal, waits for the end, and returns the last line of standard output.
fn stop(worker: Child) -> Value {
    signal("INT", worker.id());
    let ended = worker.wait_with_output().expect("it ends");
    assert!(ended.status.success(), "{}", text(&ended));
    last_line(&ended)
}

fn last_line(ended: &Output) -> Value {
    let lines = String::from_utf8_lossy(&ended.stdout);
    let last = lines.lines().last().expect("a line");
    serde_json::from_str(last).expect("JSON")
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
    assert!(sent.expect("a program").success());
}

async fn stats(queue: &Queue) -> Option<QueueStats> {
    queue.stats().await.ok().flatten()
}

/// The attempts that a log contains, by the content of the task: (begun, ended).
fn attempts(log: &Path) -> BTreeMap<u64, (Vec<u64>, Vec<u64>)> {
    let text = std::fs::read_to_string(log).expect("a log");
    let mut attempts: BTreeMap<u64, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, _id, attempt, content] = words[..] else {
            panic!("a torn line: {line}");
        };
        let attempt = attempt.parse().expect("a number");
        let of_task = attempts
            .entry(content.parse().expect("a number"))
            .or_default();
        match what {
            "begin" => of_task.0.push(attempt),
            _ => of_task.1.push(attempt),
        }
    }
    attempts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_command_line_survives_the_loss_of_leaders_with_nothing_lost_or_run_twice() {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let log = cluster.dir().join("handled");
    // No lease ends within the test, so each task must run once.
    let flags = ["-j", "4", "--lease-ms", "600000"];
    let workers: Vec<Child> = (0..2)
        .map(|_| work(&cluster, "jobs", &flags, HANDLER, &log))
        .collect();
    let queue = queue_of(&cluster, "jobs");
    for round in 0..ROUNDS {
        let before = round * TASKS;
        let added = put_numbers(&cluster, "jobs", before + 1..=before + TASKS);
        assert_eq!(added["added"], TASKS, "{added}");
        // The others run, or wait, when the leader is killed.
        eventually("the workers make progress", async || {
            (stats(&queue).await?.completed >= before + TASKS / 3).then_some(())
        })
        .await;
        let leader = cluster.leader().await;
        cluster.nodes[leader].kill();
        cluster.leader().await;
        cluster.nodes[leader].start();
    }
    eventually("all tasks are done", async || {
        (stats(&queue).await?.completed == ROUNDS * TASKS).then_some(())
    })
    .await;
    let done: u64 = workers
        .into_iter()
        .map(stop)
        .map(|ended| {
            assert_eq!((&ended["failed"], &ended["lost"]), (&0.into(), &0.into()));
            ended["done"].as_u64().expect("a number")
        })
        .sum();
    assert_eq!(done, ROUNDS * TASKS);
    let attempts = attempts(&log);
    let numbers: Vec<u64> = attempts.keys().copied().collect();
    assert_eq!(
        numbers,
        (1..=ROUNDS * TASKS).collect::<Vec<_>>(),
        "a task was lost"
    );
    for (number, (begun, ended)) in attempts {
        assert_eq!((&begun[..], &ended[..]), (&[1][..], &[1][..]), "{number}");
    }
    let left = stats(&queue).await.expect("a response");
    assert_eq!(
        (left.ready, left.delayed, left.leased, left.dead),
        (0, 0, 0, 0)
    );
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_killed_worker_runs_again_once_its_lease_has_ended() {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let log = cluster.dir().join("handled");
    put_numbers(&cluster, "jobs", 1..=1);
    let queue = queue_of(&cluster, "jobs");
    // It begins, and never ends by itself.
    let hangs = r#"echo $$ > "$1.process"; echo "begin $OARLOCK_TASK_ID $OARLOCK_TASK_ATTEMPT $(cat)" >> "$1"
        exec sleep 600"#;
    let mut killed = work(
        &cluster,
        "jobs",
        &["--lease-ms", "1500", "--name", "first"],
        hangs,
        &log,
    );
    eventually("the first handler has begun", async || {
        std::fs::metadata(&log).ok().filter(|log| log.len() > 0)
    })
    .await;
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    let second = work(&cluster, "jobs", &["--result"], HANDLER, &log);
    eventually("the task is done", async || {
        (stats(&queue).await?.completed == 1).then_some(())
    })
    .await;
    assert_eq!(stop(second)["done"], 1);
    assert_eq!(attempts(&log)[&1], (vec![1, 2], vec![2]));
    let stats = stats(&queue).await.expect("a response");
    let failed = stats.detail.expect("details were asked for").failed;
    assert_eq!(failed, 1, "the lease that ended is the one failed attempt");
    // The handler of the killed worker runs on.
    let process = std::fs::read_to_string(log.with_extension("process")).expect("a number");
    signal("KILL", process.trim().parse().expect("a number"));
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_signals_and_cancellation_decide_what_becomes_of_a_task() {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let log = cluster.dir().join("handled");
    let queue = queue_of(&cluster, "jobs");
    let at = endpoints(&cluster);
    let put = |content: &str| {
        let put = run([
            "queue",
            "put",
            "jobs",
            content,
            "--max-attempts",
            "2",
            "--json",
            "--endpoints",
            &at,
        ]);
        assert!(put.status.success(), "{}", text(&put));
        last_line(&put)["id"].as_u64().expect("an id")
    };
    let (good, bad, final_one) = (put(r#""good""#), put(r#""bad""#), put(r#""final""#));
    let script = r#"case $(cat) in '"good"') echo '{"to":"ann"}';; '"bad"') echo no route >&2; exit 3;;
        '"final"') exit 65;; *) echo begun >> "$1"; exec sleep 600;; esac"#;
    let drain = work(&cluster, "jobs", &["--drain", "--result"], script, &log);
    let drained = drain.wait_with_output().expect("it ends");
    assert!(drained.status.success(), "{}", text(&drained));
    let ended = last_line(&drained);
    assert_eq!((&ended["done"], &ended["failed"]), (&1.into(), &3.into()));
    let task = async |id| {
        queue
            .task(id)
            .await
            .expect("a response")
            .expect("it is there")
    };
    let done = task(good).await;
    assert_eq!(done.result.expect("a result").get(), r#"{"to":"ann"}"#);
    let dead = task(bad).await;
    assert_eq!((dead.state, dead.attempt), (TaskState::Dead, 2));
    assert_eq!(
        dead.errors,
        ["exit code 3: no route", "exit code 3: no route"]
    );
    let dead = task(final_one).await;
    assert_eq!((dead.state, dead.attempt), (TaskState::Dead, 1));
    assert_eq!(dead.errors, ["exit code 65"]);

    // A task that runs is cancelled: its handler is ended.
    let cancelled = put(r#""hang""#);
    let worker = work(&cluster, "jobs", &["--lease-ms", "600"], script, &log);
    let begun = async |count| {
        let lines = std::fs::read_to_string(&log).unwrap_or_default();
        (lines.lines().count() == count).then_some(())
    };
    eventually("the handler has begun", async || begun(1).await).await;
    let reply = run([
        "queue",
        "cancel",
        &cancelled.to_string(),
        "--json",
        "--endpoints",
        &at,
    ]);
    assert_eq!(last_line(&reply)["state"], "leased");
    eventually("the task is gone", async || {
        queue.task(cancelled).await.ok()?.is_none().then_some(())
    })
    .await;
    assert_eq!(stop(worker)["lost"], 1);

    // A handler that ignores the end of its worker is ended after the grace time, and its task returned.
    let returned = put(r#""hang""#);
    let worker = work(&cluster, "jobs", &["--grace-ms", "0"], script, &log);
    eventually("the handler has begun", async || begun(2).await).await;
    assert_eq!(stop(worker)["failed"], 1);
    let task = task(returned).await;
    assert_eq!(task.state, TaskState::Ready);
    assert!(
        task.errors[0].contains("the worker was stopped"),
        "{task:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_operators_use_the_queue_and_refuse_another_guest() {
    let mut cluster = Cluster::start(1, "queue", &QUICK);
    cluster.leader().await;
    let at = endpoints(&cluster);
    let command = |args: &[&str]| run([&["queue", "--endpoints", &at], args].concat());
    let json = |args: &[&str]| {
        let ended = command(&[args, &["--json"]].concat());
        assert!(ended.status.success(), "{args:?}: {}", text(&ended));
        last_line(&ended)
    };
    json(&["configure", "email", r#"{"max_attempts":1}"#]);
    assert_eq!(put_numbers(&cluster, "email", 1..=3)["added"], 3);
    json(&[
        "put",
        "email",
        "hello",
        "--bytes",
        "--attribute",
        "a=b",
        "--priority",
        "-5",
    ]);
    assert_eq!(json(&["stats", "email"])["queues"]["email"]["ready"], 4);
    assert_eq!(
        json(&["peek", "email"])["tasks"][0]["payload_base64"],
        "aGVsbG8="
    );
    json(&["pause", "email"]);
    let table = command(&["top"]);
    assert!(text(&table).contains("paused"), "{}", text(&table));
    json(&["resume", "email"]);
    let fails = command(&["work", "email", "--drain", "--", "sh", "-c", "exit 1"]);
    assert!(fails.status.success(), "{}", text(&fails));
    assert_eq!(
        json(&["dead", "email"])["tasks"]
            .as_array()
            .expect("a list")
            .len(),
        4
    );
    let dry = json(&["redrive", "email", "--error", "exit code 1", "--dry-run"]);
    assert_eq!(
        (&dry["redriven"], &dry["dry_run"]),
        (&4.into(), &true.into())
    );
    assert_eq!(json(&["redrive", "email", "--id", "1"])["redriven"], 1);
    assert_eq!(json(&["purge", "email", "--dead"])["removed"], 3);
    assert_eq!(json(&["purge", "email"])["removed"], 1);
    let every = ["--every-ms", "3600000", r#"{"what":"all"}"#];
    json(&[&["cron", "add", "backup", "--queue", "jobs"], &every[..]].concat());
    assert_eq!(
        json(&["cron", "list"])["schedules"]["backup"]["queue"],
        "jobs"
    );
    json(&["cron", "remove", "backup"]);

    for (args, code, words) in [
        (&["put", "email", "{"][..], 2, "the content is not JSON"),
        (&["task", "999"], 1, "there is no task 999"),
        (&["cancel", "999"], 1, "no_such_task"),
        (&["stats", "none"], 1, "there is no queue none"),
        (
            &["work", "email", "--", "no-such-program"],
            1,
            "there is no program",
        ),
    ] {
        let refused = command(args);
        assert_eq!(refused.status.code(), Some(code), "{}", text(&refused));
        assert!(text(&refused).contains(words), "{}", text(&refused));
    }

    let mut other = Cluster::start(1, "kv", &QUICK);
    other.leader().await;
    let at = endpoints(&other);
    for args in [
        &["put", "email", "1"][..],
        &["stats"],
        &["top"],
        &["work", "email", "--", "true"],
    ] {
        let refused = run([&["queue", "--endpoints", &at], args].concat());
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        let words = "the cluster runs kv version 1: it is not a task queue";
        assert!(text(&refused).contains(words), "{}", text(&refused));
    }
    other.nodes[0].kill();
    let gone = run(["queue", "stats", "--endpoints", &at]);
    assert_eq!(gone.status.code(), Some(3), "{}", text(&gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_keys_results_and_cron_expressions_from_the_command_line() {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let at = endpoints(&cluster);
    let command = |args: &[&str]| run([&["queue", "--endpoints", &at], args].concat());
    let json = |args: &[&str]| {
        let ended = command(&[args, &["--json"]].concat());
        assert!(ended.status.success(), "{args:?}: {}", text(&ended));
        last_line(&ended)
    };
    let drain = |queue: &str| {
        let work = [
            "work", queue, "--drain", "--result", "--", "sh", "-c", "echo 42",
        ];
        let ended = command(&work);
        assert!(ended.status.success(), "{}", text(&ended));
    };

    json(&[
        "group",
        "open",
        "import",
        "--on-complete",
        "reports",
        "\"imported\"",
    ]);
    json(&[
        "put",
        "rows",
        "1",
        "--group",
        "import",
        "--fairness-key",
        "a",
        "--weight",
        "2",
    ]);
    json(&["configure-key", "rows", "a", r#"{"concurrency":1}"#]);
    let key = json(&["keys", "rows"])["keys"]["a"].clone();
    assert_eq!((&key["tasks"], &key["weight"]), (&1.into(), &2.into()));
    json(&["group", "close", "import"]);
    assert_eq!(json(&["group", "show", "import"])["group"]["pending"], 1);
    let stuck = json(&["stuck"]);
    assert_eq!(stuck["unserved"][0]["queue"], "rows", "{stuck}");
    let early = command(&["wait", "1", "--wait-ms", "1"]);
    assert_eq!(early.status.code(), Some(1), "{}", text(&early));
    drain("rows");
    assert_eq!(json(&["wait", "1"])["result"], 42);
    let gone = command(&["group", "show", "import"]);
    assert_eq!(gone.status.code(), Some(1), "{}", text(&gone));
    assert_eq!(
        json(&["peek", "reports"])["tasks"][0]["payload"],
        "imported"
    );

    let add = [
        "cron",
        "add",
        "weekdays",
        "--cron",
        "0 9 * * 1-5",
        "--zone",
        "Europe/Berlin",
    ];
    json(&[&add[..], &["--queue", "reports", "\"all\""]].concat());
    let shown = json(&["cron", "list"])["schedules"]["weekdays"].clone();
    assert_eq!(
        shown["cron"]["expression"],
        "CRON_TZ=Europe/Berlin 0 9 * * 1-5"
    );
    json(&["cron", "pause", "weekdays"]);
    assert_eq!(
        json(&["cron", "list"])["schedules"]["weekdays"]["paused"],
        true
    );
    json(&["cron", "resume", "weekdays"]);
    assert_eq!(json(&["cron", "run", "--once"])["schedules"], 1);
    json(&["cron", "remove", "weekdays"]);
    for (zone, expression, words) in [
        ("Europe/Atlantis", "0 9 * * *", "there is no time zone"),
        ("UTC", "0 9 * *", "write minute, hour, day of month"),
        ("UTC", "0 0 30 2 *", "matches no time"),
    ] {
        let wrong = [
            "cron", "add", "x", "--cron", expression, "--zone", zone, "--queue", "q", "1",
        ];
        let refused = command(&wrong);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert!(text(&refused).contains(words), "{}", text(&refused));
    }
}
