//! The module with which the log of a data directory begins, kept in the directory: `module-<SHA-256>.wasm`.
//!
//! A later release may have another built-in task queue. A node that was started without `--state-machine` has no module
//! of its own choice, so it executes its log with the module that the log began with, and says so. `oarlock upgrade`
//! switches the whole cluster.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oarlock_wasm::{GuestModule, MachineFailure, Sha256, StatusHandle};
use task_queue_raft::applier::ApplierError;
use task_queue_raft::handle::FatalError;
use task_queue_raft::state_machine::MachineError;

use crate::built_in;
use crate::file_writes::FileWrites;
use crate::readiness::Readiness;
use crate::settings::{GuestSource, ServeSettings};
use crate::upgrades::UpgradeWatch;

const PREFIX: &str = "module-";
const SUFFIX: &str = ".wasm";
/// The file is written under this name and then renamed.
const TEMPORARY: &str = "module.new";

/// The source of the guest with which the node starts: the module of its log, if its settings name none.
///
/// # Errors
/// The data directory can't be read.
pub(crate) fn source(settings: &ServeSettings) -> io::Result<GuestSource> {
    if !follows_log(settings) {
        return Ok(settings.guest.clone());
    }
    source_in(&settings.data_dir)
}

/// The module of the log in a data directory: the one that it keeps, or the built-in task queue.
///
/// # Errors
/// The data directory can't be read.
pub(crate) fn source_in(data_dir: &Path) -> io::Result<GuestSource> {
    Ok(match read(data_dir)? {
        Some((path, bytes)) => GuestSource::Kept(path, bytes),
        None => GuestSource::BuiltInQueue,
    })
}

/// Whether the node runs whatever module its log has.
pub(crate) fn follows_log(settings: &ServeSettings) -> bool {
    matches!(settings.guest, GuestSource::BuiltInQueue)
}

/// The kept module, and its file. A corrupt file is ignored: the log shows which module it needs.
fn read(data_dir: &Path) -> io::Result<Option<(PathBuf, Bytes)>> {
    for path in files(data_dir)? {
        let bytes = Bytes::from(fs::read(&path)?);
        if path == self::path(data_dir, Sha256::of(&bytes)) {
            return Ok(Some((path, bytes)));
        }
        tracing::warn!(file = %path.display(), "the kept module is corrupt, it is ignored");
    }
    Ok(None)
}

fn path(data_dir: &Path, sha256: Sha256) -> PathBuf {
    data_dir.join(format!("{PREFIX}{sha256}{SUFFIX}"))
}

/// The files with kept modules.
fn files(data_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(data_dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for file in listing {
        let file = file?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            files.push(file.path());
        }
    }
    Ok(files)
}

/// Keeps a module in the directory, instead of the one before.
fn keep(data_dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = path(data_dir, Sha256::of(bytes));
    let before = files(data_dir)?;
    if !before.contains(&path) {
        fs::create_dir_all(data_dir)?;
        let temporary = data_dir.join(TEMPORARY);
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
    }
    for other in before.into_iter().filter(|other| *other != path) {
        fs::remove_file(other)?;
    }
    File::open(data_dir)?.sync_all()
}

/// Keeps the module with which the node was started, once it has turned out that the log begins with it.
pub(crate) async fn run(
    upgrades: UpgradeWatch,
    started_with: GuestModule,
    data_dir: PathBuf,
    writes: FileWrites,
) {
    let Some(first) = upgrades.find(|upgrades| upgrades.first).await else {
        return;
    };
    if first != started_with.sha256() {
        return;
    }
    let bytes = started_with.bytes().clone();
    let kept = writes.run(move || keep(&data_dir, &bytes)).await;
    match kept {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot keep the module of the log in the data directory; a later release may need it");
        }
        Err(error) => tracing::warn!(%error, "keeping the module of the log panicked"),
    }
}

/// After a node has stopped because its log belongs to another module: keeps that module for the next start, if this
/// program contains it. Returns whether another start is worth it.
pub(crate) fn adopt(settings: &ServeSettings, fault: &FatalError) -> bool {
    let Some(settled) = other_module(fault).filter(|_| follows_log(settings)) else {
        return false;
    };
    let Some(bytes) = built_in::find(settled) else {
        return false;
    };
    if files(&settings.data_dir)
        .is_ok_and(|files| files.contains(&path(&settings.data_dir, settled)))
    {
        // The node has started with it already.
        return false;
    }
    match keep(&settings.data_dir, &bytes) {
        Ok(()) => {
            tracing::warn!(module = %settled, "the log of this node belongs to the task queue of an earlier release; the node starts again with it");
            true
        }
        Err(error) => {
            tracing::error!(%error, "cannot keep the module of the log in the data directory");
            false
        }
    }
}

/// The module to which the log belongs, if that is why the node has stopped.
fn other_module(fault: &FatalError) -> Option<Sha256> {
    let FatalError::Machine(error) = fault else {
        return None;
    };
    let ApplierError::Machine {
        source: MachineError::Failed(failure),
        ..
    } = &**error
    else {
        return None;
    };
    match failure.downcast_ref() {
        Some(MachineFailure::OtherModule { settled, .. }) => Some(*settled),
        _ => None,
    }
}

/// Tells that the node does not run the task queue of this release, and how to switch.
pub(crate) fn tell(module: &GuestModule) {
    let built_in = built_in::digest();
    if module.sha256() != built_in {
        tracing::warn!(
            runs = %module.sha256(),
            %built_in,
            "this node runs the module of its log, not the task queue of this release; `oarlock upgrade --built-in` switches the cluster"
        );
    }
}

/// Waits until the node has caught up, then tells if it does not run the module of `--state-machine`.
pub(crate) async fn tell_overridden(
    readiness: Readiness,
    machine: StatusHandle,
    started_with: GuestModule,
) {
    readiness.caught_up().await;
    let runs = machine.module();
    if runs.sha256() == started_with.sha256() {
        return;
    }
    let named = |module: &GuestModule| {
        let description = module.description();
        format!(
            "{} version {} ({})",
            description.name,
            description.version,
            module.sha256()
        )
    };
    tracing::warn!(
        flag = named(&started_with),
        runs = named(&runs),
        "--state-machine is not the module of the cluster, which has been upgraded: the node runs the module of the cluster. \
         Correct the flag, or switch the cluster with `oarlock upgrade FILE`"
    );
}

#[cfg(test)]
mod tests;
