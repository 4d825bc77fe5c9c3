//! The file `writes-stopped` in the data directory: commands are refused, because the states of the nodes differ and no majority
//! agrees. A node that starts with it refuses commands until an audit finds a majority.
//!
//! The log alone does not tell: it may end in an audit that is still open.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::Auditor;

/// Name of the file in the data directory. Only its presence counts.
const FILE: &str = "writes-stopped";

/// The record of one node.
#[derive(Debug)]
pub(crate) struct StoppedRecord {
    dir: PathBuf,
    is_stopped: bool,
}

impl StoppedRecord {
    /// Reads the record from a data directory.
    ///
    /// # Errors
    /// The directory can't be read.
    pub(crate) fn read(data_dir: &Path) -> io::Result<Self> {
        let is_stopped = data_dir.join(FILE).try_exists()?;
        Ok(Self {
            dir: data_dir.to_owned(),
            is_stopped,
        })
    }

    /// Whether commands were refused when the node stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Records the change. After an error it holds until the process ends, and the next audit finds it again.
    fn store(&mut self, is_stopped: bool) {
        if let Err(error) = self.write(is_stopped) {
            let file = self.dir.join(FILE);
            tracing::error!(%error, file = %file.display(), is_stopped, "audit: cannot record whether commands are refused");
        }
        self.is_stopped = is_stopped;
    }

    fn write(&self, is_stopped: bool) -> io::Result<()> {
        let file = self.dir.join(FILE);
        if is_stopped {
            File::create(file)?.sync_all()?;
        } else {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        File::open(&self.dir)?.sync_all()
    }
}

/// Records each change, until the node stops.
pub(crate) async fn run(auditor: Auditor, mut record: StoppedRecord) {
    let mut findings = auditor.findings.subscribe();
    loop {
        let is_stopped = findings.borrow_and_update().writes_stopped;
        if is_stopped != record.is_stopped {
            let written = tokio::task::spawn_blocking(move || {
                record.store(is_stopped);
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
        if findings.changed().await.is_err() {
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
        assert!(!record.is_stopped());
        record.store(true);
        let mut record = StoppedRecord::read(dir.path()).expect("the record");
        assert!(record.is_stopped());
        assert!(Auditor::starting(false, record.is_stopped()).are_writes_stopped());
        record.store(false);
        let record = StoppedRecord::read(dir.path()).expect("no file");
        assert!(!record.is_stopped());
    }
}
