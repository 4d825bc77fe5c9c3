//! `oarlock recover`: a way past an entry at which every node stops, and out of the loss of a majority. It works on the data
//! directories of stopped nodes.
//!
//! | module | contents |
//! |---|---|
//! | [`survivors`] | what directories contain, which one is best, and what may be lost |
//! | [`rebuild`] | a new cluster from one of them |

mod rebuild;
mod survivors;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use oarlock_wasm::{EntryDecision, GuestEngine, GuestModule, MachineLimits};
use serde_json::json;
use task_queue_raft::entry::{Entry, Payload};
use task_queue_raft::ids::Index;
use task_queue_raft::storage::node_store::NodeStore;
use task_queue_raft::storage::snapshot::SnapshotFiles;
use task_queue_raft::storage::{LogStore, SnapshotStore, StorageError};

use super::output::{print_safely, write_json, write_out};
use crate::cli::RecoverArgs;
use crate::decisions::{Decisions, StoredDecision};
use crate::exit::Failure;

/// Compares survivors, makes a new cluster from one, records a decision about an entry, or shows the decisions.
///
/// # Errors
/// A directory is in use or damaged, another one is better, the entry can't be decided on, or the successor is invalid.
pub(crate) fn recover(args: RecoverArgs) -> Result<(), Failure> {
    match &args.into {
        Some(into) if !args.dry_run => rebuild::rebuild(&args, into),
        _ if args.dry_run || !args.survivors.is_empty() => survivors::show(&args),
        _ => decide(args),
    }
}

/// Records a decision about an entry in the data directory, or shows the decisions.
fn decide(args: RecoverArgs) -> Result<(), Failure> {
    let dir = args.storage.data_dir.as_path();
    let mut decisions = Decisions::read(dir).map_err(Failure::failed)?;
    let mut text = String::new();
    if let Some(index) = args.skip_entry.or(args.at_entry) {
        let entry = undecided(dir, Index(index))?;
        let commands = commands_of(&entry)?;
        let successor = match &args.successor {
            Some(file) => Some(keep_successor(dir, file)?),
            None => None,
        };
        decisions.add(StoredDecision {
            index,
            commands: commands.to_string(),
            successor,
        });
        decisions.write(dir).map_err(Failure::failed)?;
        text.push_str("recorded. Do the same on the data directory of every other node, then start the nodes\n");
    }
    if args.output.json {
        let value = json!({ "decisions": decisions.entries });
        return write_json(std::io::stdout().lock(), &value);
    }
    text.push_str(&listed(&decisions));
    write_out(std::io::stdout().lock(), text.as_bytes())
}

/// The entry, which the node has not executed into a snapshot yet.
fn undecided(dir: &Path, index: Index) -> Result<Entry, Failure> {
    let broken = |error: StorageError| {
        Failure::failed(format!(
            "cannot read the log in {}: {error}; nothing was recorded",
            dir.display()
        ))
    };
    let store = NodeStore::open_existing(dir).map_err(broken)?;
    let mut store = store.ok_or_else(|| {
        Failure::failed(format!(
            "{} contains no log; pass the data directory of the node that stopped",
            dir.display()
        ))
    })?;
    let stored = store.load().map_err(broken)?;
    let snapshots = SnapshotFiles::open(dir).map_err(broken)?;
    let snapshot = snapshots.newest().map_err(broken)?;
    let done = snapshot.map_or(Index(0), |snapshot| snapshot.last.index);
    if index <= done {
        return Err(Failure::failed(format!(
            "entry {index} can't be decided on: a snapshot of this node contains the entries up to {done}, so the node has passed it; nothing was recorded. Compare with the entry in the message of the stopped node"
        )));
    }
    if index <= stored.purged.index || index > stored.last.index {
        return Err(Failure::failed(format!(
            "entry {index} is not in the log of this node, which has entries {} to {}; nothing was recorded. Start the node: it gets the decision with a snapshot from a node that has it",
            stored.purged.index.next(),
            stored.last.index
        )));
    }
    let entries = store.read(index, index, u64::MAX).map_err(broken)?;
    let entry = entries.into_iter().next();
    entry.ok_or_else(|| {
        Failure::failed(format!(
            "entry {index} could not be read; nothing was recorded"
        ))
    })
}

/// Digest of the entry's commands.
fn commands_of(entry: &Entry) -> Result<oarlock_wasm::Sha256, Failure> {
    match &entry.payload {
        Payload::Commands(commands) => {
            let data = commands.iter().map(|command| &command.data);
            Ok(EntryDecision::digest_of(data))
        }
        _ => Err(Failure::failed(format!(
            "entry {} contains no commands but a change of members or settings, or nothing, so no guest stops at it; nothing was recorded. Compare with the entry in the message of the stopped node",
            entry.id.index
        ))),
    }
}

/// Checks a successor as a node does, and copies it into the data directory.
fn keep_successor(dir: &Path, file: &Path) -> Result<String, Failure> {
    let bytes = fs::read(file).map_err(|error| {
        Failure::failed(format!(
            "cannot read {}: {error}; pass the .wasm file that your build wrote",
            file.display()
        ))
    })?;
    let engine = GuestEngine::new().map_err(Failure::failed)?;
    GuestModule::load(&engine, bytes.clone(), &MachineLimits::default()).map_err(|error| {
        Failure::failed(format!(
            "{} is refused: {error}; nothing was recorded",
            file.display()
        ))
    })?;
    Decisions::keep_successor(dir, &bytes).map_err(Failure::failed)
}

fn listed(decisions: &Decisions) -> String {
    if decisions.entries.is_empty() {
        return "no decisions about entries\n".to_owned();
    }
    let mut text = String::new();
    for decision in &decisions.entries {
        let what = match &decision.successor {
            None => "skip".to_owned(),
            Some(sha256) => format!("successor {}", print_safely(sha256)),
        };
        // Writing to a string never fails.
        let _ = writeln!(
            text,
            "entry {}  {what}  commands {}",
            decision.index,
            print_safely(&decision.commands)
        );
    }
    text
}

#[cfg(test)]
mod tests;
