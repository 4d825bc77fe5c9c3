//! Writes a snapshot file while the snapshot is taken.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::entry::SnapshotMeta;
use crate::storage::files::{failed, publish, remove};
use crate::storage::{SnapshotWriter, StorageError, schema};

const BUFFER_BYTES: usize = 1 << 16;

/// Writes a snapshot under a temporary name. If it is dropped before it is finished, it removes the file.
pub(super) struct SnapshotFileWriter {
    out: BufWriter<File>,
    unfinished: UnfinishedFile,
    path: PathBuf,
    meta: SnapshotMeta,
    max_bytes: u64,
}

impl SnapshotFileWriter {
    pub(super) fn create(
        unfinished: PathBuf,
        path: PathBuf,
        meta: SnapshotMeta,
        max_bytes: u64,
    ) -> Result<Self, StorageError> {
        let file = File::create_new(&unfinished).map_err(failed("cannot create", &unfinished))?;
        let unfinished = UnfinishedFile(Some(unfinished));
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        // A placeholder; length and checksum are known at the end.
        out.write_all(&schema::encode_snapshot_header(&meta))
            .map_err(failed("cannot write", unfinished.path()))?;
        Ok(Self {
            out,
            unfinished,
            path,
            meta,
            max_bytes,
        })
    }
}

impl Write for SnapshotFileWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let left = self.max_bytes - self.meta.length;
        if data.len() as u64 > left {
            let reason = format!(
                "the snapshot is longer than the limit of {} bytes; make the state smaller",
                self.max_bytes
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let written = self.out.write(data)?;
        self.meta.checksum = crc32c::crc32c_append(self.meta.checksum, &data[..written]);
        self.meta.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl SnapshotWriter for SnapshotFileWriter {
    fn finish(mut self: Box<Self>) -> Result<SnapshotMeta, StorageError> {
        let header = schema::encode_snapshot_header(&self.meta);
        let complete = |out: &mut BufWriter<File>| {
            out.seek(SeekFrom::Start(0))?;
            out.write_all(&header)?;
            out.flush()?;
            out.get_ref().sync_all()
        };
        complete(&mut self.out).map_err(failed("cannot write", self.unfinished.path()))?;
        publish(self.unfinished.path(), &self.path)?;
        self.unfinished.0 = None;
        Ok(self.meta.clone())
    }
}

/// Removes the unfinished file when dropped, unless the path was taken out.
struct UnfinishedFile(Option<PathBuf>);

impl UnfinishedFile {
    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = remove(&path)
        {
            // `drop` can't return the error; the next start removes the file.
            tracing::warn!(%error, "could not remove an unfinished snapshot; the next start removes it");
        }
    }
}
