//! `oarlock verify`: checks a backup, or the data directory of a stopped node. It removes and repairs nothing; after a crash, opening
//! the log takes back what was not complete, as a start does.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde_json::{Value, json};
use task_queue_raft::ids::Index;
use task_queue_raft::storage::redb::RedbStore;
use task_queue_raft::storage::snapshot::SnapshotFiles;
use task_queue_raft::storage::{LogStore, SnapshotStore, StorageError};

use super::backup::described;
use super::output::{print_safely, write_json, write_out};
use crate::backup::BackupReader;
use crate::cli::VerifyArgs;
use crate::exit::Failure;

const READ_BYTES: usize = 1 << 20;

/// Reads every byte and checks every checksum.
///
/// # Errors
/// Something is damaged, or can't be read.
pub(crate) fn verify(args: VerifyArgs) -> Result<(), Failure> {
    let (text, value) = match (&args.file, &args.dir) {
        (Some(file), _) => of_backup(file)?,
        (None, Some(dir)) => of_directory(dir)?,
        (None, None) => return Err(Failure::usage("name a backup, or a --data-dir")),
    };
    if args.output.json {
        return write_json(io::stdout().lock(), &value);
    }
    write_out(io::stdout().lock(), text.as_bytes())
}

fn of_backup(path: &Path) -> Result<(String, Value), Failure> {
    let broken = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("{} is not sound: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| {
        Failure::failed(format!(
            "cannot read {}: {error}; check the path and its permissions",
            path.display()
        ))
    })?;
    let opened = BackupReader::open(BufReader::with_capacity(READ_BYTES, file));
    let (manifest, reader) = opened.map_err(|error| broken(&error))?;
    reader.check().map_err(|error| broken(&error))?;
    let name = path.display().to_string();
    let text = format!("{}: sound. {}\n", print_safely(&name), described(&manifest));
    Ok((text, json!({ "sound": true, "backup": manifest })))
}

fn of_directory(dir: &Path) -> Result<(String, Value), Failure> {
    let broken = |error: StorageError| {
        Failure::failed(format!(
            "{} is not sound: {error}",
            print_safely(&dir.display().to_string())
        ))
    };
    let store = RedbStore::open_existing(dir).map_err(broken)?;
    let mut store = store.ok_or_else(|| {
        Failure::failed(format!(
            "{} contains no log; pass the data directory of a node",
            dir.display()
        ))
    })?;
    let stored = store.load().map_err(broken)?;
    let entries = read_entries(&store, stored.purged.index, stored.last.index).map_err(broken)?;
    let snapshot = read_snapshot(dir).map_err(broken)?;
    let covered = snapshot.map_or(Index::ZERO, |(index, _)| index);
    if covered < stored.purged.index {
        return Err(Failure::failed(format!(
            "{} is not sound: the log begins after entry {}, and the newest snapshot ends at entry {covered}; start the node with \
             --repair, so that it gets both from its peers",
            dir.display(),
            stored.purged.index
        )));
    }
    let identity = store.identity();
    let text = format!(
        "{}: sound. Node {} of the cluster {}, term {}, {entries} entries up to {}, snapshot up to entry {covered}\n",
        print_safely(&dir.display().to_string()),
        print_safely(identity.node_id.as_str()),
        print_safely(&identity.cluster_id),
        stored.hard_state.term,
        stored.last.index,
    );
    let value = json!({
        "sound": true,
        "node_id": identity.node_id.as_str(),
        "cluster_id": identity.cluster_id,
        "term": stored.hard_state.term.0,
        "entries": entries,
        "last": stored.last.index.0,
        "snapshot": covered.0,
        "snapshot_bytes": snapshot.map_or(0, |(_, bytes)| bytes),
    });
    Ok((text, value))
}

/// Reads and decodes all entries. Returns how many there are.
fn read_entries(store: &RedbStore, purged: Index, last: Index) -> Result<u64, StorageError> {
    let mut next = purged.next();
    while next <= last {
        let read = store.read(next, last, 1 << 20)?;
        next = Index(next.0 + read.len() as u64);
    }
    Ok(last.0 - purged.0)
}

/// Reads the newest snapshot, if there is one: its last entry and its length.
fn read_snapshot(dir: &Path) -> Result<Option<(Index, u64)>, StorageError> {
    if !SnapshotFiles::directory(dir).is_dir() {
        return Ok(None);
    }
    let snapshots = SnapshotFiles::to_read(dir);
    let Some(meta) = snapshots.newest()? else {
        return Ok(None);
    };
    // Reads all bytes and compares the checksum.
    snapshots.open(&meta)?;
    Ok(Some((meta.last.index, meta.length)))
}
