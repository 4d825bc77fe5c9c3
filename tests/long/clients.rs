//! Clients that `oarlock client` generates, in three languages, on clusters whose leader is killed again and again: no
//! command is lost or applied twice. Before it, `cargo xtask checkers` has to install mypy and TypeScript.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oarlock_client::{ApplyOptions, Client, Endpoint, QueryOptions};
use oarlock_tests::process::listeners::{change_flags, listened_node};
use oarlock_tests::process::{
    Cluster, Http, Node, QUICK, SecuredCluster, checkers, eventually, guest, run, text,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use counter::{AddArguments, CallError, CounterClient};
use kv::{CasArguments, GetQuery, KvClient};
use lock::{Acquire, LockClient, ReleaseArguments};
use task_queue::{Ack, Enqueue, Reserve, TaskQueueClient};

/// The generated clients in Rust. A test compares them with what is generated now.
#[rustfmt::skip]
#[path = "clients/counter.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "generated")]
mod counter;
#[rustfmt::skip]
#[path = "clients/kv.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "generated")]
mod kv;
#[rustfmt::skip]
#[path = "clients/lock.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "generated")]
mod lock;
#[rustfmt::skip]
#[path = "clients/task_queue.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "generated")]
mod task_queue;

/// Guests, and the names of their clients.
const GUESTS: [(&str, &str); 4] = [
    ("counter", "counter"),
    ("kv", "kv"),
    ("lock", "lock"),
    ("queue", "task_queue"),
];
/// How often each client sends its command.
const COUNT: usize = 300;
/// Entries between two kills.
const PROGRESS: u64 = 60;
const TIMEOUT: Duration = Duration::from_secs(120);

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("long/clients")
}

fn generate(language: &str, name: &str, out: &Path) {
    let schema = guest(name).display().to_string();
    let out = out.display().to_string();
    let made = run(["client", language, "--schema", &schema, "--out", &out]);
    assert!(made.status.success(), "{}", text(&made));
}

/// A folder with the generated clients and the programs that use them, checked by the type checkers.
fn checked_clients() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for (name, client) in GUESTS {
        generate("python", name, &at(&format!("{client}.py")));
        generate("typescript", name, &at(&format!("{client}.ts")));
    }
    checked_programs(folder.path(), &["drive", "untrusted"]);
    folder
}

/// Copies these programs in Python and TypeScript next to the clients, and checks them.
fn checked_programs(folder: &Path, names: &[&str]) {
    let (python, typescript): (Vec<String>, Vec<String>) = names
        .iter()
        .map(|name| (format!("{name}.py"), format!("{name}.ts")))
        .unzip();
    for program in python.iter().chain(&typescript) {
        std::fs::copy(sources().join(program), folder.join(program)).expect("copied");
    }
    let python: Vec<&str> = python.iter().map(String::as_str).collect();
    checkers::mypy(folder, &python);
    let typescript: Vec<&str> = typescript.iter().map(String::as_str).collect();
    checkers::tsc(folder, &typescript);
}

#[test]
fn the_generated_clients_in_rust_are_current() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, client) in GUESTS {
        let (made, kept) = (
            folder.path().join(client),
            sources().join(format!("{client}.rs")),
        );
        generate("rust", name, &made);
        let made = std::fs::read_to_string(made).expect("generated");
        if std::fs::read_to_string(&kept).is_ok_and(|kept| kept == made) {
            continue;
        }
        std::fs::write(&kept, made).expect("writable");
        panic!(
            "{} was not current and has been written; run the test again",
            kept.display()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_counter_survive_leader_kills() {
    let mut cluster = survive("counter", |client, _| async move {
        let counter = CounterClient::new(client).with_timeout(TIMEOUT);
        for _ in 0..COUNT {
            counter.add(&AddArguments { by: 1 }).await.expect("applied");
        }
        let refused = counter.add(&AddArguments { by: i64::MAX }).await;
        assert!(
            matches!(&refused, Err(CallError::Refused(refused)) if refused.code == counter::RefusalCode::Overflow),
            "{refused:?}"
        );
    })
    .await;
    let value = cluster.nodes[0]
        .http()
        .query(r#"{"get":{}}"#)
        .await
        .expect("a response");
    assert_eq!(
        value.json(),
        json!({"value": 3 * COUNT}),
        "each was applied once"
    );
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_key_value_store_survive_leader_kills() {
    let mut cluster = survive("kv", |client, name| async move {
        let kv = KvClient::new(client).with_timeout(TIMEOUT);
        for number in 0..COUNT {
            let key = name.clone();
            let expect = kv
                .get(&GetQuery { key: key.clone() })
                .await
                .expect("a response")
                .value;
            assert_eq!(expect, (number > 0).then(|| number.to_string()));
            let value = (number + 1).to_string();
            let reply = kv
                .cas(&CasArguments {
                    expect,
                    key,
                    value: value.clone(),
                })
                .await
                .expect("applied");
            assert_eq!((reply.swapped, reply.current), (true, Some(value)));
        }
    })
    .await;
    for name in ["python", "typescript", "rust"] {
        let query = json!({"get": {"key": name}}).to_string();
        let value = cluster.nodes[0]
            .http()
            .query(query)
            .await
            .expect("a response");
        assert_eq!(value.json(), json!({"value": COUNT.to_string()}));
    }
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_lock_service_survive_leader_kills() {
    let mut cluster = survive("lock", |client, name| async move {
        let locks = LockClient::new(client).with_timeout(TIMEOUT);
        let acquire = |owner: String| Acquire {
            lock: "l".to_owned(),
            owner,
            lease_ms: 3_600_000,
            wait_ms: 3_600_000,
        };
        let mut before = 0;
        for number in 0..COUNT {
            // Another owner each time: an acquire that was applied twice would wait for itself.
            let reply = locks.acquire(&acquire(format!("{name}-{number}"))).await;
            let reply = reply.expect("applied");
            let fence = reply.granted.expect("not timed out").fence;
            assert!(fence > before, "{fence} after {before}");
            before = fence;
            let lock = "l".to_owned();
            let released = locks.release(&ReleaseArguments { fence, lock }).await;
            released.expect("it is held");
        }
        let (fence, lock) = (before, "l".to_owned());
        let refused = locks.release(&ReleaseArguments { fence, lock }).await;
        assert!(
            matches!(&refused, Err(lock::CallError::Refused(refused)) if refused.code == lock::RefusalCode::NotHeld),
            "{refused:?}"
        );
    })
    .await;
    let http = cluster.nodes[0].http();
    let state = http.query(r#"{"get":{"lock":"l"}}"#).await;
    let state = state.expect("a response").json();
    assert_eq!(state, json!({"lease": null, "waiting": 0}));
    let last = r#"{"acquire":{"lock":"l","owner":"last","lease_ms":1000,"wait_ms":0}}"#;
    let reply = cluster.apply_somewhere("last", last).await;
    assert_eq!(
        reply["granted"]["fence"],
        json!(3 * COUNT + 1),
        "each acquire was applied once"
    );
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_queue_survive_leader_kills() {
    let mut cluster = survive("queue", |client, name| async move {
        let queue = TaskQueueClient::new(client).with_timeout(TIMEOUT);
        for number in 0..COUNT {
            let task = Enqueue {
                queue: name.clone(),
                payload: Some(json!(number)),
                ..Enqueue::default()
            };
            assert!(!queue.enqueue(&task).await.expect("applied").duplicate);
        }
        let mut done = 0;
        while done < COUNT {
            let reserve = Reserve {
                queues: vec![name.clone()],
                worker: name.clone(),
                lease_ms: 3_600_000,
                max: Some(7),
                ..Reserve::default()
            };
            let tasks = queue.reserve(&reserve).await.expect("applied").tasks;
            assert!(
                !tasks.is_empty(),
                "a reserve that was applied twice has leased tasks that no reply contains"
            );
            for task in tasks {
                assert_eq!(task.payload, Some(json!(done)));
                queue
                    .ack(&Ack {
                        id: task.id,
                        token: task.token,
                        ..Ack::default()
                    })
                    .await
                    .expect("applied");
                done += 1;
            }
        }
    })
    .await;
    let stats = cluster.nodes[0]
        .http()
        .query(r#"{"stats":{}}"#)
        .await
        .expect("a response");
    let queues = &stats.json()["queues"];
    for (name, completed) in [
        ("python", COUNT + 1),
        ("typescript", COUNT),
        ("rust", COUNT),
    ] {
        let expected =
            json!({"ready": 0, "delayed": 0, "leased": 0, "dead": 0, "completed": completed});
        assert_eq!(queues[name], expected, "{name}");
    }
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_use_certificates_and_tokens() {
    let folder = checked_clients();
    let secured = SecuredCluster::start();
    let client = secured.client("ann");
    eventually("the cluster applies a command", async || {
        let put = r#"{"put":{"key":"k","value":"v"}}"#;
        client.apply(put, &ApplyOptions::default()).await.ok()
    })
    .await;
    let token = secured.token(&["create", "job", "--roles", "reader,writer"]);
    let authority = secured.path("ca.crt");
    let endpoints = secured.endpoints();
    let https: Vec<String> = endpoints
        .split(',')
        .map(|one| format!("https://{one}"))
        .collect();
    let python = |arguments: &[&str]| {
        let mut program = std::process::Command::new("python3");
        program
            .current_dir(folder.path())
            .arg("drive.py")
            .args(arguments);
        program.output().expect("it starts")
    };
    let node = |token: &str| {
        let mut program = std::process::Command::new("node");
        let arguments = [
            "drive.js",
            "kv",
            &https.join(","),
            "typescript",
            "20",
            token,
        ];
        program.current_dir(folder.path()).args(arguments);
        program
            .env("NODE_EXTRA_CA_CERTS", &authority)
            .output()
            .expect("it starts")
    };
    for output in [
        python(&["kv", &endpoints, "python", "20", &authority, token.trim()]),
        node(token.trim()),
    ] {
        assert!(output.status.success(), "{}", text(&output));
    }
    // Nothing but the right token is accepted.
    for output in [
        python(&["kv", &endpoints, "python2", "20", &authority, "no-token"]),
        node("no-token"),
    ] {
        assert!(!output.status.success());
        assert!(
            text(&output).contains("unauthenticated"),
            "{}",
            text(&output)
        );
    }
    untrusted_nodes_get_nothing(folder.path(), &endpoints, token.trim());
    let query = r#"{"get":{"key":"k"}}"#;
    let found = client.query(query, &QueryOptions::default()).await;
    let found = found.expect("a response").response;
    assert_eq!(&found[..], br#"{"value":"v"}"#, "it has not changed");
}

/// Where a node's certificate is not accepted, nothing was sent, so the outcome is known. No token is sent without TLS.
fn untrusted_nodes_get_nothing(folder: &Path, endpoints: &str, token: &str) {
    for (program, file, refusal, refusals) in [
        ("python3", "untrusted.py", "ValueError", 2),
        ("node", "untrusted.js", "TypeError", 3),
    ] {
        let mut client = std::process::Command::new(program);
        client
            .current_dir(folder)
            .args([file, endpoints, token])
            .env_remove("NODE_EXTRA_CA_CERTS");
        let printed = text(&client.output().expect("it starts"));
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), 1 + refusals, "{printed}");
        assert!(lines[0].starts_with("Unavailable "), "{printed}");
        for line in &lines[1..] {
            let expected = format!("{refusal} a token is sent to nodes with TLS only");
            assert!(line.starts_with(&expected), "{printed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_python_continue_on_another_node() {
    events_continue_on_another_node(["python3", "follow.py"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_typescript_continue_on_another_node() {
    events_continue_on_another_node(["node", "follow.js"]).await;
}

/// A program follows events while the node that it reads from is killed. It gets each one once, in their order.
async fn events_continue_on_another_node(program: [&str; 2]) {
    const LAST: u64 = 60;
    let folder = tempfile::tempdir().expect("a folder");
    for (language, file) in [("python", "flags.py"), ("typescript", "flags.ts")] {
        generate(language, "flags", &folder.path().join(file));
    }
    checked_programs(folder.path(), &["follow"]);
    let mut cluster = Cluster::start(3, "flags", &QUICK);
    cluster.leader().await;
    let targets: Vec<Http> = cluster.nodes.iter().map(Node::http).collect();
    let endpoints: Vec<&str> = targets.iter().map(|http| http.0.as_str()).collect();
    let mut process = tokio::process::Command::new(program[0])
        .current_dir(folder.path())
        .args([program[1], &endpoints.join(","), &LAST.to_string()])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    change_flags(targets.clone(), 1, 10).await.expect("changes");
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.extend(lines.next_line().await.expect("readable"));
    }
    let read_from = listened_node(&mut cluster).await;
    let changes = change_flags(targets, 11, LAST);
    seen.extend(lines.next_line().await.expect("readable"));
    cluster.nodes[read_from].kill();
    while let Some(line) = lines.next_line().await.expect("readable") {
        seen.push(line);
    }
    assert!(process.wait().await.expect("it ends").success());
    changes.await.expect("changes");
    let versions = seen.iter().map(|line| {
        let (id, version) = line.split_once(' ').expect("id and version");
        assert!(id.contains('.'), "{line}");
        version.parse().expect("a number")
    });
    let versions: Vec<u64> = versions.collect();
    assert_eq!(versions, (1..=LAST).collect::<Vec<_>>());
}

/// Names of commands, queries, fields and types that the templates or the languages use themselves.
#[test]
fn the_checkers_accept_clients_whose_names_are_those_of_the_templates() {
    const NAMES: [&str; 16] = [
        "access",
        "ssl",
        "copy",
        "event",
        "events",
        "failed",
        "self",
        "then",
        "fetch",
        "str",
        "cast",
        "json",
        "http",
        "constructor",
        "class",
        "with_timeout",
    ];
    let each = |what: &dyn Fn(&str) -> serde_json::Value| {
        let pairs = NAMES.iter().map(|name| ((*name).to_owned(), what(name)));
        serde_json::Value::Object(pairs.collect())
    };
    let of_type = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
    let fields = json!({"type": "object", "properties": each(&|_| json!({"type": "string"}))});
    let schema = json!({
        "title": "access",
        "properties": {
            "command": {"properties": each(&|_| fields.clone())},
            "reply": {"properties": each(&of_type)},
            "query": {"properties": each(&of_type)},
            "response": {"properties": each(&|_| json!({"type": "integer"}))},
            "refusal": {"properties": {"error": {"properties": {"code": {"enum": NAMES}}}}},
        },
        "$defs": each(&|_| fields.clone()),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schema.json");
    std::fs::write(&file, schema.to_string()).expect("writable");
    for (language, out) in [("python", "client.py"), ("typescript", "client.ts")] {
        let made = run([
            "client",
            language,
            "--schema",
            &file.display().to_string(),
            "--out",
            &folder.path().join(out).display().to_string(),
        ]);
        assert!(made.status.success(), "{}", text(&made));
    }
    checkers::mypy(folder.path(), &["client.py"]);
    checkers::tsc(folder.path(), &["client.ts"]);
}

/// Counts a client that has ended, also by a panic.
struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Runs a client in each language, and meanwhile kills the leader again and again. Returns the cluster, which is complete.
async fn survive<Driven: Future<Output = ()> + Send + 'static>(
    name: &str,
    drive: impl FnOnce(Client, String) -> Driven,
) -> Cluster {
    let folder = checked_clients();
    let mut cluster = Cluster::start(3, name, &QUICK);
    cluster.leader().await;
    let endpoints: Vec<String> = cluster.nodes.iter().map(|node| node.http().0).collect();
    let endpoints = endpoints.join(",");
    let (mut clients, ended) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for (language, program) in [
        ("python", ["python3", "drive.py"]),
        ("typescript", ["node", "drive.js"]),
    ] {
        let mut client = tokio::process::Command::new(program[0]);
        client
            .current_dir(folder.path())
            .args([program[1], name, &endpoints, language, &COUNT.to_string()])
            .kill_on_drop(true);
        let ended = Ended(Arc::clone(&ended));
        clients.spawn(async move {
            let _ended = ended;
            let output = client.output().await.expect("it starts");
            assert!(output.status.success(), "{language}: {}", text(&output));
        });
    }
    let client =
        Client::new(Endpoint::parse_list(&endpoints).expect("endpoints")).expect("a client");
    let driven = drive(client, "rust".to_owned());
    let in_rust = Ended(Arc::clone(&ended));
    clients.spawn(async move {
        let _ended = in_rust;
        driven.await;
    });
    let mut kills = 0;
    while ended.load(Ordering::Acquire) < 3 {
        let leader = cluster.leader().await;
        let http = cluster.nodes[leader].http();
        let applied = async || http.status().await?["applied_index"].as_u64();
        let before = eventually("the leader responds", applied).await;
        eventually("the clients make progress", async || {
            let is_over = ended.load(Ordering::Acquire) == 3;
            (is_over || applied().await? >= before + PROGRESS).then_some(())
        })
        .await;
        cluster.nodes[leader].kill();
        cluster.leader().await;
        cluster.nodes[leader].start();
        kills += 1;
    }
    while let Some(client) = clients.join_next().await {
        client.expect("a client succeeds");
    }
    assert!(
        kills >= 3,
        "{kills} kills only: the clients were not disturbed"
    );
    cluster.leader().await;
    cluster
}
