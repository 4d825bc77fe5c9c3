//! The commands as processes: standard output, standard error and exit codes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

fn oarlock() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oarlock"));
    // Do not inherit settings from the environment of the test run.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OARLOCK_") {
            command.env_remove(name);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Exit code and output of a command.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

fn run(arguments: &[&str]) -> Ended {
    end(oarlock().args(arguments).spawn().unwrap())
}

fn run_with_stdin(arguments: &[&str], stdin: &[u8]) -> Ended {
    let mut child = oarlock()
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe: ChildStdin = child.stdin.take().unwrap();
    pipe.write_all(stdin).unwrap();
    drop(pipe);
    end(child)
}

fn end(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// A node with the built-in queue, on any free ports. Killed on drop.
struct Serving {
    child: Child,
    endpoint: String,
    _dir: TempDir,
}

impl Serving {
    fn start() -> Self {
        Self::with(&[])
    }

    /// With more flags.
    fn with(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut arguments = vec!["--bootstrap", "--peer-addr", "127.0.0.1:0"];
        arguments.extend(flags);
        Self::start_with(dir, &arguments)
    }

    fn start_with(dir: TempDir, arguments: &[&str]) -> Self {
        let mut child = oarlock()
            .arg("serve")
            .args(arguments)
            .args([
                "--client-addr",
                "127.0.0.1:0",
                "--log",
                "error",
                // The built-in queue is compiled once for all tests.
                "--compiled-dir",
                concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled"),
                "--data-dir",
            ])
            .arg(dir.path().join("data"))
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let endpoint = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .find_map(|line| {
                Some(
                    line.trim()
                        .strip_prefix("clients")?
                        .trim()
                        .strip_prefix("http://")?
                        .to_owned(),
                )
            })
            .expect("the node prints its client address");
        Self {
            child,
            endpoint,
            _dir: dir,
        }
    }

    /// Runs a command with this node as its endpoint.
    fn run(&self, arguments: &[&str]) -> Ended {
        run(&[arguments, &["--endpoints", &self.endpoint]].concat())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Fails if the process has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn dist(name: &str) -> String {
    format!(
        "{}/../../examples-wasm/dist/{name}.wasm",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// An address that refuses connections while the socket exists: the socket is bound and does not listen.
fn unreachable_address() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

#[test]
fn a_command_comes_from_an_argument_a_pipe_or_a_file_and_the_reply_is_printed() {
    let node = Serving::start();
    let command = r#"{"enqueue":{"queue":"email","payload":{"to":"ann"}}}"#;
    let ended = node.run(&["apply", command]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "{\"id\":1,\"duplicate\":false}\n"),
        "{ended:?}"
    );
    let piped = run_with_stdin(
        &["apply", "-", "--endpoints", &node.endpoint],
        command.as_bytes(),
    );
    assert_eq!(
        (piped.code, piped.stdout.as_str()),
        (Some(0), "{\"id\":2,\"duplicate\":false}\n"),
        "{piped:?}"
    );
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("command.json");
    std::fs::write(&path, command).unwrap();
    let ended = node.run(&["apply", "--file", path.to_str().unwrap(), "--json"]);
    assert_eq!(ended.json()["reply"], json!({"id": 3, "duplicate": false}));
    assert!(ended.json()["index"].as_u64().unwrap() > 0);
    let ended = node.run(&["query", r#"{"stats":{}}"#, "--json"]);
    assert_eq!(ended.json()["answer"]["queues"]["email"]["ready"], 3);
    let ended = node.run(&["query", r#"{"stats":{}}"#, "--consistency", "stale"]);
    assert!(
        ended.code == Some(0) && ended.stdout.contains("\"ready\":3"),
        "{ended:?}"
    );
}

#[test]
fn a_rejection_is_printed_on_standard_error_with_exit_code_1() {
    let node = Serving::start();
    for arguments in [
        ["apply", r#"{"enqueue":{"queue":"email"}}"#],
        ["query", "not JSON"],
    ] {
        let ended = node.run(&arguments);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(1), ""),
            "{ended:?}"
        );
        assert!(
            ended
                .stderr
                .starts_with("error: the state machine rejected"),
            "{ended:?}"
        );
    }
}

#[test]
fn a_key_returns_the_first_reply_again_and_refuses_another_command() {
    let node = Serving::start();
    let apply = |payload: u32| {
        let command = json!({"enqueue": {"queue": "q", "payload": payload}}).to_string();
        node.run(&["apply", &command, "--idempotency-key", "order-7"])
    };
    let (first, again, other) = (apply(1), apply(1), apply(2));
    assert_eq!((first.code, &first.stdout), (Some(0), &again.stdout));
    assert_eq!(other.code, Some(1));
    assert!(other.stderr.contains("key"), "{other:?}");
    let ended = node.run(&["apply", "{}", "--idempotency-key", "two parts"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn status_prints_a_table_or_with_json_an_object() {
    let node = Serving::start();
    node.run(&["apply", r#"{"enqueue":{"queue":"q","payload":1}}"#]);
    let ended = node.run(&["status"]);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(
        lines[0].starts_with("NODE") && lines[1].starts_with("node1  leader"),
        "{ended:?}"
    );
    assert!(
        !ended.stdout.contains('\u{1b}'),
        "there are colours in a pipe"
    );
    let json = node.run(&["status", "--json"]).json();
    assert_eq!(json["leader_id"], "node1");
    assert_eq!(
        json["nodes"][0]["status"]["state_machine"]["name"],
        "task-queue"
    );
}

#[test]
fn status_with_json_has_every_field_of_the_nodes_response() {
    fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields
                .iter()
                .for_each(|(name, value)| paths(value, &format!("{at}.{name}"), found)),
            Value::Array(values) => values
                .iter()
                .for_each(|value| paths(value, &format!("{at}[]"), found)),
            _ => {
                found.insert(at.to_owned());
            }
        }
    }
    let node = Serving::start();
    node.run(&["apply", r#"{"enqueue":{"queue":"q","payload":1}}"#]);
    let mut stream = std::net::TcpStream::connect(&node.endpoint).unwrap();
    let request = b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    let (mut sent, mut shown) = (BTreeSet::new(), BTreeSet::new());
    paths(&serde_json::from_str(body).unwrap(), "", &mut sent);
    let json = node.run(&["status", "--json"]).json();
    paths(&json["nodes"][0]["status"], "", &mut shown);
    assert_eq!(shown, sent);
    assert!(shown.contains(".state_machine.undo"), "{shown:?}");
}

#[test]
fn status_without_a_leader_prints_the_table_and_ends_with_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    // The other initial member never runs.
    let (_socket, other) = unreachable_address();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own = free.local_addr().unwrap();
    drop(free);
    let peers = format!("node1={own},node2={other}");
    let node = Serving::start_with(dir, &["--node-id", "node1", "--cluster", &peers]);
    for arguments in [&["status"][..], &["status", "--json"]] {
        let ended = node.run(arguments);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.stdout.contains("node1"), "{ended:?}");
        assert!(ended.stderr.contains("has no leader"), "{ended:?}");
    }
}

#[test]
fn snapshot_prints_the_index() {
    let node = Serving::start();
    let applied = node
        .run(&[
            "apply",
            r#"{"enqueue":{"queue":"q","payload":1}}"#,
            "--json",
        ])
        .json();
    let json = node.run(&["snapshot", "--json"]).json();
    let index = json["nodes"][0]["snapshot"]["snapshot_index"]
        .as_u64()
        .unwrap();
    assert!(index >= applied["index"].as_u64().unwrap(), "{json}");
}

#[test]
fn bench_prints_figures_as_json() {
    let node = Serving::start();
    let json = node
        .run(&[
            "bench",
            "--clients",
            "2",
            "--duration",
            "1",
            "--json",
            "--disk",
            ".",
        ])
        .json();
    assert!(
        json["done"].as_u64().unwrap() > 0 && json["latency_us"]["p99"].as_u64().unwrap() > 0,
        "{json}"
    );
    assert!(json["disk"]["writes"].as_u64().unwrap() > 0, "{json}");
}

#[test]
fn if_no_node_is_reachable_the_exit_code_is_3_and_the_address_is_named() {
    let (_socket, address) = unreachable_address();
    for arguments in [
        &["apply", "x"][..],
        &["query", "x"],
        &["status"],
        &["snapshot"],
        &["bench"],
    ] {
        let ended = run(&[arguments, &["--endpoints", &address]].concat());
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(3), ""),
            "{arguments:?}: {ended:?}"
        );
        assert!(ended.stderr.contains(&address), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn wrong_usage_has_exit_code_2() {
    for arguments in [
        &["apply"][..],
        &["apply", "x", "--file", "y"],
        &["apply", "x", "--endpoints", "nowhere"],
        &["query", "x", "--consistency", "perfect"],
        &["bench", "--clients", "0"],
        &["unknown"],
        &[],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        "demo",
        "serve",
        "apply",
        "query",
        "status",
        "check",
        "bench",
        "snapshot",
        "new",
        "upgrade",
        "transfer-leader",
    ] {
        let ended = run(&[command, "--help"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(
            ended
                .stdout
                .contains(&format!("Example:\n  oarlock {command}")),
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn check_describes_a_module_and_refuses_an_invalid_one() {
    let ended = run(&["check", &dist("kv")]);
    assert!(
        ended.code == Some(0) && ended.stdout.contains("name      kv"),
        "{ended:?}"
    );
    let ended = run(&["check", &dist("counter"), "--json"]);
    assert_eq!(
        (ended.json()["ok"].clone(), ended.json()["name"].clone()),
        (json!(true), json!("counter"))
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.wasm");
    for bytes in [&b"not wasm"[..], b"", b"(component)"] {
        std::fs::write(&path, bytes).unwrap();
        let ended = run(&["check", path.to_str().unwrap(), "--json"]);
        assert_eq!(
            (ended.code, ended.json()["ok"].clone()),
            (Some(1), json!(false)),
            "{ended:?}"
        );
        assert!(!ended.json()["reasons"].as_array().unwrap().is_empty());
        assert!(ended.stderr.contains("  - "), "{ended:?}");
    }
}

#[test]
fn upgrade_activates_a_module_and_the_history_lists_it() {
    let node = Serving::start();
    node.run(&["apply", r#"{"enqueue":{"queue":"email","payload":1}}"#]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue-2.wasm");
    // The same guest with an empty custom section has another hash.
    let mut module = std::fs::read(dist("queue")).unwrap();
    module.extend_from_slice(&[0, 2, 1, b'2']);
    std::fs::write(&path, module).unwrap();
    let path = path.to_str().unwrap();

    let tried = node.run(&["upgrade", path, "--dry-run"]);
    assert!(
        tried.code == Some(0) && tried.stdout.contains("dry run passed"),
        "{tried:?}"
    );
    let upgraded = node.run(&["upgrade", path, "--by", "ann", "--json"]);
    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    assert!(upgraded.json()["activated_index"].as_u64().unwrap() > 0);
    let again = node.run(&["upgrade", path]);
    assert!(
        again.code == Some(0) && again.stdout.contains("is active from entry"),
        "{again:?}"
    );
    let history = node.run(&["upgrade", "--history"]);
    assert!(
        history.code == Some(0) && history.stdout.contains("ann"),
        "{history:?}"
    );
    assert!(
        !history.stdout.contains('\u{1b}'),
        "no colours in a pipe: {history:?}"
    );
    let stats = node.run(&["query", r#"{"stats":{}}"#]);
    assert!(stats.stdout.contains(r#""ready":1"#), "{stats:?}");

    // Another guest cannot read the state of this one.
    let counter = dist("counter");
    for flags in [&[][..], &["--replace-machine"]] {
        let refused = node.run(&[&["upgrade", &counter], flags].concat());
        assert!(
            refused.code == Some(1) && refused.stderr.contains("HTTP 422"),
            "{refused:?}"
        );
    }
}

/// How an error names the guest of a module, from what `oarlock check` finds.
fn label(module: &str) -> String {
    let checked = run(&["check", module, "--json"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let found = checked.json();
    let text = |field: &str| found[field].as_str().expect("a text").to_owned();
    let (name, version, sha256) = (text("name"), &found["version"], text("sha256"));
    format!(
        "{name} version {version} ({}, layout {})",
        &sha256[..12],
        text("layout")
    )
}

#[test]
fn upgrade_names_both_guests_and_replaces_a_machine_only_with_the_flag() {
    let guest = |name: &str| {
        let folder = env!("CARGO_MANIFEST_DIR");
        format!("{folder}/../../tests/guests/{name}.wasm")
    };
    let node = Serving::with(&["--state-machine", &guest("apples")]);
    node.run(&["apply", "a"]);
    node.run(&["apply", "p"]);
    let pears = guest("pears");
    for (arguments, advice) in [
        (&["upgrade", &pears][..], "--replace-machine"),
        (&["upgrade", &pears, "--dry-run"], "--replace-machine"),
        (&["upgrade", &guest("apples-swapped")], "`migrate`"),
        (&["upgrade", &guest("apples-widened")], "`migrate`"),
        (
            &["upgrade", &guest("apples-widened"), "--replace-machine"],
            "`migrate`",
        ),
        (
            &["upgrade", &guest("apples-foreign"), "--dry-run"],
            "`migrate`",
        ),
    ] {
        let refused = node.run(arguments);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        for part in [&label(&guest("apples")), &label(arguments[1])] {
            let found = refused.stderr.matches(part.as_str()).count();
            assert_eq!(found, 1, "{part}: {refused:?}");
        }
        for part in ["and the new one is", advice] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
    }
    let tried = node.run(&[
        "upgrade",
        &pears,
        "--replace-machine",
        "--dry-run",
        "--json",
    ]);
    assert_eq!(tried.code, Some(0), "{tried:?}");
    let layout = tried.json()["layout"].as_str().map(str::to_owned);
    assert!(layout.is_some_and(|layout| layout.starts_with("serde1:")));
    let replaced = node.run(&["upgrade", &pears, "--replace-machine"]);
    assert_eq!(replaced.code, Some(0), "{replaced:?}");
    assert_eq!(
        node.run(&["query", "count"]).stdout.trim(),
        "1 apples, 1 pears"
    );
    let history = node.run(&["upgrade", "--history"]);
    assert!(
        history.stdout.contains("layout of its state: serde1:"),
        "{history:?}"
    );
}

#[test]
fn a_closed_output_is_not_an_error() {
    let node = Serving::start();
    // It waits for the leader, which `status` does not.
    let query = ["query", r#"{"stats":{}}"#, "--endpoints", &node.endpoint];
    assert_eq!(run(&query).code, Some(0));
    let kv = dist("kv");
    for arguments in [
        &["status", "--endpoints", &node.endpoint][..],
        &["status", "--json", "--endpoints", &node.endpoint],
        &["query", r#"{"stats":{}}"#, "--endpoints", &node.endpoint],
        &["check", &kv],
        &["--help"],
        &["demo", "--script", "--base-port", "0", "--nodes", "1"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = end(oarlock().args(arguments).stdout(writer).spawn().unwrap());
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_demo_runs_its_tour_and_exits() {
    let ended = run(&["demo", "--script", "--base-port", "0"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains("No acknowledged task is lost")
            && ended
                .stdout
                .contains("tasks put and worked on, lost 0, doubled 0")
            && ended.stdout.contains("The tour is complete"),
        "{ended:?}"
    );
    assert!(
        !ended.stdout.contains('\u{1b}'),
        "there are colours in a pipe"
    );
}

#[test]
fn the_demo_runs_until_it_is_interrupted_and_stops_cleanly() {
    let mut child = oarlock()
        .args(["demo", "--base-port", "0", "--nodes", "1"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let dir = lines
        .find_map(|line| {
            Some(
                line.trim()
                    .strip_prefix("data in ")?
                    .split(" (")
                    .next()?
                    .to_owned(),
            )
        })
        .unwrap();
    assert!(
        lines.any(|line| line.contains("press Ctrl-C to stop all nodes")),
        "the demo ended by itself"
    );
    assert!(PathBuf::from(&dir).exists());
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let status: ExitStatus = child.wait().unwrap();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    assert!(!PathBuf::from(&dir).exists(), "{dir} was left behind");
}

#[test]
fn a_port_in_use_is_an_error_of_the_demo_that_names_it() {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
    // Bind ports until one is a valid base + 1. The higher ones stay bound, so that the next bind differs.
    let taken: Vec<_> = std::iter::repeat_with(bind)
        .scan(false, |found, listener| {
            let was_found = std::mem::replace(found, port(&listener) <= 64_000);
            (!was_found).then_some(listener)
        })
        .collect();
    let port = port(taken.last().unwrap());
    let ended = run(&[
        "demo",
        "--script",
        "--nodes",
        "1",
        "--base-port",
        &(port - 1).to_string(),
    ]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains(&port.to_string()) && ended.stderr.contains("--base-port"),
        "{ended:?}"
    );
}
