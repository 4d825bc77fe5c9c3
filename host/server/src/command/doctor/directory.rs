//! The facts of the data directory of a node that does not run. It changes nothing; after a crash, opening the log takes back what was
//! not complete, as a start does.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use task_queue_raft::ids::Index;
use task_queue_raft::storage::survivor::Survivor;
use task_queue_raft::storage::{StorageError, StoreState};

use crate::audit::stopped::StoppedRecord;
use crate::bench::disk;
use crate::decisions::Decisions;
use crate::doctor::facts::{DirectoryContent, DirectoryFacts, StoredLogFacts};
use crate::process_facts;
use crate::quarantine::record::QuarantineRecord;

/// Files whose content others must not read.
const PRIVATE: [&str; 2] = ["raft.redb", "snapshots"];

/// Reads a data directory.
pub(super) fn read(dir: &Path) -> DirectoryFacts {
    let metadata = fs::metadata(dir);
    let content = match &metadata {
        Ok(found) if !found.is_dir() => DirectoryContent::NotADirectory,
        Ok(_) => content(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirectoryContent::Missing,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            DirectoryContent::NotADirectory
        }
        Err(error) => DirectoryContent::Unreadable(format!("{}: {error}", dir.display())),
    };
    let is_there = metadata.as_ref().is_ok_and(fs::Metadata::is_dir);
    let has_log = matches!(content, DirectoryContent::Log(_));
    let mut facts = DirectoryFacts {
        path: dir.display().to_string(),
        mode: metadata.as_ref().ok().map(|found| found.mode() & 0o7777),
        exposed_files: Vec::new(),
        is_own: metadata
            .as_ref()
            .is_ok_and(|found| found.uid() == own_user()),
        space: process_facts::space(dir).ok().filter(|_| is_there),
        // A directory that can't be written to is another finding.
        write_us: has_log
            .then(|| disk::probe(dir).ok().map(|figures| figures.p99_us))
            .flatten(),
        is_quarantined: false,
        writes_stopped: false,
        decisions: 0,
        unreadable_records: Vec::new(),
        content,
    };
    if is_there {
        facts.exposed_files = exposed_files(dir);
        read_records(dir, &mut facts);
    }
    facts
}

fn own_user() -> u32 {
    #[allow(unsafe_code, reason = "the standard library can't tell the user")]
    // SAFETY: the call takes nothing and can't fail.
    unsafe {
        libc::geteuid()
    }
}

/// The log. Every checksum is compared.
fn content(dir: &Path) -> DirectoryContent {
    if let Err(error) = fs::read_dir(dir) {
        return DirectoryContent::Unreadable(format!("{}: {error}", dir.display()));
    }
    match Survivor::read(dir) {
        Ok(None) => DirectoryContent::Empty,
        Ok(Some(found)) => {
            let id = &found.identity.node_id;
            let members = found.membership.as_ref();
            let snapshot = found.snapshot.as_ref();
            DirectoryContent::Log(StoredLogFacts {
                node_id: id.as_str().to_owned(),
                entries: found.last.index.0.saturating_sub(found.purged.0),
                last_index: found.last.index.0,
                snapshot_index: snapshot.map_or(Index::ZERO, |meta| meta.last.index).0,
                is_complete: found.state != StoreState::Incomplete,
                is_member: members
                    .filter(|members| !members.members().is_empty())
                    .map(|members| members.contains(id)),
            })
        }
        Err(StorageError::InUse { .. }) => DirectoryContent::InUse,
        Err(error @ (StorageError::Io { .. } | StorageError::Full { .. })) => {
            DirectoryContent::Unreadable(error.to_string())
        }
        Err(error) => DirectoryContent::Corrupt(error.to_string()),
    }
}

fn exposed_files(dir: &Path) -> Vec<String> {
    let exposed = PRIVATE.iter().filter(|name| {
        let found = fs::metadata(dir.join(name));
        found.is_ok_and(|found| found.mode() & 0o077 != 0)
    });
    exposed.map(|name| (*name).to_owned()).collect()
}

/// The records next to the log.
fn read_records(dir: &Path, facts: &mut DirectoryFacts) {
    let unreadable = &mut facts.unreadable_records;
    match QuarantineRecord::read(dir) {
        Ok(record) => facts.is_quarantined = record.is_quarantined(),
        Err(error) => unreadable.push(error.to_string()),
    }
    match StoppedRecord::read(dir) {
        Ok(record) => facts.writes_stopped = record.stopped_by().is_some(),
        Err(error) => unreadable.push(format!("writes-stopped: {error}")),
    }
    match Decisions::read(dir) {
        Ok(decisions) => facts.decisions = decisions.entries.len(),
        Err(error) => unreadable.push(error.to_string()),
    }
}
