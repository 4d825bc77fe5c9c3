//! The workers in Python and TypeScript and the examples in three languages, on three real nodes whose leader is killed. Before
//! it, `cargo xtask checkers` has to install mypy and TypeScript.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use oarlock_client::queue::{ListOptions, ListedState, Queue, QueueStats};
use oarlock_client::{Client, Endpoint};
use oarlock_tests::process::{Cluster, QUICK, checkers, eventually, guest, run, text};
use tempfile::TempDir;

const TASKS: u64 = 60;

fn queue_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples-wasm/queue")
}

/// A folder with the generated clients, the workers and the examples, checked by the type checkers.
fn checked_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (language, file) in [("python", "task_queue.py"), ("typescript", "task_queue.ts")] {
        let schema = guest("queue").display().to_string();
        let out = folder.path().join(file).display().to_string();
        let made = run(["client", language, "--schema", &schema, "--out", &out]);
        assert!(made.status.success(), "{}", text(&made));
    }
    for from in [
        "clients/python",
        "clients/typescript",
        "examples/python",
        "examples/javascript",
    ] {
        for entry in std::fs::read_dir(queue_folder().join(from)).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.path().is_file() {
                std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("copied");
            }
        }
    }
    let python = ["worker.py", "producer.py", "worker_example.py", "outbox.py"];
    checkers::mypy(folder.path(), &python);
    checkers::tsc(folder.path(), &["worker.ts"]);
    folder
}

fn endpoints(cluster: &Cluster) -> String {
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.http().0).collect();
    addresses.join(",")
}

fn queue_of(cluster: &Cluster, name: &str) -> Queue {
    let endpoints = Endpoint::parse_list(&endpoints(cluster)).expect("endpoints");
    Queue::new(Client::new(endpoints).expect("a client"), name)
}

async fn stats(queue: &Queue) -> Option<QueueStats> {
    queue.stats().await.ok().flatten()
}

/// The command line of an example.
fn example(language: &str, what: &str, folder: &Path) -> Command {
    let (program, file) = match (language, what) {
        ("rust", "producer") => (env!("CARGO_BIN_EXE_queue_producer"), None),
        ("rust", _) => (env!("CARGO_BIN_EXE_queue_worker"), None),
        ("python", "producer") => ("python3", Some("producer.py")),
        ("python", _) => ("python3", Some("worker_example.py")),
        (_, "producer") => ("node", Some("producer.js")),
        _ => ("node", Some("worker_example.js")),
    };
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn ended(mut command: Command) -> Output {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_in_three_languages_survive_the_loss_of_a_leader() {
    let folder = checked_folder();
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let at = endpoints(&cluster);
    for language in ["rust", "python", "javascript"] {
        let count = TASKS.to_string();
        let queue = queue_of(&cluster, language);
        for duplicate in [false, true] {
            let mut producer = example(language, "producer", folder.path());
            producer.args([&at, language, &count]);
            let lines = text(&ended(producer)).to_lowercase();
            let expected = format!("duplicate: {duplicate}");
            assert_eq!(lines.matches(&expected).count() as u64, TASKS, "{lines}");
        }
        let mut worker = example(language, "worker", folder.path());
        let worker = worker.args([&at, language]).spawn().expect("it starts");
        eventually("the worker makes progress", async || {
            (stats(&queue).await?.completed > 0).then_some(())
        })
        .await;
        let leader = cluster.leader().await;
        cluster.nodes[leader].kill();
        eventually("the tasks are done", async || {
            (stats(&queue).await?.completed == TASKS).then_some(())
        })
        .await;
        cluster.nodes[leader].start();
        // A task that can't be worked on is dead at once.
        queue
            .enqueue(&oarlock_client::queue::NewTask::json(&7).expect("JSON"))
            .await
            .expect("added");
        eventually("the task is dead", async || {
            (stats(&queue).await?.dead == 1).then_some(())
        })
        .await;
        let interrupted = Command::new("kill")
            .args(["-INT", &worker.id().to_string()])
            .status();
        assert!(interrupted.expect("a program").success());
        let output = worker.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{language}: {}", text(&output));
        let lines = text(&output);
        for number in 1..=TASKS {
            let line = format!("attempt 1: mail to user{number}@example.org");
            assert_eq!(lines.matches(&line).count(), 1, "{language}: {lines}");
        }
    }
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_relay_adds_each_row_once() {
    let folder = checked_folder();
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let python = |script: &str, arguments: &[&str]| {
        let mut python = Command::new("python3");
        python
            .current_dir(folder.path())
            .args(["-c", script])
            .args(arguments);
        ended(python);
    };
    let relay = |database: &str| {
        let mut relay = Command::new("python3");
        let at = endpoints(&cluster);
        relay
            .current_dir(folder.path())
            .args(["outbox.py", database, &at, "--once"]);
        ended(relay);
    };
    // It creates the table.
    relay("app.db");
    python(
        "import sqlite3\nwith sqlite3.connect('app.db') as database:\n    \
         for n in range(250): database.execute('INSERT INTO outbox (queue, payload) VALUES (?, ?)', ('mail', '{\"n\": %d}' % n))",
        &[],
    );
    // What a relay leaves that dies before it deletes the rows.
    std::fs::copy(folder.path().join("app.db"), folder.path().join("again.db")).expect("copied");
    relay("app.db");
    relay("again.db");
    python(
        "import sqlite3\nfor name in ('app.db', 'again.db'):\n    \
         assert sqlite3.connect(name).execute('SELECT COUNT(*) FROM outbox').fetchone() == (0,)",
        &[],
    );
    let queue = queue_of(&cluster, "mail");
    let options = ListOptions {
        state: ListedState::Ready,
        fairness_key: None,
        min_age_ms: 0,
        payload: true,
        max: 1000,
        after: None,
    };
    let tasks = queue.list(&options).await.expect("a page").tasks;
    let contents: Vec<String> = tasks
        .into_iter()
        .map(|task| task.payload.expect("JSON").get().to_owned())
        .collect();
    let expected: Vec<String> = (0..250).map(|n| format!("{{\"n\": {n}}}")).collect();
    assert_eq!(contents.len(), expected.len());
    for (content, expected) in contents.iter().zip(&expected) {
        assert_eq!(content.replace(' ', ""), expected.replace(' ', ""));
    }
    drop(cluster);
}
