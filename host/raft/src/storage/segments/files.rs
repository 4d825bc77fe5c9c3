//! The files below the log.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of a log. Each has a number, and its name is complete and durable or not there at all.
pub trait SegmentFiles: Debug + Send + Sync + 'static {
    /// The numbers of all files. Files that were not completed are removed.
    ///
    /// # Errors
    /// The files can't be listed, or one can't be removed.
    fn list(&self) -> io::Result<Vec<u32>>;

    /// Opens a file.
    ///
    /// # Errors
    /// It does not exist, or can't be opened.
    fn open(&self, file: u32) -> io::Result<Arc<dyn SegmentFile>>;

    /// Creates a file with this length under a name that [`SegmentFiles::list`] removes. Its content is undefined.
    ///
    /// # Errors
    /// It can't be created.
    fn create(&self, file: u32, bytes: u64) -> io::Result<Arc<dyn SegmentFile>>;

    /// Gives a created file its final name, durably.
    ///
    /// # Errors
    /// It can't be renamed, or the name is not durable.
    fn publish(&self, file: u32) -> io::Result<()>;

    /// Removes a file, durably.
    ///
    /// # Errors
    /// It can't be removed, or that is not durable.
    fn remove(&self, file: u32) -> io::Result<()>;

    /// Path of a file, for errors.
    fn path(&self, file: u32) -> PathBuf;
}

/// One file of a log.
pub trait SegmentFile: Debug + Send + Sync + 'static {
    /// Its length, in bytes.
    ///
    /// # Errors
    /// The file can't be examined.
    fn length(&self) -> io::Result<u64>;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// The bytes can't be read, or the file is too short.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes `data` at `offset`. It may be durable only partly before [`SegmentFile::sync`].
    ///
    /// # Errors
    /// The bytes can't be written.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// It may not be durable, and a second sync does not tell.
    fn sync(&self) -> io::Result<()>;
}

/// The extension of a segment.
const EXTENSION: &str = "segment";
/// The extension of a segment that is being created.
const UNFINISHED: &str = "new";

/// A directory of segments.
#[derive(Clone, Debug)]
pub struct SegmentDirectory {
    dir: PathBuf,
}

impl SegmentDirectory {
    /// The segments in `dir`, which must exist.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    fn unfinished(&self, file: u32) -> PathBuf {
        self.path(file).with_extension(UNFINISHED)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

impl SegmentFiles for SegmentDirectory {
    fn list(&self) -> io::Result<Vec<u32>> {
        let mut files = Vec::new();
        for item in fs::read_dir(&self.dir)? {
            let path = item?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            match extension {
                Some(EXTENSION) => files.extend(stem.and_then(|stem| stem.parse::<u32>().ok())),
                Some(UNFINISHED) => fs::remove_file(&path)?,
                _ => {}
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn open(&self, file: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let opened = File::options()
            .read(true)
            .write(true)
            .open(self.path(file))?;
        Ok(Arc::new(opened))
    }

    fn create(&self, file: u32, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let mut options = File::options();
        options.create(true).truncate(true).read(true).write(true);
        let created = options.open(self.unfinished(file))?;
        created.set_len(bytes)?;
        Ok(Arc::new(created))
    }

    fn publish(&self, file: u32) -> io::Result<()> {
        fs::rename(self.unfinished(file), self.path(file))?;
        self.sync()
    }

    fn remove(&self, file: u32) -> io::Result<()> {
        fs::remove_file(self.path(file))?;
        self.sync()
    }

    fn path(&self, file: u32) -> PathBuf {
        self.dir.join(format!("{file:010}.{EXTENSION}"))
    }
}

impl SegmentFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
