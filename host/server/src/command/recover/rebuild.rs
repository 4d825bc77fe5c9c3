//! A new cluster from the directory of a survivor: its snapshot and its log are executed here, and the state becomes the first snapshot of
//! the new cluster, as with `oarlock restore`.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use oarlock_wasm::{GuestModule, MachineLimits, WasmMachine};
use serde_json::json;
use task_queue_raft::applier::Applier;
use task_queue_raft::ids::NodeId;
use task_queue_raft::storage::LogStore;
use task_queue_raft::storage::node_store::{Identity, NodeStore};
use task_queue_raft::storage::restore::restore as restore_into;
use task_queue_raft::storage::snapshot::SnapshotFiles;
use task_queue_raft::storage::survivor::Survivor;

use super::survivors::SurvivingDirs;
use crate::cli::RecoverArgs;
use crate::command::connect::block_on;
use crate::command::new_cluster::{self, next_steps};
use crate::command::output::{print_safely, write_json, write_out};
use crate::command::replay::{tell_progress, write_state};
use crate::decisions::Decisions;
use crate::exit::Failure;
use crate::guest::{self, CodeSettings};
use crate::settings::{GuestSource, check_restored_node};
use crate::start_limits::StartLimits;
use crate::{log_module, private_files};

/// Bytes of entries that are read at once.
const READ_BYTES: u64 = 1 << 20;

/// Makes the data directory `into` from the state of --data-dir.
///
/// # Errors
/// Another directory is better, the nodes are a majority, the directory can't be read or executed, or `into` can't be written. Nothing
/// is left of `into` then.
pub(super) fn rebuild(args: &RecoverArgs, into: &Path) -> Result<(), Failure> {
    private_files::make_new_files_private();
    let dir = args.storage.data_dir.as_path();
    let dirs = SurvivingDirs::read(args)?;
    let (best, node) = dirs.best()?;
    if best.path != dir {
        let name = best.path.display().to_string();
        return Err(Failure::failed(format!(
            "{} has more than {}; nothing was written. Pass --data-dir {}",
            print_safely(&name),
            print_safely(&dir.display().to_string()),
            print_safely(&name)
        )));
    }
    if dirs.are_majority() {
        return Err(Failure::failed(format!(
            "{} Nothing was written",
            dirs.loss()
        )));
    }
    let survivor = &node.survivor;
    let identity = Identity {
        node_id: args
            .node_id
            .as_deref()
            .map_or_else(|| survivor.identity.node_id.clone(), NodeId::from),
        cluster_id: survivor.identity.cluster_id.clone(),
    };
    let address = args.peer_addr.as_deref();
    check_restored_node(identity.node_id.as_str(), address, None).map_err(Failure::usage)?;
    let level = survivor.cluster.level;
    // Before the long work, which finds the time of the last entry.
    let mut cluster = new_cluster::begin(identity, address, level, survivor.last, 0)?;
    let mut state = execute(args, dir, survivor, into)?;
    cluster.time_ms = state.time_ms;
    let meta = restore_into(into, &cluster, &mut state.bytes)
        .map_err(|error| Failure::failed(format!("{error}; nothing was written")))?;
    if args.output.json {
        let value = json!({
            "data_dir": into,
            "node_id": cluster.identity.node_id.as_str(),
            "cluster_id": cluster.identity.cluster_id,
            "lineage": meta.cluster.lineage.to_string(),
            "last_entry": survivor.last.index.0,
            "loss": dirs.loss(),
        });
        return write_json(io::stdout().lock(), &value);
    }
    let next = next_steps(into, &cluster, &meta, address);
    let text = format!(
        "recovered the state of {} after entry {}\n{}\n\n{next}",
        print_safely(survivor.identity.node_id.as_str()),
        survivor.last.index,
        dirs.loss()
    );
    write_out(io::stdout().lock(), text.as_bytes())
}

/// The state after the last entry of a directory.
struct ExecutedState {
    bytes: BufReader<File>,
    /// The time of the last entry, in milliseconds since 1970.
    time_ms: u64,
}

fn execute(
    args: &RecoverArgs,
    dir: &Path,
    survivor: &Survivor,
    into: &Path,
) -> Result<ExecutedState, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!(
            "cannot execute the log of {}: {error}; nothing was written",
            print_safely(&dir.display().to_string())
        ))
    };
    let machine = machine(args, dir)?;
    let snapshots = Arc::new(SnapshotFiles::to_read(dir));
    let mut applier = Applier::new(machine, snapshots);
    let mut time_ms = 0;
    if let Some(snapshot) = &survivor.snapshot {
        applier.restore(snapshot).map_err(|error| failed(&error))?;
        time_ms = snapshot.time_ms;
    }
    let store = NodeStore::open_existing(dir).map_err(|error| failed(&error))?;
    let mut store = store.ok_or_else(|| failed(&"it contains no log"))?;
    store.load().map_err(|error| failed(&error))?;
    while applier.last().index < survivor.last.index {
        let next = applier.last().index.next();
        let entries = store.read(next, survivor.last.index, READ_BYTES);
        let entries = entries.map_err(|error| failed(&error))?;
        time_ms = entries
            .iter()
            .fold(time_ms, |time, entry| time.max(entry.time_ms));
        // No client waits for a reply.
        applier.apply(0, entries).map_err(|error| failed(&error))?;
        tell_progress(applier.last().index.0, survivor.last.index.0);
    }
    let mut machine = applier.into_machine();
    let bytes = write_state(&mut machine, into).map_err(|error| failed(&error))?;
    Ok(ExecutedState { bytes, time_ms })
}

/// The machine of a node that starts on the directory.
fn machine(args: &RecoverArgs, dir: &Path) -> Result<WasmMachine, Failure> {
    let limits =
        StartLimits::read(dir, &MachineLimits::default(), false).map_err(Failure::failed)?;
    let source = match &args.state_machine {
        Some(file) => GuestSource::File(file.clone()),
        None => log_module::source_in(dir).map_err(|error| {
            Failure::failed(format!(
                "cannot read {}: {error}; check its permissions",
                print_safely(&dir.display().to_string())
            ))
        })?,
    };
    let loading = guest::load(source, limits.load, CodeSettings::default());
    let module: GuestModule = block_on(async { loading.await.map_err(Failure::failed) })?;
    let decisions = Decisions::read(dir).map_err(Failure::failed)?;
    let decisions = decisions
        .load(dir, &module, &limits.load)
        .map_err(Failure::failed)?;
    let machine = WasmMachine::new(module, limits.machine, None).map_err(Failure::failed)?;
    Ok(machine.with_decisions(decisions).following_the_log())
}
