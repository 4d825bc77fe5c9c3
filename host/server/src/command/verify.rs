//! `oarlock verify`: checks a backup, an archive, or the data directory of a stopped node. It removes and repairs nothing; after a crash, opening
//! the log takes back what was not complete, as a start does.

mod archive;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde_json::{Value, json};
use task_queue_raft::ids::Index;
use task_queue_raft::storage::survivor::Survivor;

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
        (Some(dir), _) if dir.is_dir() => archive::of_archive(dir)?,
        (Some(file), _) => of_backup(file)?,
        (None, Some(dir)) => of_directory(dir)?,
        (None, None) => {
            return Err(Failure::usage(
                "name a backup, the directory of an archive, or a --data-dir",
            ));
        }
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
    let name = dir.display().to_string();
    let name = print_safely(&name);
    let found = Survivor::read(dir)
        .map_err(|error| Failure::failed(format!("{name} is not sound: {error}")))?;
    let found = found.ok_or_else(|| {
        Failure::failed(format!(
            "{name} contains no log; pass the data directory of a node"
        ))
    })?;
    let identity = &found.identity;
    let snapshot = found.snapshot.as_ref();
    let covered = snapshot.map_or(Index::ZERO, |snapshot| snapshot.last.index);
    let last = found.last.index;
    let entries = last.0.saturating_sub(found.purged.0);
    let text = format!(
        "{name}: sound. Node {} of the cluster {}, term {}, {entries} entries up to {last}, snapshot up to entry {covered}\n",
        print_safely(identity.node_id.as_str()),
        print_safely(&identity.cluster_id),
        found.term,
    );
    let value = json!({
        "sound": true,
        "node_id": identity.node_id.as_str(),
        "cluster_id": identity.cluster_id,
        "term": found.term.0,
        "entries": entries,
        "last": last.0,
        "snapshot": covered.0,
        "snapshot_bytes": snapshot.map_or(0, |snapshot| snapshot.length),
    });
    Ok((text, value))
}
