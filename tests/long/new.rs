//! `oarlock new`, `build` and `test`: what they make of each language builds, passes its suite, and serves; and the exception,
//! panic or last words of a guest that fails are in the error. Those in Python and JavaScript use the tools that `cargo xtask guests --languages` has installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use oarlock_tests::process::{
    Cluster, Steps, TARGET, compile_file, eventually, oarlock, require_wasm_target, run_in, text,
};
use serde_json::{Value, json};

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize()
        .expect("this package stands in the repository")
}

fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new")
}

/// Runs cargo in the project, without the network. What it builds is kept for the next time.
fn cargo(folder: &Path, arguments: &[&str]) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(folder)
        .args(arguments)
        .args(["--offline", "--target-dir"])
        .arg(built());
    cargo.output().expect("cargo can be started")
}

/// Runs a copy of `oarlock`, without the network.
fn run_program(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(arguments)
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_TARGET_DIR", built())
        .stdin(Stdio::null());
    command.output().expect("it can be started")
}

fn succeeds(output: &Output) -> String {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    text
}

/// Gives a project the tools that were installed for the counter of its language, as its first build would do.
fn link_tools(folder: &Path, language: &str) {
    let (of, made, wanted, noted) = match language {
        "python" => (
            "counter-python/venv",
            ".venv",
            "requirements.txt",
            "requirements.txt",
        ),
        "javascript" => (
            "counter-js/node_modules",
            "node_modules",
            "package-lock.json",
            ".oarlock-lock.json",
        ),
        _ => return,
    };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let tools = target.join("languages/tools").join(of);
    let tools = tools
        .canonicalize()
        .expect("`cargo xtask guests --languages` installs the tools");
    fs::copy(folder.join(wanted), tools.join(noted)).expect("writable");
    std::os::unix::fs::symlink(tools, folder.join(made)).expect("writable");
}

/// Lets the guest fail at the command that adds 13, and expects the message of that failure first in the suite.
fn plant_a_failure(folder: &Path, language: &str) {
    let (source, failing, message) = match language {
        "rust" => (
            "src/lib.rs",
            "assert!(by != 13, \"unlucky\");",
            "panicked at src/lib.rs:",
        ),
        "python" => (
            "src/state_machine.py",
            "assert by != 13, \"unlucky\"",
            "AssertionError: unlucky (state_machine.py, line ",
        ),
        "javascript" => (
            "src/state-machine.js",
            "if (by === 13) throw new RangeError(\"unlucky\");",
            "RangeError: unlucky (state-machine.js:",
        ),
        _ => (
            "src/state_machine.c",
            "if (by == 13) fprintf(stderr, \"unlucky\\n\"), __builtin_trap();",
            "unlucky; wasm trap: ",
        ),
    };
    edit(&folder.join(source), |text| {
        let mark = text
            .find("Check first, change after")
            .expect("the template");
        let line = text[..mark].rfind('\n').expect("the template") + 1;
        let indent = text[line..mark].len() - text[line..mark].trim_start().len();
        let indent = &text[line..line + indent];
        format!("{}{indent}{failing}\n{}", &text[..line], &text[line..])
    });
    edit(&folder.join("suite.json"), |text| {
        let command = if language == "c" {
            r#"{"add": {"by": 13}}"#
        } else {
            r#"{"add": {"name": "apples", "by": 13}}"#
        };
        let step = format!(
            "  \"steps\": [\n    {{\"send\": {command}, \"fails\": \"trap\", \"fails_with\": \"{message}\"}},\n"
        );
        text.replace("  \"steps\": [\n", &step)
    });
}

fn edit(path: &Path, change: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(path).expect("readable");
    let changed = change(&text);
    assert_ne!(changed, text, "{}", path.display());
    fs::write(path, changed).expect("writable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_passes_its_tests_builds_and_serves() {
    let dir = tempfile::tempdir().expect("a folder");
    oarlock();
    let mut steps = Steps::begin("a new project in Rust");
    succeeds(&run_in(dir.path(), ["new", "my-counters"]));
    let folder = dir.path().join("my-counters");
    // The versions that this repository has fetched, so that the network is not needed.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("writable");
    let output = succeeds(&cargo(&folder, &["test"]));
    assert!(
        output.contains("test tests::adding_replies_with_the_sum ... ok"),
        "{output}"
    );
    assert!(
        output.contains("test tests::the_schema_is_current ... ok"),
        "{output}"
    );
    steps.done("new, cargo test");
    require_wasm_target(&folder);
    succeeds(&cargo(&folder, &["build", "--release", "--target", TARGET]));
    steps.done("build");
    let module = built().join(TARGET).join("release/my_counters");
    let cluster = Cluster::start(1, module.to_str().expect("a path of UTF-8"), &[]);
    let http = cluster.nodes[0].http();
    let ready = async || (http.get("/readyz").await.ok()?.status == 200).then_some(());
    eventually("the node is ready", ready).await;
    let response = http.apply(r#"{"add":{"name":"apples","by":5}}"#).await;
    assert_eq!(response.expect("a response").json(), json!({"value": 5}));
    steps.done("serve, apply");
    steps.end();
    clients_are_generated(&folder, &http.0);
    succeeds(&cargo_fmt(&folder));
    clippy_rejects_what_differs_between_nodes(&folder);
}

/// The project has a schema.
fn clients_are_generated(folder: &Path, endpoint: &str) {
    for language in ["python", "typescript", "rust"] {
        let flags = [
            "client",
            language,
            "--endpoints",
            endpoint,
            "--out",
            "client",
        ];
        let made = succeeds(&run_in(folder, flags));
        assert!(
            made.contains("wrote client: 1 commands, 1 queries"),
            "{made}"
        );
    }
}

/// The `clippy.toml` of the project has an effect.
fn clippy_rejects_what_differs_between_nodes(folder: &Path) {
    // Arguments after `--` are those of the compiler.
    let clippy = || {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(folder)
            .args(["clippy", "--offline", "--target-dir"])
            .arg(built())
            .args(["--", "-D", "warnings"]);
        cargo.output().expect("cargo can be started")
    };
    succeeds(&clippy());
    let source = folder.join("src/lib.rs");
    let code = fs::read_to_string(&source).expect("readable");
    let planted = "\n/// Its order differs after a restore.\npub type Map = std::collections::HashMap<u8, u8>;\n";
    fs::write(&source, format!("{code}{planted}")).expect("writable");
    let found = clippy();
    assert!(
        !found.status.success() && text(&found).contains("use BTreeMap"),
        "{}",
        text(&found)
    );
    fs::write(&source, code).expect("writable");
}

fn cargo_fmt(folder: &Path) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(folder).args(["fmt", "--check"]);
    cargo.output().expect("cargo can be started")
}

/// A cluster would refuse the module, and the tests of the project tell so before.
#[test]
fn a_field_that_is_added_without_a_new_version_fails_the_tests_of_a_new_project() {
    let dir = tempfile::tempdir().expect("a folder");
    succeeds(&run_in(dir.path(), ["new", "my-counters"]));
    let folder = dir.path().join("my-counters");
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("writable");
    let state = "    values: BTreeMap<String, i64>,\n";
    edit(&folder.join("src/lib.rs"), |code| {
        code.replacen(state, &format!("{state}    added: u64,\n"), 1)
    });
    let tested = cargo(&folder, &["test"]);
    let output = text(&tested);
    assert!(!tested.status.success(), "{output}");
    for expected in [
        "test tests::a_changed_state_needs_a_new_version ... FAILED",
        "the layout of the state changed, so a cluster refuses this module: raise `version` in src/lib.rs, write `migrate`",
        "failed; 0 ignored",
    ] {
        assert!(output.contains(expected), "{expected}\n---\n{output}");
    }
    let failed = output.matches(" ... FAILED").count();
    assert_eq!(failed, 1, "no other test fails: {output}");
}

/// An installed binary has no SDK near it, so the project contains the SDK.
#[test]
fn a_project_of_an_installed_binary_builds_outside_of_the_repository() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = dir.path().join("oarlock");
    fs::copy(oarlock(), &program).expect("writable");
    succeeds(&run_program(&program, dir.path(), &["new", "seats"]));
    let folder = dir.path().join("seats");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("readable");
    assert!(
        manifest.contains(r#"path = "vendor/oarlock/guest-sdk""#),
        "{manifest}"
    );
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("writable");
    require_wasm_target(&folder);
    plant_a_failure(&folder, "rust");
    let mut steps = Steps::begin("a project of an installed binary");
    let output = succeeds(&run_program(&program, &folder, &["test"]));
    assert!(output.contains("10 steps passed"), "{output}");
    steps.done("oarlock test, with its build");
    assert!(folder.join("build/seats.wasm").is_file());
}

/// The rules of a policy, as clients of three nodes see them.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_queue_with_rules_passes_its_tests_builds_and_serves_them_on_three_nodes() {
    let dir = tempfile::tempdir().expect("a folder");
    succeeds(&run_in(dir.path(), ["new", "--queue", "my-queue"]));
    let folder = dir.path().join("my-queue");
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("writable");
    let output = succeeds(&cargo(&folder, &["test"]));
    assert!(
        output.contains("test tests::an_order_that_is_done_is_invoiced ... ok"),
        "{output}"
    );
    succeeds(&cargo_fmt(&folder));
    require_wasm_target(&folder);
    let tested = succeeds(&run_program(oarlock(), &folder, &["test"]));
    assert!(tested.contains("7 steps passed"), "{tested}");
    let module = folder.join("build/my-queue");
    let mut cluster = Cluster::start(3, module.to_str().expect("a path of UTF-8"), &[]);
    cluster.leader().await;
    let apply = async |node: usize, command: Value| {
        let http = cluster.nodes[node].http();
        eventually("a node executes the command", async || {
            let response = http.apply(command.to_string()).await.ok()?;
            (response.status == 200 || response.status == 422).then(|| response.json())
        })
        .await
    };
    let refused = apply(0, json!({"enqueue": {"queue": "email", "payload": 1}})).await;
    assert_eq!(refused["error"]["code"], "no_customer");
    for (payload, customer) in [(1, "ann"), (2, "ann"), (3, "bob")] {
        let task =
            json!({"queue": "email", "payload": payload, "attributes": {"customer": customer}});
        apply(1, json!({ "enqueue": task })).await;
    }
    let reserve = |queue: &str| json!({"reserve": {"queues": [queue], "worker": "w", "lease_ms": 600_000, "wait_ms": 20_000}});
    let mut tasks = Vec::new();
    for payload in [1, 3, 2] {
        let task = apply(2, reserve("email")).await["tasks"][0].clone();
        assert_eq!(task["payload"], payload, "customers take turns");
        tasks.push(task);
    }
    let nack = json!({"id": tasks[0]["id"], "token": tasks[0]["token"], "error": "permanent: no such address"});
    assert_eq!(
        apply(0, json!({ "nack": nack })).await,
        json!({"state": "dead"})
    );
    apply(
        0,
        json!({"enqueue": {"queue": "orders", "payload": {"item": 7}}}),
    )
    .await;
    let order = apply(1, reserve("orders")).await["tasks"][0].clone();
    let ack = json!({"id": order["id"], "token": order["token"]});
    apply(2, json!({ "ack": ack })).await;
    let invoice = apply(0, reserve("invoices")).await["tasks"][0].clone();
    assert_eq!(invoice["payload"], json!({"item": 7}));
}

/// A cluster with the built-in queue gets rules while it serves.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_rules_takes_over_the_tasks_of_the_built_in_one() {
    let dir = tempfile::tempdir().expect("a folder");
    succeeds(&run_in(dir.path(), ["new", "--queue", "ruled"]));
    let folder = dir.path().join("ruled");
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("writable");
    require_wasm_target(&folder);
    succeeds(&run_program(oarlock(), &folder, &["build"]));
    let mut cluster = Cluster::start(3, "queue", &[]);
    cluster.leader().await;
    let http = cluster.nodes[0].http();
    let enqueue = r#"{"enqueue":{"queue":"email","payload":1}}"#;
    let added = eventually("the task is added", async || {
        let response = http.apply(enqueue).await.ok()?;
        (response.status == 200).then(|| response.json())
    })
    .await;
    let endpoints = http.0.clone();
    let upgrade = [
        "upgrade",
        "--replace-machine",
        "build/ruled.wasm",
        "--endpoints",
        &endpoints,
    ];
    succeeds(&run_program(oarlock(), &folder, &upgrade));
    let refused = http.apply(enqueue).await.expect("a response");
    assert_eq!(refused.json()["error"]["code"], "no_customer");
    let reserve = r#"{"reserve":{"queues":["email"],"worker":"w","lease_ms":1000}}"#;
    let task = http.apply(reserve).await.expect("a response").json();
    assert_eq!(task["tasks"][0]["id"], added["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_in_c_builds_and_passes_its_suite() {
    builds_and_passes_its_suite("c", "unlucky; wasm trap: ", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_in_python_builds_and_passes_its_suite() {
    let begin = "AssertionError: unlucky (state_machine.py, line ";
    builds_and_passes_its_suite("python", begin, ", in apply)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_in_javascript_builds_and_passes_its_suite() {
    let begin = "RangeError: unlucky (state-machine.js:";
    builds_and_passes_its_suite("javascript", begin, ":").await;
}

/// The error of a client of a node where the guest trapped: the type, text, file and line of the exception.
async fn a_client_gets_the_exception(folder: &Path, language: &str, begin: &str, end: &str) {
    let (source, failing) = match language {
        "python" => ("src/state_machine.py", "assert by != 13"),
        "javascript" => ("src/state-machine.js", "if (by === 13) throw"),
        _ => ("src/state_machine.c", "if (by == 13)"),
    };
    let source = fs::read_to_string(folder.join(source)).expect("readable");
    let mut lines = source.lines();
    let line = 1 + lines
        .position(|line| line.contains(failing))
        .expect("planted");
    let module = folder.join("build/seats");
    // The start of a node waits for the machine code, which takes long for a runtime of a language.
    compile_file(&module.with_extension("wasm"));
    let mut cluster = Cluster::start(1, module.to_str().expect("a path of UTF-8"), &[]);
    cluster.leader().await;
    let command = match language {
        "c" => r#"{"add":{"by":13}}"#,
        _ => r#"{"add":{"name":"apples","by":13}}"#,
    };
    let http = cluster.nodes[0].http();
    let failed = http.apply(command).await.expect("a response");
    let error = failed.json()["error"].clone();
    assert_eq!((failed.status, &error["code"]), (500, &json!("trap")));
    let message = error["message"].as_str().expect("a text");
    let expected = match language {
        "c" => begin.to_owned(),
        _ => format!("{begin}{line}"),
    };
    let (_, rest) = message
        .split_once(expected.as_str())
        .unwrap_or_else(|| panic!("{expected} is missing in: {message}"));
    assert!(rest.starts_with(end), "{message}");
    let next = http.apply(command.replace("13", "5")).await;
    assert_eq!(next.expect("a response").json(), json!({"value": 5}));
}

/// `begin` and `end`: what stands before and after the number of the line in the error of a guest that fails.
async fn builds_and_passes_its_suite(language: &str, begin: &str, end: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    succeeds(&run_in(dir.path(), ["new", "seats", "--lang", language]));
    let folder = dir.path().join("seats");
    link_tools(&folder, language);
    plant_a_failure(&folder, language);
    let mut steps = Steps::begin(format!("a new project in {language}"));
    let built = succeeds(&run_in(&folder, ["build"]));
    assert!(
        built.contains("built build/seats.wasm: seats version 1"),
        "{built}"
    );
    steps.done("oarlock build");
    let tested = run_in(&folder, ["test", "build/seats.wasm", "--json"]);
    let report: Value = serde_json::from_slice(&tested.stdout).expect("JSON");
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["steps"].as_u64() >= Some(9), "{report}");
    steps.done("oarlock test");
    steps.end();
    let flags = ["client", "python", "--schema", "build/seats.wasm", "--out"];
    let client = run_in(&folder, [&flags[..], &["seats.py"]].concat());
    if language == "c" {
        assert!(text(&client).contains("has no schema"), "{client:?}");
    } else {
        let made = succeeds(&client);
        assert!(
            made.contains("wrote seats.py: 1 commands, 1 queries"),
            "{made}"
        );
    }
    a_client_gets_the_exception(&folder, language, begin, end).await;
}

/// State outside of the snapshot is on the live copy only.
#[test]
fn state_that_is_missing_from_the_snapshot_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    succeeds(&run_in(dir.path(), ["new", "seats", "--lang", "c"]));
    let folder = dir.path().join("seats");
    let source = folder.join("src/state_machine.c");
    let code = fs::read_to_string(&source).expect("readable");
    let line = "  value = sum;\n";
    assert!(code.contains(line), "the template has changed");
    let forgetful = "  static int64_t calls;\n  value = sum + 1000 * calls++;\n";
    fs::write(&source, code.replace(line, forgetful)).expect("writable");
    let suite = r#"{"steps": [
        {"send": {"add": {"by": 5}}, "reply": {"value": 5}},
        {"send": {"add": {"by": 1}}, "reply": {"value": 1006}}
    ]}"#;
    fs::write(folder.join("suite.json"), suite).expect("writable");
    let tested = run_in(&folder, ["test"]);
    let output = text(&tested);
    assert_eq!(tested.status.code(), Some(1), "{output}");
    for expected in [
        "suite.json:3: step 2: send",
        "outcome, on the copy: restored after each step",
        "outcome, on the copy: upgraded after each step",
        "got       reply {\"value\":6}",
        "error: 1 of 2 steps failed",
    ] {
        assert!(output.contains(expected), "{expected}\n---\n{output}");
    }
}

#[test]
fn what_a_build_needs_and_does_not_find_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let nothing = run_in(dir.path(), ["build"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing).contains("oarlock new"), "{}", text(&nothing));
    for (language, needed) in [
        ("c", "apt-get install clang"),
        ("python", "apt-get install python3"),
        ("javascript", "apt-get install nodejs"),
        ("rust", "rustup target add"),
    ] {
        succeeds(&run_in(dir.path(), ["new", language, "--lang", language]));
        // No program is found.
        let mut command = Command::new(oarlock());
        command
            .current_dir(dir.path().join(language))
            .arg("build")
            .env("PATH", dir.path());
        let output = command.output().expect("it can be started");
        assert_eq!(output.status.code(), Some(1), "{language}");
        let output = text(&output);
        assert!(
            output.contains("can't be started") && output.contains(needed),
            "{language}: {output}"
        );
    }
}

#[test]
fn a_language_without_a_template_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let refused = run_in(dir.path(), ["new", "seats", "--lang", "go"]);
    assert_eq!(refused.status.code(), Some(2));
    let message = text(&refused);
    assert!(
        message.contains("there is no template for Go: "),
        "{message}"
    );
    assert!(!dir.path().join("seats").exists());
}
