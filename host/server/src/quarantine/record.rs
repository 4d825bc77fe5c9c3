//! The file `quarantine.json` in the data directory: whether the node is in quarantine, and how often it recently was.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::wall_clock;

/// Name of the file in the data directory.
const FILE: &str = "quarantine.json";
/// The file is written under this name and then renamed, so a crash leaves the old or the new file.
const TEMPORARY: &str = "quarantine.json.new";
/// Most reinstalls within [`WINDOW`]. One divergence more, and the node stays in quarantine.
pub(crate) const MAX_REINSTALLS: usize = 3;
/// How long a divergence counts.
const WINDOW: Duration = Duration::from_secs(3600);

/// The file can't be read, so the node does not know whether it is in quarantine.
#[derive(Debug, Error)]
#[error(
    "cannot read {}, which records whether the state of this node has diverged from the cluster: {source}; make the file \
     readable. If its content is lost, write {{\"quarantined\":true,\"since_ms\":[]}} to it: the node then installs a \
     snapshot of the leader before it serves requests",
    path.display()
)]
pub(crate) struct QuarantineRecordError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The content of the file, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// Whether the node is in quarantine.
    quarantined: bool,
    /// When the node entered quarantine within [`WINDOW`], in milliseconds since 1970.
    since_ms: Vec<u64>,
}

/// The record of one node.
#[derive(Debug)]
pub(crate) struct QuarantineRecord {
    dir: PathBuf,
    content: Content,
}

impl QuarantineRecord {
    /// Reads the record from a data directory. A missing file means that the node never diverged.
    ///
    /// # Errors
    /// The file can't be read, or is corrupt.
    pub(crate) fn read(data_dir: &Path) -> Result<Self, QuarantineRecordError> {
        let path = data_dir.join(FILE);
        let content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::default()),
            Err(error) => Err(error),
        };
        match content {
            Ok(content) => Ok(Self {
                dir: data_dir.to_owned(),
                content,
            }),
            Err(source) => Err(QuarantineRecordError { path, source }),
        }
    }

    /// Whether the node is in quarantine.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.content.quarantined
    }

    /// Whether the node has diverged more than [`MAX_REINSTALLS`] times within [`WINDOW`].
    pub(super) fn is_given_up(&self) -> bool {
        self.content.since_ms.len() > MAX_REINSTALLS
    }

    /// Records the start of a quarantine.
    pub(super) fn enter(&mut self, now_ms: u64) {
        let oldest = now_ms.saturating_sub(wall_clock::millis(WINDOW));
        self.content.since_ms.retain(|since| *since >= oldest);
        self.content.since_ms.push(now_ms);
        self.content.quarantined = true;
        self.store();
    }

    /// Records the end of a quarantine.
    pub(super) fn leave(&mut self) {
        self.content.quarantined = false;
        self.store();
    }

    /// Writes the file. After an error the record holds until the process ends; the next audit then finds a divergence
    /// again.
    fn store(&self) {
        if let Err(error) = self.write() {
            tracing::error!(%error, file = %self.dir.join(FILE).display(), "quarantine: cannot write its record");
        }
    }

    fn write(&self) -> io::Result<()> {
        let temporary = self.dir.join(TEMPORARY);
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&self.content)?)?;
        file.sync_all()?;
        fs::rename(&temporary, self.dir.join(FILE))?;
        File::open(&self.dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests;
