//! Moves the entries of a database of an earlier release into segments.
//!
//! The segments are complete and durable before one transaction removes the entries and names the segments. A crash before it
//! leaves the database as it was, and segments that nothing names. The release before refuses a database without entries, because
//! its format is newer.

use std::sync::Arc;

use crate::storage::StorageError;
use crate::storage::files::failed;
use crate::storage::redb::MetaDatabase;
use crate::storage::segments::{
    LogAppend, SegmentFiles, SegmentLog, SegmentPreparation, SegmentRules,
};

/// Copies the entries into a new log with the id `log_id`, and then removes them. Returns the id.
pub(super) fn migrate(
    meta: &mut MetaDatabase,
    files: &Arc<dyn SegmentFiles>,
    log_id: u64,
    rules: SegmentRules,
) -> Result<u64, StorageError> {
    // A crash may have left files of an earlier attempt.
    for file in files
        .list()
        .map_err(failed("cannot list", &files.path(0)))?
    {
        let removed = files.remove(file);
        removed.map_err(failed("cannot remove", &files.path(file)))?;
    }
    SegmentLog::create(&**files, log_id, rules)?;
    let log = SegmentLog::open(Arc::clone(files), log_id, rules, SegmentPreparation::Inline)?;
    let log = std::cell::RefCell::new(log);
    meta.read_entries(
        |purged| log.borrow_mut().purge(purged),
        |entries| {
            let mut log = log.borrow_mut();
            log.begin_append(entries)?;
            log.append(LogAppend {
                truncate_from: None,
                entries,
            })
        },
    )?;
    let last = log.into_inner().bounds().last;
    meta.forget_entries(log_id)?;
    tracing::info!(%last, "the log is moved out of the database, into segments; an earlier release can't read this directory any more");
    Ok(log_id)
}
