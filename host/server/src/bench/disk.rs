//! The disk alone: how long one durable write takes, to compare the cluster's latency with.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use oarlock_client::load::latencies::Latencies;

use crate::exit::Failure;

/// One write, in bytes.
pub(crate) const APPEND_BYTES: usize = 4096;

/// Most writes, and the most time that they may take.
const MAX_WRITES: u64 = 1000;
const MAX_TIME: Duration = Duration::from_secs(2);

/// How long append + fdatasync of 4 KiB took, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskFigures {
    /// The directory.
    pub(crate) dir: String,
    /// How many writes were measured.
    pub(crate) writes: u64,
    /// Median.
    pub(crate) p50_us: u64,
    /// 99th percentile.
    pub(crate) p99_us: u64,
}

/// Appends and syncs in a file of that directory, which is removed afterwards.
///
/// # Errors
/// The directory can't be written to.
pub(crate) fn probe(dir: &Path) -> Result<DiskFigures, Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!(
            "the disk can't be measured in {}: {error}; name a directory that can be written to",
            dir.display()
        ))
    };
    let mut file = tempfile::tempfile_in(dir).map_err(failed)?;
    let block = [0x5a; APPEND_BYTES];
    let mut times = Latencies::default();
    let start = Instant::now();
    while times.count() < MAX_WRITES && (times.count() == 0 || start.elapsed() < MAX_TIME) {
        let before = Instant::now();
        file.write_all(&block).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        times.record(before.elapsed());
    }
    Ok(DiskFigures {
        dir: dir.display().to_string(),
        writes: times.count(),
        p50_us: times.quantile_us(0.5),
        p99_us: times.quantile_us(0.99),
    })
}

#[cfg(test)]
mod tests;
