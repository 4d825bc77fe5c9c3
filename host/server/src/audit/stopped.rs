//! The file `writes-stopped` in the data directory: commands are refused, because the states of the nodes differ and no majority
//! agrees. A node that starts with it refuses commands until an audit finds a majority: not an earlier one, which the node
//! meets again while it replays its log.
//!
//! The log alone does not tell: it may end in an audit that is still open.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use task_queue_raft::ids::Index;

use super::Auditor;
use crate::file_writes::FileWrites;

/// Name of the file in the data directory. It contains the index of the audit as decimal text.
const FILE: &str = "writes-stopped";
/// The file is written under this name and then renamed, so a crash leaves the old or the new file.
const TEMPORARY: &str = "writes-stopped.new";

/// The record of one node.
#[derive(Debug)]
pub(crate) struct StoppedRecord {
    dir: PathBuf,
    stopped_by: Option<Index>,
}

impl StoppedRecord {
    /// Reads the record from a data directory.
    ///
    /// # Errors
    /// The file can't be read, or contains no index.
    pub(crate) fn read(data_dir: &Path) -> io::Result<Self> {
        let stopped_by = match fs::read_to_string(data_dir.join(FILE)) {
            Ok(text) => {
                let index = text.trim().parse();
                Some(Index(index.map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("{FILE}: {error}"))
                })?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            dir: data_dir.to_owned(),
            stopped_by,
        })
    }

    /// The audit because of which commands were refused when the node stopped.
    pub(crate) fn stopped_by(&self) -> Option<Index> {
        self.stopped_by
    }

    /// Records the change. After an error it holds until the process ends, and the next audit finds it again.
    fn store(&mut self, stopped_by: Option<Index>) {
        if let Err(error) = self.write(stopped_by) {
            let file = self.dir.join(FILE);
            tracing::error!(%error, file = %file.display(), "audit: cannot record whether commands are refused");
        }
        self.stopped_by = stopped_by;
    }

    fn write(&self, stopped_by: Option<Index>) -> io::Result<()> {
        let file = self.dir.join(FILE);
        match stopped_by {
            Some(index) => {
                let temporary = self.dir.join(TEMPORARY);
                let mut new = File::create(&temporary)?;
                write!(new, "{index}")?;
                new.sync_all()?;
                fs::rename(temporary, file)?;
            }
            None => match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
        }
        File::open(&self.dir)?.sync_all()
    }
}

/// Records each change, until the node stops.
pub(crate) async fn run(auditor: Auditor, mut record: StoppedRecord, writes: FileWrites) {
    let mut verdict = auditor.verdict.subscribe();
    loop {
        let stopped_by = verdict.borrow_and_update().stopped_by();
        if stopped_by.is_some() != record.stopped_by.is_some() {
            let written = writes.run(move || {
                record.store(stopped_by);
                record
            });
            match written.await {
                Ok(written) => record = written,
                Err(error) => {
                    return tracing::error!(%error, "audit: cannot record whether commands are refused");
                }
            }
        }
        // `auditor` holds the sender, so the channel stays open.
        if verdict.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_record_survives_a_restart_until_a_majority_is_found() {
        let dir = TempDir::new().expect("a directory");
        let mut record = StoppedRecord::read(dir.path()).expect("no file");
        assert_eq!(record.stopped_by(), None);
        record.store(Some(Index(7)));
        let mut record = StoppedRecord::read(dir.path()).expect("the record");
        assert_eq!(record.stopped_by(), Some(Index(7)));
        assert!(Auditor::starting(false, record.stopped_by()).are_writes_stopped());
        record.store(None);
        let record = StoppedRecord::read(dir.path()).expect("no file");
        assert_eq!(record.stopped_by(), None);
        fs::write(dir.path().join(FILE), "x").expect("written");
        StoppedRecord::read(dir.path()).expect_err("no index");
    }
}
