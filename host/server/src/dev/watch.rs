//! Changes of the files of a project. The operating system reports them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::project::OWN_DIR;
use crate::exit::Failure;

/// An editor writes a file in several steps: a change is complete after this time without another one.
const SETTLED: Duration = Duration::from_millis(50);
/// Most reports that wait. Further ones would tell the same: something has changed.
const REPORTS: usize = 256;
/// Directories that builds and tools write.
const IGNORED: [&str; 10] = [
    OWN_DIR,
    "target",
    "build",
    ".git",
    "node_modules",
    "__pycache__",
    ".venv",
    "dist",
    ".idea",
    ".vscode",
];

/// The changes of the files in a directory.
pub(super) struct Changes {
    dir: PathBuf,
    watcher: RecommendedWatcher,
    /// Directories in `dir` that are watched.
    watched: BTreeSet<PathBuf>,
    reports: mpsc::Receiver<notify::Result<Event>>,
}

impl Changes {
    /// Watches the files of a directory.
    ///
    /// # Errors
    /// The operating system does not allow it.
    pub(super) fn of(dir: &Path) -> Result<Self, Failure> {
        let (sender, reports) = mpsc::channel(REPORTS);
        let watcher = notify::recommended_watcher(move |report| {
            // If the queue is full, a change is reported already.
            let _ = sender.try_send(report);
        });
        let mut changes = Self {
            dir: dir.to_owned(),
            watcher: watcher.map_err(|error| refused(dir, &error))?,
            watched: BTreeSet::new(),
            reports,
        };
        let watching = changes.watcher.watch(dir, RecursiveMode::NonRecursive);
        watching.map_err(|error| refused(dir, &error))?;
        changes.watch_directories()?;
        Ok(changes)
    }

    /// Waits until a file has changed, and then until no other one changes.
    ///
    /// # Errors
    /// The operating system has stopped to report changes.
    pub(super) async fn next(&mut self) -> Result<(), Failure> {
        loop {
            if self.take().await? {
                break;
            }
        }
        while let Ok(more) = tokio::time::timeout(SETTLED, self.take()).await {
            more?;
        }
        self.watch_directories()
    }

    /// Waits for a report. Whether it is a change of a file of the project.
    async fn take(&mut self) -> Result<bool, Failure> {
        let Some(report) = self.reports.recv().await else {
            return Err(Failure::failed(
                "the operating system reports no more changes of files; start again",
            ));
        };
        let event = report.map_err(|error| refused(&self.dir, &error))?;
        Ok(is_change(&event.kind) && event.paths.iter().any(|path| self.is_source(path)))
    }

    fn is_source(&self, path: &Path) -> bool {
        let inside = path.strip_prefix(&self.dir).ok();
        let first = inside.and_then(|inside| inside.components().next());
        first.is_some_and(|first| !is_ignored(Path::new(first.as_os_str())))
    }

    /// Watches the directories in `dir` that are not watched yet, each with everything in it.
    fn watch_directories(&mut self) -> Result<(), Failure> {
        let listing = std::fs::read_dir(&self.dir);
        let listing = listing.map_err(|error| refused(&self.dir, &notify::Error::io(error)))?;
        let found: BTreeSet<PathBuf> = listing
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .filter(|path| self.is_source(path))
            .collect();
        self.watched.retain(|path| found.contains(path));
        for path in found {
            if self.watched.contains(&path) {
                continue;
            }
            let watching = self.watcher.watch(&path, RecursiveMode::Recursive);
            watching.map_err(|error| refused(&path, &error))?;
            self.watched.insert(path);
        }
        Ok(())
    }
}

fn is_ignored(name: &Path) -> bool {
    IGNORED.iter().any(|ignored| name == Path::new(ignored))
}

fn is_change(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(_))
}

fn refused(path: &Path, error: &notify::Error) -> Failure {
    Failure::failed(format!(
        "cannot watch {}: {error}; raise the limit of watched files (on Linux fs.inotify.max_user_watches)",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Whether the next change is reported, where one is certain to come.
    async fn changed(changes: &mut Changes) {
        let limit = Duration::from_secs(60);
        let next = tokio::time::timeout(limit, changes.next()).await;
        next.expect("a report").expect("it is watched");
    }

    #[tokio::test]
    async fn changes_in_old_and_new_directories_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir_all(dir.join("src/deep")).unwrap();
        let mut changes = Changes::of(&dir).unwrap();
        for name in ["Cargo.toml", "src/lib.rs", "src/deep/a.rs"] {
            fs::write(dir.join(name), "x").unwrap();
            changed(&mut changes).await;
        }
        fs::create_dir(dir.join("wit")).unwrap();
        changed(&mut changes).await;
        fs::write(dir.join("wit/a.wit"), "x").unwrap();
        changed(&mut changes).await;
        fs::remove_file(dir.join("src/lib.rs")).unwrap();
        changed(&mut changes).await;
    }

    #[tokio::test]
    async fn what_builds_write_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let mut changes = Changes::of(&dir).unwrap();
        for ignored in IGNORED {
            fs::create_dir(dir.join(ignored)).unwrap();
            fs::write(dir.join(ignored).join("x"), "x").unwrap();
        }
        // Reports come in order: those of the ignored directories are before that of the file.
        fs::write(dir.join("Cargo.lock"), "x").unwrap();
        let mut ignored = 0;
        while !changes.take().await.unwrap() {
            ignored += 1;
        }
        assert!(ignored >= IGNORED.len(), "{ignored}");
    }
}
