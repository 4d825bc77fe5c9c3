//! What the directory of an archive contains, and which points of the log can be restored from it.

use std::fs::{self, File};
use std::io::BufReader;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::{ArchiveError, failed};
use super::format::{ArchivePosition, SegmentDescription};
use super::segment::{SegmentReader, sealed_end};
use crate::backup::{BackupReader, Manifest};

pub(super) const BASE: (&str, &str) = ("base-", ".backup");
pub(super) const SEGMENT: (&str, &str) = ("entries-", ".log");
const READ_BYTES: usize = 256 << 10;

/// A backup in an archive. Its description is checked when all of it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchivedBase {
    pub(crate) path: PathBuf,
    pub(crate) manifest: Manifest,
}

impl ArchivedBase {
    /// The last entry that it contains.
    pub(crate) fn position(&self) -> ArchivePosition {
        let Manifest {
            index,
            term,
            time_ms,
            ..
        } = self.manifest;
        ArchivePosition {
            index,
            term,
            time_ms,
        }
    }
}

/// A segment in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchivedSegment {
    pub(crate) path: PathBuf,
    pub(crate) description: SegmentDescription,
    /// Its last entry, or the one before the first if it has none.
    pub(crate) last: ArchivePosition,
    /// Bytes at its end that are not complete.
    pub(crate) incomplete_bytes: u64,
}

/// Segments that follow each other without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRun {
    segments: Range<usize>,
    before: ArchivePosition,
    pub(super) last: ArchivePosition,
}

/// From a base to the last entry that follows it without a gap: every entry between them can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RestorableRange {
    /// The base.
    pub(crate) from: ArchivePosition,
    /// The last entry.
    pub(crate) to: ArchivePosition,
}

/// The content of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveContents {
    pub(crate) bases: Vec<ArchivedBase>,
    pub(crate) segments: Vec<ArchivedSegment>,
}

/// Whether a directory contains the files of an archive.
pub(crate) fn is_archive(dir: &Path) -> bool {
    let items = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names = items.map(|item| item.file_name());
    names.any(|name| {
        let name = name.to_string_lossy();
        index_in(&name, BASE).or(index_in(&name, SEGMENT)).is_some()
    })
}

/// The name of a file for an index.
pub(super) fn file_name((prefix, suffix): (&str, &str), index: u64) -> String {
    format!("{prefix}{index:020}{suffix}")
}

/// The index in the name of a file.
fn index_in(name: &str, (prefix, suffix): (&str, &str)) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

impl ArchiveContents {
    /// Reads the heads of all files, and the last segment completely. Checks that the files belong together and that none is missing
    /// between two others.
    ///
    /// # Errors
    /// A file is damaged, is of another cluster, or is missing.
    pub(crate) fn read(dir: &Path) -> Result<Self, ArchiveError> {
        let (mut bases, mut segments) = (Vec::new(), Vec::new());
        for item in fs::read_dir(dir).map_err(failed("list", dir))? {
            let path = item.map_err(failed("list", dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(index) = index_in(&name, BASE) {
                bases.push((index, path));
            } else if let Some(index) = index_in(&name, SEGMENT) {
                segments.push((index, path));
            }
        }
        bases.sort();
        segments.sort();
        let newest = segments.len();
        let bases = bases.into_iter().map(|(index, path)| base(index, path));
        let segments = segments.into_iter().enumerate();
        let segments = segments.map(|(at, (index, path))| segment(index, path, at + 1 == newest));
        let contents = Self {
            bases: bases.collect::<Result<_, _>>()?,
            segments: segments.collect::<Result<_, _>>()?,
        };
        contents.check_cluster()?;
        contents.runs()?;
        Ok(contents)
    }

    /// Reads every byte of an archive. Returns the number of entries as well.
    ///
    /// # Errors
    /// A file is damaged, missing or of another cluster, or the end of the newest segment is not complete.
    pub(crate) fn verify(dir: &Path) -> Result<(Self, u64), ArchiveError> {
        let contents = Self::read(dir)?;
        for base in &contents.bases {
            let (manifest, reader) = open_base(&base.path)?;
            reader.check().map_err(|source| ArchiveError::Base {
                path: base.path.clone(),
                source,
            })?;
            debug_assert_eq!(manifest, base.manifest);
        }
        let mut entries = 0;
        for segment in &contents.segments {
            let mut reader = SegmentReader::open(&segment.path)?;
            reader.read_all()?;
            entries += reader.last().index - reader.description().before.index;
        }
        Ok((contents, entries))
    }

    /// Id and lineage of the cluster; `None` if the archive is empty.
    pub(crate) fn cluster(&self) -> Option<(&str, &str)> {
        self.clusters().next().map(|(_, id, lineage)| (id, lineage))
    }

    fn clusters(&self) -> impl Iterator<Item = (&Path, &str, &str)> {
        let bases = self.bases.iter().map(|base| {
            let manifest = &base.manifest;
            (
                base.path.as_path(),
                manifest.cluster_id.as_str(),
                manifest.lineage.as_str(),
            )
        });
        let segments = self.segments.iter().map(|segment| {
            let description = &segment.description;
            (
                segment.path.as_path(),
                description.cluster_id.as_str(),
                description.lineage.as_str(),
            )
        });
        bases.chain(segments)
    }

    fn check_cluster(&self) -> Result<(), ArchiveError> {
        let Some((_, first)) = self.cluster() else {
            return Ok(());
        };
        match self.clusters().find(|(_, _, lineage)| *lineage != first) {
            None => Ok(()),
            Some((path, _, lineage)) => Err(ArchiveError::Foreign {
                path: path.to_owned(),
                what: format!("it is of lineage {lineage}, and other files are of lineage {first}"),
            }),
        }
    }

    /// The last entry of the archive; `None` if it is empty.
    pub(crate) fn last(&self) -> Option<ArchivePosition> {
        let base = self.bases.last().map(ArchivedBase::position);
        let segment = self.segments.last().map(|segment| segment.last);
        base.into_iter()
            .chain(segment)
            .max_by_key(|last| last.index)
    }

    /// The segments, in runs without gaps.
    ///
    /// # Errors
    /// A segment follows neither the one before nor a base.
    pub(super) fn runs(&self) -> Result<Vec<SegmentRun>, ArchiveError> {
        let mut runs: Vec<SegmentRun> = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let before = segment.description.before;
            let follows = |run: &&mut SegmentRun| {
                (run.last.index, run.last.term) == (before.index, before.term)
            };
            if let Some(run) = runs.last_mut().filter(follows) {
                run.last = segment.last;
                run.segments.end = at + 1;
                continue;
            }
            if let Some(run) = runs.last() {
                self.check_gap(run, segment)?;
            }
            runs.push(SegmentRun {
                segments: at..at + 1,
                before,
                last: segment.last,
            });
        }
        Ok(runs)
    }

    /// A gap before a segment is one that the writer knew of.
    fn check_gap(
        &self,
        before: &SegmentRun,
        segment: &ArchivedSegment,
    ) -> Result<(), ArchiveError> {
        let start = segment.description.before;
        let has_base = self
            .bases
            .iter()
            .any(|base| (base.manifest.index, base.manifest.term) == (start.index, start.term));
        if segment.description.after_base && has_base && start.index > before.last.index {
            return Ok(());
        }
        if start.index <= before.last.index {
            return Err(ArchiveError::Foreign {
                path: segment.path.clone(),
                what: format!(
                    "it begins after entry {}, and the segment before ends with entry {}",
                    start.index, before.last.index
                ),
            });
        }
        Err(ArchiveError::Missing {
            from: before.last.index + 1,
            to: start.index,
            path: segment.path.clone(),
        })
    }

    /// What can be restored, in order, without overlaps.
    ///
    /// # Errors
    /// As [`Self::runs`].
    pub(crate) fn ranges(&self) -> Result<Vec<RestorableRange>, ArchiveError> {
        let runs = self.runs()?;
        let mut ranges: Vec<RestorableRange> = Vec::new();
        for base in &self.bases {
            let from = base.position();
            let is_inside = ranges
                .last()
                .is_some_and(|range| from.index <= range.to.index);
            if !is_inside {
                let run = runs.iter().find(|run| run.contains(from));
                let to = run.map_or(from, |run| run.last);
                ranges.push(RestorableRange { from, to });
            }
        }
        Ok(ranges)
    }

    /// The segments with the entries after `base`, up to the first gap.
    ///
    /// # Errors
    /// As [`Self::runs`].
    pub(crate) fn after(&self, base: ArchivePosition) -> Result<&[ArchivedSegment], ArchiveError> {
        let runs = self.runs()?;
        let run = runs.into_iter().find(|run| run.contains(base));
        let segments = run.map_or(0..0, |run| run.segments);
        let segments = &self.segments[segments];
        let first = segments.partition_point(|segment| segment.last.index <= base.index);
        Ok(&segments[first..])
    }
}

impl SegmentRun {
    /// Whether the entry is in the run, or just before it.
    fn contains(&self, position: ArchivePosition) -> bool {
        (self.before.index..=self.last.index).contains(&position.index)
    }
}

fn base(index: u64, path: PathBuf) -> Result<ArchivedBase, ArchiveError> {
    let (manifest, _) = open_base(&path)?;
    if manifest.index != index {
        return Err(ArchiveError::Foreign {
            what: format!("it has the entries up to {}", manifest.index),
            path,
        });
    }
    Ok(ArchivedBase { path, manifest })
}

/// A backup, with its description. Neither is checked.
fn open_base(path: &Path) -> Result<(Manifest, BackupReader<BufReader<File>>), ArchiveError> {
    let file = File::open(path).map_err(failed("read", path))?;
    let opened = BackupReader::open(BufReader::with_capacity(READ_BYTES, file));
    opened.map_err(|source| ArchiveError::Base {
        path: path.to_owned(),
        source,
    })
}

fn segment(index: u64, path: PathBuf, is_newest: bool) -> Result<ArchivedSegment, ArchiveError> {
    let mut reader = SegmentReader::open(&path)?;
    let description = reader.description().clone();
    if description.before.index + 1 != index {
        return Err(ArchiveError::Foreign {
            what: format!("it begins after entry {}", description.before.index),
            path,
        });
    }
    let (last, incomplete_bytes) = match sealed_end(&path)? {
        Some(last) => (last, 0),
        None if is_newest => match reader.read_all() {
            Ok(()) => (reader.last(), 0),
            Err(ArchiveError::IncompleteEnd { bytes, .. }) => (reader.last(), bytes),
            Err(error) => return Err(error),
        },
        None => {
            let length = fs::metadata(&path).map_err(failed("read", &path))?.len();
            return Err(ArchiveError::Damaged {
                path,
                offset: length,
                what: "its end is missing, and a later segment exists".to_owned(),
            });
        }
    };
    Ok(ArchivedSegment {
        path,
        description,
        last,
        incomplete_bytes,
    })
}
