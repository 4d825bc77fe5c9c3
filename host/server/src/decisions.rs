//! The file `decisions.json` in the data directory: decisions of an operator about entries at which every node stopped.
//! `oarlock recover` writes it while the node is stopped, and the node reads it at its start. A successor of the module is
//! in the file `successor-<SHA-256>.wasm`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use oarlock_wasm::{CheckError, EntryDecision, GuestModule, MachineLimits, Sha256};
use serde::{Deserialize, Serialize};
use task_queue_raft::ids::Index;
use thiserror::Error;

/// Name of the file in the data directory.
const FILE: &str = "decisions.json";

/// The decisions can't be read, so the node could execute an entry that the others skip.
#[derive(Debug, Error)]
pub(crate) enum DecisionsError {
    /// A file can't be read or written.
    #[error(
        "cannot access {}, which belongs to the decisions about entries of this node: {source}; make the file readable, or make the decision again with `oarlock recover`",
        path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A successor does not run on this node.
    #[error(
        "the successor {sha256} in the data directory does not run: {source}; decide on another one with `oarlock recover`"
    )]
    Successor {
        /// Its digest.
        sha256: String,
        /// The reasons.
        #[source]
        source: CheckError,
    },
}

/// The content of the file, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decisions {
    /// At most one for each entry, in the order of entries.
    pub(crate) entries: Vec<StoredDecision>,
}

/// A decision about one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredDecision {
    /// Index of the entry.
    pub(crate) index: u64,
    /// SHA-256 over the entry's commands, hexadecimal.
    pub(crate) commands: String,
    /// SHA-256 of the module that executes the entry and those after it; `null`: the entry is skipped.
    pub(crate) successor: Option<String>,
}

impl Decisions {
    /// Reads the decisions from a data directory. A missing file means that there are none.
    ///
    /// # Errors
    /// The file can't be read, or is corrupt.
    pub(crate) fn read(data_dir: &Path) -> Result<Self, DecisionsError> {
        let path = data_dir.join(FILE);
        let content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        };
        content.map_err(|source| DecisionsError::File { path, source })
    }

    /// Adds a decision, or replaces the one about the same entry.
    pub(crate) fn add(&mut self, decision: StoredDecision) {
        self.entries.retain(|known| known.index != decision.index);
        self.entries.push(decision);
        self.entries.sort_by_key(|decision| decision.index);
    }

    /// Makes the decisions durable. The bytes of a new successor must be on disk before.
    ///
    /// # Errors
    /// The file can't be written; the old one is unchanged.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), DecisionsError> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::from);
        let written = bytes.and_then(|bytes| replace(data_dir, FILE, &bytes));
        written.map_err(|source| DecisionsError::File {
            path: data_dir.join(FILE),
            source,
        })
    }

    /// Makes the bytes of a successor durable.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn keep_successor(data_dir: &Path, bytes: &[u8]) -> Result<String, DecisionsError> {
        let sha256 = Sha256::of(bytes).to_string();
        let name = successor_file(&sha256);
        replace(data_dir, &name, bytes).map_err(|source| DecisionsError::File {
            path: data_dir.join(name),
            source,
        })?;
        Ok(sha256)
    }

    /// The decisions as the machine follows them. Compiles successors with the engine of `module`.
    ///
    /// # Errors
    /// A file is corrupt, or a successor does not run.
    pub(crate) fn load(
        &self,
        data_dir: &Path,
        module: &GuestModule,
        limits: &MachineLimits,
    ) -> Result<Vec<EntryDecision>, DecisionsError> {
        let file = |name: &str, source| DecisionsError::File {
            path: data_dir.join(name),
            source,
        };
        let mut loaded = Vec::new();
        for decision in &self.entries {
            let commands = digest(&decision.commands)
                .ok_or_else(|| file(FILE, io::Error::other("a digest is not hexadecimal")))?;
            let mut successor = None;
            if let Some(sha256) = &decision.successor {
                let name = successor_file(sha256);
                let bytes = fs::read(data_dir.join(&name)).map_err(|source| file(&name, source))?;
                if Sha256::of(&bytes).to_string() != *sha256 {
                    return Err(file(&name, io::Error::other("it has another digest")));
                }
                let checked = module.load_another(bytes, limits);
                successor = Some(checked.map_err(|source| DecisionsError::Successor {
                    sha256: sha256.clone(),
                    source,
                })?);
            }
            loaded.push(EntryDecision {
                index: Index(decision.index),
                commands,
                successor,
            });
        }
        Ok(loaded)
    }
}

fn successor_file(sha256: &str) -> String {
    format!("successor-{sha256}.wasm")
}

/// Writes a file under a temporary name and renames it, so a crash leaves the old or the new file.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

fn digest(text: &str) -> Option<Sha256> {
    let mut digest = [0; 32];
    if !text.is_ascii() || text.len() != 64 {
        return None;
    }
    for (byte, position) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[position..position + 2], 16).ok()?;
    }
    Some(Sha256(digest))
}

#[cfg(test)]
mod tests;
