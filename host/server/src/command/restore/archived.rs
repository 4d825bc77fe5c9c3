//! Restores a point of an archive: the state of a base, and the entries after it, executed.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oarlock_wasm::{MachineLimits, WasmMachine};
use serde_json::{Value, json};
use task_queue_raft::applier::Applier;
use task_queue_raft::entry::{ClusterState, Entry, SnapshotMeta};
use task_queue_raft::ids::{Index, Lineage, LogId, Term};
use task_queue_raft::storage::memory::MemorySnapshots;
use task_queue_raft::storage::restore::restore as restore_into;

use crate::archive::{
    ArchiveContents, ArchiveError, ArchivePosition, RestorableRange, SegmentReader,
};
use crate::backup::{BackupReader, Manifest};
use crate::cli::RestoreArgs;
use crate::command::connect::block_on;
use crate::command::new_cluster::{self, next_steps};
use crate::command::output::{print_safely, write_json, write_out};
use crate::command::replay::{tell_progress, write_state};
use crate::exit::Failure;
use crate::guest::{self, CodeSettings};
use crate::settings::GuestSource;
use crate::start_limits;
use crate::timestamp::utc_ms;

const READ_BYTES: usize = 1 << 20;

/// The state to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RestorePoint {
    /// After this entry.
    Index(u64),
    /// After the last entry that is not later.
    Time(u64),
    /// After the last entry of the archive.
    End,
}

impl RestorePoint {
    /// Whether an entry comes after the point.
    fn is_before(self, position: ArchivePosition) -> bool {
        match self {
            Self::Index(index) => index < position.index,
            Self::Time(time_ms) => time_ms < position.time_ms,
            Self::End => false,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Index(index) => format!("entry {index}"),
            Self::Time(time_ms) => format!("the time {}", utc_ms(time_ms)),
            Self::End => "its end".to_owned(),
        }
    }
}

/// Restores the point that the flags name.
///
/// # Errors
/// The archive is damaged or does not have the point, an entry can't be executed, or the directory can't be written. No directory is left
/// then.
pub(super) fn restore(args: &RestoreArgs, dir: &Path) -> Result<(), Failure> {
    let point = match (args.to_index, args.to_time) {
        (Some(index), _) => RestorePoint::Index(index),
        (None, Some(time_ms)) => RestorePoint::Time(time_ms),
        (None, None) => RestorePoint::End,
    };
    let contents = ArchiveContents::read(dir).map_err(not_restored)?;
    let plan = RestorePlan::new(&contents, dir, args.file.as_deref(), point)?;
    // Before the long work. The last entry is known after it.
    let base = plan.base.position();
    let address = args.peer_addr.as_deref();
    let log_id = |position: ArchivePosition| LogId::new(Term(position.term), Index(position.index));
    let identity = new_cluster::identity(args, &plan.base.manifest);
    let level = plan.base.manifest.level;
    let mut cluster = new_cluster::begin(identity, address, level, log_id(base), base.time_ms)?;
    let executed = plan.execute(point)?;
    if args.dry_run {
        return print(
            args,
            &executed.described("would restore", &plan),
            executed.json(&plan),
        );
    }
    let ExecutedPoint { applier, last, .. } = &executed;
    cluster.last = log_id(*last);
    cluster.time_ms = last.time_ms;
    cluster.level = applier.cluster().level;
    let described = executed.described("restored", &plan);
    let mut value = executed.json(&plan);
    let into = &args.storage.data_dir;
    let mut machine = executed.applier.into_machine();
    let state = write_state(&mut machine, into).map_err(|error| {
        Failure::failed(format!(
            "cannot write the state next to {}: {error}; nothing was restored",
            into.display()
        ))
    });
    let meta = restore_into(into, &cluster, &mut state?).map_err(not_restored)?;
    value["data_dir"] = json!(into);
    value["node_id"] = json!(args.node_id);
    value["cluster_id"] = json!(cluster.identity.cluster_id);
    value["lineage"] = json!(meta.cluster.lineage.to_string());
    let next = next_steps(into, &cluster, &meta, address);
    print(args, &format!("{described}\n{next}"), value)
}

fn print(args: &RestoreArgs, text: &str, value: Value) -> Result<(), Failure> {
    if args.output.json {
        return write_json(std::io::stdout().lock(), &value);
    }
    write_out(std::io::stdout().lock(), text.as_bytes())
}

fn not_restored(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("{error}; nothing was restored"))
}

/// A backup, inside of the archive or not.
struct ChosenBase {
    path: PathBuf,
    manifest: Manifest,
}

impl ChosenBase {
    fn position(&self) -> ArchivePosition {
        ArchivePosition {
            index: self.manifest.index,
            term: self.manifest.term,
            time_ms: self.manifest.time_ms,
        }
    }

    fn of_file(path: &Path) -> Result<Self, Failure> {
        let (manifest, _) = open_backup(path)?;
        Ok(Self {
            path: path.to_owned(),
            manifest,
        })
    }
}

fn open_backup(path: &Path) -> Result<(Manifest, BackupReader<BufReader<File>>), Failure> {
    let broken = |error: &dyn std::fmt::Display| {
        Failure::failed(format!(
            "cannot restore {}: {error}; nothing was restored",
            path.display()
        ))
    };
    let file = File::open(path).map_err(|error| broken(&error))?;
    let opened = BackupReader::open(BufReader::with_capacity(READ_BYTES, file));
    opened.map_err(|error| broken(&error))
}

/// What is executed.
struct RestorePlan {
    base: ChosenBase,
    /// The segments with the entries after the base.
    segments: Vec<PathBuf>,
    /// The last entry that can be restored from the base.
    end: ArchivePosition,
}

impl RestorePlan {
    fn new(
        contents: &ArchiveContents,
        dir: &Path,
        file: Option<&Path>,
        point: RestorePoint,
    ) -> Result<Self, Failure> {
        let ranges = contents.ranges().map_err(not_restored)?;
        let absent = || not_there(dir, point, &ranges);
        let base = match file {
            Some(file) => ChosenBase::of_file(file)?,
            None => {
                let before = |position| !point.is_before(position);
                let base = contents
                    .bases
                    .iter()
                    .rev()
                    .find(|base| before(base.position()));
                let base = base.ok_or_else(absent)?;
                ChosenBase {
                    path: base.path.clone(),
                    manifest: base.manifest.clone(),
                }
            }
        };
        if let Some((_, lineage)) = contents.cluster()
            && lineage != base.manifest.lineage
        {
            return Err(Failure::failed(format!(
                "{} is of lineage {}, and {} is of lineage {lineage}: they are of different clusters; nothing was restored",
                base.path.display(),
                base.manifest.lineage,
                dir.display()
            )));
        }
        let position = base.position();
        let segments = contents.after(position).map_err(not_restored)?;
        let end = segments.last().map_or(position, |segment| segment.last);
        let is_reached = match point {
            RestorePoint::Index(index) => index <= end.index,
            RestorePoint::Time(time_ms) => time_ms <= end.time_ms,
            RestorePoint::End => true,
        };
        if point.is_before(position) || !is_reached {
            return Err(absent());
        }
        // The newest segment may have nothing but an incomplete block, so that it is not among `segments`.
        let incomplete = contents
            .segments
            .last()
            .filter(|segment| segment.incomplete_bytes > 0 && segment.last.index == end.index);
        if let (RestorePoint::End, Some(segment)) = (point, incomplete) {
            let error = ArchiveError::IncompleteEnd {
                path: segment.path.clone(),
                bytes: segment.incomplete_bytes,
            };
            return Err(Failure::failed(format!(
                "{error}. If the cluster is gone, restore what is before with --to-index {}; nothing was restored",
                end.index
            )));
        }
        Ok(Self {
            base,
            segments: segments
                .iter()
                .map(|segment| segment.path.clone())
                .collect(),
            end,
        })
    }

    /// Executes the entries up to the point.
    fn execute(&self, point: RestorePoint) -> Result<ExecutedPoint, Failure> {
        let mut executed = self.restored_base()?;
        let last_index = match point {
            RestorePoint::Index(index) => index,
            _ => self.end.index,
        };
        for path in &self.segments {
            if self.execute_segment(path, &mut executed, point, last_index)? {
                return Ok(executed);
            }
        }
        if executed.last.index < last_index {
            return Err(not_restored(format!(
                "the archive has changed while it was read: it ends with entry {} now",
                executed.last.index
            )));
        }
        Ok(executed)
    }

    /// Executes the entries of a segment. Returns whether the point is reached.
    fn execute_segment(
        &self,
        path: &Path,
        executed: &mut ExecutedPoint,
        point: RestorePoint,
        last_index: u64,
    ) -> Result<bool, Failure> {
        let mut reader = SegmentReader::open(path).map_err(not_restored)?;
        loop {
            let before = reader.last();
            let entries = match reader.next() {
                Ok(Some(entries)) => entries,
                // What is before was checked. Whether it has the point is checked at the end.
                Ok(None) | Err(ArchiveError::IncompleteEnd { .. }) => return Ok(false),
                Err(error) => return Err(not_restored(error)),
            };
            let is_done = executed.apply(before, entries, point)?;
            tell_progress(executed.last.index, last_index);
            if is_done {
                return Ok(true);
            }
        }
    }

    fn restored_base(&self) -> Result<ExecutedPoint, Failure> {
        let manifest = &self.base.manifest;
        let (_, mut state) = open_backup(&self.base.path)?;
        let loading = guest::load(
            GuestSource::BuiltInQueue,
            start_limits::of_new_cluster(),
            CodeSettings::default(),
        );
        let module = block_on(async { loading.await.map_err(Failure::failed) })?;
        let machine = WasmMachine::new(module, MachineLimits::default(), None);
        let machine = machine.map_err(Failure::failed)?.following_the_log();
        let mut applier = Applier::new(machine, Arc::new(MemorySnapshots::new()));
        let position = self.base.position();
        let meta = SnapshotMeta {
            last: LogId::new(Term(position.term), Index(position.index)),
            time_ms: position.time_ms,
            length: manifest.state_bytes,
            checksum: 0,
            membership: None,
            cluster: ClusterState {
                level: manifest.level,
                lineage: Lineage::NONE,
            },
        };
        let restored = applier.restore_from(&meta, &mut state);
        restored.map_err(|error| {
            Failure::failed(format!(
                "cannot restore {}: {error}; nothing was restored",
                self.base.path.display()
            ))
        })?;
        Ok(ExecutedPoint {
            applier,
            last: position,
            entries: 0,
        })
    }
}

fn not_there(dir: &Path, point: RestorePoint, ranges: &[RestorableRange]) -> Failure {
    let shown = ranges.iter().map(|range| {
        format!(
            "entries {} of {} to {} of {}",
            range.from.index,
            utc_ms(range.from.time_ms),
            range.to.index,
            utc_ms(range.to.time_ms)
        )
    });
    let shown: Vec<String> = shown.collect();
    let shown = if shown.is_empty() {
        "nothing".to_owned()
    } else {
        shown.join("; ")
    };
    Failure::failed(format!(
        "{} can't be restored from {}; nothing was restored. What can be: {shown}",
        point.text(),
        dir.display()
    ))
}

/// The state after the point.
struct ExecutedPoint {
    applier: Applier<WasmMachine>,
    last: ArchivePosition,
    /// Entries that were executed.
    entries: u64,
}

impl ExecutedPoint {
    /// Executes the entries that follow the last one. `before`: the entry before them. Returns whether the point is reached.
    fn apply(
        &mut self,
        before: ArchivePosition,
        entries: Vec<Entry>,
        point: RestorePoint,
    ) -> Result<bool, Failure> {
        let mut time_ms = before.time_ms;
        let mut run = Vec::new();
        let mut is_done = false;
        for entry in entries {
            time_ms = time_ms.max(entry.time_ms);
            let position = ArchivePosition {
                index: entry.id.index.0,
                term: entry.id.term.0,
                time_ms,
            };
            if position.index <= self.last.index {
                self.check_same(position)?;
                continue;
            }
            if point.is_before(position) {
                is_done = true;
                break;
            }
            if position.index != self.last.index + 1 {
                return Err(not_restored(format!(
                    "the archive has changed while it was read: entry {} follows entry {}",
                    position.index, self.last.index
                )));
            }
            self.last = position;
            self.entries += 1;
            run.push(entry);
        }
        // No client waits for a reply.
        self.applier.apply(0, run).map_err(|error| {
            Failure::failed(format!(
                "{error}; nothing was restored. If every node stopped at this entry and `oarlock recover` has passed it, restore a backup from after it; otherwise restore a point before it with --to-index"
            ))
        })?;
        Ok(is_done)
    }

    /// The last entry of the base is the one that the archive has there.
    fn check_same(&self, position: ArchivePosition) -> Result<(), Failure> {
        if position.index == self.last.index && position.term != self.last.term {
            return Err(Failure::failed(format!(
                "entry {} has term {} in the backup and term {} in the archive: they are of different histories; nothing was restored",
                position.index, self.last.term, position.term
            )));
        }
        Ok(())
    }

    fn described(&self, what: &str, plan: &RestorePlan) -> String {
        let machine = self.applier.machine();
        let status = machine.status().get();
        format!(
            "{what} {} version {} of the cluster {} after entry {} of {}: {} and {} entries after it\nlineage {}, module {}, state hash {}\n",
            print_safely(&status.name),
            status.version,
            print_safely(&plan.base.manifest.cluster_id),
            self.last.index,
            utc_ms(self.last.time_ms),
            print_safely(&plan.base.path.display().to_string()),
            self.entries,
            print_safely(&plan.base.manifest.lineage),
            status.sha256,
            machine.state_hash(),
        )
    }

    fn json(&self, plan: &RestorePlan) -> Value {
        let machine = self.applier.machine();
        let status = machine.status().get();
        json!({
            "index": self.last.index,
            "term": self.last.term,
            "time_ms": self.last.time_ms,
            "base": plan.base.path,
            "base_index": plan.base.manifest.index,
            "entries": self.entries,
            "from_lineage": plan.base.manifest.lineage,
            "state_machine": {
                "name": status.name,
                "version": status.version,
                "sha256": status.sha256.to_string(),
            },
            "state_hash": machine.state_hash().to_string(),
        })
    }
}
