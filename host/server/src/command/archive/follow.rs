//! Receives entries from one node and writes them.

use std::time::Duration;

use oarlock_client::{EntryFrame, EntryStream, EntryStreamHead, RequestError};
use tokio::time::Instant;

use super::progress::ArchiveProgress;
use crate::archive::{ArchiveWriter, ArchivedEntry};
use crate::exit::Failure;

/// Entries that have arrived are written after this time, or when there are this many bytes. A write takes a sync of the disk.
const WRITE_DELAY: Duration = Duration::from_millis(20);
const WRITE_BYTES: usize = 4 << 20;

/// Why a stream has ended.
pub(super) enum FollowEnd {
    /// The archive has the entry that was asked for.
    CaughtUp,
    /// Go on with another node.
    Failed(RequestError),
}

/// Refuses a cluster whose log is not the one that the archive continues.
pub(super) fn check(head: &EntryStreamHead, writer: &ArchiveWriter) -> Result<(), Failure> {
    let last = writer.last();
    if head.lineage != writer.lineage() {
        return Err(Failure::failed(format!(
            "node {} is of the cluster {} with lineage {}, and the archive is of lineage {}; nothing was written. A restored cluster has another lineage: archive it into another directory",
            head.node_id,
            head.cluster_id,
            head.lineage,
            writer.lineage()
        )));
    }
    if head.applied < last.index {
        return Err(Failure::failed(format!(
            "the archive has the entries up to {}, and the cluster only those up to {}: the cluster has lost entries that it had acknowledged; nothing was written. Compare both before you go on, then archive into another directory",
            last.index, head.applied
        )));
    }
    if head.term_before.is_some_and(|term| term != last.term) {
        return Err(Failure::failed(format!(
            "entry {} has term {} in the archive and term {} in the cluster: their histories differ; nothing was written. Archive into another directory",
            last.index,
            last.term,
            head.term_before.unwrap_or_default()
        )));
    }
    Ok(())
}

/// Entries that have arrived and are not written yet.
#[derive(Default)]
struct PendingEntries {
    entries: Vec<ArchivedEntry>,
    bytes: usize,
    /// When they are written.
    due: Option<Instant>,
}

impl PendingEntries {
    fn push(&mut self, entry: ArchivedEntry) {
        self.bytes += entry.record.len();
        self.entries.push(entry);
        self.due.get_or_insert_with(|| Instant::now() + WRITE_DELAY);
    }

    fn write(&mut self, writer: &mut ArchiveWriter) -> Result<(), Failure> {
        let pending = std::mem::take(self);
        writer.append(&pending.entries).map_err(Failure::failed)
    }
}

/// Writes what the node sends. `target`: the entry at which the command ends.
pub(super) async fn follow(
    stream: &mut EntryStream,
    writer: &mut ArchiveWriter,
    progress: &mut ArchiveProgress,
    target: Option<u64>,
) -> Result<FollowEnd, Failure> {
    let mut pending = PendingEntries::default();
    loop {
        if target.is_some_and(|target| writer.last().index >= target) {
            return Ok(FollowEnd::CaughtUp);
        }
        let frame = tokio::select! {
            biased;
            frame = stream.next() => frame,
            () = until(pending.due) => {
                pending.write(writer)?;
                progress.archived(writer.last());
                continue;
            }
        };
        match frame {
            Ok(Some(EntryFrame::Entry { index, record })) => {
                pending.push(ArchivedEntry { index, record });
                let is_due = pending.due.is_some_and(|due| Instant::now() >= due);
                if is_due || pending.bytes >= WRITE_BYTES {
                    pending.write(writer)?;
                    progress.archived(writer.last());
                }
            }
            Ok(Some(EntryFrame::Position { applied, time_ms })) => {
                let is_last = target.is_some_and(|target| {
                    pending
                        .entries
                        .last()
                        .is_some_and(|last| last.index >= target)
                });
                if is_last {
                    pending.write(writer)?;
                }
                progress.position(stream.endpoint(), applied, time_ms, writer.last());
            }
            Ok(None) => {
                pending.write(writer)?;
                return Ok(FollowEnd::Failed(RequestError::Broken {
                    endpoint: stream.endpoint().clone(),
                    message: "the node has ended the stream".to_owned(),
                }));
            }
            Err(error) => {
                pending.write(writer)?;
                return Ok(FollowEnd::Failed(error));
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
