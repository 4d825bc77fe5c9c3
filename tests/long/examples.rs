//! The clients of the examples in `examples-wasm`, on a real node. They use what `oarlock client` generates, and the type
//! checkers accept them. Before it, `cargo xtask checkers` has to install mypy and TypeScript.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use oarlock_tests::process::{Cluster, QUICK, checkers, eventually, guest, run, text};
use serde_json::{Value, json};
use tempfile::TempDir;

/// An example and its client.
struct Example {
    guest: &'static str,
    /// The generated client, whose name the program imports.
    client: &'static str,
    program: &'static str,
}

impl Example {
    fn is_python(&self) -> bool {
        self.program.ends_with(".py")
    }

    /// A folder with the generated client and the program, checked.
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let (language, end) = if self.is_python() {
            ("python", "py")
        } else {
            ("typescript", "ts")
        };
        let schema = guest(self.guest).display().to_string();
        let client = folder.path().join(format!("{}.{end}", self.client));
        let out = client.display().to_string();
        let made = run(["client", language, "--schema", &schema, "--out", &out]);
        assert!(made.status.success(), "{}", text(&made));
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples-wasm");
        let program = examples.join(self.guest).join("examples");
        let copied = std::fs::copy(program.join(self.program), folder.path().join(self.program));
        copied.expect("copied");
        if self.is_python() {
            checkers::mypy(folder.path(), &[self.program]);
        } else {
            checkers::tsc(folder.path(), &[self.program]);
        }
        folder
    }

    /// The command line of the program.
    fn command(&self, folder: &TempDir, arguments: &[&str]) -> Command {
        let mut command = if self.is_python() {
            let mut python = Command::new("python3");
            python.arg(self.program);
            python
        } else {
            let mut node = Command::new("node");
            node.arg(self.program.replace(".ts", ".js"));
            node
        };
        command
            .current_dir(folder.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// The lines that it prints until it ends.
    fn lines(&self, folder: &TempDir, arguments: &[&str]) -> Vec<String> {
        let output = self.command(folder, arguments).output();
        let output = output.expect("it starts");
        assert!(output.status.success(), "{}", text(&output));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        printed.lines().map(str::to_owned).collect()
    }
}

/// A program that runs. It is killed with this value.
struct Running {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let input = process.stdin.take();
        Self {
            process,
            input,
            output,
        }
    }

    /// The next line that it prints; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("readable");
        line.trim_end().to_owned()
    }

    fn send(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open");
        input
            .write_all(format!("{line}\n").as_bytes())
            .expect("it reads");
    }

    /// Ends its input, and waits until it has ended.
    fn finish(mut self) {
        self.input.take();
        assert!(self.process.wait().expect("it ends").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error: it has ended.
        let _ = self.process.kill();
    }
}

async fn serve(guest: &str) -> (Cluster, String) {
    let mut cluster = Cluster::start(1, guest, &QUICK);
    cluster.leader().await;
    let address = cluster.nodes[0].http().0;
    (cluster, address)
}

async fn apply(cluster: &Cluster, command: Value) -> Value {
    let http = cluster.nodes[0].http();
    let response = http.apply(command.to_string()).await.expect("a response");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_with_the_lock_lose_no_count() {
    const EACH: u64 = 25;
    let example = Example {
        guest: "lock",
        client: "lock",
        program: "count.py",
    };
    let folder = example.folder();
    let (_cluster, address) = serve(example.guest).await;
    let file = folder.path().join("count.json");
    std::fs::write(&file, "[0, 0]").expect("writable");
    let (times, path) = (EACH.to_string(), file.display().to_string());
    let start = |name: &str| {
        let arguments = [&address, name, &times, &path];
        Running::start(example.command(&folder, &arguments))
    };
    let running = ["a", "b", "c"].map(start);
    running.into_iter().for_each(Running::finish);
    let counted = std::fs::read_to_string(&file).expect("readable");
    let counted: Value = serde_json::from_str(&counted).expect("JSON");
    assert_eq!(
        counted,
        json!([3 * EACH, 3 * EACH]),
        "each count has a fence of its own"
    );
    // The file has the fence of a later owner.
    std::fs::write(&file, "[0, 1000]").expect("writable");
    let late = example.command(&folder, &[&address, "late", "1", &path]);
    let late = { late }.output().expect("it starts");
    assert!(
        !late.status.success() && text(&late).contains("the lease has ended"),
        "{}",
        text(&late)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_pays_what_is_there() {
    let example = Example {
        guest: "ledger",
        client: "ledger",
        program: "salaries.py",
    };
    let folder = example.folder();
    let (_cluster, address) = serve(example.guest).await;
    let refused = "did not pay 200 to ann: `company` has 100 and a credit of 0; ask for less";
    assert_eq!(
        example.lines(&folder, &[&address]),
        [
            "paid 600 to ann, 400 left",
            "paid 300 to bob, 100 left",
            refused,
            "total 1000"
        ]
    );
    assert_eq!(
        example.lines(&folder, &[&address])[2..],
        ["paid 200 to ann, 0 left", "total 2000"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_limiter_limits_each_user() {
    let example = Example {
        guest: "rate-limiter",
        client: "rate_limiter",
        program: "gate.ts",
    };
    let folder = example.folder();
    let (_cluster, address) = serve(example.guest).await;
    for user in ["ann", "bob"] {
        let expected = [
            "served, 2 left",
            "served, 1 left",
            "served, 0 left",
            "too many, again in 60 minutes",
            "too many, again in 60 minutes",
        ];
        let lines = example.lines(&folder, &[&address, user]);
        assert_eq!(lines.len(), expected.len());
        for ((number, line), expected) in (1..).zip(lines).zip(expected) {
            assert_eq!(line, format!("request {number} of {user}: {expected}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_candidate_at_a_time_leads_and_the_next_one_follows_when_it_resigns() {
    let example = Example {
        guest: "election",
        client: "election",
        program: "candidate.py",
    };
    let folder = example.folder();
    let (cluster, address) = serve(example.guest).await;
    let start = |name: &str| Running::start(example.command(&folder, &[&address, name]));
    let mut first = start("a");
    assert_eq!(first.line(), "a leads in term 1");
    let mut second = start("b");
    let http = cluster.nodes[0].http();
    eventually("the second candidate waits", async || {
        let state = http.query(r#"{"leader":{"election":"db"}}"#).await.ok()?;
        let state = state.json();
        assert_eq!(state["leader"]["value"], "a:80");
        (state["waiting"] == 1).then_some(())
    })
    .await;
    first.send("backup");
    assert_eq!(first.line(), "a has done backup in term 1");
    first.finish();
    assert_eq!(second.line(), "b leads in term 2");
    second.send("cleanup");
    assert_eq!(second.line(), "b has done cleanup in term 2");
    second.finish();
    let state = http.query(r#"{"leader":{"election":"db"}}"#).await;
    let state = state.expect("a response").json();
    assert_eq!(state, json!({"leader": null, "waiting": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_flags_sees_each_change() {
    let example = Example {
        guest: "flags",
        client: "flags",
        program: "watch.ts",
    };
    let folder = example.folder();
    let (cluster, address) = serve(example.guest).await;
    let set = |flag: &str, enabled: bool, percent: u8| {
        let rule = json!({"enabled": enabled, "users": [], "percent": percent});
        json!({"set": {"flag": flag, "rule": rule}})
    };
    apply(&cluster, set("search", true, 10)).await;
    let mut watcher = Running::start(example.command(&folder, &[&address, "last"]));
    assert_eq!(watcher.line(), "version 1: search");
    apply(&cluster, set("search", true, 25)).await;
    assert_eq!(watcher.line(), "version 2: search is on for 25 %");
    apply(&cluster, set("chat", false, 0)).await;
    assert_eq!(watcher.line(), "version 3: chat is off");
    apply(&cluster, json!({"remove": {"flag": "search"}})).await;
    assert_eq!(watcher.line(), "version 4: search is off");
    apply(&cluster, set("last", true, 100)).await;
    assert_eq!(watcher.line(), "version 5: last is on for 100 %");
    watcher.finish();
}
