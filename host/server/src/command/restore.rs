//! `oarlock restore`: makes the data directory of a new cluster from the file of `oarlock backup`, or from an archive.

mod archived;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde_json::json;
use task_queue_raft::ids::{Index, LogId, Term};
use task_queue_raft::storage::StorageError;
use task_queue_raft::storage::restore::{RestoredCluster, restore as restore_into};

use super::backup::described;
use super::new_cluster::{self, next_steps};
use super::output::{write_json, write_out};
use crate::backup::{BackupReader, Manifest};
use crate::cli::RestoreArgs;
use crate::exit::Failure;
use crate::private_files;
use crate::settings::check_restored_node;

const READ_BYTES: usize = 1 << 20;

/// Restores a backup into a new data directory.
///
/// # Errors
/// The file is not a complete backup, the directory is in use, or the disk returns an error. No directory is left then.
pub(crate) fn restore(args: RestoreArgs) -> Result<(), Failure> {
    private_files::make_new_files_private();
    let (address, cluster_id) = (args.peer_addr.as_deref(), args.cluster_id.as_deref());
    check_restored_node(&args.node_id, address, cluster_id).map_err(Failure::usage)?;
    if let Some(dir) = &args.archive {
        return archived::restore(&args, dir);
    }
    match &args.file {
        Some(file) => restore_file(&args, file),
        None => Err(Failure::usage(
            "name a backup, or an archive with --archive",
        )),
    }
}

fn restore_file(args: &RestoreArgs, file: &Path) -> Result<(), Failure> {
    let opened = File::open(file).map_err(|error| {
        Failure::failed(format!(
            "cannot read {}: {error}; check the path and its permissions",
            file.display()
        ))
    })?;
    let reader = BackupReader::open(BufReader::with_capacity(READ_BYTES, opened));
    let (manifest, mut state) = reader.map_err(|error| refused(file, &error))?;
    let cluster = new_cluster(args, &manifest)?;
    let dir = &args.storage.data_dir;
    let restored = restore_into(dir, &cluster, &mut state);
    let meta = restored.map_err(|error| not_restored(file, &error))?;
    if args.output.json {
        let value = json!({
            "data_dir": dir,
            "node_id": args.node_id,
            "cluster_id": cluster.identity.cluster_id,
            "lineage": meta.cluster.lineage.to_string(),
            "backup": manifest,
        });
        return write_json(io::stdout().lock(), &value);
    }
    let next = next_steps(dir, &cluster, &meta, args.peer_addr.as_deref());
    let text = format!("restored {}\n\n{next}", described(&manifest));
    write_out(io::stdout().lock(), text.as_bytes())
}

fn new_cluster(args: &RestoreArgs, manifest: &Manifest) -> Result<RestoredCluster, Failure> {
    let identity = new_cluster::identity(args, manifest);
    let last = LogId::new(Term(manifest.term), Index(manifest.index));
    let (level, time_ms) = (manifest.level, manifest.time_ms);
    new_cluster::begin(identity, args.peer_addr.as_deref(), level, last, time_ms)
}

fn refused(file: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!(
        "cannot restore {}: {error}; nothing was restored",
        file.display()
    ))
}

/// The backup's own error, if it is the cause.
fn not_restored(file: &Path, error: &StorageError) -> Failure {
    match error {
        StorageError::Io { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
            refused(file, source)
        }
        error => refused(file, error),
    }
}
