//! Checks every byte of an archive.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::archive::{ArchiveContents, ArchivePosition, is_archive};
use crate::command::output::print_safely;
use crate::exit::Failure;
use crate::timestamp::utc_ms;

/// Reads all files, and shows what can be restored.
///
/// # Errors
/// A file is damaged, missing or of another cluster, or the end of the newest one is not complete.
pub(super) fn of_archive(dir: &Path) -> Result<(String, Value), Failure> {
    let name = dir.display().to_string();
    let name = print_safely(&name);
    if !is_archive(dir) {
        return Err(Failure::failed(format!(
            "{name} contains no archive; for the data directory of a node, use --data-dir"
        )));
    }
    let broken =
        |error: &dyn std::fmt::Display| Failure::failed(format!("{name} is not sound: {error}"));
    let (contents, entries) = ArchiveContents::verify(dir).map_err(|error| broken(&error))?;
    let ranges = contents.ranges().map_err(|error| broken(&error))?;
    let (cluster_id, lineage) = contents.cluster().unwrap_or_default();
    let mut text = format!(
        "{name}: sound. Cluster {}, lineage {}, {} backups, {entries} entries in {} files\n",
        print_safely(cluster_id),
        print_safely(lineage),
        contents.bases.len(),
        contents.segments.len()
    );
    // Writing to a string never fails.
    if ranges.is_empty() {
        text.push_str("nothing can be restored without a backup: there is none in the archive\n");
    }
    let shown =
        |position: ArchivePosition| format!("{} of {}", position.index, utc_ms(position.time_ms));
    let mut end: Option<u64> = None;
    for range in &ranges {
        if let Some(end) = end.filter(|end| end + 1 < range.from.index) {
            let _ = writeln!(
                text,
                "entries {} to {} are missing: no node had them any more",
                end + 1,
                range.from.index - 1
            );
        }
        let _ = writeln!(
            text,
            "can be restored: entry {} to {}",
            shown(range.from),
            shown(range.to)
        );
        end = Some(range.to.index);
    }
    let value = json!({
        "sound": true,
        "cluster_id": cluster_id,
        "lineage": lineage,
        "backups": contents.bases.len(),
        "entries": entries,
        "segments": contents.segments.len(),
        "ranges": ranges,
    });
    Ok((text, value))
}
