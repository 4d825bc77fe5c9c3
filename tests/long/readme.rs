//! The README is correct: its guest, written verbatim into a folder outside the repository, builds, passes its tests and
//! serves; its commands get the replies that the README shows; its flags exist.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use oarlock_tests::process::{Cluster, TARGET, eventually, require_wasm_target, run, text};
use oarlock_wasm::{
    CommandOutcome, Envelope, GuestEngine, GuestModule, MachineLimits, WasmMachine,
};
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::{Moment, ReplicatedStateMachine};

const README: &str = include_str!("../../README.md");
/// What `oarlock` prints before the refusal of a guest.
const REJECTED: &str = "error: the state machine rejected the command: ";
/// The path to the SDK in the README.
const SDK: &str = "../oarlock/guest-sdk";

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize()
        .expect("this package stands in the repository")
}

/// The only block of a language.
fn block(language: &str) -> String {
    let fence = format!("\n```{language}\n");
    let blocks: Vec<&str> = README.split(&fence).skip(1).collect();
    assert_eq!(blocks.len(), 1, "the README has one block of {language}");
    let (text, _) = blocks[0].split_once("\n```").expect("the block ends");
    format!("{text}\n")
}

/// The part under a heading.
fn section(heading: &str) -> &'static str {
    let start = format!("\n## {heading}\n");
    let (_, rest) = README
        .split_once(&start)
        .unwrap_or_else(|| panic!("the README has a part {heading:?}"));
    rest.split("\n## ").next().unwrap_or(rest)
}

/// A command or a query of the README, and the reply that it shows, if any.
#[derive(Debug)]
struct Exchange {
    query: bool,
    body: String,
    reply: Option<String>,
}

/// What a part of the README sends: `oarlock apply '…'  # reply` and `curl …/v1/apply … -d '…'`.
fn sent(part: &str) -> Vec<Exchange> {
    let exchanges = part.lines().filter_map(|line| {
        let query = line.starts_with("oarlock query '") || line.contains("/v1/query");
        let apply = line.starts_with("oarlock apply '") || line.contains("/v1/apply ");
        let rest = if line.starts_with("curl ") {
            line.split_once(" -d '")?.1
        } else {
            line.split_once('\'')?.1
        };
        let (body, after) = rest.split_once('\'').filter(|_| query || apply)?;
        let reply = after
            .split_once('#')
            .map(|(_, reply)| reply.trim().to_owned());
        Some(Exchange {
            query,
            body: body.to_owned(),
            reply,
        })
    });
    exchanges.collect()
}

/// Sends all of it to a new machine, and compares.
fn exchange(module: GuestModule, part: &str) {
    let mut machine = WasmMachine::new(module, MachineLimits::default(), None).unwrap();
    let exchanges = sent(part);
    assert!(exchanges.len() > 1, "{part}");
    for (number, Exchange { query, body, reply }) in (1..).zip(exchanges) {
        let at = Moment {
            index: Index(number),
            time_ms: 1,
        };
        let got = if query {
            String::from_utf8(machine.query(at, Bytes::from(body.clone())).unwrap().into()).unwrap()
        } else {
            let command = Envelope::command(None, body.as_bytes()).unwrap();
            match machine.apply(at, &[command]).unwrap().remove(0) {
                CommandOutcome::Accepted(reply) => String::from_utf8(reply.into()).unwrap(),
                CommandOutcome::Rejected(refusal) => {
                    format!("{REJECTED}{}", String::from_utf8_lossy(&refusal))
                }
                other => panic!("{body}: {other:?}"),
            }
        };
        match reply {
            Some(reply) => assert_eq!(got, reply, "the reply to {body}"),
            None => assert!(!got.starts_with(REJECTED), "{body}: {got}"),
        }
    }
}

fn load(module: Vec<u8>) -> GuestModule {
    let engine = GuestEngine::new().unwrap();
    GuestModule::load(&engine, module, &MachineLimits::default()).unwrap()
}

/// Writes the guest of the README to a folder, as a reader would; only the path to the SDK differs.
fn write_guest(folder: &Path) {
    let manifest = block("toml");
    assert_eq!(
        manifest.matches(SDK).count(),
        1,
        "the manifest names the SDK once"
    );
    let sdk = root().join("guest-sdk");
    let manifest = manifest.replace(SDK, sdk.to_str().expect("a path of UTF-8"));
    fs::create_dir(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), block("rust")).unwrap();
    // The versions that this repository has fetched, so that the network is not needed.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
}

/// Runs cargo in the guest's folder. The build results are kept for the next run.
fn cargo(folder: &Path, arguments: &[&str]) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(folder)
        .args(arguments)
        .arg("--offline")
        .arg("--target-dir")
        .arg(built());
    cargo.output().expect("cargo can be started")
}

fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guest_of_the_readme_builds_passes_its_tests_and_replies_as_shown() {
    let folder = tempfile::tempdir().unwrap();
    write_guest(folder.path());
    let tested = cargo(folder.path(), &["test"]);
    let output = text(&tested);
    assert!(
        tested.status.success() && output.contains("test tests::a_seat_is_sold_once ... ok"),
        "{output}"
    );
    require_wasm_target(folder.path());
    let module = cargo(folder.path(), &["build", "--release", "--target", TARGET]);
    assert!(module.status.success(), "{}", text(&module));
    let module = built().join(TARGET).join("release/seats.wasm");
    let path = module.to_str().expect("a path of UTF-8");
    let checked = run(["check", path]);
    assert!(checked.status.success(), "{}", text(&checked));
    exchange(load(fs::read(&module).unwrap()), section("Write a guest"));
    serve(path.trim_end_matches(".wasm"), section("Write a guest")).await;
}

/// Serves a guest and sends the commands of the part.
async fn serve(guest: &str, part: &str) {
    let cluster = Cluster::start(1, guest, &[]);
    let http = cluster.nodes[0].http();
    let ready = async || (http.get("/readyz").await.ok()?.status == 200).then_some(());
    eventually("the node is ready", ready).await;
    for Exchange { query, body, reply } in sent(part) {
        let name = if query { "query" } else { "apply" };
        let output = run([name, &body, "--endpoints", &http.0]);
        let reply = reply.unwrap_or_default();
        let code = i32::from(reply.starts_with(REJECTED));
        assert_eq!(output.status.code(), Some(code), "{body}");
        assert_eq!(text(&output).trim_end(), reply, "the output of {body}");
    }
}

#[test]
fn every_flag_of_the_readme_is_one_of_its_command() {
    let joined = README.replace("\\\n", " ");
    let mut seen = 0;
    for line in joined.lines() {
        let line = line.replace("cargo run --release -- ", "oarlock ");
        let Some((_, called)) = line.split_once("oarlock ") else {
            continue;
        };
        let mut parts = called
            .split('#')
            .next()
            .unwrap_or(called)
            .split_whitespace();
        let command = parts.next().unwrap_or_default();
        let flags: Vec<&str> = parts.filter(|part| part.starts_with("--")).collect();
        if line.contains('`') || flags.is_empty() {
            continue;
        }
        let help = text(&run([command, "--help"]));
        for flag in flags {
            assert!(help.contains(flag), "oarlock {command} has no {flag}");
            seen += 1;
        }
    }
    assert!(seen > 5, "the README has fewer flags than it had: {seen}");
}

#[test]
fn the_commands_of_the_readme_are_accepted_by_the_guests_that_they_are_for() {
    let dist = root().join("examples-wasm/dist");
    let guest = |name: &str| load(fs::read(dist.join(name)).unwrap());
    exchange(guest("queue.wasm"), section("Start"));
    exchange(guest("kv.wasm"), section("HTTP"));
}

#[test]
#[should_panic(expected = "the reply to")]
fn a_reply_that_differs_from_the_readme_is_found() {
    let wrong =
        "oarlock apply '{\"add\":{\"by\":5}}'  # {\"value\":6}\noarlock query '{\"get\":{}}'\n";
    let counter = root().join("examples-wasm/dist/counter.wasm");
    exchange(load(fs::read(counter).unwrap()), wrong);
}
