//! `oarlock restore`: makes the data directory of a new cluster from the file of `oarlock backup`.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde_json::json;
use task_queue_raft::entry::SnapshotMeta;
use task_queue_raft::ids::{Index, LogId, StoreId, Term};
use task_queue_raft::storage::StorageError;
use task_queue_raft::storage::redb::Identity;
use task_queue_raft::storage::restore::{RestoredCluster, restore as restore_into};

use super::backup::described;
use super::output::{print_safely, write_json, write_out};
use crate::backup::{BackupReader, Manifest};
use crate::cli::RestoreArgs;
use crate::exit::Failure;
use crate::private_files;
use crate::settings::{LONE_NODE, check_restored_node};

const READ_BYTES: usize = 1 << 20;

/// Restores a backup into a new data directory.
///
/// # Errors
/// The file is not a complete backup, the directory is in use, or the disk returns an error. No directory is left then.
pub(crate) fn restore(args: RestoreArgs) -> Result<(), Failure> {
    private_files::make_new_files_private();
    let (address, cluster_id) = (args.peer_addr.as_deref(), args.cluster_id.as_deref());
    check_restored_node(&args.node_id, address, cluster_id).map_err(Failure::usage)?;
    let file = &args.file;
    let opened = File::open(file).map_err(|error| {
        Failure::failed(format!(
            "cannot read {}: {error}; check the path and its permissions",
            file.display()
        ))
    })?;
    let reader = BackupReader::open(BufReader::with_capacity(READ_BYTES, opened));
    let (manifest, mut state) = reader.map_err(|error| refused(file, &error))?;
    let cluster = new_cluster(&args, &manifest)?;
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
    write_out(
        io::stdout().lock(),
        told(&args, &manifest, &cluster, &meta).as_bytes(),
    )
}

fn told(
    args: &RestoreArgs,
    manifest: &Manifest,
    cluster: &RestoredCluster,
    meta: &SnapshotMeta,
) -> String {
    let dir = args.storage.data_dir.display().to_string();
    let mut flags = format!("--data-dir {}", print_safely(&dir));
    if args.peer_addr.is_some() || args.node_id != LONE_NODE {
        flags.push_str(&format!(" --node-id {}", print_safely(&args.node_id)));
    }
    if let Some(address) = &args.peer_addr {
        flags.push_str(&format!(" --peer-addr {}", print_safely(address)));
    }
    format!(
        "restored {}\n\nThe cluster {} begins anew with the node {}, as lineage {}. Nodes of the old cluster can't join it.\nNext:\n  oarlock serve {flags}\nThen start the other nodes on empty directories, and add each with `oarlock members add`.\n",
        described(manifest),
        print_safely(&cluster.identity.cluster_id),
        print_safely(&args.node_id),
        meta.cluster.lineage,
    )
}

fn new_cluster(args: &RestoreArgs, manifest: &Manifest) -> Result<RestoredCluster, Failure> {
    if manifest.level == 0 || manifest.level > task_queue_raft::CLUSTER_LEVEL {
        return Err(Failure::failed(format!(
            "the backup needs cluster level {}, and this release knows levels 1 to {}; use a later release",
            manifest.level,
            task_queue_raft::CLUSTER_LEVEL
        )));
    }
    let random = || {
        getrandom::u64().map_err(|error| {
            Failure::failed(format!(
                "the operating system has no randomness: {error}; nothing was restored"
            ))
        })
    };
    let cluster_id = args.cluster_id.clone();
    Ok(RestoredCluster {
        identity: Identity {
            node_id: args.node_id.as_str().into(),
            cluster_id: cluster_id.unwrap_or_else(|| manifest.cluster_id.clone()),
        },
        address: args.peer_addr.clone().unwrap_or_default(),
        store_id: StoreId(random()?.max(1)),
        random: u128::from(random()?) << 64 | u128::from(random()?),
        level: manifest.level,
        last: LogId::new(Term(manifest.term), Index(manifest.index)),
        time_ms: manifest.time_ms,
    })
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
