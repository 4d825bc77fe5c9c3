use bytes::Bytes;
use oarlock_wasm::Envelope;
use task_queue_raft::entry::Command;
use task_queue_raft::ids::{LogId, Term};
use task_queue_raft::raft::durable::WriteBatch;
use task_queue_raft::storage::node_store::Identity;

use super::*;
use crate::cli::Cli;

const QUEUE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples-wasm/dist/queue.wasm"
);

fn entry(index: u64, payload: Payload) -> Entry {
    Entry {
        id: LogId {
            term: Term(1),
            index: Index(index),
        },
        time_ms: 1,
        payload,
    }
}

fn commands() -> Vec<Bytes> {
    vec![Envelope::command(None, b"deep").unwrap()]
}

/// A data directory with a noop, an entry with commands, and another noop.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity {
        node_id: "node1".into(),
        cluster_id: "test".to_owned(),
    };
    let mut store = NodeStore::open(dir.path(), &identity).unwrap();
    store.load().unwrap();
    let commands = commands().into_iter().map(|data| Command {
        session: 1,
        sequence: 1,
        data,
    });
    let entries = vec![
        entry(1, Payload::Noop),
        entry(2, Payload::Commands(commands.collect())),
        entry(3, Payload::Noop),
    ];
    let batch = WriteBatch {
        entries,
        ..WriteBatch::default()
    };
    store.write(&batch).unwrap();
    dir
}

fn run(dir: &Path, flags: &[&str]) -> Result<(), Failure> {
    let mut arguments = vec!["oarlock", "recover", "--data-dir", dir.to_str().unwrap()];
    arguments.extend(flags);
    let cli = <Cli as clap::Parser>::try_parse_from(arguments).unwrap();
    match cli.command {
        crate::cli::CliCommand::Recover(args) => recover(args),
        other => panic!("{other:?}"),
    }
}

fn refusal(dir: &Path, flags: &[&str]) -> String {
    let failure = run(dir, flags).unwrap_err();
    assert_eq!(failure.code(), 1);
    assert_eq!(Decisions::read(dir).unwrap(), Decisions::default());
    failure.to_string()
}

#[test]
fn a_decision_names_the_entry_and_its_commands() {
    let dir = directory();
    run(dir.path(), &["--skip-entry", "2"]).unwrap();
    let decision = StoredDecision {
        index: 2,
        commands: EntryDecision::digest_of(&commands()).to_string(),
        successor: None,
    };
    let decisions = Decisions::read(dir.path()).unwrap();
    assert_eq!(decisions.entries, std::slice::from_ref(&decision));
    let text = listed(&decisions);
    assert!(text.starts_with("entry 2  skip"), "{text}");
    // Another decision about the same entry replaces it.
    run(dir.path(), &["--at-entry", "2", "--successor", QUEUE]).unwrap();
    let decisions = Decisions::read(dir.path()).unwrap();
    let sha256 = oarlock_wasm::Sha256::of(&fs::read(QUEUE).unwrap()).to_string();
    let successor = Some(sha256.clone());
    assert_eq!(
        decisions.entries,
        [StoredDecision {
            successor,
            ..decision
        }]
    );
    let kept = dir.path().join(format!("successor-{sha256}.wasm"));
    assert_eq!(fs::read(kept).unwrap(), fs::read(QUEUE).unwrap());
}

#[test]
fn what_cannot_be_decided_on_is_refused_with_the_reason() {
    let dir = directory();
    let error = refusal(dir.path(), &["--skip-entry", "1"]);
    assert!(error.contains("contains no commands"), "{error}");
    let error = refusal(dir.path(), &["--skip-entry", "4"]);
    assert!(error.contains("has entries 1 to 3"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = refusal(empty.path(), &["--skip-entry", "2"]);
    assert!(error.contains("contains no log"), "{error}");
    let wrong = dir.path().join("wrong.wasm");
    fs::write(&wrong, b"\0asm\x01\0\0\0").unwrap();
    let flags = ["--at-entry", "2", "--successor", wrong.to_str().unwrap()];
    let error = refusal(dir.path(), &flags);
    assert!(error.contains("is refused"), "{error}");
}

#[test]
fn an_entry_in_a_snapshot_was_passed() {
    let dir = directory();
    let snapshots = SnapshotFiles::open(dir.path()).unwrap();
    let last = LogId {
        term: Term(1),
        index: Index(2),
    };
    let cluster = task_queue_raft::entry::ClusterState::default();
    let writer = snapshots.create(last, 1, None, cluster).unwrap();
    writer.finish().unwrap();
    drop(snapshots);
    let error = refusal(dir.path(), &["--skip-entry", "2"]);
    assert!(error.contains("the entries up to 2"), "{error}");
}

#[test]
fn a_running_node_keeps_its_directory_to_itself() {
    let dir = directory();
    let running = NodeStore::open_existing(dir.path()).unwrap();
    let error = refusal(dir.path(), &["--skip-entry", "2"]);
    assert!(error.contains("cannot read the log"), "{error}");
    drop(running);
    run(dir.path(), &["--skip-entry", "2"]).unwrap();
}
